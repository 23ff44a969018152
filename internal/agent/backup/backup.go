// Package backup keeps copies of a store in a folder or a bucket of S3: generations,
// each of which is the whole store at one moment, though only what is new was written
// for it.
//
// # The files
//
//	FORMAT                "1"
//	LOCK, locks/          held by who writes or prunes: see Depot.Hold
//	reading/              held by who reads, in a bucket: see Depot.Reading
//	data/ab/ab12…         a piece of a file, named by the SHA-256 of its bytes
//	generations/TIME      what a generation consists of, JSON: see Manifest
//	generations/TIME.use  the names of its pieces, a line each
//
// With recipients (age), pieces and Manifests are encrypted; the names of the
// pieces are not, so that old ones can be let go without the key. Files are written
// whole or not at all; a generation's Manifest last. So what is there is whole,
// whatever was interrupted.
package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
)

// pieceSize is what a piece has at most: large files are cut, so that of a pack
// that has grown only the end is new.
const pieceSize = 16 << 20

// atOnce is how many pieces are on their way at a time. Each needs twice its size of
// memory.
const atOnce = 3

const (
	format     = "1\n"
	formatName = "FORMAT"
	timeForm   = "20060102T150405Z"
	dataDir    = "data/"
	genDir     = "generations/"
	useSuffix  = ".use"
)

// ErrDamaged says that a backup is not as it was written.
var ErrDamaged = errors.New("backup: damaged")

// ErrNone says that there are no backups.
var ErrNone = errors.New("there are no backups there")

// ErrTooEarly says that all backups there were made after a time.
var ErrTooEarly = errors.New("all backups there were made after that time")

// A File is one of a store's, with slashes in its path.
type File struct {
	Path string
	From string // where it is now
	Size int64  // what belongs to it; there may be more
}

// A Piece is a part of a file.
type Piece struct {
	Sum  string `json:"sum"` // SHA-256, hexadecimal
	Size int64  `json:"size"`
}

// name gives the name of a piece's file.
func (p Piece) name() string { return dataDir + p.Sum[:2] + "/" + p.Sum }

// valid says that the piece can have been named by us.
func (p Piece) valid() bool {
	return len(p.Sum) == 2*sha256.Size && strings.Trim(p.Sum, "0123456789abcdef") == "" && p.Size >= 0 && p.Size <= pieceSize
}

// A Manifest says what a generation consists of.
type Manifest struct {
	Created time.Time `json:"created"`
	Version string    `json:"version"`
	Files   []Stored  `json:"files"`
}

// A Stored file is one of a generation.
type Stored struct {
	Path   string  `json:"path"`
	Size   int64   `json:"size"`
	Pieces []Piece `json:"pieces"`
}

// Bytes is what all files have together.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// A Repository is a depot with backups. Recipients encrypt what is written,
// Identities decrypt what is read; without them it is as it is.
type Repository struct {
	Depot      Depot
	Recipients []age.Recipient
	Identities []age.Identity
}

// Written says what Create has done.
type Written struct {
	Generation string `json:"generation"`
	Files      int    `json:"files"`
	Bytes      int64  `json:"bytes"` // of all files
	New        int64  `json:"new"`   // that had to be written
}

// A Cache knows pieces of files that were read before, so that they need not be
// read again: by path, size and time.
type Cache map[string][]Piece

// Create writes a generation of files. What is in known need not be read if the
// repository has it; Create fills it with what is to be known the next time.
func (r *Repository) Create(ctx context.Context, now time.Time, version string, files []File, known Cache) (w Written, err error) {
	if err := r.begin(ctx); err != nil {
		return w, err
	}
	held, release, err := r.Depot.Hold(ctx)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, release()) }()
	c := &creation{r: r, known: known, next: Cache{}, have: map[string]bool{}}
	err = r.Depot.List(held, dataDir, func(i Item) error {
		c.have[i.Name[strings.LastIndexByte(i.Name, '/')+1:]] = true
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w, fmt.Errorf("backup: what is there: %w", err)
	}
	m := Manifest{Created: now.UTC().Truncate(time.Second), Version: version}
	if m.Files, err = c.write(held, files); err != nil {
		return w, fmt.Errorf("backup: %w", err)
	}
	clear(known)
	for k, v := range c.next {
		known[k] = v
	}
	w.Files, w.Bytes, w.New = len(m.Files), m.Bytes(), c.isNew
	w.Generation, err = r.commit(held, &m)
	return w, err
}

// begin makes a repository, or looks whether it is one.
func (r *Repository) begin(ctx context.Context) error {
	err := r.ours(ctx)
	if !errors.Is(err, ErrNone) {
		return err
	}
	errOther := errors.New("something else")
	err = r.Depot.List(ctx, "", func(Item) error { return errOther })
	if err == errOther {
		return fmt.Errorf("backup: %s holds no backups, and is not empty", r.Depot)
	}
	if err == nil {
		err = r.Depot.Put(ctx, formatName, []byte(format))
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// ours says whether the depot holds backups that this program knows.
func (r *Repository) ours(ctx context.Context) error {
	b, err := r.Depot.Get(ctx, formatName, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("backup: %s: %w", r.Depot, ErrNone)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if string(b) != format {
		return fmt.Errorf("backup: %s has a format that this program does not know: %.20q", r.Depot, b)
	}
	return nil
}

// A creation is a generation that is being written.
type creation struct {
	r     *Repository
	known Cache

	mu    sync.Mutex // guards what follows
	next  Cache
	have  map[string]bool // pieces that are there, or on their way
	isNew int64
}

// A job is a piece of a file that has to be read.
type job struct {
	file File
	off  int64
	key  string // in the Cache
	to   *Piece
}

// write writes all pieces that are not there.
func (c *creation) write(ctx context.Context, files []File) ([]Stored, error) {
	stored := make([]Stored, len(files))
	err := inParallel(ctx, func(give func(job) bool) error {
		for i, f := range files {
			if err := c.plan(f, &stored[i], give); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
		}
		return nil
	}, func(ctx context.Context, j job, w *worker) error {
		if err := c.piece(ctx, j, w); err != nil {
			return fmt.Errorf("%s: %w", j.file.Path, err)
		}
		return nil
	})
	return stored, err
}

// plan cuts a file into pieces, and gives away those that must be read. A file that
// is the same needs not be read; nor does the beginning of one that only grows, which
// is known by its name.
func (c *creation) plan(f File, s *Stored, give func(job) bool) error {
	st, err := os.Stat(f.From)
	if err != nil {
		return err
	}
	if st.Size() < f.Size {
		return io.ErrUnexpectedEOF
	}
	*s = Stored{Path: f.Path, Size: f.Size, Pieces: make([]Piece, (f.Size+pieceSize-1)/pieceSize)}
	for i := range s.Pieces {
		off := int64(i) * pieceSize
		n := min(pieceSize, f.Size-off)
		key := fmt.Sprintf("%s %d %d", f.Path, off, n)
		if n < pieceSize { // the end may yet be another
			key += fmt.Sprintf(" %d %d", f.Size, st.ModTime().UnixNano())
		}
		if p := c.known[key]; len(p) == 1 && p[0].Size == n && c.has(key, p[0]) {
			s.Pieces[i] = p[0]
			continue
		}
		if !give(job{f, off, key, &s.Pieces[i]}) {
			return nil // another has failed
		}
	}
	return nil
}

// has says that a known piece is there, and remembers it for the next time.
func (c *creation) has(key string, p Piece) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.have[p.Sum] {
		return false
	}
	c.next[key] = []Piece{p}
	return true
}

// piece reads a piece, and writes it if it is not there.
func (c *creation) piece(ctx context.Context, j job, w *worker) error {
	in, err := os.Open(j.file.From)
	if err != nil {
		return err
	}
	defer in.Close()
	raw := w.raw(min(pieceSize, j.file.Size-j.off))
	if _, err := in.ReadAt(raw, j.off); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	p := Piece{Sum: hex.EncodeToString(sum[:]), Size: int64(len(raw))}
	c.mu.Lock()
	there := c.have[p.Sum]
	c.have[p.Sum] = true // if it cannot be written, nothing of all this counts
	c.next[j.key] = []Piece{p}
	if !there {
		c.isNew += p.Size
	}
	c.mu.Unlock()
	*j.to = p
	if there {
		return nil
	}
	b, err := c.r.seal(raw, &w.sealed)
	if err != nil {
		return err
	}
	return c.r.Depot.Put(ctx, p.name(), b)
}

// seal encrypts b into buf, if it is to be; it gives what is to be written.
func (r *Repository) seal(b []byte, buf *bytes.Buffer) ([]byte, error) {
	if len(r.Recipients) == 0 {
		return b, nil
	}
	buf.Reset()
	buf.Grow(len(b) + sealRoom) // or it would double as it grows
	w, err := age.Encrypt(buf, r.Recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close()
	return buf.Bytes(), err
}

// commit writes the Manifest, and before it what it uses.
func (r *Repository) commit(ctx context.Context, m *Manifest) (name string, err error) {
	var use []string
	for _, f := range m.Files {
		for _, p := range f.Pieces {
			use = append(use, p.Sum)
		}
	}
	slices.Sort(use)
	use = slices.Compact(use)
	all, err := r.Generations(ctx)
	if err != nil {
		return "", err
	}
	// Names tell the order, also of two in one second, and of what is made once a clock
	// that was ahead is right again: the last must not be an old one.
	if len(all) > 0 {
		last, err := Time(all[len(all)-1])
		if err != nil {
			return "", err
		}
		if !m.Created.After(last) {
			m.Created = last.Add(time.Second)
		}
	}
	name = m.Created.Format(timeForm)
	b, err := json.Marshal(m)
	if err == nil {
		err = r.Depot.Put(ctx, genDir+name+useSuffix, []byte(strings.Join(use, "\n")+"\n"))
	}
	if err == nil {
		b, err = r.seal(b, new(bytes.Buffer))
	}
	if err == nil {
		err = context.Cause(ctx) // nobody may have pruned meanwhile
	}
	if err == nil {
		err = r.Depot.Put(ctx, genDir+name, b)
	}
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	return name, nil
}

// Generations gives the names of all, the oldest first.
func (r *Repository) Generations(ctx context.Context) (out []string, err error) {
	if err := r.ours(ctx); err != nil {
		return nil, err
	}
	err = r.Depot.List(ctx, genDir, func(i Item) error {
		name := strings.TrimPrefix(i.Name, genDir)
		if _, err := Time(name); err == nil {
			out = append(out, name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("backup: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

// Time gives when a generation was made.
func Time(generation string) (time.Time, error) { return time.Parse(timeForm, generation) }

// At gives the last generation that was made at or before t.
func (r *Repository) At(ctx context.Context, t time.Time) (string, error) {
	all, err := r.Generations(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", fmt.Errorf("backup: %s: %w", r.Depot, ErrNone)
	}
	n, exact := slices.BinarySearch(all, t.UTC().Format(timeForm))
	if exact {
		n++
	}
	if n == 0 {
		first, _ := Time(all[0])
		return "", fmt.Errorf("backup: %w: the first in %s was made at %s", ErrTooEarly, r.Depot, first.Local().Format("2006-01-02 15:04:05"))
	}
	return all[n-1], nil
}

// Prune forgets all generations but the last keep, and what only they used; what
// somebody reads at the moment goes with the next Prune.
func (r *Repository) Prune(ctx context.Context, keep int) (forgotten int, freed int64, err error) {
	if err := r.ours(ctx); err != nil {
		return 0, 0, err
	}
	held, release, err := r.Depot.Hold(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	all, err := r.Generations(held)
	if err != nil {
		return 0, 0, err
	}
	for len(all) > max(keep, 1) {
		if err := r.Depot.Delete(held, genDir+all[0]); err != nil {
			return forgotten, 0, fmt.Errorf("backup: %w", err)
		}
		all, forgotten = all[1:], forgotten+1
	}
	freed, err = r.letGo(held, all)
	if err != nil {
		err = fmt.Errorf("backup: %w", err)
	}
	return forgotten, freed, err
}

// letGo removes what no generation of all uses, and none that is read.
func (r *Repository) letGo(ctx context.Context, all []string) (freed int64, err error) {
	read, err := r.read(ctx, all)
	if err != nil {
		return 0, fmt.Errorf("nothing is let go: who reads: %w", err)
	}
	used := map[string]bool{}
	for _, g := range slices.Concat(all, read) {
		b, err := r.Depot.Get(ctx, genDir+g+useSuffix, maxManifest)
		if err != nil {
			return 0, fmt.Errorf("nothing is let go: %w", err)
		}
		for sum := range strings.FieldsSeq(string(b)) {
			used[sum] = true
		}
		used[g+useSuffix] = true
	}
	var gone []Item
	for _, prefix := range [...]string{genDir, dataDir} {
		err := r.Depot.List(ctx, prefix, func(i Item) error {
			name := i.Name[strings.LastIndexByte(i.Name, '/')+1:]
			if !used[name] && (prefix == dataDir || strings.HasSuffix(name, useSuffix)) {
				gone = append(gone, i)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	var mu sync.Mutex
	err = inParallel(ctx, func(give func(Item) bool) error {
		for _, i := range gone {
			if !give(i) {
				break
			}
		}
		return nil
	}, func(ctx context.Context, i Item, _ *worker) error {
		err := r.Depot.Delete(ctx, i.Name)
		if err == nil && strings.HasPrefix(i.Name, dataDir) {
			mu.Lock()
			defer mu.Unlock()
			freed += i.Size
		}
		return err
	})
	return freed, err
}

// read gives the generations that are none of all any more, and that somebody reads.
func (r *Repository) read(ctx context.Context, all []string) ([]string, error) {
	var old []string
	err := r.Depot.List(ctx, genDir, func(i Item) error {
		name, ok := strings.CutSuffix(strings.TrimPrefix(i.Name, genDir), useSuffix)
		if ok && !slices.Contains(all, name) {
			old = append(old, name)
		}
		return nil
	})
	if err != nil || len(old) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	return r.Depot.Readers(ctx, old)
}

// Package backup keeps copies of a store in a folder: generations, each of which
// is the whole store at one moment, though only what is new was written for it.
//
// # The folder
//
//	FORMAT                "1"
//	LOCK                  held by who writes or prunes
//	data/ab/ab12…         a piece of a file, named by the SHA-256 of its bytes
//	generations/TIME      what a generation consists of, JSON: see Manifest
//	generations/TIME.use  the names of its pieces, a line each
//
// With recipients (age), pieces and Manifests are encrypted; the names of the
// pieces are not, so that old ones can be let go without the key. Files are written
// under another name, synced, and renamed; a generation's last. So what is there
// is whole, whatever was interrupted.
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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"posthaste/internal/engine/dir"
)

// pieceSize is what a piece has at most: large files are cut, so that of a pack
// that has grown only the end is new.
const pieceSize = 16 << 20

const (
	format    = "1\n"
	timeForm  = "20060102T150405Z"
	tmpSuffix = ".tmp"
)

// ErrDamaged says that a backup is not as it was written.
var ErrDamaged = errors.New("backup: damaged")

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

// A Repository is a folder with backups. Recipients encrypt what is written,
// Identities decrypt what is read; without them it is as it is.
type Repository struct {
	Dir        string
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
	if err := r.begin(); err != nil {
		return w, err
	}
	lock, err := r.hold()
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	m := Manifest{Created: now.UTC().Truncate(time.Second), Version: version}
	next := Cache{}
	for _, f := range files {
		st, err := r.file(ctx, f, known, next, &w)
		if err != nil {
			return w, fmt.Errorf("backup: %s: %w", f.Path, err)
		}
		m.Files = append(m.Files, st)
	}
	clear(known)
	for k, v := range next {
		known[k] = v
	}
	w.Files, w.Bytes = len(m.Files), m.Bytes()
	w.Generation, err = r.commit(&m)
	return w, err
}

// ErrBusy says that somebody else writes to the repository, or prunes it: what one
// has just written and not yet named in a generation, the other would let go.
var ErrBusy = errors.New("backup: another backup or prune is at work there; try again when it is done")

func (r *Repository) hold() (io.Closer, error) {
	lock, err := dir.Hold(filepath.Join(r.Dir, "LOCK"))
	if err == nil && lock == nil {
		err = ErrBusy
	}
	return lock, err
}

// begin makes the folder, or looks whether it is ours.
func (r *Repository) begin() error {
	path := filepath.Join(r.Dir, "FORMAT")
	b, err := os.ReadFile(path)
	if err == nil && string(b) == format {
		return nil
	}
	if err == nil {
		return fmt.Errorf("backup: %s has a format that this program does not know: %.20q", r.Dir, b)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("backup: %w", err)
	}
	if entries, err := os.ReadDir(r.Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("backup: %s holds no backups, and is not empty", r.Dir)
	}
	for _, sub := range [...]string{"data", "generations"} {
		if err := os.MkdirAll(filepath.Join(r.Dir, sub), 0o700); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	return r.write(path, strings.NewReader(format), nil)
}

func (r *Repository) file(ctx context.Context, f File, known, next Cache, w *Written) (Stored, error) {
	out := Stored{Path: f.Path, Size: f.Size}
	in, err := os.Open(f.From)
	if err != nil {
		return out, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return out, err
	}
	if st.Size() < f.Size {
		return out, io.ErrUnexpectedEOF
	}
	// A file that is the same needs not be read; nor does the beginning of one
	// that only grows, which is known by its name.
	for off, i := int64(0), 0; off < f.Size; off, i = off+pieceSize, i+1 {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		n := min(pieceSize, f.Size-off)
		key := fmt.Sprintf("%s %d %d", f.Path, off, n)
		if n < pieceSize { // the end may yet be another
			key += fmt.Sprintf(" %d %d", f.Size, st.ModTime().UnixNano())
		}
		if p := known[key]; len(p) == 1 && r.has(p[0]) {
			out.Pieces, next[key] = append(out.Pieces, p[0]), p
			continue
		}
		p, isNew, err := r.piece(io.NewSectionReader(in, off, n))
		if err != nil {
			return out, err
		}
		if isNew {
			w.New += n
		}
		out.Pieces, next[key] = append(out.Pieces, p), []Piece{p}
	}
	return out, nil
}

func (r *Repository) path(sum string) string { return filepath.Join(r.Dir, "data", sum[:2], sum) }

func (r *Repository) has(p Piece) bool {
	_, err := os.Stat(r.path(p.Sum))
	return len(p.Sum) == 2*sha256.Size && err == nil
}

// piece writes a piece if it is not there.
func (r *Repository) piece(in *io.SectionReader) (p Piece, isNew bool, err error) {
	h := sha256.New()
	if p.Size, err = io.Copy(h, in); err != nil {
		return p, false, err
	}
	p.Sum = hex.EncodeToString(h.Sum(nil))
	if r.has(p) {
		return p, false, nil
	}
	if err := os.MkdirAll(filepath.Dir(r.path(p.Sum)), 0o700); err != nil {
		return p, false, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return p, false, err
	}
	// It is read twice: what is written must be what was counted.
	check := sha256.New()
	err = r.write(r.path(p.Sum), io.TeeReader(in, check), func() error {
		if hex.EncodeToString(check.Sum(nil)) != p.Sum {
			return errors.New("it changed while it was read")
		}
		return nil
	})
	return p, true, err
}

// write makes a file, encrypted if it is to be and check is not nil.
func (r *Repository) write(path string, in io.Reader, check func() error) error {
	f, err := os.OpenFile(path+tmpSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = r.fill(f, in, check != nil)
	if err == nil && check != nil {
		err = check()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+tmpSuffix))
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func (r *Repository) fill(f *os.File, in io.Reader, secret bool) error {
	if !secret || len(r.Recipients) == 0 {
		_, err := io.Copy(f, in)
		return err
	}
	w, err := age.Encrypt(f, r.Recipients...)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	return w.Close()
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// commit writes the Manifest, and before it what it uses.
func (r *Repository) commit(m *Manifest) (name string, err error) {
	var use []string
	for _, f := range m.Files {
		for _, p := range f.Pieces {
			use = append(use, p.Sum)
		}
	}
	slices.Sort(use)
	use = slices.Compact(use)
	b, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	for { // two in one second
		name = m.Created.Format(timeForm)
		if _, err := os.Stat(filepath.Join(r.Dir, "generations", name)); err != nil {
			break
		}
		m.Created = m.Created.Add(time.Second)
	}
	path := filepath.Join(r.Dir, "generations", name)
	if err := r.write(path+".use", strings.NewReader(strings.Join(use, "\n")+"\n"), nil); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	if err := r.write(path, bytes.NewReader(b), func() error { return nil }); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	return name, nil
}

// Generations gives the names of all, the oldest first.
func (r *Repository) Generations() (out []string, err error) {
	entries, err := os.ReadDir(filepath.Join(r.Dir, "generations"))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	for _, e := range entries {
		if _, err := time.Parse(timeForm, e.Name()); err == nil {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

// Time gives when a generation was made.
func Time(generation string) (time.Time, error) { return time.Parse(timeForm, generation) }

// Prune forgets all generations but the last keep, and what only they used.
func (r *Repository) Prune(keep int) (forgotten int, freed int64, err error) {
	if _, err := r.Generations(); err != nil {
		return 0, 0, err
	}
	lock, err := r.hold()
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	all, err := r.Generations()
	if err != nil {
		return 0, 0, err
	}
	for len(all) > max(keep, 1) {
		path := filepath.Join(r.Dir, "generations", all[0])
		if err := errors.Join(os.Remove(path), os.Remove(path+".use")); err != nil {
			return forgotten, 0, fmt.Errorf("backup: %w", err)
		}
		all, forgotten = all[1:], forgotten+1
	}
	used := map[string]bool{}
	for _, g := range all {
		b, err := os.ReadFile(filepath.Join(r.Dir, "generations", g+".use"))
		if err != nil {
			return forgotten, 0, fmt.Errorf("backup: nothing is let go: %w", err)
		}
		for sum := range strings.FieldsSeq(string(b)) {
			used[sum] = true
		}
	}
	err = filepath.WalkDir(filepath.Join(r.Dir, "data"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || used[d.Name()] {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		freed += st.Size()
		return os.Remove(p)
	})
	if err != nil {
		return forgotten, freed, fmt.Errorf("backup: %w", err)
	}
	return forgotten, freed, nil
}

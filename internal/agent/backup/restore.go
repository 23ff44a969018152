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
	"path/filepath"
	"sync"

	"filippo.io/age"
)

// maxManifest is what is read of one.
const maxManifest = 1 << 30

// A Generation is one that is open: until Close, all that it uses stays.
type Generation struct {
	Name     string
	Manifest Manifest
	release  func() error
}

// Close lets others prune what only the generation uses.
func (g *Generation) Close() error {
	if err := g.release(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Open opens a generation; "" is the last.
func (r *Repository) Open(ctx context.Context, generation string) (*Generation, error) {
	all, err := r.Generations(ctx)
	if err != nil {
		return nil, err
	}
	if generation == "" {
		if len(all) == 0 {
			return nil, fmt.Errorf("backup: %s: %w", r.Depot, ErrNone)
		}
		generation = all[len(all)-1]
	}
	if _, err := Time(generation); err != nil {
		return nil, fmt.Errorf("backup: %q is no generation: see posthaste backup list", generation)
	}
	release, err := r.Depot.Reading(ctx, generation)
	if err != nil {
		return nil, fmt.Errorf("backup: generation %s: %w", generation, err)
	}
	m, err := r.manifest(ctx, generation)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &Generation{Name: generation, Manifest: m, release: release}, nil
}

// manifest reads that of a generation.
func (r *Repository) manifest(ctx context.Context, generation string) (m Manifest, err error) {
	b, err := r.Depot.Get(ctx, genDir+generation, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("backup: there is no generation %s: see posthaste backup list", generation)
	}
	if err == nil {
		b, err = r.unseal(b, new(bytes.Buffer))
	}
	if err != nil {
		return m, fmt.Errorf("backup: generation %s: %w", generation, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("backup: generation %s: %w: %w", generation, ErrDamaged, err)
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("backup: generation %s: %w", generation, err)
	}
	return m, nil
}

// check says what of a Manifest cannot be ours.
func (m *Manifest) check() error {
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return fmt.Errorf("%w: a file called %q", ErrDamaged, f.Path)
		}
		n := int64(0)
		for _, p := range f.Pieces {
			if !p.valid() {
				return fmt.Errorf("%w: %s has a piece %.80q of %d bytes", ErrDamaged, f.Path, p.Sum, p.Size)
			}
			n += p.Size
		}
		if n != f.Size {
			return fmt.Errorf("%w: the pieces of %s have %d bytes, not %d", ErrDamaged, f.Path, n, f.Size)
		}
	}
	return nil
}

// ageHeader is what encrypted files begin with.
const ageHeader = "age-encryption.org/"

// unseal decrypts b into buf if it is encrypted; it gives what was written.
func (r *Repository) unseal(b []byte, buf *bytes.Buffer) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(ageHeader)) {
		return b, nil
	}
	if len(r.Identities) == 0 {
		return nil, errors.New("it is encrypted: say which key opens it, with --identity")
	}
	d, err := age.Decrypt(bytes.NewReader(b), r.Identities...)
	if wrong, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, fmt.Errorf("it is encrypted for another key: %w", wrong)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	buf.Reset()
	buf.Grow(len(b) + bytes.MinRead) // or it would double as it grows
	if _, err := buf.ReadFrom(io.LimitReader(d, maxManifest)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return buf.Bytes(), nil
}

// Restore writes the files of a generation into dir, which must be there and be
// empty but for what the caller has put there. Each piece is checked. progress is
// told of bytes done of all, by one at a time; nil: nobody.
func (r *Repository) Restore(ctx context.Context, m Manifest, dir string, progress func(done, all int64)) error {
	var mu sync.Mutex
	var done int64
	all := m.Bytes()
	for _, f := range m.Files {
		err := r.restore(ctx, f, filepath.Join(dir, filepath.FromSlash(f.Path)), func(n int64) {
			if progress != nil {
				mu.Lock()
				defer mu.Unlock()
				done += n
				progress(done, all)
			}
		})
		if err != nil {
			return fmt.Errorf("backup: %s: %w", f.Path, err)
		}
	}
	return nil
}

// A part is a piece at its place in a file.
type part struct {
	Piece
	off int64
}

func (r *Repository) restore(ctx context.Context, f Stored, path string, did func(int64)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = inParallel(ctx, func(give func(part) bool) error {
		off := int64(0)
		for _, p := range f.Pieces {
			if !give(part{p, off}) {
				break
			}
			off += p.Size
		}
		return nil
	}, func(ctx context.Context, p part, w *worker) error {
		b, err := r.piece(ctx, p.Piece, w)
		if err == nil {
			_, err = out.WriteAt(b, p.off)
		}
		if err == nil {
			did(p.Size)
		}
		return err
	})
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// sealRoom is more than encryption adds to a piece.
const sealRoom = 1 << 20

// piece reads a piece and checks it.
func (r *Repository) piece(ctx context.Context, p Piece, w *worker) ([]byte, error) {
	b, err := r.Depot.Get(ctx, p.name(), pieceSize+sealRoom)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: piece %s is missing", ErrDamaged, p.Sum)
	}
	if err == nil {
		b, err = r.unseal(b, &w.sealed)
	}
	if err != nil {
		return nil, fmt.Errorf("piece %s: %w", p.Sum, err)
	}
	if sum := sha256.Sum256(b); int64(len(b)) != p.Size || hex.EncodeToString(sum[:]) != p.Sum {
		return nil, fmt.Errorf("%w: piece %s is not what was written", ErrDamaged, p.Sum)
	}
	return b, nil
}

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
	"strings"

	"filippo.io/age"
)

// maxManifest is what is read of one.
const maxManifest = 1 << 30

// Open reads the Manifest of a generation; "" is the last.
func (r *Repository) Open(generation string) (name string, m Manifest, err error) {
	if generation == "" {
		all, err := r.Generations()
		if err != nil {
			return "", m, err
		}
		if len(all) == 0 {
			return "", m, fmt.Errorf("backup: there is none in %s", r.Dir)
		}
		generation = all[len(all)-1]
	}
	if _, err := Time(generation); err != nil {
		return "", m, fmt.Errorf("backup: %q is no generation: see posthaste backup list", generation)
	}
	f, err := r.read(filepath.Join(r.Dir, "generations", generation))
	if err != nil {
		return "", m, fmt.Errorf("backup: generation %s: %w", generation, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return "", m, fmt.Errorf("backup: generation %s: %w: %w", generation, ErrDamaged, err)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return "", m, fmt.Errorf("backup: generation %s: %w: a file called %q", generation, ErrDamaged, f.Path)
		}
	}
	return generation, m, nil
}

type opened struct {
	io.Reader
	io.Closer
}

// ageHeader is what encrypted files begin with.
const ageHeader = "age-encryption.org/"

// read opens a file, decrypted if it is not as it is.
func (r *Repository) read(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	head := make([]byte, len(ageHeader))
	n, _ := io.ReadFull(f, head)
	in := io.MultiReader(bytes.NewReader(head[:n]), f)
	if string(head[:n]) != ageHeader {
		return opened{in, f}, nil
	}
	if len(r.Identities) == 0 {
		return nil, errors.Join(errors.New("it is encrypted: say which key opens it, with --identity"), f.Close())
	}
	d, err := age.Decrypt(in, r.Identities...)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return opened{d, f}, nil
}

// Restore writes the files of a generation into dir, which must be there and be
// empty but for what the caller has put there. Each piece is checked. progress is
// told of bytes done of all; nil: nobody.
func (r *Repository) Restore(ctx context.Context, m Manifest, dir string, progress func(done, all int64)) error {
	var done int64
	all := m.Bytes()
	for _, f := range m.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		for _, p := range f.Pieces {
			if err = errors.Join(ctx.Err(), r.copy(out, p)); err != nil {
				break
			}
			if done += p.Size; progress != nil {
				progress(done, all)
			}
		}
		if st, e := out.Stat(); err == nil && e == nil && st.Size() != f.Size {
			err = fmt.Errorf("%w: it has %d bytes, not %d", ErrDamaged, st.Size(), f.Size)
		}
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return fmt.Errorf("backup: %s: %w", f.Path, err)
		}
		if err := syncDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	return nil
}

// copy copies a piece and checks it.
func (r *Repository) copy(w io.Writer, p Piece) error {
	if len(p.Sum) != 2*sha256.Size || strings.Trim(p.Sum, "0123456789abcdef") != "" {
		return ErrDamaged
	}
	in, err := r.read(r.path(p.Sum))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: piece %s is missing", ErrDamaged, p.Sum)
	}
	if err != nil {
		return fmt.Errorf("piece %s: %w", p.Sum, err)
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), in)
	if err != nil {
		return fmt.Errorf("%w: piece %s: %w", ErrDamaged, p.Sum, err)
	}
	if n != p.Size || hex.EncodeToString(h.Sum(nil)) != p.Sum {
		return fmt.Errorf("%w: piece %s is not what was written", ErrDamaged, p.Sum)
	}
	return nil
}

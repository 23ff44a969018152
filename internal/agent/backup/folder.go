package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"posthaste/internal/engine/dir"
)

// A Folder is a Depot on the disk. Files are written under another name, synced,
// and renamed.
type Folder string

var _ Depot = Folder("")

const (
	tmpSuffix = ".tmp"
	lockName  = "LOCK"
)

func (f Folder) String() string { return string(f) }

func (f Folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

// Put is as of Depot.
func (f Folder) Put(_ context.Context, name string, b []byte) error {
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path+tmpSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(path+tmpSuffix))
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get is as of Depot.
func (f Folder) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	in, err := os.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, errTooLarge
	}
	var b bytes.Buffer
	b.Grow(int(st.Size()) + bytes.MinRead)
	_, err = b.ReadFrom(io.LimitReader(in, limit))
	return b.Bytes(), err
}

// List is as of Depot.
func (f Folder) List(ctx context.Context, prefix string, each func(Item) error) error {
	root := f.path(prefix)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil && path == root && prefix == "" && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(string(f), path)
		if err != nil || strings.HasSuffix(name, tmpSuffix) || name == lockName {
			return err
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went just now
		}
		if err != nil {
			return err
		}
		return each(Item{filepath.ToSlash(name), st.Size(), st.ModTime()})
	})
}

// Delete is as of Depot.
func (f Folder) Delete(_ context.Context, name string) error {
	if err := os.Remove(f.path(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Hold is as of Depot: the kernel lets go of it when the process ends.
func (f Folder) Hold(ctx context.Context) (context.Context, func() error, error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := dir.Hold(f.path(lockName))
	if err == nil && lock == nil {
		err = ErrBusy
	}
	if err != nil {
		return nil, nil, err
	}
	return ctx, lock.Close, nil
}

// Reading is as of Depot: the lock is on the list of what the generation uses, which
// goes last. Where the file system knows no locks, there are none.
func (f Folder) Reading(_ context.Context, generation string) (func() error, error) {
	lock, err := dir.Share(f.path(genDir + generation + useSuffix))
	if err != nil {
		return func() error { return nil }, nil
	}
	return lock.Close, nil
}

// Readers is as of Depot.
func (f Folder) Readers(_ context.Context, generations []string) (read []string, err error) {
	for _, g := range generations {
		lock, err := dir.Hold(f.path(genDir + g + useSuffix))
		if err != nil {
			return nil, err
		}
		if lock == nil {
			read = append(read, g)
		} else if err := lock.Close(); err != nil {
			return nil, err
		}
	}
	return read, nil
}

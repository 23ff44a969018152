// Package dir is the folder that the embedded engines share: one process at a
// time has it, it tells in which format its contents are, and nobody but its
// owner may look into it.
package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Format is the version of what stands in the folder. It is raised by a release
// whose data older releases cannot read.
const Format = 1

const (
	lockName   = "LOCK"
	formatName = "FORMAT"
)

// A Dir is a folder that this process has for itself.
type Dir struct {
	Path string
	lock *os.File
}

// Open makes the folder if it does not exist, and takes it for this process.
// The errors say what is in the way and what to do.
func Open(path string) (*Dir, error) {
	if err := secure(path); err != nil {
		return nil, err
	}
	lock, err := take(path)
	if err != nil {
		return nil, err
	}
	if err := checkFormat(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Dir{Path: path, lock: lock}, nil
}

// Close lets others have the folder.
func (d *Dir) Close() error { return d.lock.Close() }

// secure makes the folder, and refuses one that others may write to.
func secure(path string) error {
	err := os.Mkdir(path, 0o700)
	if err == nil {
		return syncDir(filepath.Dir(path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		return syncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("store: %w", err)
	case !info.IsDir():
		return fmt.Errorf("store: %s is not a folder", path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("store: others may write to %s (its mode is %04o); forbid it: chmod go-w %s", path, info.Mode().Perm(), path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("store: %s belongs to user %d, and this process runs as user %d; run it as that user", path, st.Uid, os.Geteuid())
	}
	return nil
}

func take(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid := make([]byte, 20)
		n, _ := f.Read(pid)
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("store: lock %s: %w", path, err)
		}
		who := "another process"
		if s := strings.TrimSpace(string(pid[:n])); s != "" {
			who = "process " + s
		}
		return nil, fmt.Errorf("store: the store in %s is in use by %s: stop it first", path, who)
	}
	if err := f.Truncate(0); err == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // only for the message above
	}
	return f, nil
}

// checkFormat reads the format, or writes it in a folder that has none.
func checkFormat(path string) error {
	name := filepath.Join(path, formatName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return writeFormat(path, name)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil || v < 1:
		return fmt.Errorf("store: %s does not hold a format number; is %s a store?", name, path)
	case v > Format:
		return fmt.Errorf("store: the store in %s has format %d, this program knows %d: use a newer posthaste", path, v, Format)
	}
	return nil
}

// writeFormat writes the file whole or not at all, in a folder without any
// engine's data.
func writeFormat(path, name string) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = fmt.Fprintln(f, Format)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err == nil {
		err = syncDir(path)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store: sync %s: %w", path, err)
	}
	return nil
}

// Package dir is the folder that a store lives in: made, checked, and held by
// one process at a time.
//
// In it stand LOCK, which the process that uses the store holds by flock and
// where it writes its number; FORMAT, the version of all that is in the folder;
// and what the engines put beside them. Releases that cannot read a folder say
// so before they touch it.
package dir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Format is the version of the folder that this program makes and knows. It
// grows when an older program could no longer understand what is there.
const Format = 1

const (
	lockName   = "LOCK"
	formatName = "FORMAT"
	tmpName    = "FORMAT.tmp"
)

// An InUseError says that another process uses the store.
type InUseError struct {
	Path string
	PID  int // 0 if it is not known
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the store in %s is in use by %s; stop it first, or let the command line talk to it", e.Path, who)
}

// A Dir is a folder that this process holds.
type Dir struct {
	path string
	lock *os.File
}

// Exists tells whether a store is in the folder at path. If that cannot be known, Open
// will say why.
func Exists(path string) bool {
	_, err := os.Stat(filepath.Join(path, formatName))
	return !errors.Is(err, os.ErrNotExist)
}

// Open takes the folder at path, and makes it if there is none. Others get an
// InUseError until Close.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := makeAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the store: %w", err)
	}
	if err := check(path); err != nil {
		return nil, err
	}
	d := &Dir{path: path}
	if err := d.take(); err != nil {
		return nil, err
	}
	if err := d.checkFormat(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Hold takes the lock on a file, which is made if it does not exist, for as long
// as it is not closed. It gives nil if another has it.
func Hold(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := flock(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	if !ok {
		return nil, f.Close()
	}
	return f, nil
}

// Share takes the lock on a file that is there, beside others who share it, for as
// long as it is not closed: meanwhile Hold gives nil. It waits for who holds it, and
// need not be able to write.
func Share(path string) (io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := flockShared(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Path gives the folder, or what stands in it by this name.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Close lets others have the folder. It may be called more than once.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.Close() // which releases the flock
	d.lock = nil
	return err
}

// makeAll makes the folder and what is missing above it, so that a power cut
// does not take it away again.
func makeAll(path string, mode os.FileMode) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeAll(parent, 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// check refuses a folder that somebody else could have prepared or can change.
func check(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("the store must be a folder, and %s is none", path)
	}
	if mode := st.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("the folder %s of the store can be written by others (mode %04o); chmod 700 it", path, mode)
	}
	if uid, ok := owner(st); ok && uid != os.Geteuid() {
		return fmt.Errorf("the folder %s of the store belongs to user %d, and this program runs as user %d: run it as that one (sudo -u '#%d' posthaste ...)", path, uid, os.Geteuid(), uid)
	}
	return nil
}

// take locks LOCK and writes our number into it.
func (d *Dir) take() error {
	f, err := os.OpenFile(d.Path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	ok, err := flock(f)
	if err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	if !ok {
		b, _ := io.ReadAll(io.LimitReader(f, 32)) // the number is only for the message
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return errors.Join(&InUseError{Path: d.path, PID: pid}, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return errors.Join(fmt.Errorf("open the store: %w", err), f.Close())
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		return errors.Join(fmt.Errorf("open the store: %w", err), f.Close())
	}
	d.lock = f
	return nil
}

func (d *Dir) checkFormat() error {
	b, err := os.ReadFile(d.Path(formatName))
	if errors.Is(err, os.ErrNotExist) {
		return d.begin()
	}
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil || n < 1 {
		return fmt.Errorf("%s does not say the format of the store: %.20q", d.Path(formatName), b)
	}
	if n > Format {
		return fmt.Errorf("the store in %s has format %d, this program knows %d: use a newer posthaste", d.path, n, Format)
	}
	return nil
}

// begin makes FORMAT in a new folder.
func (d *Dir) begin() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != tmpName {
			return fmt.Errorf("the folder %s is no store, and is not empty: %s is in it", d.path, e.Name())
		}
	}
	if err := d.writeFormat(); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	return nil
}

func (d *Dir) writeFormat() error {
	f, err := os.OpenFile(d.Path(tmpName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", Format)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(d.Path(tmpName), d.Path(formatName)); err != nil {
		return err
	}
	return syncDir(d.path)
}

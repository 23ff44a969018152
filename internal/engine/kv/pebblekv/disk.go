package pebblekv

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

const (
	retryEvery = 200 * time.Millisecond // on a full disk
	slowSync   = 5 * time.Second        // is worth a line in the log
)

// errFull is what callers get while the disk is full.
var errFull = fmt.Errorf("store: %w: %w", mail.ErrFull, syscall.ENOSPC)

// errFrozen is what Pebble gets from a frozen disk when the store closes.
var errFrozen = errors.New("frozen after a disk error")

// A disk knows how the disk is: well, full for the moment, or failed for ever.
type disk struct {
	log      *slog.Logger
	live     atomic.Bool   // Open is through: from here on errors are kept from Pebble
	frozen   chan struct{} // closed when the disk has failed
	released chan struct{} // closed when the store closes: nobody waits any more
	hopeless chan error    // why the store cannot be opened, if that shows before it is
	givenUp  atomic.Bool   // and nobody waits for it any more
	failures atomic.Int32  // of operations while it is opened

	mu      sync.Mutex
	err     error
	gone    bool          // released is closed
	waiting int           // operations that wait for space
	full    chan struct{} // closed while some wait
}

func newDisk(log *slog.Logger) *disk {
	return &disk{
		log:      log,
		frozen:   make(chan struct{}),
		released: make(chan struct{}),
		hopeless: make(chan error, 1),
		full:     make(chan struct{}),
	}
}

// fail freezes the disk; the first reason stays.
func (d *disk) fail(reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return
	}
	d.err = fmt.Errorf("%w: %w", kv.ErrReadOnly, reason)
	close(d.frozen)
	d.log.Error("the disk of the store has failed: the store is read-only from now on", "err", reason)
}

// failed gives kv.ErrReadOnly with the reason, nil if the disk has not failed.
func (d *disk) failed() error {
	select {
	case <-d.frozen:
		return d.err
	default:
		return nil
	}
}

// ill gives why nothing can be written now.
func (d *disk) ill() error {
	select {
	case <-d.frozen:
		return d.err
	case <-d.fullNow():
		return errFull
	default:
		return nil
	}
}

// fullNow gives a channel that is closed while the disk is full.
func (d *disk) fullNow() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

// release ends all waiting, because the store closes.
func (d *disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.gone {
		d.gone = true
		close(d.released)
	}
}

// do runs an operation that changes the disk. It keeps errors from Pebble,
// which can do nothing good with them: while there is no space it tries again,
// and after any other error the disk is frozen.
func (d *disk) do(what string, op func() error) error {
	if !d.live.Load() {
		return d.begin(what, op)
	}
	if d.failed() != nil {
		return d.freeze()
	}
	err := op()
	if noSpace(err) {
		err = d.await(op, err)
	}
	if err == nil || d.isReleased() {
		return err
	}
	d.fail(fmt.Errorf("%s: %w", what, err))
	return d.freeze()
}

// maxFailures is how many operations may fail while the store is opened.
const maxFailures = 3

// begin is do while the store is opened. Pebble writes what is in its log to a table
// then, and if it cannot, tries again at once and without end: on a full disk Open would
// never return.
func (d *disk) begin(what string, op func() error) error {
	if d.givenUp.Load() {
		return d.freeze()
	}
	err := op()
	if err == nil || d.failures.Add(1) != maxFailures {
		return err
	}
	d.givenUp.Store(true)
	d.hopeless <- fmt.Errorf("%s: %w", what, err)
	return err
}

// advised says what to do about an error of opening the store.
func advised(err error) error {
	if noSpace(err) {
		return fmt.Errorf("%w; make room on it, and try again (%w)", mail.ErrFull, err)
	}
	return err
}

// hush is do for what an Update itself may have to wait for: the log and its
// directory. To Pebble all goes well with them for ever; a failure goes to those
// who wait for the sync, by way of failed. That is safe because nothing that
// Pebble does upon it reaches the disk any more.
func (d *disk) hush(what string, op func() error) error {
	if !d.live.Load() {
		return op()
	}
	if d.failed() != nil {
		return nil
	}
	err := op()
	if noSpace(err) {
		err = d.await(op, err)
	}
	if err != nil {
		d.fail(fmt.Errorf("%s: %w", what, err))
	}
	return nil
}

// freeze holds an operation on a failed disk until the store closes: given an
// error, Pebble would try again at once and without end.
func (d *disk) freeze() error {
	<-d.released
	return errFrozen
}

func (d *disk) isReleased() bool {
	select {
	case <-d.released:
		return true
	default:
		return false
	}
}

// await tries op until there is space.
func (d *disk) await(op func() error, err error) error {
	d.mu.Lock()
	if d.waiting++; d.waiting == 1 {
		close(d.full)
		d.log.Error("the store cannot write for the moment", "err", err)
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		if d.waiting--; d.waiting == 0 {
			d.full = make(chan struct{})
			d.log.Info("the store no longer waits to write")
		}
		d.mu.Unlock()
	}()
	for noSpace(err) {
		select {
		case <-time.After(retryEvery):
		case <-d.frozen:
			return err
		case <-d.released:
			return err
		}
		err = op()
	}
	return err
}

// A shield is the file system as Pebble sees it. What Pebble does outside the
// folder of the store, for a checkpoint, has nothing to do with its disk.
type shield struct {
	vfs.FS
	disk *disk
	dir  string
}

func newShield(fs vfs.FS, d *disk, dir string) *shield {
	return &shield{FS: fs, disk: d, dir: fs.PathDir(fs.PathJoin(dir, "x"))}
}

func (s *shield) outside(name string) bool { return name != s.dir && s.FS.PathDir(name) != s.dir }

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// limbo gives a file for a log that is begun on a failed disk: it must not
// hold up the Update that meets it, which will hear of the failure, and leaves
// no trace.
func limbo() (vfs.File, error) { return vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified) }

// file runs an operation that makes a file to write to.
func (s *shield) file(name string, op func() (vfs.File, error)) (vfs.File, error) {
	if s.outside(name) {
		return op()
	}
	var f vfs.File
	create := func() (err error) {
		f, err = op()
		return err
	}
	quiet := isLog(name)
	if quiet {
		if err := s.disk.hush("create "+name, create); err != nil {
			return nil, err
		}
		if f == nil {
			return limbo()
		}
	} else if err := s.disk.do("create "+name, create); err != nil {
		return nil, err
	}
	return &shieldFile{File: f, disk: s.disk, name: name, quiet: quiet}, nil
}

func (s *shield) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(name, func() (vfs.File, error) { return s.FS.Create(name, c) })
}

func (s *shield) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.file(name, func() (vfs.File, error) { return s.FS.OpenReadWrite(name, c, o...) })
}

func (s *shield) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(to, func() (vfs.File, error) {
		f, err := s.FS.ReuseForWrite(from, to, c)
		if noSpace(err) {
			// The rename may have been done; then the file is there.
			if _, serr := s.FS.Stat(from); errors.Is(serr, os.ErrNotExist) {
				return s.FS.OpenReadWrite(to, c)
			}
		}
		return f, err
	})
}

func (s *shield) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil || s.outside(name) {
		return f, err
	}
	return &shieldFile{File: f, disk: s.disk, name: name, quiet: true}, nil
}

func (s *shield) Link(from, to string) error {
	if s.outside(to) {
		return s.FS.Link(from, to)
	}
	return s.disk.do("link "+to, func() error { return s.FS.Link(from, to) })
}

func (s *shield) Rename(from, to string) error {
	if s.outside(to) {
		return s.FS.Rename(from, to)
	}
	return s.disk.do("rename "+from, func() error { return s.FS.Rename(from, to) })
}

func (s *shield) Remove(name string) error {
	if s.disk.failed() != nil && !s.outside(name) {
		return errFrozen
	}
	return s.FS.Remove(name)
}

func (s *shield) RemoveAll(name string) error {
	if s.disk.failed() != nil && !s.outside(name) {
		return errFrozen
	}
	return s.FS.RemoveAll(name)
}

func (s *shield) Unwrap() vfs.FS { return s.FS }

// A shieldFile is a file as Pebble sees it.
type shieldFile struct {
	vfs.File
	disk  *disk
	name  string
	quiet bool // a log or a directory: see hush
}

func (f *shieldFile) do(what string, op func() error) error {
	if f.quiet {
		return f.disk.hush(what+" "+f.name, op)
	}
	return f.disk.do(what+" "+f.name, op)
}

func (f *shieldFile) Write(p []byte) (int, error) {
	rest := p
	err := f.do("write", func() error {
		n, err := f.File.Write(rest)
		rest = rest[max(n, 0):]
		return err
	})
	if err != nil {
		return len(p) - len(rest), err
	}
	return len(p), nil
}

func (f *shieldFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.do("write", func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *shieldFile) Sync() error { return f.sync(f.File.Sync) }

func (f *shieldFile) SyncData() error { return f.sync(f.File.SyncData) }

// sync runs a sync once: after an error it must never be tried again.
func (f *shieldFile) sync(op func() error) error {
	began := time.Now()
	err := f.do("sync", func() error {
		err := op()
		if err != nil {
			err = syncError{err}
		}
		return err
	})
	if d := time.Since(began); d > slowSync {
		f.disk.log.Warn("the disk of the store is slow", "file", f.name, "sync", d)
	}
	return err
}

func (f *shieldFile) SyncTo(length int64) (full bool, err error) {
	err = f.do("sync", func() error {
		full, err = f.File.SyncTo(length)
		if err != nil {
			err = syncError{err}
		}
		return err
	})
	return full && err == nil, err
}

// A syncError is an error of a sync.
type syncError struct{ err error }

func (e syncError) Error() string { return e.err.Error() }

func (e syncError) Unwrap() error { return e.err }

// noSpace says that something had run out and the operation can be tried again;
// a sync cannot.
func noSpace(err error) bool {
	if _, sync := err.(syncError); sync {
		return false
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Package packblob is the embedded engine of blob: bodies one after the other in
// append-only files, the packs, of one directory.
//
// # Writing
//
// A body of up to 256 KB is compressed in memory and appended to the active
// pack. All that arrive while the disk is syncing share the next write and the
// next sync, which begins when the former ends. A larger body goes in frames of
// 64 KB to a pack that it has for itself meanwhile, so it is never in memory as
// a whole and holds up nobody; its ranges can be read alone.
//
// The id of a blob says where it is (see makeID), so there is no index to keep.
// The record repeats the id, so a wrong id finds nothing.
//
// # After a crash
//
// A pack that is full is sealed by an index at its end. Packs that are not
// sealed when the store opens are searched for whole records, and sealed;
// nothing is appended to them, for what a process sees behind a failed sync need
// not be on the disk. Records that were not acknowledged are blobs nobody
// refers to, and a sweep takes them.
//
// # Sweeping
//
// A pack with nothing alive is deleted. One with less than half alive is written
// again under the same number and the next generation, xxxxxxxx.1.pk, with an
// index that leads from the old places to the new ones: ids are valid for ever.
// Dead records in packs that are more than half alive stay, and can be opened,
// until their time comes.
//
// # Errors
//
// On a full disk Put gives an error that is mail.ErrFull and syscall.ENOSPC, and
// works again when there is space. After a failed sync nothing can be put any more
// (blob.ErrReadOnly): what reached the disk is unknown.
package packblob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
)

// Options of a Store. The zero Options are good.
type Options struct {
	FS       vfs.FS           // nil: the file system of the machine
	Log      *slog.Logger     // nil: says nothing
	Now      func() time.Time // nil: time.Now
	PackSize int64            // bytes after which a pack is sealed; 0: 256 MB, on a small disk less
	Grace    time.Duration    // how old a pack must be to be swept; 0: an hour; below: any age
	MaxOpen  int              // files kept open when nobody reads them; 0: 256
}

func (o *Options) fill() {
	if o.FS == nil {
		o.FS = diskFS{vfs.Default}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Grace == 0 {
		o.Grace = time.Hour
	}
	if o.MaxOpen == 0 {
		o.MaxOpen = 256
	}
}

// A Store is an open engine. Open makes it.
type Store struct {
	Options
	dir string

	sweeping sync.Mutex // one sweep or scrub at a time

	mu      sync.Mutex // guards what follows
	packs   map[uint32]*pack
	next    uint32 // number of the next pack
	open    int    // files that are open
	clock   uint64 // counts uses of packs
	err     error  // why nothing can be put any more
	full    bool   // the last Put found no room
	closed  bool
	users   int
	left    chan struct{} // closed when it is closed and all have left
	pending []*request
	leading bool    // somebody writes the active pack
	idle    []*pack // packs for large bodies, not in use now

	active *pack  // belongs to who leads
	buf    []byte // so does this
}

var _ blob.Store = (*Store)(nil)

// Open opens the store in dir and makes it if there is none.
func Open(dir string, o Options) (*Store, error) {
	o.fill()
	s := &Store{Options: o, dir: dir, packs: make(map[uint32]*pack), next: 1}
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("open the packs in %s: %w", dir, err)
	}
	s.sizePacks()
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the packs in %s: %w", dir, err), s.closeFiles())
	}
	return s, nil
}

const (
	usualPack = 256 << 20
	leastPack = 1 << 20
	packPart  = 64 // of the disk, a pack is one in so many at most
)

// sizePacks says how large packs become. On a small disk it must be small, too: what is
// deleted makes room only once most of its pack is, and then the rest of it is written
// once more, for which there has to be room when the disk is full.
func (s *Store) sizePacks() {
	if s.PackSize == 0 {
		s.PackSize = usualPack
		if u, err := s.FS.GetDiskUsage(s.dir); err == nil {
			s.PackSize = min(usualPack, max(leastPack, int64(u.TotalBytes/packPart)))
		}
	}
	s.PackSize = min(s.PackSize, maxOffset/2)
}

// makeDir makes dir and what is missing above it, so that a power cut does not
// take it away again.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// enter is what each method does first, and leave last, so that Close can wait.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return blob.ErrClosed
	}
	s.users++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.closed {
		close(s.left)
	}
}

// fail makes the store read-only.
func (s *Store) fail(reason error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf("%w: %w", blob.ErrReadOnly, reason)
		s.Log.Error("the disk of the packs has failed: nothing can be stored from now on", "err", reason)
	}
	return s.err
}

// Failed gives what made the store read-only; nil if it is well.
func (s *Store) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// room looks at what came of a Put: an error that means "no room" becomes
// mail.ErrFull, and the log hears when that begins and when it ends.
func (s *Store) room(err error) error {
	full := noRoom(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if full != s.full && (full || err == nil) {
		s.full = full
		if full {
			s.Log.Error("the disk of the packs is full", "err", err)
		} else {
			s.Log.Info("the disk of the packs has room again")
		}
	}
	if full && s.err == nil {
		return fmt.Errorf("%w: %w", mail.ErrFull, err)
	}
	return err
}

// Close waits for those who are inside, seals the packs and closes the store.
// Blobs that are open can be read until they are closed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("close the packs: %w", blob.ErrClosed)
	}
	s.closed, s.left = true, make(chan struct{})
	if s.users == 0 {
		close(s.left)
	}
	s.mu.Unlock()
	<-s.left

	var errs []error
	for _, p := range append(s.idle, s.active) {
		switch {
		case p == nil:
		case s.Failed() != nil:
			errs = append(errs, s.release(p))
		default:
			errs = append(errs, s.seal(p))
		}
	}
	errs = append(errs, s.closeFiles())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the packs: %w", err)
	}
	return nil
}

// closeFiles closes all files that nobody reads; who still does closes his at
// the end.
func (s *Store) closeFiles() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for num, p := range s.packs {
		delete(s.packs, num)
		p.gone = true
		if p.users == 0 {
			errs = append(errs, s.shut(p))
		}
	}
	return errors.Join(errs...)
}

// Metrics are numbers for those who watch the store.
type Metrics struct {
	Packs  int   // files
	Bytes  int64 // in them
	Open   int   // files that are open
	Failed bool  // the disk
}

// Metrics gives the numbers as they are.
func (s *Store) Metrics() Metrics {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := Metrics{Packs: len(s.packs), Open: s.open, Failed: s.err != nil}
	for _, p := range s.packs {
		m.Bytes += p.size
	}
	return m
}

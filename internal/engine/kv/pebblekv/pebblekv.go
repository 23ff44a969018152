// Package pebblekv is the embedded engine of kv: an LSM tree of Pebble in one
// directory, used by one process.
//
// # An Update
//
// It takes the locks of its plan, runs its function on an indexed batch, gives
// the batch to Pebble without waiting for the disk, and releases the locks:
// the order of commits under a lock is the order of the write-ahead log. Then
// it waits. Before the batch becomes visible it is entered as in flight under
// the prefix of each key it writes, and it leaves when the log is synced (see
// flights). So a View knows for which commits it must wait: those that were in
// flight under the prefixes it read. It waits for no others.
//
// # Large values
//
// A value of some hundred bytes or more is written to the log, and once more when
// its memtable is flushed: to a file of such values, of which the tree only has the
// place. So compactions, which write keys again and again, leave it where it is. When
// much of these files is of rows that are gone they are written anew without them.
//
// # A full disk
//
// A write that finds no space is tried again until there is some; meanwhile
// whoever commits or waits for a commit gets an error that is syscall.ENOSPC,
// and reads go on. Pebble sees nothing of this, so nothing in it can break, and
// all goes on by itself when there is space. Only an Update that is just then
// changing to the next log file waits with it. Running out of file descriptors
// is met in the same way.
//
// # A failing disk
//
// After a failed sync, or a write that failed for another reason than space,
// nobody knows what is on the disk, and a second sync that succeeds proves
// nothing. From then on the store is read-only and the directory frozen as it
// is: no file is changed any more. All commits that had not been synced give
// kv.ErrReadOnly, and so do Views that touch their rows. Failed says why.
package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/local"
)

// Options of a Store. The zero Options are good.
type Options struct {
	FS        vfs.FS           // nil: the file system of the machine
	Log       *slog.Logger     // nil: says nothing
	Now       func() time.Time // the store's clock; nil: time.Now
	CacheSize int64            // bytes of blocks kept in memory; 0: 64 MB
	// Landed hears how long each commit took from when it could be seen until it was
	// safe, and must be quick; nil: nobody does.
	Landed func(time.Duration)

	memTable uint64        // bytes; 0: 32 MB
	settled  time.Duration // how old large values are before they are written anew; 0: ten minutes
}

// format is the version of Pebble's files. It is raised only by a release that
// says so, since older releases cannot open what it has touched: see decision 047.
const format = pebble.FormatValueSeparation

const (
	defaultMemTable = 32 << 20
	defaultCache    = 64 << 20
	blockSize       = 16 << 10        // of what is compressed at a time
	closeWait       = 5 * time.Second // for a disk that is ill
	closePoll       = 50 * time.Millisecond
)

// apart says which values are kept apart from their keys. Rows of an account stand in
// the order in which they came, and so do their values in the files: that a table's
// values are spread over many files costs its readers little, and bringing them
// together at every compaction is what this is to avoid.
func apart(settled time.Duration) pebble.ValueSeparationPolicy {
	return pebble.ValueSeparationPolicy{
		Enabled:               true,
		MinimumSize:           256,
		MaxBlobReferenceDepth: 64,
		RewriteMinimumAge:     settled,
		TargetGarbageRatio:    0.3,
	}
}

// A Store is an open engine. Open makes it.
type Store struct {
	db      *pebble.DB
	fs      vfs.FS
	now     func() time.Time
	log     *slog.Logger
	disk    *disk
	locks   local.Locks
	topics  local.Topics
	commits local.Commits
	flights flights

	users   users
	queue   chan *commit // to land
	landed  chan struct{}
	hears   func(time.Duration)
	stats   stats
	corrupt atomic.Int64
}

var _ kv.Store = (*Store)(nil)

// Open opens the store in dir and makes it if there is none.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCache
	}
	if o.memTable == 0 {
		o.memTable = defaultMemTable
	}
	if o.settled == 0 {
		o.settled = 10 * time.Minute
	}
	s := &Store{
		fs:     o.FS,
		now:    o.Now,
		log:    o.Log,
		disk:   newDisk(o.Log),
		queue:  make(chan *commit, 4096),
		landed: make(chan struct{}),
		hears:  o.Landed,
	}
	s.flights.by = make(map[kv.Lock][]*commit)
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	if err := s.open(dir, o); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	s.disk.live.Store(true)
	go s.land()
	return s, nil
}

func (s *Store) open(dir string, o Options) error {
	cache := pebble.NewCache(o.CacheSize)
	defer cache.Unref()
	po := &pebble.Options{
		Cache:                       cache,
		FS:                          newShield(o.FS, s.disk, dir),
		FormatMajorVersion:          format,
		Logger:                      logger{s.log, s.disk},
		MemTableSize:                o.memTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		MaxOpenFiles:                500,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	for i := range po.Levels {
		po.Levels[i].BlockSize = blockSize
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		po.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	policy := apart(o.settled)
	po.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return policy }
	po.EventListener = s.listener()
	type opened struct {
		db  *pebble.DB
		err error
	}
	done := make(chan opened, 1)
	go func() {
		db, err := pebble.Open(dir, po)
		done <- opened{db, err}
	}()
	var db *pebble.DB
	select {
	case o := <-done:
		if o.err != nil {
			return advised(o.err)
		}
		db = o.db
	case err := <-s.disk.hopeless: // Pebble's Open never ends, and touches the disk no more
		return advised(err)
	}
	if err := s.disk.failed(); err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	return nil
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
	d, err := fs.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Listen has wake called for the wake-ups of a topic.
func (s *Store) Listen(topic uint64, wake func()) (end func()) {
	return s.topics.Listen(topic, wake)
}

// Commits gives a number that changes with the rows of a class.
func (s *Store) Commits(class byte) uint64 { return s.commits.Of(class) }

// Failed gives what made the store read-only; nil if it is well.
func (s *Store) Failed() error { return s.disk.failed() }

// Checkpoint makes a copy of the store in dir, which must not exist, while
// others go on. All that was committed before is in it. Where it can, it links
// files rather than copying them.
func (s *Store) Checkpoint(dir string) error {
	if !s.users.enter() {
		return kv.ErrClosed
	}
	defer s.users.leave()
	if err := s.disk.ill(); err != nil {
		return err
	}
	if err := makeDir(s.fs, s.fs.PathDir(dir)); err != nil {
		return fmt.Errorf("checkpoint in %s: %w", dir, err)
	}
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("checkpoint in %s: %w", dir, err)
	}
	return s.disk.ill()
}

// Close waits for those who are inside and closes the store.
func (s *Store) Close() error {
	left := s.users.close()
	if left == nil {
		return kv.ErrClosed
	}
	if !s.leaves(left) {
		return errors.New("close the store: some are stuck inside, waiting for the disk")
	}
	close(s.queue)
	if !s.leaves(s.landed) {
		return errors.New("close the store: commits are stuck on their way to the disk")
	}
	s.disk.release()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// leaves waits for done. When the disk is ill, it ends all waiting for the
// disk, and gives false if that does not help.
func (s *Store) leaves(done <-chan struct{}) bool {
	for ill := time.Duration(0); ill < closeWait; {
		select {
		case <-done:
			return true
		case <-time.After(closePoll):
		}
		if s.disk.ill() != nil {
			s.disk.release()
			ill += closePoll
		}
	}
	return false
}

// users counts those who are inside a method, so that Close can wait for them.
type users struct {
	mu     sync.Mutex
	n      int
	closed bool
	left   chan struct{}
}

func (u *users) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.n++
	return true
}

func (u *users) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.closed {
		close(u.left)
	}
}

// close lets nobody in any more and gives what is closed when all have left;
// nil if it was closed before.
func (u *users) close() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	u.closed, u.left = true, make(chan struct{})
	if u.n == 0 {
		close(u.left)
	}
	return u.left
}

// begin is what View and Update do first.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.users.enter() {
		return kv.ErrClosed
	}
	return nil
}

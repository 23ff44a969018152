package pebblekv

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"posthaste/internal/engine/kv"
)

// A commit is a batch on its way to the disk.
type commit struct {
	n     uint64 // commits are counted as they become visible
	locks []kv.Lock
	batch *pebble.Batch
	wakes []uint64
	begun time.Time     // if somebody wants to know how long it takes
	done  chan struct{} // closed when err says how it ended
	err   error
}

// everywhere stands for all prefixes, in a commit that removed a range across
// more than one.
var everywhere = kv.Lock{}

// flights are the commits that are visible, or about to be, but perhaps not
// yet on the disk. A commit whose sync failed stays for ever, since its rows
// stay visible.
type flights struct {
	n     atomic.Uint64 // of the last commit
	count atomic.Int64

	mu sync.Mutex
	by map[kv.Lock][]*commit
}

// enter must come before the commit's rows can be seen.
func (f *flights) enter(c *commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.Add(1)
	c.n = f.n.Add(1)
	for _, l := range c.locks {
		f.by[l] = append(f.by[l], c)
	}
}

// leave must come after the commit is on the disk, or has not taken place.
func (f *flights) leave(c *commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range c.locks {
		in := f.by[l]
		for i := range in {
			if in[i] == c {
				copy(in[i:], in[i+1:])
				in[len(in)-1] = nil
				in = in[:len(in)-1]
				break
			}
		}
		if len(in) == 0 {
			delete(f.by, l)
		} else {
			f.by[l] = in
		}
	}
	f.count.Add(-1)
}

// under gives the commits in flight, up to number n, that t has touched.
func (f *flights) under(t *touched, n uint64) []*commit {
	if f.count.Load() == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var cs []*commit
	add := func(in []*commit) {
		for _, c := range in {
			if c.n <= n {
				cs = append(cs, c)
			}
		}
	}
	if t.all {
		for _, in := range f.by {
			add(in)
		}
		return cs
	}
	for _, l := range t.locks[:t.n] {
		add(f.by[l])
	}
	if t.n > 0 {
		add(f.by[everywhere])
	}
	return cs
}

// touched are the prefixes that somebody has read: a few, or else all.
type touched struct {
	locks [12]kv.Lock
	n     int
	all   bool
}

func (t *touched) key(key []byte) {
	l, ok := kv.LockOf(key)
	if !ok {
		t.all = true
		return
	}
	t.lock(l)
}

func (t *touched) lock(l kv.Lock) {
	if t.all {
		return
	}
	for i := t.n - 1; i >= 0; i-- {
		if t.locks[i] == l {
			return
		}
	}
	if t.n == len(t.locks) {
		t.all = true
		return
	}
	t.locks[t.n] = l
	t.n++
}

func (t *touched) scan(low, high []byte) {
	if l, ok := sole(low, high); ok {
		t.lock(l)
	} else {
		t.all = true
	}
}

// sole gives the lock under which all keys from low to below high are; false
// if there may be more than one.
func sole(low, high []byte) (kv.Lock, bool) {
	l, ok := kv.LockOf(low)
	if !ok {
		return l, false
	}
	last := l.ID == 1<<64-1
	switch h, ok := kv.LockOf(high); {
	case high == nil:
		return l, last && l.Class == 0xff
	case ok && h == l:
		return l, true
	case ok && len(high) > kv.PrefixLen:
		return l, false
	}
	// What remains is a high that is the lowest key above the prefix, with or
	// without the zeros at its end.
	var next, up [kv.PrefixLen]byte
	copy(next[:], high)
	if last {
		kv.Lock{Class: l.Class + 1}.AppendPrefix(up[:0])
	} else {
		kv.Lock{Class: l.Class, ID: l.ID + 1}.AppendPrefix(up[:0])
	}
	return l, next == up && len(high) <= kv.PrefixLen
}

// wait waits until all commits in cs are on the disk.
func (s *Store) wait(ctx context.Context, cs []*commit) error {
	for _, c := range cs {
		if err := s.waitFor(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) waitFor(ctx context.Context, c *commit) error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-s.disk.fullNow():
		return errFull
	case <-s.disk.frozen:
		return s.disk.failed()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// land waits for the syncs of commits in their order, and says so to those who
// wait for them.
func (s *Store) land() {
	defer close(s.landed)
	for c := range s.queue {
		err := c.batch.SyncWait()
		if failed := s.disk.failed(); failed != nil {
			err = failed
		}
		if err != nil {
			s.disk.fail(err)
			c.err = s.disk.failed()
			close(c.done)
			continue
		}
		s.flights.leave(c)
		close(c.done)
		if s.hears != nil {
			s.hears(time.Since(c.begun))
		}
		s.topics.Wake(c.wakes...)
		_ = c.batch.Close() // gives its memory back; cannot fail
	}
}

package pebblekv

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/local"
)

// Update runs fn under the locks of p, and waits for the disk after it has
// released them.
func (s *Store) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.users.leave()
	if err := s.disk.failed(); err != nil {
		return err
	}
	s.stats.updates.Add(1)
	t := &tx{s: s}
	c, err := s.runLocked(ctx, p, t, fn)
	if c != nil {
		// What t has read went into the log before its own commit.
		return s.waitFor(context.Background(), c)
	}
	if werr := s.wait(ctx, s.flights.under(&t.touched, s.flights.n.Load())); werr != nil {
		return werr
	}
	if err == nil {
		s.topics.Wake(t.wakes...)
	}
	return err
}

// runLocked gives the commit of what fn wrote, nil if there is none.
func (s *Store) runLocked(ctx context.Context, p kv.Plan, t *tx, fn func(kv.Tx) error) (*commit, error) {
	locks := local.Ordered(p.Locks)
	if err := s.locks.Acquire(ctx, locks); err != nil {
		return nil, err
	}
	defer s.locks.Release(locks)
	b := s.db.NewIndexedBatch()
	t.src, t.b = s.db, b
	var c *commit
	defer func() {
		if c == nil {
			_ = b.Close() // gives its memory back; cannot fail
		}
	}()
	err := fn(t)
	t.src, t.b = nil, nil // who keeps a Tx finds that out
	if err == nil {
		err = t.err
	}
	if err != nil {
		return nil, err
	}
	if b.Empty() {
		return nil, nil
	}
	if err := s.disk.ill(); err != nil {
		return nil, err
	}
	c = &commit{locks: t.wrote, batch: b, wakes: t.wakes, done: make(chan struct{})}
	return c, s.apply(c)
}

// apply makes c visible and puts it on its way. Whatever happens, c.done will
// be closed or the disk is frozen.
func (s *Store) apply(c *commit) (err error) {
	if s.hears != nil {
		c.begun = time.Now()
	}
	s.flights.enter(c)
	defer func() {
		// Pebble panics when it meets an error in its log. The disk does not
		// let it see one, so this is for the unforeseen.
		if r := recover(); r != nil {
			s.disk.fail(fmt.Errorf("commit: %v", r))
			err = s.disk.failed()
		}
	}()
	if err := s.db.ApplyNoSyncWait(c.batch, pebble.Sync); err != nil {
		s.disk.fail(fmt.Errorf("commit: %w", err))
		return s.disk.failed()
	}
	s.stats.commits.Add(1)
	s.count(c)
	s.queue <- c
	return nil
}

// count counts a commit whose rows can be seen, though nobody is told before it has
// landed.
func (s *Store) count(c *commit) {
	for _, l := range c.locks {
		if l == everywhere {
			s.commits.AddRange(0, 0xff)
		} else {
			s.commits.Add(l)
		}
	}
}

// A tx writes into an indexed batch, from which it also reads as soon as something is in
// it: most transactions read first, and then write.
type tx struct {
	reader
	s     *Store
	b     *pebble.Batch
	wrote []kv.Lock
	room  [4]kv.Lock
	wakes []uint64
	err   error
}

func (t *tx) note(l kv.Lock) {
	t.src = t.b
	for i := len(t.wrote) - 1; i >= 0; i-- {
		if t.wrote[i] == l {
			return
		}
	}
	if t.wrote == nil {
		t.wrote = t.room[:0]
	}
	t.wrote = append(t.wrote, l)
}

func (t *tx) noteKey(key []byte) {
	l, ok := kv.LockOf(key)
	if !ok {
		l = everywhere
	}
	t.note(l)
}

func (t *tx) fail(err error) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("write a row: %w", err)
	}
}

func (t *tx) Set(key, value []byte) {
	t.noteKey(key)
	t.fail(t.b.Set(key, value, nil))
}

func (t *tx) Delete(key []byte) {
	t.noteKey(key)
	t.fail(t.b.Delete(key, nil))
}

func (t *tx) DeleteRange(low, high []byte) {
	if high == nil {
		high = bytes.Repeat([]byte{0xff}, kv.MaxKey+1) // is above all keys
	}
	if string(low) >= string(high) {
		return
	}
	if l, ok := sole(low, high); ok {
		t.note(l)
	} else {
		t.note(everywhere)
	}
	t.fail(t.b.DeleteRange(low, high, nil))
}

func (t *tx) Wake(topic uint64) { t.wakes = append(t.wakes, topic) }

func (t *tx) Now() time.Time { return t.s.now() }

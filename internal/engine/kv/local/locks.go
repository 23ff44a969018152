// Package local has what the engines that live inside one process share: the
// table of locks and the topics that wake-ups go through.
//
// Who waits here waits on a channel and nothing else, so both work inside a
// testing/synctest bubble. Nothing here starts a goroutine.
package local

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"posthaste/internal/engine/kv"
)

const shards = 32

// Locks is a table of locks that one holder has at a time. Waiters get a lock
// in the order in which they came. The zero Locks is ready.
type Locks struct {
	shard [shards]lockShard
}

// A lockShard has an entry for each held lock: those who wait for it.
type lockShard struct {
	mu   sync.Mutex
	held map[kv.Lock][]chan struct{}
	_    [40]byte // one cache line for each shard
}

func (t *Locks) of(l kv.Lock) *lockShard {
	h := (l.ID ^ uint64(l.Class)<<56) * 0x9e3779b97f4a7c15
	return &t.shard[h>>59]
}

// Ordered gives the locks in the order in which they must be taken, each once.
// It leaves its argument as it is.
func Ordered(locks []kv.Lock) []kv.Lock {
	if len(locks) < 2 {
		return locks
	}
	o := slices.Clone(locks)
	slices.SortFunc(o, func(a, b kv.Lock) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.ID, b.ID))
	})
	return slices.Compact(o)
}

// Acquire takes all locks, which must be Ordered. When ctx ends first, it holds
// none of them and returns the error of ctx.
func (t *Locks) Acquire(ctx context.Context, ordered []kv.Lock) error {
	for i, l := range ordered {
		if err := t.acquire(ctx, l); err != nil {
			t.Release(ordered[:i])
			return err
		}
	}
	return nil
}

func (t *Locks) acquire(ctx context.Context, l kv.Lock) error {
	s := t.of(l)
	s.mu.Lock()
	waiting, held := s.held[l]
	if !held {
		if s.held == nil {
			s.held = make(map[kv.Lock][]chan struct{})
		}
		s.held[l] = nil
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.held[l] = append(waiting, turn)
	s.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	waiting = s.held[l]
	if i := slices.Index(waiting, turn); i >= 0 {
		s.held[l] = slices.Delete(waiting, i, i+1)
		s.mu.Unlock()
		return ctx.Err()
	}
	s.mu.Unlock()
	t.release(l) // the turn came at the same moment
	return ctx.Err()
}

// Release gives back locks that Acquire took.
func (t *Locks) Release(locks []kv.Lock) {
	for _, l := range locks {
		t.release(l)
	}
}

func (t *Locks) release(l kv.Lock) {
	s := t.of(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.held[l]
	if len(waiting) == 0 {
		delete(s.held, l)
		return
	}
	close(waiting[0])
	waiting[0] = nil
	s.held[l] = waiting[1:]
}

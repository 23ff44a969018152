package limit

import (
	"context"
	"errors"
	"sync"
)

// AtOnce limits how many there are at once, per key and in all. The zero
// AtOnce lets nobody in.
type AtOnce[K comparable] struct {
	PerKey int
	Total  int
	// In are those who are in, if others count them, too; nil: it counts alone.
	In *Inside[K]

	own Inside[K]
}

// Inside are those who are in. The zero Inside is nobody.
type Inside[K comparable] struct {
	mu   sync.Mutex
	n    int
	each map[K]int
}

func (a *AtOnce[K]) in() *Inside[K] {
	if a.In != nil {
		return a.In
	}
	return &a.own
}

// Enter lets one more in if there is room; Leave must follow then.
func (a *AtOnce[K]) Enter(k K) bool {
	in := a.in()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.n >= a.Total || in.each[k] >= a.PerKey {
		return false
	}
	if in.each == nil {
		in.each = map[K]int{}
	}
	in.n++
	in.each[k]++
	return true
}

// Leave lets one out.
func (a *AtOnce[K]) Leave(k K) {
	in := a.in()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.n--
	if in.each[k]--; in.each[k] <= 0 {
		delete(in.each, k)
	}
}

// Len gives how many are in.
func (a *AtOnce[K]) Len() int {
	in := a.in()
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.n
}

// ErrBusy tells that too many of the same key wait already.
var ErrBusy = errors.New("limit: too many wait already")

// A Fair lets a few at once do heavy work, and takes those who wait in turns by
// key: somebody who comes a thousand times delays the others by one place.
type Fair[K comparable] struct {
	Slots   int // how many work at once
	Waiting int // how many of one key may wait

	mu    sync.Mutex
	busy  int
	queue map[K][]chan struct{}
	turns []K // keys that somebody waits with, in the order of their turns
}

// Do runs work when its turn has come, or gives up when ctx ends.
func (f *Fair[K]) Do(ctx context.Context, k K, work func()) error {
	if err := f.enter(ctx, k); err != nil {
		return err
	}
	defer f.leave()
	work()
	return nil
}

func (f *Fair[K]) enter(ctx context.Context, k K) error {
	f.mu.Lock()
	if f.busy < f.Slots {
		f.busy++
		f.mu.Unlock()
		return nil
	}
	if len(f.queue[k]) >= f.Waiting {
		f.mu.Unlock()
		return ErrBusy
	}
	turn := make(chan struct{})
	if f.queue == nil {
		f.queue = map[K][]chan struct{}{}
	}
	if len(f.queue[k]) == 0 {
		f.turns = append(f.turns, k)
	}
	f.queue[k] = append(f.queue[k], turn)
	f.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, c := range f.queue[k] {
		if c == turn {
			f.remove(k, i)
			return ctx.Err()
		}
	}
	f.next() // the turn had come at the same time: pass it on
	return ctx.Err()
}

// remove takes a waiter away, and with the last one the key.
func (f *Fair[K]) remove(k K, i int) {
	q := f.queue[k]
	if len(q) > 1 {
		f.queue[k] = append(q[:i:i], q[i+1:]...)
		return
	}
	delete(f.queue, k)
	for j, t := range f.turns {
		if t == k {
			f.turns = append(f.turns[:j], f.turns[j+1:]...)
			return
		}
	}
}

func (f *Fair[K]) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next()
}

// next gives a slot that has become free to the next key's first waiter; the
// key goes to the end of the turns if it has more.
func (f *Fair[K]) next() {
	if len(f.turns) == 0 {
		f.busy--
		return
	}
	k := f.turns[0]
	turn := f.queue[k][0]
	f.remove(k, 0)
	if len(f.queue[k]) > 0 {
		f.turns = append(f.turns[1:], k)
	}
	close(turn)
}

// Package memkv is the engine of kv that lives in memory: for tests, and for
// trying the server out. It keeps all promises of kv but durability.
//
// The rows are an immutable tree, so a snapshot is a pointer. It starts no
// goroutines, and who waits waits on channels: it works inside a
// testing/synctest bubble.
package memkv

import (
	"bytes"
	"context"
	"hash/maphash"
	"iter"
	"sync"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/local"
)

// A Store is an engine in memory. New makes it.
type Store struct {
	// Now is the clock of the store, time.Now if nil. Set it before use.
	Now func() time.Time

	seed   maphash.Seed
	locks  local.Locks
	topics local.Topics
	counts local.Commits

	mu     sync.Mutex // guards what follows
	root   *node
	closed bool
}

var _ kv.Store = (*Store)(nil)

// New makes an empty store.
func New() *Store { return &Store{seed: maphash.MakeSeed()} }

// snapshot gives the rows as they are.
func (s *Store) snapshot() (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, kv.ErrClosed
	}
	return s.root, nil
}

// View runs fn over a snapshot.
func (s *Store) View(ctx context.Context, fn func(kv.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := s.snapshot()
	if err != nil {
		return err
	}
	return fn(reader{root})
}

// Update runs fn under the locks of p and commits what it wrote.
func (s *Store) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := s.run(ctx, p, fn)
	if err != nil {
		return err
	}
	s.topics.Wake(t.wakes...)
	return nil
}

func (s *Store) run(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) (*tx, error) {
	locks := local.Ordered(p.Locks)
	if err := s.locks.Acquire(ctx, locks); err != nil {
		return nil, err
	}
	defer s.locks.Release(locks)
	root, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	t := &tx{reader: reader{root}, s: s}
	if err := fn(t); err != nil {
		return nil, err
	}
	return t, s.commit(root, t)
}

// commit writes what t did upon the rows as they are now: others may have
// committed since root, under other locks.
func (s *Store) commit(root *node, t *tx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	if s.root == root {
		s.root = t.root
	} else {
		for _, o := range t.done {
			s.root = o.on(s.root)
		}
	}
	for _, o := range t.done {
		s.counts.AddRange(o.classes())
	}
	return nil
}

// Commits gives a number that changes with the rows of a class.
func (s *Store) Commits(class byte) uint64 { return s.counts.Of(class) }

// Listen has wake called for the wake-ups of a topic.
func (s *Store) Listen(topic uint64, wake func()) (end func()) {
	return s.topics.Listen(topic, wake)
}

// Close closes the store; its rows are gone.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return kv.ErrClosed
	}
	s.root, s.closed = nil, true
	return nil
}

type reader struct{ root *node }

func (r reader) Get(key []byte) ([]byte, error) {
	v, ok := r.root.get(key)
	if !ok {
		return nil, nil
	}
	return clone(v), nil
}

func (r reader) GetMany(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, k := range keys {
		if v, ok := r.root.get(k); ok {
			values[i] = clone(v)
		}
	}
	return values, nil
}

func (r reader) Scan(rg kv.Range) iter.Seq2[kv.Pair, error] { return r.root.scan(rg) }

// A tx reads from a tree of its own, in which its writes are done at once.
type tx struct {
	reader
	s     *Store
	done  []op
	wakes []uint64
}

// An op is one write: of the row set, or the removal of keys from low to below
// high, or of low alone.
type op struct {
	set       *node
	low, high []byte
	only      bool
}

func (o op) on(n *node) *node {
	switch {
	case o.set != nil:
		return n.set(o.set)
	case o.only:
		return n.remove(o.low)
	default:
		return n.removeRange(o.low, o.high)
	}
}

// classes gives the first and the last class of lock whose rows the write may change.
func (o op) classes() (first, last byte) {
	switch {
	case o.set != nil:
		return o.set.key[0], o.set.key[0]
	case o.only:
		return o.low[0], o.low[0]
	}
	last = 0xff
	if len(o.low) > 0 {
		first = o.low[0]
	}
	if len(o.high) > 0 {
		last = o.high[0]
	}
	return first, last
}

func (t *tx) do(o op) {
	t.done = append(t.done, o)
	t.root = o.on(t.root)
}

func (t *tx) Set(key, value []byte) {
	k := clone(key)
	t.do(op{set: &node{key: k, value: clone(value), rank: rank(t.s.seed, k)}})
}

func (t *tx) Delete(key []byte) { t.do(op{low: clone(key), only: true}) }

func (t *tx) DeleteRange(low, high []byte) {
	t.do(op{low: clone(low), high: bytes.Clone(high)})
}

func (t *tx) Wake(topic uint64) { t.wakes = append(t.wakes, topic) }

func (t *tx) Now() time.Time {
	if t.s.Now != nil {
		return t.s.Now()
	}
	return time.Now()
}

// clone makes a copy that is not nil even if b is.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

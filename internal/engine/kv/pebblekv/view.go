package pebblekv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"posthaste/internal/engine/kv"
)

// View runs fn over a snapshot, and then waits for those commits that were in
// flight where fn has read.
func (s *Store) View(ctx context.Context, fn func(kv.Reader) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.users.leave()
	s.stats.views.Add(1)
	snap := s.db.NewSnapshot()
	seen := s.flights.n.Load() // of no less than what the snapshot sees
	r := &reader{src: snap}
	err := run(snap, r, fn)
	if werr := s.wait(ctx, s.flights.under(&r.touched, seen)); werr != nil {
		return werr
	}
	return err
}

// run closes the snapshot even if fn panics.
func run(snap *pebble.Snapshot, r *reader, fn func(kv.Reader) error) error {
	defer snap.Close()
	return fn(r)
}

// A reader reads from a snapshot or an indexed batch and notes what it touches.
type reader struct {
	src     pebble.Reader
	touched touched
}

func (r *reader) Get(key []byte) ([]byte, error) {
	r.touched.key(key)
	return get(r.src, key)
}

func get(src pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := src.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a row: %w", err)
	}
	c := append(make([]byte, 0, len(v)), v...)
	return c, closer.Close()
}

// few is up to how many keys are faster to get one by one, by the filters,
// than by an iterator.
const few = 2

func (r *reader) GetMany(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	if len(keys) <= few {
		for i, k := range keys {
			v, err := r.Get(k)
			if err != nil {
				return nil, err
			}
			values[i] = v
		}
		return values, nil
	}
	for _, k := range keys {
		r.touched.key(k)
	}
	if slices.IsSortedFunc(keys, bytes.Compare) {
		return values, r.sweep(keys, nil, values)
	}
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(bytes.Compare(keys[a], keys[b]), cmp.Compare(a, b))
	})
	return values, r.sweep(keys, order, values)
}

// sweep gets the values of keys by one iterator. order names the keys in their
// order; it is nil if they are ordered already.
func (r *reader) sweep(keys [][]byte, order []int, values [][]byte) error {
	at := func(i int) int {
		if order != nil {
			return order[i]
		}
		return i
	}
	first, last := keys[at(0)], keys[at(len(keys)-1)]
	it, err := r.src.NewIter(&pebble.IterOptions{
		LowerBound: first,
		UpperBound: append(append(make([]byte, 0, len(last)+1), last...), 0),
	})
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	var room []byte
	valid := it.First()
	for i := range keys {
		key := keys[at(i)]
		c := -1
		if valid {
			if c = bytes.Compare(it.Key(), key); c < 0 {
				valid = it.Next() // it is often the very next row
				if valid {
					c = bytes.Compare(it.Key(), key)
				}
				if valid && c < 0 {
					if valid = it.SeekGE(key); valid {
						c = bytes.Compare(it.Key(), key)
					}
				}
			}
		}
		if !valid {
			break
		}
		if c != 0 {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("read rows: %w", err), it.Close())
		}
		room, values[at(i)] = cut(room, v, len(keys)-i)
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	return nil
}

// cut copies v into room, of which it makes more for as many such values as are
// to come.
func cut(room, v []byte, more int) (rest, c []byte) {
	if len(v) > cap(room)-len(room) {
		if len(v) > 1024 {
			return room, append(make([]byte, 0, len(v)), v...)
		}
		room = make([]byte, 0, min(4096, max(len(v), 16)*more))
	}
	n := len(room)
	room = append(room, v...)
	return room, room[n:len(room):len(room)]
}

func (r *reader) Scan(rg kv.Range) iter.Seq2[kv.Pair, error] {
	return func(yield func(kv.Pair, error) bool) {
		if rg.High != nil && bytes.Compare(rg.Low, rg.High) >= 0 {
			return
		}
		r.touched.scan(rg.Low, rg.High)
		it, err := r.src.NewIter(&pebble.IterOptions{LowerBound: rg.Low, UpperBound: rg.High})
		if err != nil {
			yield(kv.Pair{}, fmt.Errorf("scan: %w", err))
			return
		}
		stopped := false
		defer func() {
			if err := it.Close(); err != nil && !stopped {
				yield(kv.Pair{}, fmt.Errorf("scan: %w", err))
			}
		}()
		stopped = true // so it stays if yield panics
		stopped = !scan(it, rg, yield)
	}
}

// scan gives false if it ended before its time.
func scan(it *pebble.Iterator, rg kv.Range, yield func(kv.Pair, error) bool) bool {
	start, step := it.First, it.Next
	if rg.Reverse {
		start, step = it.Last, it.Prev
	}
	left := rg.Limit
	for valid := start(); valid; valid = step() {
		v, err := it.ValueAndErr()
		if err != nil {
			yield(kv.Pair{}, fmt.Errorf("scan: %w", err))
			return false
		}
		if !yield(kv.Pair{Key: it.Key(), Value: v}, nil) {
			return false
		}
		if left--; left == 0 {
			return true
		}
	}
	return true
}

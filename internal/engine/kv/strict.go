package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

// Strict wraps a Store for tests and panics where a rule of this package is
// broken that the engine itself would let pass: a write outside the plan's
// locks, a key without a lock, a key, value or transaction that is too large,
// the use of a Reader or Tx after its function has returned. It runs the
// function of each Update twice, as a remote engine may, and overwrites the
// bytes of a Pair when the scan goes on.
func Strict(s Store) Store { return strict{s} }

type strict struct{ Store }

var errAgain = errors.New("kv: strict: first run")

func (s strict) View(ctx context.Context, fn func(Reader) error) error {
	return s.Store.View(ctx, func(r Reader) error {
		sr := &strictReader{r: r}
		defer sr.over.Store(true)
		return fn(sr)
	})
}

func (s strict) Update(ctx context.Context, p Plan, fn func(Tx) error) error {
	for _, k := range p.Reads {
		mustHaveLock(k)
	}
	run := func(tx Tx) error {
		st := &strictTx{strictReader: strictReader{r: tx}, tx: tx, locks: p.Locks}
		defer st.over.Store(true)
		return fn(st)
	}
	err := s.Store.Update(ctx, p, func(tx Tx) error {
		if err := run(tx); err != nil {
			return err
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return s.Store.Update(ctx, p, run)
}

type strictReader struct {
	r    Reader
	over atomic.Bool
}

func (r *strictReader) mustLive() {
	if r.over.Load() {
		panic("kv: a Reader or Tx is used after its function has returned")
	}
}

func mustHaveLock(key []byte) Lock {
	l, ok := LockOf(key)
	if !ok {
		panic(fmt.Sprintf("kv: key %q is shorter than a lock's prefix", key))
	}
	if len(key) > MaxKey {
		panic(fmt.Sprintf("kv: key %q… has %d bytes", key[:PrefixLen], len(key)))
	}
	return l
}

func (r *strictReader) Get(key []byte) ([]byte, error) {
	r.mustLive()
	mustHaveLock(key)
	return r.r.Get(key)
}

func (r *strictReader) GetMany(keys ...[]byte) ([][]byte, error) {
	r.mustLive()
	for _, k := range keys {
		mustHaveLock(k)
	}
	return r.r.GetMany(keys...)
}

func (r *strictReader) Scan(rg Range) iter.Seq2[Pair, error] {
	r.mustLive()
	return func(yield func(Pair, error) bool) {
		r.mustLive()
		for p, err := range r.r.Scan(rg) {
			p = Pair{bytes.Clone(p.Key), bytes.Clone(p.Value)}
			more := yield(p, err)
			spoil(p.Key)
			spoil(p.Value)
			if !more {
				return
			}
			r.mustLive()
		}
	}
}

func spoil(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

type strictTx struct {
	strictReader
	tx    Tx
	locks []Lock
	size  int
}

func (t *strictTx) mustWrite(l Lock, size int) {
	t.mustLive()
	if l.Class != Free && !slices.Contains(t.locks, l) {
		panic(fmt.Sprintf("kv: write under the lock %c/%d, which the plan does not name", l.Class, l.ID))
	}
	if t.size += size; t.size > MaxTx {
		panic(fmt.Sprintf("kv: one Update writes more than %d bytes", MaxTx))
	}
}

func (t *strictTx) Set(key, value []byte) {
	t.mustWrite(mustHaveLock(key), len(key)+len(value))
	if len(value) > MaxValue {
		panic(fmt.Sprintf("kv: the value of %q has %d bytes", key, len(value)))
	}
	k, v := bytes.Clone(key), bytes.Clone(value)
	t.tx.Set(k, v)
	spoil(k)
	spoil(v)
}

func (t *strictTx) Delete(key []byte) {
	t.mustWrite(mustHaveLock(key), len(key))
	t.tx.Delete(key)
}

func (t *strictTx) DeleteRange(low, high []byte) {
	l := mustHaveLock(low)
	end := Next(l.Prefix())
	if l.Class == Free {
		end = Next([]byte{Free}) // no lock, so no border between locks
	}
	if end != nil && (high == nil || bytes.Compare(high, end) > 0) {
		panic(fmt.Sprintf("kv: the range from %q to %q is not under one lock", low, high))
	}
	t.mustWrite(l, len(low)+len(high))
	t.tx.DeleteRange(low, high)
}

func (t *strictTx) Wake(topic uint64) {
	t.mustLive()
	t.tx.Wake(topic)
}

func (t *strictTx) Now() time.Time {
	t.mustLive()
	return t.tx.Now()
}

package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestCount: what is due, what comes later or is under way, and what is held; and since
// when the oldest waits that is not.
func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		count := func(due, later, held int, old time.Duration) {
			t.Helper()
			c, err := b.Count(t.Context())
			b.must(err)
			oldest := time.Duration(-1)
			if !c.Oldest.IsZero() {
				oldest = time.Since(c.Oldest)
			}
			if c.Due != due || c.Later != later || c.Held != held || oldest != old {
				t.Errorf("%d due, %d later, %d held, oldest %v; want %d, %d, %d, %v", c.Due, c.Later, c.Held, oldest, due, later, held, old)
			}
		}
		count(0, 0, 0, -1)
		first := b.item("b.example", "x")
		first.ID = b.put(first)
		time.Sleep(time.Hour)
		for _, p := range []int8{-3, 0, 5} { // each lane
			it := b.item("b.example", "y")
			it.Envelope.Priority = p
			b.put(it)
		}
		toCome := b.item("b.example", "z")
		toCome.Queued = time.Now().Add(24 * time.Hour)
		b.put(toCome)
		count(4, 1, 0, time.Hour)
		b.must(b.update(ShardOf(first.Envelope.Trace), func(tx kv.Tx) error {
			_, err := b.Hold(tx, first.ID)
			return err
		}))
		time.Sleep(time.Minute)
		count(3, 1, 1, time.Minute)
		claims := b.claim(45*time.Minute, 2)
		count(1, 3, 1, time.Minute)
		for _, c := range claims {
			b.must(b.settle(c, time.Time{}, 2, "y"))
		}
		count(1, 1, 1, time.Minute)
	})
}

// TestCountPages: a long queue is counted in pages, and whole.
func TestCountPages(t *testing.T) {
	b := newBench(t)
	l := kv.Lock{Class: 'Q', ID: 3}
	for _, n := range []int{countPage - 1, 1, countPage + 1} {
		b.must(b.update(l, func(tx kv.Tx) error {
			for i := range n {
				tx.Set(scheduleKey(l, normal, time.UnixMilli(int64(n)), mail.QueueID(16*i+3)), []byte("b.example"))
			}
			return nil
		}))
	}
	c, err := b.Count(t.Context())
	if err != nil || c.Due != 2*countPage+1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// BenchmarkCount counts a queue of 16,000.
func BenchmarkCount(b *testing.B) {
	q := newBench(b)
	for s := range uint64(shards) {
		l := kv.Lock{Class: 'Q', ID: s}
		q.must(q.update(l, func(tx kv.Tx) error {
			for i := range 1000 {
				tx.Set(scheduleKey(l, normal, time.UnixMilli(int64(i)), mail.QueueID(i)), []byte("b.example"))
			}
			return nil
		}))
	}
	for b.Loop() {
		if _, err := q.Count(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

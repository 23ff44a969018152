package queue

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

var seed = flag.Uint64("seed", 0, "of TestModel; 0 takes a new one")

// A modelItem is what must be true of an item.
type modelItem struct {
	left     map[string]bool
	next     time.Time
	attempts int
	token    uint64 // 0: nobody has it
}

// TestModel does random things, as several processes would that forget, crash
// and come too late, and compares with a naive model after each.
func TestModel(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d", *seed)
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(*seed, 0))
		b := newBench(t)
		m := map[mail.QueueID]*modelItem{}
		var claims []Claim // those that somebody believes to have, right or wrong
		names := []string{"x", "y", "z"}
		pick := func() mail.QueueID {
			n := rnd.IntN(len(m) + 1)
			for id := range m {
				if n == 0 {
					return id
				}
				n--
			}
			return mail.QueueID(rnd.IntN(1000))
		}
		for i := range 2000 {
			switch rnd.IntN(8) {
			case 0:
				it := b.item([]string{"a.example", "b.example"}[rnd.IntN(2)], names[:1+rnd.IntN(3)]...)
				mi := &modelItem{left: map[string]bool{}, next: time.Now()}
				if rnd.IntN(2) == 0 {
					it.Next = time.Now().Add(time.Duration(rnd.IntN(60)) * time.Minute)
					mi.next = it.Next
				}
				for _, r := range it.Envelope.Recipients {
					mi.left[r.Address.Local] = true
				}
				m[b.put(it)] = mi
			case 1, 2:
				hold := time.Duration(1+rnd.IntN(60)) * time.Minute
				for _, c := range b.claim(hold, 1+rnd.IntN(4)) {
					mi := m[c.ID]
					if mi == nil || mi.next.After(time.Now()) {
						t.Fatalf("step %d: item %d was not to be had: %+v", i, c.ID, mi)
					}
					mi.next, mi.token = time.Now().Add(hold), c.token
					claims = append(claims, c)
				}
			case 3, 4:
				if len(claims) == 0 {
					continue
				}
				n := rnd.IntN(len(claims))
				c := claims[n]
				if rnd.IntN(4) > 0 { // else somebody does it again
					claims = append(claims[:n], claims[n+1:]...)
				}
				done := names[:rnd.IntN(4)]
				next := time.Now().Add(time.Duration(rnd.IntN(60)) * time.Minute)
				err := b.settle(c, next, []uint16{2, 5}[rnd.IntN(2)], done...)
				mi := m[c.ID]
				switch {
				case mi == nil:
					expect(t, err, mail.ErrNotFound)
				case mi.token != c.token:
					expect(t, err, mail.ErrInUse)
				default:
					expect(t, err, nil)
					for _, d := range done {
						delete(mi.left, d)
					}
					mi.next, mi.token = next, 0
					mi.attempts++
					if len(mi.left) == 0 {
						delete(m, c.ID)
					}
				}
			case 5:
				id := pick()
				mi := m[id]
				switch err := b.Retry(t.Context(), id); {
				case mi == nil:
					expect(t, err, mail.ErrNotFound)
				case mi.token != 0 && mi.next.After(time.Now()):
					expect(t, err, mail.ErrInUse)
				default:
					expect(t, err, nil)
					mi.next = time.Now()
				}
			case 6:
				id := pick()
				mi := m[id]
				switch rnd.IntN(3) {
				case 0:
					expect(t, b.Revoke(t.Context(), id), nil)
					if mi != nil {
						mi.next, mi.token = time.Now(), 0
					}
				case 1:
					switch err := b.drop(id); {
					case mi == nil:
						expect(t, err, mail.ErrNotFound)
					case mi.token != 0 && mi.next.After(time.Now()):
						expect(t, err, mail.ErrInUse)
					default:
						expect(t, err, nil)
						delete(m, id)
					}
				case 2:
					if len(claims) == 0 {
						continue
					}
					c := claims[rnd.IntN(len(claims))]
					next := time.Now().Add(time.Minute)
					err := b.update(c.Lock(), func(tx kv.Tx) error { return b.Release(tx, c, next) })
					mi := m[c.ID]
					if mi == nil {
						expect(t, err, mail.ErrNotFound)
					} else if expect(t, err, nil); mi.token == c.token {
						mi.next, mi.token = next, 0
					}
				}
			case 7:
				time.Sleep(time.Duration(rnd.IntN(20)) * time.Minute)
			}
			compare(t, i, b, m)
		}
		if len(m) > 300 {
			t.Errorf("%d items are left: this test tests nothing", len(m))
		}
	})
}

func expect(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Fatalf("error %v, want %v", got, want)
	}
}

func compare(t *testing.T, step int, b *bench, m map[mail.QueueID]*modelItem) {
	t.Helper()
	items := b.all()
	if len(items) != len(m) {
		t.Fatalf("step %d: %d items, want %d", step, len(items), len(m))
	}
	var first time.Time
	for _, it := range items {
		mi := m[it.ID]
		if mi == nil {
			t.Fatalf("step %d: item %d should be gone", step, it.ID)
		}
		if it.token != mi.token || it.Attempts != mi.attempts || !it.Next.Equal(mi.next) || len(it.Envelope.Recipients) != len(mi.left) {
			t.Fatalf("step %d: item %d is %+v, want %+v", step, it.ID, it, mi)
		}
		for _, r := range it.Envelope.Recipients {
			if !mi.left[r.Address.Local] {
				t.Fatalf("step %d: item %d still waits for %s", step, it.ID, r.Address)
			}
		}
		if first.IsZero() || mi.next.Before(first) {
			first = mi.next
		}
	}
	if next, err := b.next(context.Background()); err != nil || !next.Equal(first) {
		t.Fatalf("step %d: the first is due at %v, %v; want %v", step, next, err, first)
	}
}

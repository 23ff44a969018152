package kvtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"posthaste/internal/engine/kv"
)

func testSnapshot(t *testing.T, s kv.Store) {
	put(t, s, "a=1")
	view(t, s, func(r kv.Reader) {
		put(t, s, "a=2", "b=2")
		want(t, "a", get(t, r, "a"), "1")
		want(t, "b", get(t, r, "b"), "-")
		want(t, "scan", list(t, r, kv.Range{}), "a=1")
		update(t, s, planA, func(tx kv.Tx) { tx.DeleteRange(lockA.Prefix(), lockB.Prefix()) })
		want(t, "a", get(t, r, "a"), "1")
		vs, _ := r.GetMany(key(lockA, "a"), key(lockA, "b"))
		if string(vs[0]) != "1" || vs[1] != nil {
			t.Errorf("GetMany: %q", vs)
		}
	})
	view(t, s, func(r kv.Reader) { want(t, "scan", list(t, r, kv.Range{}), "") })
}

func testSnapshotOfScan(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=1", "c=1")
	view(t, s, func(r kv.Reader) {
		n := 0
		for p, err := range r.Scan(kv.Range{}) {
			if err != nil || string(p.Value) != "1" {
				t.Fatalf("%q=%q, %v", p.Key, p.Value, err)
			}
			put(t, s, "a=2", "b=2", "c=2", fmt.Sprintf("d%d=2", n))
			n++
		}
		if n != 3 {
			t.Errorf("%d rows", n)
		}
	})
}

func testReadYourWrites(t *testing.T, s kv.Store) {
	for i := range 200 {
		word := fmt.Sprint(i)
		put(t, s, "k="+word)
		view(t, s, func(r kv.Reader) { want(t, "k", get(t, r, "k"), word) })
	}
}

// Rows under two locks that are always written together are always seen so.
func testAllOrNothing(t *testing.T, s kv.Store) {
	both := kv.Plan{Locks: []kv.Lock{lockB, lockA}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 150 {
			update(t, s, both, func(tx kv.Tx) {
				tx.Set(key(lockA, "k"), fmt.Append(nil, i))
				tx.Set(key(lockB, "k"), fmt.Append(nil, i))
			})
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		view(t, s, func(r kv.Reader) {
			a, _ := r.Get(key(lockA, "k"))
			b, _ := r.Get(key(lockB, "k"))
			if string(a) != string(b) {
				t.Errorf("%s and %s", a, b)
			}
		})
	}
}

func testLocksExclude(t *testing.T, s kv.Store) {
	var inside, most atomic.Int32
	each(20, func(int) {
		update(t, s, planA, func(tx kv.Tx) {
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(200 * time.Microsecond)
			inside.Add(-1)
		})
	})
	if most.Load() != 1 {
		t.Errorf("%d at a time under one lock", most.Load())
	}
}

// each calls fn(0) to fn(n-1), all at once.
func each(n int, fn func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func testDisjointLocksRunTogether(t *testing.T, s kv.Store) {
	const n = 4
	var there [n]chan struct{}
	var once [n]sync.Once
	for i := range there {
		there[i] = make(chan struct{})
	}
	each(n, func(i int) {
		p := kv.Plan{Locks: []kv.Lock{{Class: 'a', ID: uint64(i)}}}
		update(t, s, p, func(tx kv.Tx) {
			once[i].Do(func() { close(there[i]) })
			for _, other := range there {
				within(t, "the others", other)
			}
		})
	})
}

func testOverlappingPlans(t *testing.T, s kv.Store) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		each(16, func(g int) {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 25 {
				var p kv.Plan
				for _, i := range rnd.Perm(6)[:1+rnd.IntN(4)] {
					p.Locks = append(p.Locks, kv.Lock{Class: byte('a' + i%2), ID: uint64(i)})
				}
				update(t, s, p, func(tx kv.Tx) {
					for _, l := range p.Locks {
						increment(t, tx, key(l, "n"))
					}
				})
			}
		})
	}()
	within(t, "16 with overlapping plans", done)
}

func testSameLockTwice(t *testing.T, s kv.Store) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		update(t, s, kv.Plan{Locks: []kv.Lock{lockA, lockB, lockA}}, func(tx kv.Tx) { set(tx, "a=1") })
	}()
	within(t, "a plan that names a lock twice", done)
}

// increment adds one to the number at k.
func increment(t *testing.T, tx kv.Tx, k []byte) uint64 {
	v, err := tx.Get(k)
	if err != nil {
		t.Error(err)
	}
	n := number(v) + 1
	tx.Set(k, binary.BigEndian.AppendUint64(nil, n))
	return n
}

func number(v []byte) uint64 {
	if v == nil {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func testCounters(t *testing.T, s kv.Store) {
	const writers, times = 16, 30
	each(writers, func(g int) {
		for i := range times {
			l := []kv.Lock{lockA, lockB}[(g+i)%2]
			update(t, s, kv.Plan{Locks: []kv.Lock{l}}, func(tx kv.Tx) { increment(t, tx, key(l, "n")) })
		}
	})
	view(t, s, func(r kv.Reader) {
		a, _ := r.Get(key(lockA, "n"))
		b, _ := r.Get(key(lockB, "n"))
		if number(a)+number(b) != writers*times {
			t.Errorf("%d + %d is not %d", number(a), number(b), writers*times)
		}
	})
}

func testFreeRows(t *testing.T, s kv.Store) {
	free := kv.Lock{Class: kv.Free, ID: 5}
	each(10, func(i int) {
		update(t, s, kv.Plan{}, func(tx kv.Tx) {
			tx.Set(key(free, fmt.Sprint(i)), []byte("v"))
		})
		view(t, s, func(r kv.Reader) {
			if v, err := r.Get(key(free, fmt.Sprint(i))); string(v) != "v" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	})
	view(t, s, func(r kv.Reader) {
		want(t, "rows", list(t, r, all(free)), "0=v 1=v 2=v 3=v 4=v 5=v 6=v 7=v 8=v 9=v")
	})
}

// Writers number their rows under the lock; no reader ever sees a gap.
func testCommitOrder(t *testing.T, s kv.Store) {
	const writers, times = 8, 25
	done := make(chan struct{})
	go func() {
		defer close(done)
		each(writers, func(g int) {
			for range times {
				update(t, s, planA, func(tx kv.Tx) {
					n := increment(t, tx, key(lockA, "n"))
					tx.Set(key(lockA, fmt.Sprintf("row%06d", n)), nil)
				})
			}
		})
	}()
	last := uint64(0)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		view(t, s, func(r kv.Reader) {
			v, _ := r.Get(key(lockA, "n"))
			n, rows := number(v), uint64(0)
			for p := range r.Scan(kv.Prefix(key(lockA, "row"))) {
				if rows++; string(p.Key[kv.PrefixLen:]) != fmt.Sprintf("row%06d", rows) {
					t.Errorf("row %d is %q", rows, p.Key)
				}
			}
			if rows != n || n < last {
				t.Errorf("%d rows, the counter says %d and said %d before", rows, n, last)
			}
			last = n
		})
	}
	if last != writers*times {
		t.Errorf("%d rows at the end", last)
	}
}

func testCancelledBefore(t *testing.T, s kv.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Update(ctx, planA, func(tx kv.Tx) error { set(tx, "a=1"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update gives %v", err)
	}
	if err := s.View(ctx, func(kv.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View gives %v", err)
	}
	view(t, s, func(r kv.Reader) { want(t, "rows", list(t, r, kv.Range{}), "") })
}

func testCancelledWaiting(t *testing.T, s kv.Store) {
	held, release := make(chan struct{}), make(chan struct{})
	holder := make(chan struct{})
	go func() {
		defer close(holder)
		var once sync.Once
		update(t, s, planA, func(tx kv.Tx) {
			once.Do(func() { close(held) })
			<-release
			set(tx, "holder=1")
		})
	}()
	within(t, "the holder", held)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	waiter := make(chan struct{})
	go func() {
		defer close(waiter)
		p := kv.Plan{Locks: []kv.Lock{lockB, lockA}}
		err := s.Update(ctx, p, func(tx kv.Tx) error { set(tx, "waiter=1"); return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the waiter gets %v", err)
		}
	}()
	within(t, "who no longer wants to wait", waiter)
	close(release)
	within(t, "the holder's end", holder)
	put(t, s, "after=1") // both locks are free again
	update(t, s, kv.Plan{Locks: []kv.Lock{lockB}}, func(kv.Tx) {})
	view(t, s, func(r kv.Reader) { want(t, "rows", list(t, r, kv.Range{}), "after=1 holder=1") })
}

func testWake(t *testing.T, s kv.Store) {
	one, stop1 := kv.Subscribe(s, 1)
	defer stop1()
	again, stop2 := kv.Subscribe(s, 1)
	defer stop2()
	two, stop3 := kv.Subscribe(s, 2)
	defer stop3()
	update(t, s, planA, func(tx kv.Tx) { set(tx, "a=1"); tx.Wake(1); tx.Wake(1) })
	within(t, "the first", one)
	within(t, "the second", again)
	select {
	case <-two:
		t.Error("another topic is woken")
	default:
	}
	for range 5 { // nobody listens: nobody waits
		update(t, s, planA, func(tx kv.Tx) { set(tx, "a=1"); tx.Wake(1) })
	}
	within(t, "the first again", one)
}

func testWakeNotOnError(t *testing.T, s kv.Store) {
	c, stop := kv.Subscribe(s, 1)
	defer stop()
	_ = s.Update(t.Context(), planA, func(tx kv.Tx) error { tx.Wake(1); return errors.New("stop") })
	select {
	case <-c:
		t.Error("woken though nothing was committed")
	case <-time.After(10 * time.Millisecond):
	}
}

// Who is woken finds what he is woken for.
func testWakeComesAfterTheRow(t *testing.T, s kv.Store) {
	const rows = 100
	c, stop := kv.Subscribe(s, 1)
	defer stop()
	go func() {
		for range rows {
			update(t, s, planA, func(tx kv.Tx) { increment(t, tx, key(lockA, "n")); tx.Wake(1) })
		}
	}()
	end := time.After(patience)
	for n := uint64(0); n < rows; {
		select {
		case <-c:
		case <-end:
			t.Fatalf("slept on with %d of %d", n, rows)
		}
		view(t, s, func(r kv.Reader) {
			v, _ := r.Get(key(lockA, "n"))
			n = number(v)
		})
	}
}

func testWakeWithoutWrites(t *testing.T, s kv.Store) {
	c, stop := kv.Subscribe(s, 7)
	defer stop()
	update(t, s, kv.Plan{}, func(tx kv.Tx) { tx.Wake(7) })
	within(t, "the wake-up", c)
}

func testUnsubscribe(t *testing.T, s kv.Store) {
	c, stop := kv.Subscribe(s, 1)
	other, stopOther := kv.Subscribe(s, 1)
	defer stopOther()
	stop()
	stop() // twice is as good as once
	update(t, s, planA, func(tx kv.Tx) { tx.Wake(1) })
	within(t, "the other", other)
	select {
	case _, open := <-c:
		t.Errorf("heard something after the end (open: %v)", open)
	default:
	}
}

// testCommits: the number of a class is another one whenever its rows are, and what was
// read while it stayed the same is what is there.
func testCommits(t *testing.T, s kv.Store) {
	other := kv.Lock{Class: 'b', ID: 1}
	for _, c := range []struct {
		name string
		a, b bool // whether it changes the number of the class
		fn   func(tx kv.Tx)
	}{
		{"set", true, false, func(tx kv.Tx) { set(tx, "k=1") }},
		{"set both", true, true, func(tx kv.Tx) { set(tx, "k=2"); tx.Set(key(other, "k"), nil) }},
		{"delete", true, false, func(tx kv.Tx) { tx.Delete(key(lockA, "k")) }},
		{"delete a range", true, false, func(tx kv.Tx) { tx.DeleteRange(lockA.Prefix(), kv.Next(lockA.Prefix())) }},
		{"read", false, false, func(tx kv.Tx) { tx.Get(key(lockA, "k")) }},
	} {
		a, b := s.Commits('a'), s.Commits('b')
		update(t, s, kv.Plan{Locks: []kv.Lock{lockA, other}}, c.fn)
		if (s.Commits('a') != a) != c.a || (s.Commits('b') != b) != c.b {
			t.Errorf("%s: the numbers went from %d, %d to %d, %d", c.name, a, b, s.Commits('a'), s.Commits('b'))
		}
	}
	if err := s.Update(t.Context(), planA, func(kv.Tx) error { return errors.New("no") }); err == nil {
		t.Error("an error is lost")
	}
	var writers sync.WaitGroup
	for i := range 100 {
		writers.Go(func() { put(t, s, fmt.Sprintf("n=%d", i)) })
	}
	cached, at := "", s.Commits('a')-1
	for range 100 {
		if now := s.Commits('a'); now != at {
			view(t, s, func(r kv.Reader) { cached = get(t, r, "n") })
			at = now
		}
	}
	writers.Wait()
	view(t, s, func(r kv.Reader) {
		if v := get(t, r, "n"); s.Commits('a') == at && v != cached {
			t.Errorf("%s is there, and %s was read while nothing changed", v, cached)
		}
	})
}

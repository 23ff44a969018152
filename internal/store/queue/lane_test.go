package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLanes: of more than can be claimed, what is urgent goes first, mostly, however
// late it came; nothing starves; and each item is claimed once.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const each = 150
		for _, priority := range []int8{-4, 0, 4} {
			for range each {
				it := b.item("b.example", "x")
				it.Envelope.Priority = priority
				b.put(it)
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		var place [3]int // sums of places
		n := 0
		for {
			claims := b.claim(time.Hour, 3)
			if len(claims) == 0 {
				break
			}
			for _, c := range claims {
				n++
				place[laneOf(c.Envelope.Priority)] += n
				if err := b.settle(c, time.Time{}, 2, "x"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n != 3*each {
			t.Errorf("%d claimed", n)
		}
		if place[urgent] >= place[normal] || place[normal] >= place[low] {
			t.Errorf("places %v", place)
		}
		if len(b.all()) != 0 {
			t.Error("something is left")
		}
	})
}

// TestQuietLane: what is urgent is found soon also where nothing was for long, and
// there is much else to do.
func TestQuietLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range 200 {
			b.put(b.item("b.example", "x"))
		}
		time.Sleep(time.Second)
		for range 5 {
			b.claim(time.Hour, 1)
		}
		it := b.item("b.example", "x")
		it.Envelope.Priority = 4
		b.put(it)
		for looks := 1; ; looks++ {
			time.Sleep(10 * time.Millisecond)
			if c := b.claim(time.Hour, 1); c[0].Envelope.Priority == 4 {
				break
			}
			if looks > 100 {
				t.Fatal("it was not found among the first 100")
			}
		}
	})
}

// TestTurns: each lane comes first at times, and all come each time.
func TestTurns(t *testing.T) {
	var first [lanes]int
	for dice := range uint64(80) {
		order := turns(dice)
		first[order[0]]++
		seen := 0
		for _, n := range order {
			seen |= 1 << n
		}
		if seen != 7 {
			t.Errorf("%v", order)
		}
	}
	if first != [lanes]int{50, 20, 10} {
		t.Errorf("first %v", first)
	}
}

// TestWaitLanes: what is urgent wakes who waits, too.
func TestWaitLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		it := b.item("b.example", "x")
		it.Envelope.Priority = 4
		it.Next = time.Now().Add(20 * time.Second)
		b.put(it)
		begin := time.Now()
		if err := b.Wait(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 20*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

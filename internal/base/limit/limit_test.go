package limit

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var t0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func TestRate(t *testing.T) {
	r := NewRate[string](3, time.Second, 100)
	for _, c := range []struct {
		at   time.Duration
		key  string
		n    int
		want time.Duration
	}{
		{0, "a", 1, 0},
		{0, "a", 2, 0},
		{0, "a", 1, time.Second},
		{0, "b", 3, 0},
		{500 * time.Millisecond, "a", 1, 500 * time.Millisecond},
		{time.Second, "a", 1, 0},
		{time.Second, "a", 1, time.Second},
		{0, "a", 1, time.Second}, // the clock went back
		{time.Hour, "a", 3, 0},
		{time.Hour, "a", 1, time.Second},
		{time.Hour, "b", 4, time.Second},
	} {
		if got := r.Take(c.key, c.n, t0.Add(c.at)); got != c.want {
			t.Errorf("%s at %v: %v, want %v", c.key, c.at, got, c.want)
		}
	}
}

func TestScore(t *testing.T) {
	s := NewScore[int](time.Minute, 100)
	s.Add(1, 3, t0)
	if got := s.Add(1, 1, t0); got != 4 {
		t.Error(got)
	}
	if got := s.Score(1, t0.Add(2*time.Minute)); math.Abs(got-1) > 1e-9 {
		t.Error(got)
	}
	if s.Score(2, t0) != 0 {
		t.Error("a score from nowhere")
	}
	s.Clear(1)
	if s.Score(1, t0) != 0 {
		t.Error("not cleared")
	}
}

func TestTableIsBounded(t *testing.T) {
	s := NewScore[int](time.Hour, 1000)
	for i := range 100000 {
		s.Add(i, 1, t0)
		if i%100 == 0 {
			s.Add(-1, 1, t0)
		}
	}
	if n := len(s.t.young) + len(s.t.old); n > 1000 {
		t.Errorf("%d keys", n)
	}
	if s.Score(-1, t0) != 1000 {
		t.Error("a key that is used was forgotten")
	}
}

func TestAtOnce(t *testing.T) {
	a := AtOnce[string]{PerKey: 2, Total: 3}
	var in []bool
	for _, k := range []string{"a", "a", "a", "b", "c"} {
		in = append(in, a.Enter(k))
	}
	if !slices.Equal(in, []bool{true, true, false, true, false}) || a.Len() != 3 {
		t.Error(in)
	}
	a.Leave("a")
	if a.Enter("b") != true || a.Enter("a") {
		t.Error("after leaving")
	}
	for _, k := range []string{"a", "b", "b"} {
		a.Leave(k)
	}
	if len(a.own.each) != 0 || a.Len() != 0 {
		t.Error("somebody is left")
	}
}

// TestInside: two limits that follow one another count the same, each by its own number.
func TestInside(t *testing.T) {
	var in Inside[string]
	before, after := AtOnce[string]{PerKey: 1, Total: 9, In: &in}, AtOnce[string]{PerKey: 2, Total: 9, In: &in}
	if !before.Enter("a") || before.Enter("a") || !after.Enter("a") || after.Enter("a") {
		t.Error("the other's are not counted")
	}
	before.Leave("a")
	if before.Enter("a") || !after.Enter("a") || after.Len() != 2 {
		t.Error("after leaving")
	}
}

func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := Fair[string]{Slots: 1, Waiting: 5}
		var mu sync.Mutex
		var order []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s)
		}
		start := func(k string) {
			go func() {
				if err := f.Do(t.Context(), k, func() { time.Sleep(time.Second); note(k) }); err != nil {
					note("refused " + k)
				}
			}()
			synctest.Wait()
		}
		for _, k := range []string{"x", "a", "a", "a", "a", "a", "a", "b", "c"} {
			start(k)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := f.Do(ctx, "d", func() { t.Error("after its time") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"refused a", "x", "a", "b", "c", "a", "a", "a", "a"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.busy != 0 || len(f.queue) != 0 || len(f.turns) != 0 {
			t.Errorf("left: %d %v %v", f.busy, f.queue, f.turns)
		}
	})
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::1%eth0": "2001:db8::/64"} {
		if got := Network(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("nowhere is a place")
	}
}

package pebblekv

import (
	"context"
	"errors"
	"testing"
	"time"

	"posthaste/internal/engine/kv"
)

// begin runs fn and gives what it returns, later.
func begin(fn func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- fn() }()
	return c
}

func mustWait(t *testing.T, what string, c <-chan error) {
	t.Helper()
	select {
	case err := <-c:
		t.Errorf("%s does not wait for the disk: %v", what, err)
	case <-time.After(10 * time.Millisecond):
	}
}

func mustEnd(t *testing.T, what string, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

func mustDo(t *testing.T, what string, c <-chan error) {
	t.Helper()
	if err := mustEnd(t, what, c); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// Who reads what is not yet on the disk waits for it; nobody else does.
func TestViewWaits(t *testing.T) {
	s, g := gated(t)
	if err := write(t, s, lockB, "k", "v"); err != nil {
		t.Fatal(err)
	}
	free := kv.Lock{Class: kv.Free, ID: 7}
	g.shut()
	var ups []<-chan error
	ups = append(ups, begin(func() error { return write(t, s, lockA, "k", "v") }))
	ups = append(ups, begin(func() error {
		return s.Update(t.Context(), kv.Plan{}, func(tx kv.Tx) error { tx.Set(key(free, "k"), nil); return nil })
	}))
	for s.flights.count.Load() < 2 || s.Metrics().Commits < 3 {
		time.Sleep(time.Millisecond)
	}
	view := func(fn func(kv.Reader) error) <-chan error {
		return begin(func() error { return s.View(t.Context(), fn) })
	}
	scan := func(rg kv.Range) func(kv.Reader) error {
		return func(r kv.Reader) error {
			for _, err := range r.Scan(rg) {
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, fn := range map[string]func(kv.Reader) error{
		"get": func(r kv.Reader) error { _, err := r.Get(key(lockB, "k")); return err },
		"get many": func(r kv.Reader) error {
			_, err := r.GetMany(key(lockB, "k"), key(lockB, "l"), key(lockB, "m"))
			return err
		},
		"scan":          scan(kv.Prefix(lockB.Prefix())),
		"a part":        scan(kv.Range{Low: key(lockB, "a"), High: key(lockB, "z"), Reverse: true}),
		"nothing":       func(kv.Reader) error { return nil },
		"no scan begun": func(r kv.Reader) error { r.Scan(kv.Range{}); return nil },
	} {
		mustDo(t, name+" elsewhere", view(fn))
	}
	mustDo(t, "an Update that reads elsewhere", begin(func() error {
		return s.Update(t.Context(), plan(lockB), func(tx kv.Tx) error { _, err := tx.Get(key(lockB, "k")); return err })
	}))
	waiting := map[string]<-chan error{}
	for name, fn := range map[string]func(kv.Reader) error{
		"get":         func(r kv.Reader) error { _, err := r.Get(key(lockA, "k")); return err },
		"get of none": func(r kv.Reader) error { _, err := r.Get(key(lockA, "none")); return err },
		"get many": func(r kv.Reader) error {
			_, err := r.GetMany(key(lockB, "k"), key(lockB, "l"), key(lockA, "m"))
			return err
		},
		"scan":         scan(kv.Prefix(lockA.Prefix())),
		"scan of two":  scan(kv.Range{Low: lockA.Prefix(), High: kv.Next(lockB.Prefix())}),
		"scan of all":  scan(kv.Range{}),
		"free row":     func(r kv.Reader) error { _, err := r.Get(key(free, "k")); return err },
		"free scan":    scan(kv.Prefix(free.Prefix())),
		"many get":     func(r kv.Reader) error { return touchMany(r) },
		"own error":    func(r kv.Reader) error { _, _ = r.Get(key(lockA, "k")); return nil },
		"class prefix": scan(kv.Prefix([]byte{'a'})),
	} {
		waiting[name] = view(fn)
	}
	waiting["an Update that only reads"] = begin(func() error {
		return s.Update(t.Context(), plan(lockA), func(tx kv.Tx) error { _, err := tx.Get(key(lockA, "k")); return err })
	})
	for name, c := range waiting {
		mustWait(t, name, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := s.View(ctx, scan(kv.Range{})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a View with a deadline gives %v", err)
	}
	g.open()
	for name, c := range waiting {
		mustDo(t, name, c)
	}
	for _, c := range ups {
		mustDo(t, "update", c)
	}
	if n := s.flights.count.Load(); n != 0 || len(s.flights.by) != 0 {
		t.Errorf("%d are still in flight", n)
	}
}

// touchMany touches more prefixes than are noted one by one.
func touchMany(r kv.Reader) error {
	for i := range 20 {
		if _, err := r.Get(key(kv.Lock{Class: 'z', ID: uint64(i)}, "")); err != nil {
			return err
		}
	}
	return nil
}

// A refusal that rests on rows not yet on the disk waits for them too.
func TestRefusalWaits(t *testing.T) {
	s, g := gated(t)
	g.shut()
	up := begin(func() error { return write(t, s, lockA, "k", "v") })
	for s.Metrics().Commits < 1 {
		time.Sleep(time.Millisecond)
	}
	refusal := errors.New("there is one already")
	c := begin(func() error {
		return s.Update(t.Context(), plan(lockA), func(tx kv.Tx) error {
			if v, _ := tx.Get(key(lockA, "k")); v == nil {
				t.Error("the row is not seen")
			}
			return refusal
		})
	})
	mustWait(t, "the refusal", c)
	g.open()
	if err := mustEnd(t, "the refusal", c); err != refusal {
		t.Error(err)
	}
	mustDo(t, "the update", up)
}

// The lock is not held while the disk works, and wake-ups come after it.
func TestLockIsFreeDuringSync(t *testing.T) {
	s, g := gated(t)
	woken, stop := kv.Subscribe(s, 1)
	defer stop()
	g.shut()
	ran := make(chan error, 10)
	var ups []<-chan error
	for range 10 {
		ups = append(ups, begin(func() error {
			return s.Update(t.Context(), plan(lockA), func(tx kv.Tx) error {
				tx.Set(key(lockA, "k"), nil)
				tx.Wake(1)
				ran <- nil
				return nil
			})
		}))
	}
	for range 10 {
		mustDo(t, "the function", ran)
	}
	mustWait(t, "the first", ups[0])
	select {
	case <-woken:
		t.Error("woken before the rows are on the disk")
	default:
	}
	g.open()
	for _, c := range ups {
		mustDo(t, "the end", c)
	}
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Error("not woken")
	}
}

// An Update that writes nothing makes no commit.
func TestNothingWritten(t *testing.T) {
	s, g := gated(t)
	g.shut()
	defer g.open()
	mustDo(t, "an empty Update", begin(func() error {
		return s.Update(t.Context(), plan(lockA), func(kv.Tx) error { return nil })
	}))
	if n := s.Metrics().Commits; n != 0 {
		t.Errorf("%d commits", n)
	}
}

// Package kvtest is the contract of kv as tests: every engine passes them, bare
// and behind kv.Strict.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/engine/kv"
)

// Run tests the engine that open makes; open gives an empty store each time and
// sees to its end by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) kv.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, kv.Store)
	}{
		{"Empty", testEmpty},
		{"SetAndGet", testSetAndGet},
		{"EmptyValue", testEmptyValue},
		{"Limits", testLimits},
		{"BytesAreTheCallers", testBytesAreTheCallers},
		{"SetKeepsNothing", testSetKeepsNothing},
		{"ScanOrder", testScanOrder},
		{"ScanRanges", testScanRanges},
		{"ScanNested", testScanNested},
		{"GetMany", testGetMany},
		{"OwnWrites", testOwnWrites},
		{"OwnDeleteRange", testOwnDeleteRange},
		{"WriteWhileScanning", testWriteWhileScanning},
		{"DeleteRangeToTheEnd", testDeleteRangeToTheEnd},
		{"Model", testModel},
		{"ErrorRollsBack", testErrorRollsBack},
		{"PanicRollsBack", testPanicRollsBack},
		{"Snapshot", testSnapshot},
		{"SnapshotOfScan", testSnapshotOfScan},
		{"ReadYourWrites", testReadYourWrites},
		{"AllOrNothing", testAllOrNothing},
		{"LocksExclude", testLocksExclude},
		{"DisjointLocksRunTogether", testDisjointLocksRunTogether},
		{"OverlappingPlans", testOverlappingPlans},
		{"SameLockTwice", testSameLockTwice},
		{"Counters", testCounters},
		{"FreeRows", testFreeRows},
		{"CommitOrder", testCommitOrder},
		{"CancelledBefore", testCancelledBefore},
		{"CancelledWaiting", testCancelledWaiting},
		{"Wake", testWake},
		{"WakeNotOnError", testWakeNotOnError},
		{"WakeComesAfterTheRow", testWakeComesAfterTheRow},
		{"WakeWithoutWrites", testWakeWithoutWrites},
		{"Unsubscribe", testUnsubscribe},
		{"Commits", testCommits},
		{"Now", testNow},
		{"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

const patience = 20 * time.Second

var (
	lockA = kv.Lock{Class: 'a', ID: 1}
	lockB = kv.Lock{Class: 'a', ID: 2}
	planA = kv.Plan{Locks: []kv.Lock{lockA}}
)

// key gives a key under l.
func key(l kv.Lock, rest string) []byte { return append(l.Prefix(), rest...) }

func update(t *testing.T, s kv.Store, p kv.Plan, fn func(kv.Tx)) {
	t.Helper()
	if err := s.Update(t.Context(), p, func(tx kv.Tx) error { fn(tx); return nil }); err != nil {
		t.Error(err)
	}
}

func view(t *testing.T, s kv.Store, fn func(kv.Reader)) {
	t.Helper()
	if err := s.View(t.Context(), func(r kv.Reader) error { fn(r); return nil }); err != nil {
		t.Error(err)
	}
}

// put sets key=value for each word, under lockA.
func put(t *testing.T, s kv.Store, words ...string) {
	t.Helper()
	update(t, s, planA, func(tx kv.Tx) { set(tx, words...) })
}

func set(tx kv.Tx, words ...string) {
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		tx.Set(key(lockA, k), []byte(v))
	}
}

// get gives the value of a key under lockA, "-" if there is none.
func get(t *testing.T, r kv.Reader, k string) string {
	t.Helper()
	v, err := r.Get(key(lockA, k))
	if err != nil {
		t.Fatal(err)
	}
	if v == nil {
		return "-"
	}
	return string(v)
}

// list gives the rows of rg as "key=value key=value", without prefixes.
func list(t *testing.T, r kv.Reader, rg kv.Range) string {
	t.Helper()
	var words []string
	for p, err := range r.Scan(rg) {
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, fmt.Sprintf("%s=%s", p.Key[kv.PrefixLen:], p.Value))
	}
	return strings.Join(words, " ")
}

func all(l kv.Lock) kv.Range { return kv.Prefix(l.Prefix()) }

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// within fails the test if done is not closed in time.
func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: still waiting after %v", what, patience)
	}
}

func testEmpty(t *testing.T, s kv.Store) {
	view(t, s, func(r kv.Reader) {
		want(t, "get", get(t, r, "k"), "-")
		want(t, "scan", list(t, r, kv.Range{}), "")
		want(t, "reverse", list(t, r, kv.Range{Reverse: true}), "")
		vs, err := r.GetMany(key(lockA, "a"), key(lockA, "b"))
		if err != nil || len(vs) != 2 || vs[0] != nil || vs[1] != nil {
			t.Errorf("GetMany: %q, %v", vs, err)
		}
		if vs, err := r.GetMany(); err != nil || len(vs) != 0 {
			t.Errorf("GetMany of nothing: %q, %v", vs, err)
		}
	})
}

func testSetAndGet(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2")
	put(t, s, "b=3")
	view(t, s, func(r kv.Reader) {
		want(t, "a", get(t, r, "a"), "1")
		want(t, "b", get(t, r, "b"), "3")
		want(t, "ab", get(t, r, "ab"), "-")
	})
	update(t, s, planA, func(tx kv.Tx) { tx.Delete(key(lockA, "a")); tx.Delete(key(lockA, "none")) })
	view(t, s, func(r kv.Reader) { want(t, "all", list(t, r, kv.Range{}), "b=3") })
}

func testEmptyValue(t *testing.T, s kv.Store) {
	update(t, s, planA, func(tx kv.Tx) {
		tx.Set(key(lockA, "nil"), nil)
		tx.Set(key(lockA, "empty"), []byte{})
		if v, err := tx.Get(key(lockA, "nil")); v == nil || err != nil {
			t.Errorf("own empty value: %v, %v", v, err)
		}
	})
	view(t, s, func(r kv.Reader) {
		for _, k := range []string{"nil", "empty"} {
			if v, err := r.Get(key(lockA, k)); v == nil || len(v) != 0 || err != nil {
				t.Errorf("%s: %v, %v", k, v, err)
			}
		}
		vs, err := r.GetMany(key(lockA, "empty"), key(lockA, "nil"))
		if err != nil || vs[0] == nil || vs[1] == nil {
			t.Errorf("GetMany: %v, %v", vs, err)
		}
	})
}

func testLimits(t *testing.T, s kv.Store) {
	long := key(lockA, strings.Repeat("k", kv.MaxKey-kv.PrefixLen))
	large := strings.Repeat("v", kv.MaxValue)
	update(t, s, planA, func(tx kv.Tx) {
		tx.Set(long, []byte(large))
		for i := range (kv.MaxTx-kv.MaxKey)/(kv.MaxValue+100) - 1 {
			tx.Set(key(lockA, fmt.Sprint(i)), []byte(large))
		}
	})
	view(t, s, func(r kv.Reader) {
		if v, err := r.Get(long); string(v) != large || err != nil {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	})
}

func testBytesAreTheCallers(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2")
	read := func(r kv.Reader) {
		v, _ := r.Get(key(lockA, "a"))
		v[0] = 'x'
		vs, _ := r.GetMany(key(lockA, "a"), key(lockA, "b"))
		vs[0][0], vs[1][0] = 'x', 'x'
		_ = append(vs[0], "xxx"...)
		_ = append(v, "xxx"...)
		want(t, "after scribbling", list(t, r, kv.Range{}), "a=1 b=2")
	}
	view(t, s, read)
	update(t, s, planA, func(tx kv.Tx) { read(tx) })
	update(t, s, planA, func(tx kv.Tx) { set(tx, "a=1", "b=2"); read(tx) })
	view(t, s, read)
}

func testSetKeepsNothing(t *testing.T, s kv.Store) {
	update(t, s, planA, func(tx kv.Tx) {
		k, v := key(lockA, "k"), []byte("value")
		tx.Set(k, v)
		copy(v, "xxxxx")
		copy(k, "xxxxxxxxxx")
		low, high := key(lockA, "x"), key(lockA, "z")
		tx.DeleteRange(low, high)
		clear(low)
		clear(high)
	})
	view(t, s, func(r kv.Reader) { want(t, "rows", list(t, r, kv.Range{}), "k=value") })
}

func testErrorRollsBack(t *testing.T, s kv.Store) {
	put(t, s, "a=1", "b=2", "c=3")
	stop := errors.New("stop")
	err := s.Update(t.Context(), planA, func(tx kv.Tx) error {
		set(tx, "a=9", "n=9")
		tx.Delete(key(lockA, "b"))
		tx.DeleteRange(key(lockA, "c"), key(lockA, "d"))
		return fmt.Errorf("wrapped: %w", stop)
	})
	if !errors.Is(err, stop) {
		t.Errorf("Update gives %v", err)
	}
	view(t, s, func(r kv.Reader) { want(t, "rows", list(t, r, kv.Range{}), "a=1 b=2 c=3") })
	if err := s.View(t.Context(), func(kv.Reader) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("View gives %v", err)
	}
}

func testPanicRollsBack(t *testing.T, s kv.Store) {
	func() {
		defer func() { _ = recover() }()
		_ = s.Update(t.Context(), planA, func(tx kv.Tx) error { set(tx, "a=1"); panic("ouch") })
	}()
	func() {
		defer func() { _ = recover() }()
		_ = s.View(t.Context(), func(kv.Reader) error { panic("ouch") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Update(ctx, planA, func(tx kv.Tx) error { set(tx, "b=1"); return nil }); err != nil {
		t.Fatal("after a panic the lock is still held: ", err)
	}
	view(t, s, func(r kv.Reader) { want(t, "rows", list(t, r, kv.Range{}), "b=1") })
}

func testNow(t *testing.T, s kv.Store) {
	update(t, s, planA, func(tx kv.Tx) {
		if tx.Now().IsZero() {
			t.Error("no time")
		}
	})
}

func testClosed(t *testing.T, s kv.Store) {
	put(t, s, "a=1")
	_, stop := kv.Subscribe(s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	errs := []error{
		s.View(t.Context(), func(kv.Reader) error { t.Error("View runs"); return nil }),
		s.Update(t.Context(), planA, func(kv.Tx) error { t.Error("Update runs"); return nil }),
		s.Close(),
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return !errors.Is(err, kv.ErrClosed) }); i >= 0 {
		t.Errorf("%d: %v", i, errs[i])
	}
}

package mta_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/test/house"
)

// A fuse lets so many commits through, and then none.
type fuse struct {
	kv.Store
	left atomic.Int64 // below zero: as many as come
}

var errPower = errors.New("the power is off")

func (f *fuse) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	for {
		left := f.left.Load()
		if left == 0 {
			return errPower
		}
		if left < 0 || f.left.CompareAndSwap(left, left-1) {
			break
		}
	}
	return f.Store.Update(ctx, p, fn)
}

// TestCrashAtEveryCommit takes the power away after every number of commits, and
// goes on after a restart: what is delivered here comes once, and so do reports.
// A message to elsewhere may come once more.
func TestCrashAtEveryCommit(t *testing.T) {
	for n := 0; ; n++ {
		ended := false
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { ended = crashAfter(t, n) })
		})
		if ended {
			if n < 10 {
				t.Errorf("it took only %d commits: this test tests nothing", n)
			}
			return
		}
		if n == 200 {
			t.Fatal("no end in sight")
		}
	}
}

// crashAfter tells whether all was done before the power went.
func crashAfter(t *testing.T, n int) bool {
	db := &fuse{Store: kv.Strict(memkv.New())}
	db.left.Store(-1)
	blobs := memblob.New()
	w := newWorldOver(t, house.Over(t, "mx.a.example", db, blobs))
	w.Account(0, "ada@a.example", "bob@a.example")
	w.Account(10, "tiny@a.example")
	w.Alias("list@a.example", "bob@a.example", "tiny@a.example")
	h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
	// To somebody elsewhere, to a domain that is not there, and to people here, of
	// whom one has no room.
	w.post("x@b.example", "y@void.example")
	w.post("list@a.example")
	before := len(w.Inbox("bob@a.example"))

	db.left.Store(int64(n))
	stop := w.run(w.agent)
	time.Sleep(20 * time.Minute)
	stop()
	ended := db.left.Load() > 0
	db.left.Store(-1)
	again := w.newAgent()
	if err := again.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	again.GiveUp = 2 * time.Hour
	w.run(again)
	time.Sleep(5 * time.Hour)
	synctest.Wait()
	if got := len(w.Inbox("bob@a.example")); got != before {
		t.Errorf("bob has %d messages, want %d", got, before)
	}
	failed := 0
	for _, r := range w.reports() {
		if strings.Contains(r, "y@void.example | failed") {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d reports on y: %q", failed, w.reports())
	}
	if got := h.count(); got < 1 || got > 2 {
		t.Errorf("x has %d messages", got)
	}
	same(t, "waiting", w.Waiting(), nil)
	w.Check()
	return ended
}

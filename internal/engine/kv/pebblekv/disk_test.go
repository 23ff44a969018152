package pebblekv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

func TestFailedSync(t *testing.T) {
	for _, op := range []string{"sync", "write"} {
		t.Run(op, func(t *testing.T) { testFailed(t, on(op, ".log", errIO)) })
	}
}

func testFailed(t *testing.T, hook func(string, string) error) {
	mem := vfs.NewCrashableMem()
	fs := &faultyFS{FS: mem}
	s := openMem(t, Options{FS: fs})
	for _, l := range []kv.Lock{lockA, lockB} {
		if err := write(t, s, l, "k", "old"); err != nil {
			t.Fatal(err)
		}
	}
	fs.set(hook)
	if err := write(t, s, lockA, "k", "new"); !errors.Is(err, kv.ErrReadOnly) || !errors.Is(err, errIO) {
		t.Errorf("the Update whose sync failed gives %v", err)
	}
	fs.set(nil) // the next sync would succeed: it must not be believed
	before := fs.ops.Load()
	if err := write(t, s, lockB, "k", "new"); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("the next Update gives %v", err)
	}
	if err := s.Checkpoint("copy"); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("Checkpoint gives %v", err)
	}
	if v, err := read(t, s, lockB, "k"); v != "old" || err != nil {
		t.Errorf("a row that is on the disk: %q, %v", v, err)
	}
	if _, err := read(t, s, lockA, "k"); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("a row that may not be on the disk gives %v", err)
	}
	if s.Failed() == nil || !s.Metrics().Failed {
		t.Error("Failed says nothing")
	}
	if err := mustEnd(t, "Close", begin(s.Close)); err != nil {
		t.Logf("Close: %v", err)
	}
	if n := fs.ops.Load() - before; n != 0 {
		t.Errorf("%d operations on the disk after it failed", n)
	}
	s = openMem(t, Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	for _, l := range []kv.Lock{lockA, lockB} {
		if v, err := read(t, s, l, "k"); v != "old" && v != "new" || err != nil {
			t.Errorf("after the restart: %q, %v", v, err)
		}
	}
}

// TestOpenFull: a store that cannot be opened as there is no room says so, and can be
// opened when there is.
func TestOpenFull(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := openMem(t, Options{FS: mem})
	if err := write(t, s, lockA, "k", "v"); err != nil {
		t.Fatal(err)
	}
	left := func() vfs.FS { return mem.CrashClone(vfs.CrashCloneCfg{}) }
	for _, op := range []string{"create", "write", "sync"} {
		fs := &faultyFS{FS: left()}
		fs.set(on(op, ".sst", syscall.ENOSPC))
		err := mustEnd(t, "Open", begin(func() error {
			_, err := Open("a/store", Options{FS: fs})
			return err
		}))
		if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, mail.ErrFull) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("Open with no room to %s gives %v", op, err)
		}
	}
	s = openMem(t, Options{FS: left()})
	if v, err := read(t, s, lockA, "k"); v != "v" || err != nil {
		t.Errorf("after that: %q, %v", v, err)
	}
}

// On a full disk commits fail and reads go on; with space all goes on.
func TestFull(t *testing.T) {
	fs := &faultyFS{FS: vfs.NewMem()}
	s := openMem(t, Options{FS: fs})
	if err := write(t, s, lockA, "k", "old"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fs.set(on("write", "", syscall.ENOSPC))
		for _, what := range []string{"first", "second"} {
			c := begin(func() error { return write(t, s, lockB, "k", what) })
			if err := mustEnd(t, what, c); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, mail.ErrFull) {
				t.Errorf("the %s Update on a full disk gives %v", what, err)
			}
		}
		if v, err := read(t, s, lockA, "k"); v != "old" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if _, err := read(t, s, lockB, "k"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a row that cannot get to the disk: %v", err)
		}
		if m := s.Metrics(); !m.Full || m.Failed {
			t.Errorf("%+v", m)
		}
		fs.set(nil)
		waitForSpace(t, s)
		if err := write(t, s, lockB, "k", "third"); err != nil {
			t.Errorf("with space again: %v", err)
		}
		if v, err := read(t, s, lockB, "k"); v != "third" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, Options{FS: fs})
	if v, err := read(t, s, lockB, "k"); v != "third" || err != nil {
		t.Errorf("after a restart: %q, %v", v, err)
	}
}

func waitForSpace(t *testing.T, s *Store) {
	t.Helper()
	for begin := time.Now(); s.Metrics().Full; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("the disk stays full")
		}
	}
}

// A flush that finds no space holds up commits before they hang, and goes on.
func TestFullAtFlush(t *testing.T) {
	for _, file := range []string{".sst", ".blob"} {
		t.Run(file, func(t *testing.T) { testFullAtFlush(t, file) })
	}
}

func testFullAtFlush(t *testing.T, file string) {
	fs := &faultyFS{FS: vfs.NewMem()}
	s := openMem(t, Options{FS: fs})
	fs.set(on("write", file, syscall.ENOSPC))
	value := strings.Repeat("v", 60_000)
	var err error
	acked := 0
	for ; err == nil && acked < 2000; acked++ {
		c := begin(func() error { return write(t, s, lockA, fmt.Sprint(acked), value) })
		err = mustEnd(t, "an Update", c)
	}
	acked--
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d: %v", acked, err)
	}
	fs.set(nil)
	waitForSpace(t, s)
	if err := write(t, s, lockA, "last", ""); err != nil {
		t.Error(err)
	}
	for i := range acked {
		if v, err := read(t, s, lockA, fmt.Sprint(i)); v != value || err != nil {
			t.Fatalf("%d: %d bytes, %v", i, len(v), err)
		}
	}
}

// Without file descriptors no new log can be begun; with them all goes on.
func TestNoDescriptors(t *testing.T) {
	fs := &faultyFS{FS: vfs.NewMem()}
	s := openMem(t, Options{FS: fs})
	fs.set(func(op, name string) error {
		if (op == "create" || op == "reuse") && isLog(name) {
			return syscall.EMFILE
		}
		return nil
	})
	value := strings.Repeat("v", 60_000)
	done := begin(func() error {
		for i := range 20 {
			if err := write(t, s, lockA, fmt.Sprint(i), value); err != nil {
				return err
			}
		}
		return nil
	})
	for !s.Metrics().Full {
		time.Sleep(time.Millisecond)
	}
	if err := write(t, s, lockB, "k", "v"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another Update gives %v", err)
	}
	fs.set(nil)
	if err := mustEnd(t, "the Update that began a log", done); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	waitForSpace(t, s)
	if err := write(t, s, lockB, "k", "v"); err != nil {
		t.Error(err)
	}
}

// What goes wrong with a checkpoint does the store no harm.
func TestCheckpointElsewhere(t *testing.T) {
	fs := &faultyFS{FS: vfs.NewMem()}
	s := openMem(t, Options{FS: fs})
	for i := range 20 {
		if err := write(t, s, lockA, fmt.Sprint(i), strings.Repeat("v", 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	outside := func(err error, ops ...string) func(string, string) error {
		return func(op, name string) error {
			if !strings.HasPrefix(name, "a/store") && slices.Contains(ops, op) {
				return err
			}
			return nil
		}
	}
	fs.set(outside(syscall.EXDEV, "link"))
	if err := s.Checkpoint("b/copy"); err != nil {
		t.Errorf("where links do not go: %v", err)
	}
	fs.set(outside(syscall.ENOSPC, "link", "write", "create"))
	if err := mustEnd(t, "a checkpoint on a full disk", begin(func() error { return s.Checkpoint("c/copy") })); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	fs.set(outside(syscall.EIO, "link", "sync", "create"))
	if err := s.Checkpoint("d/copy"); !errors.Is(err, syscall.EIO) {
		t.Errorf("on a bad disk: %v", err)
	}
	fs.set(nil)
	if err := write(t, s, lockA, "after", ""); err != nil {
		t.Error(err)
	}
	c, err := Open("b/copy", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v, err := read(t, c, lockA, "7"); len(v) != 60_000 || err != nil {
		t.Errorf("%d bytes, %v", len(v), err)
	}
}

// Close does not wait for a disk that stays full.
func TestCloseWhileFull(t *testing.T) {
	fs := &faultyFS{FS: vfs.NewMem()}
	s := openMem(t, Options{FS: fs})
	fs.set(on("write", "", syscall.ENOSPC))
	if err := write(t, s, lockB, "k", "v"); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	_ = mustEnd(t, "Close", begin(s.Close))
}

// The disk fails, in one way or another, at the nth operation, and then the
// power fails: what was acknowledged is there.
func TestEveryFault(t *testing.T) {
	step := int64(1)
	if testing.Short() {
		step = 13
	}
	for n := int64(1); n < 1_000_000; n += step {
		ops, ended := oneFault(t, n)
		if t.Failed() {
			t.Fatalf("at operation %d", n)
		}
		if ended {
			t.Logf("%d operations in all", ops)
			return
		}
	}
}

func oneFault(t *testing.T, n int64) (ops int64, ended bool) {
	mem := vfs.NewCrashableMem()
	fs := &faultyFS{FS: mem}
	s := openMem(t, Options{FS: fs})
	at := fs.ops.Load() + n
	fs.set(func(op, name string) error {
		if fs.ops.Load() >= at {
			return errIO
		}
		return nil
	})
	value := strings.Repeat("v", 20_000)
	const writers, rows = 4, 10
	var mu sync.Mutex
	acked := map[string]bool{}
	var ends []<-chan error
	for w := range writers {
		ends = append(ends, begin(func() error {
			for i := range rows {
				k := fmt.Sprint(w, i)
				err := write(t, s, kv.Lock{Class: 'a', ID: uint64(w / 2)}, k, value)
				if err != nil && !errors.Is(err, kv.ErrReadOnly) {
					return err
				}
				mu.Lock()
				acked[k] = err == nil
				mu.Unlock()
			}
			return nil
		}))
	}
	for _, c := range ends {
		mustDo(t, "a writer", c)
	}
	ended = s.Failed() == nil
	_ = mustEnd(t, "Close", begin(s.Close))
	again, err := Open("a/store", Options{FS: mem.CrashClone(vfs.CrashCloneCfg{}), CacheSize: 1 << 20})
	if err != nil {
		t.Fatalf("open after the fault: %v", err)
	}
	defer again.Close()
	for k, ok := range acked {
		if v, err := read(t, again, kv.Lock{Class: 'a', ID: uint64(k[0]-'0') / 2}, k); ok && v != value || err != nil {
			t.Errorf("%s is lost: %d bytes, %v", k, len(v), err)
		}
	}
	return fs.ops.Load(), ended
}

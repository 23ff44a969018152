package pebblekv

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/kvtest"
)

func openMem(t testing.TB, o Options) *Store {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	o.CacheSize = 4 << 20
	s, err := Open("a/store", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store { return openMem(t, Options{}) })
}

func TestContractStrict(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store { return kv.Strict(openMem(t, Options{})) })
}

func TestContractOnDisk(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store {
		s, err := Open(t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

var (
	lockA = kv.Lock{Class: 'a', ID: 1}
	lockB = kv.Lock{Class: 'a', ID: 2}
)

func plan(l ...kv.Lock) kv.Plan { return kv.Plan{Locks: l} }

func key(l kv.Lock, rest string) []byte { return append(l.Prefix(), rest...) }

func write(t testing.TB, s kv.Store, l kv.Lock, k, v string) error {
	return s.Update(t.Context(), plan(l), func(tx kv.Tx) error {
		tx.Set(key(l, k), []byte(v))
		return nil
	})
}

func read(t testing.TB, s kv.Store, l kv.Lock, k string) (string, error) {
	var v []byte
	err := s.View(t.Context(), func(r kv.Reader) (err error) {
		v, err = r.Get(key(l, k))
		return err
	})
	return string(v), err
}

func TestReopen(t *testing.T) {
	fs := vfs.NewMem()
	s := openMem(t, Options{FS: fs})
	for _, k := range []string{"a", "b", "c"} {
		if err := write(t, s, lockA, k, k+k); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Checkpoint("copy/of/store"); err != nil {
		t.Fatal(err)
	}
	if err := write(t, s, lockA, "b", "later"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, Options{FS: fs})
	if v, err := read(t, s, lockA, "b"); v != "later" || err != nil {
		t.Errorf("the store has %q, %v", v, err)
	}
	c, err := Open("copy/of/store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v, err := read(t, c, lockA, "b"); v != "bb" || err != nil {
		t.Errorf("the copy has %q, %v", v, err)
	}
	if m := s.Metrics(); m.Views != 1 || m.DiskBytes == 0 || m.Failed || m.Full {
		t.Errorf("%+v", m)
	}
}

func TestClock(t *testing.T) {
	then := time.Unix(1_000_000_000, 0)
	s := openMem(t, Options{Now: func() time.Time { return then }})
	_ = s.Update(t.Context(), kv.Plan{}, func(tx kv.Tx) error {
		if !tx.Now().Equal(then) {
			t.Errorf("it is %v", tx.Now())
		}
		return nil
	})
}

func TestSole(t *testing.T) {
	last := kv.Lock{Class: 'a', ID: 1<<64 - 1}
	end := kv.Lock{Class: 0xff, ID: 1<<64 - 1}
	for _, c := range []struct {
		name      string
		low, high []byte
		want      bool
	}{
		{"one prefix", lockA.Prefix(), kv.Next(lockA.Prefix()), true},
		{"inside", key(lockA, "a"), key(lockA, "b"), true},
		{"last id", last.Prefix(), kv.Next(last.Prefix()), true},
		{"trimmed", kv.Lock{Class: 'a', ID: 255}.Prefix(), kv.Next(kv.Lock{Class: 'a', ID: 255}.Prefix()), true},
		{"the end", end.Prefix(), nil, true},
		{"two", lockA.Prefix(), kv.Next(lockB.Prefix()), false},
		{"into the next", lockA.Prefix(), key(lockB, "a"), false},
		{"open", lockA.Prefix(), nil, false},
		{"class", []byte{'a'}, []byte{'b'}, false},
		{"all", nil, nil, false},
	} {
		l, ok := sole(c.low, c.high)
		if ok != c.want {
			t.Errorf("%s: %v", c.name, ok)
		}
		if want, _ := kv.LockOf(c.low); ok && l != want {
			t.Errorf("%s: %v", c.name, l)
		}
	}
}

// TestLanded: each commit is told of once, and what writes nothing is none.
func TestLanded(t *testing.T) {
	var mu sync.Mutex
	var took []time.Duration
	s := openMem(t, Options{Landed: func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		took = append(took, d)
	}})
	for i := range byte(3) {
		if err := s.Update(t.Context(), kv.Plan{}, func(tx kv.Tx) error {
			if i > 0 {
				tx.Set([]byte{kv.Free, i}, []byte("x"))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil { // after that all are told
		t.Fatal(err)
	}
	if len(took) != 2 || min(took[0], took[1]) < 0 || max(took[0], took[1]) > time.Hour {
		t.Errorf("told of %v", took)
	}
}

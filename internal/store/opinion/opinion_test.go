package opinion

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/mailbox"
)

func update(t *testing.T, s *Store, a mail.AccountID, fn func(kv.Tx) error) {
	t.Helper()
	if err := s.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}, fn); err != nil {
		t.Fatal(err)
	}
}

func thinks(t *testing.T, s *Store, a mail.AccountID, name string, junk bool) {
	t.Helper()
	update(t, s, a, func(tx kv.Tx) error { return Note(tx, a, name, junk) })
}

func expect(t *testing.T, s *Store, a mail.AccountID, junk bool, times int, names ...string) {
	t.Helper()
	o, err := s.Latest(t.Context(), time.Now(), a, names...)
	if err != nil || o.Junk != junk || o.Times != times || o.At.IsZero() != (times == 0) {
		t.Errorf("%q: %+v %v, want %v, %d times", names, o, err, junk, times)
	}
	if wrong, err := s.Check(t.Context(), a); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
}

// TestOpinions: the newest counts, of this account alone, for a year.
func TestOpinions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{DB: kv.Strict(memkv.New())}
		expect(t, s, 1, false, 0, "x")
		thinks(t, s, 1, "x", true)
		thinks(t, s, 1, "x", true)
		expect(t, s, 1, true, 2, "x", "y")
		expect(t, s, 2, false, 0, "x")
		time.Sleep(time.Hour)
		thinks(t, s, 1, "y", false)
		expect(t, s, 1, false, 1, "x", "y")
		thinks(t, s, 1, "x", false)
		expect(t, s, 1, false, 1, "x")
		for range 2 {
			update(t, s, 1, func(tx kv.Tx) error { return Forget(tx, 1, "y") })
		}
		expect(t, s, 1, false, 0, "y")
		thinks(t, s, 1, "x", true)
		time.Sleep(Keep + 2*time.Second)
		expect(t, s, 1, false, 0, "x")
		thinks(t, s, 1, "x", true)
		expect(t, s, 1, true, 1, "x")
	})
}

// TestBound: there are never more than so many, and the oldest go first.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{DB: memkv.New()}
		for n := range Max + 1 {
			thinks(t, s, 1, fmt.Sprint(n), true)
			if n%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		expect(t, s, 1, false, 0, "0")
		expect(t, s, 1, true, 1, fmt.Sprint(Max))
		n := 0
		s.DB.View(t.Context(), func(r kv.Reader) error {
			for range r.Scan(kv.Prefix(key(1, subName))) {
				n++
			}
			return nil
		})
		if n != Max*3/4+1 {
			t.Errorf("%d rows", n)
		}
	})
}

// TestBroken: a row that cannot be read is told of, says nothing, and is written anew.
func TestBroken(t *testing.T) {
	s := &Store{DB: memkv.New()}
	thinks(t, s, 1, "x", true)
	update(t, s, 1, func(tx kv.Tx) error { tx.Set(nameKey(1, "x"), []byte{7, 9, 9}); return nil })
	if o, err := s.Latest(t.Context(), time.Now(), 1, "x"); err != nil || !o.At.IsZero() {
		t.Error(o, err)
	}
	if wrong, err := s.Check(t.Context(), 1); err != nil || len(wrong) != 1 {
		t.Error(wrong, err)
	}
	thinks(t, s, 1, "x", false)
	expect(t, s, 1, false, 1, "x")
	update(t, s, 1, func(tx kv.Tx) error { tx.Delete(key(1, subCount)); return nil })
	if wrong, err := s.Check(t.Context(), 1); err != nil || len(wrong) != 1 {
		t.Error(wrong, err)
	}
}

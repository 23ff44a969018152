package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

const ada mail.AccountID = 7

func newStore(t testing.TB) *Store {
	t.Helper()
	db := kv.Strict(memkv.New())
	m := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(ada)}}, func(tx kv.Tx) error { return m.Create(tx, ada, 0, 0) })
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{DB: db}
	t.Cleanup(func() {
		wrong, err := s.Check(context.Background(), ada)
		more, err2 := m.Check(context.Background(), ada, nil)
		if err != nil || err2 != nil || len(wrong)+len(more) > 0 {
			t.Error(wrong, more, err, err2)
		}
	})
	return s
}

func (s *Store) names(t testing.TB) string {
	t.Helper()
	list, err := s.List(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		x := fmt.Sprintf("%s %d", i.Name, i.Size)
		if i.Active {
			x += "*"
		}
		out = append(out, x)
	}
	return strings.Join(out, ", ")
}

// TestScripts: they are saved, listed, activated, renamed and deleted.
func TestScripts(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	do := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	long := bytes.Repeat([]byte("0123456789"), 20_000)
	do(s.Put(ctx, ada, "b", []byte("keep;")), nil)
	do(s.Put(ctx, ada, "Büro 1/2", long), nil)
	do(s.Put(ctx, ada, "b2", nil), nil)
	do(s.Activate(ctx, ada, "b"), nil)
	do(s.Activate(ctx, ada, "none"), mail.ErrNotFound)
	if got := s.names(t); got != "Büro 1/2 200000, b 5*, b2 0" {
		t.Errorf("there are %s", got)
	}
	if text, err := s.Get(ctx, ada, "Büro 1/2"); err != nil || !bytes.Equal(text, long) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	do(s.Put(ctx, ada, "Büro 1/2", []byte("short")), nil)
	if text, err := s.Get(ctx, ada, "Büro 1/2"); err != nil || string(text) != "short" {
		t.Errorf("%q, %v", text, err)
	}
	_, before, err := s.Active(ctx, ada)
	do(err, nil)
	do(s.Delete(ctx, ada, "b"), mail.ErrInUse)
	do(s.Rename(ctx, ada, "b", "b2"), mail.ErrExists)
	do(s.Rename(ctx, ada, "x", "y"), mail.ErrNotFound)
	do(s.Rename(ctx, ada, "b", "c"), nil)
	if name, change, err := s.Active(ctx, ada); name != "c" || change <= before || err != nil {
		t.Errorf("active is %q, %d after %d, %v", name, change, before, err)
	}
	do(s.Activate(ctx, ada, ""), nil)
	do(s.Delete(ctx, ada, "c"), nil)
	do(s.Delete(ctx, ada, "c"), mail.ErrNotFound)
	if _, err := s.Get(ctx, ada, "c"); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	if got := s.names(t); got != "Büro 1/2 5, b2 0" {
		t.Errorf("there are %s", got)
	}
	do(s.Put(ctx, ada+1, "a", nil), mail.ErrNotFound)
	for _, bad := range []string{"", "a\nb", "a\x00b", strings.Repeat("x", MaxName+1), "\u2028", "\xff"} {
		if s.Put(ctx, ada, bad, nil) == nil || s.Rename(ctx, ada, "b2", bad) == nil {
			t.Errorf("%q is a name", bad)
		}
	}
}

// TestPieces: the key of a piece of a script is nobody's name.
func TestPieces(t *testing.T) {
	s := newStore(t)
	if err := errors.Join(s.Put(t.Context(), ada, "a", []byte("keep;")), s.Activate(t.Context(), ada, "a")); err != nil {
		t.Fatal(err)
	}
	const bad = "a\x00"
	_, err := s.Get(t.Context(), ada, bad)
	for _, err := range []error{err, s.Activate(t.Context(), ada, bad), s.Rename(t.Context(), ada, bad, "b"), s.Delete(t.Context(), ada, bad)} {
		if !errors.Is(err, mail.ErrNotFound) {
			t.Error(err)
		}
	}
	if got := s.names(t); got != "a 5*" {
		t.Errorf("there are %s", got)
	}
}

// TestRoom: an account has so many scripts and so many bytes of them.
func TestRoom(t *testing.T) {
	s := newStore(t)
	big := make([]byte, maxText)
	for i := range MaxBytes / maxText {
		if err := s.Put(t.Context(), ada, fmt.Sprint(i), big); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), ada, "more", []byte("x")); !errors.Is(err, mail.ErrLimit) {
		t.Error(err)
	}
	if err := s.Put(t.Context(), ada, "0", big[:10]); err != nil {
		t.Error(err)
	}
	if err := s.Room(t.Context(), ada, "more", maxText+1); !errors.Is(err, mail.ErrLimit) {
		t.Error(err)
	}
	for i := range MaxScripts + 1 {
		err := s.Put(t.Context(), ada, fmt.Sprintf("n%d", i), nil)
		if full := i >= MaxScripts-MaxBytes/maxText; full != errors.Is(err, mail.ErrLimit) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestMarks: a mark is good for its time, from when it was left first, or last.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		leave := func(k string, again bool) (seen bool) {
			t.Helper()
			err := s.update(t.Context(), ada, func(tx kv.Tx) (err error) {
				m := Mark{Key: k, For: time.Hour}
				if again {
					s.Renew(tx, ada, m)
					return nil
				}
				seen, err = s.Leave(tx, ada, m)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return seen
		}
		seen := func(k string, want bool) {
			t.Helper()
			if got, err := s.Seen(t.Context(), ada, k); got != want || err != nil {
				t.Errorf("%s: %v, %v", k, got, err)
			}
		}
		seen("a", false)
		if leave("a", false) {
			t.Error("seen before it was left")
		}
		leave("b", false)
		time.Sleep(59 * time.Minute)
		seen("a", true)
		if !leave("a", false) { // it counts from the first time
			t.Error("not seen")
		}
		leave("b", true)
		time.Sleep(2 * time.Minute)
		seen("a", false)
		seen("b", true)
		if err := s.Sweep(t.Context(), ada, time.Now()); err != nil {
			t.Fatal(err)
		}
		n := 0
		s.DB.View(t.Context(), func(r kv.Reader) error {
			for range r.Scan(kv.Prefix(key(ada, kindMark))) {
				n++
			}
			return nil
		})
		if n != 1 {
			t.Errorf("%d marks are left", n)
		}
	})
}

// TestFault: what went wrong last is kept, until all is well.
func TestFault(t *testing.T) {
	s := newStore(t)
	at := time.Unix(1_800_000_000, 0)
	if err := s.NoteFault(t.Context(), ada, Fault{At: at, Name: "x", Text: strings.Repeat("ä", 400)}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Fault(t.Context(), ada)
	if err != nil || !f.At.Equal(at) || f.Name != "x" || len(f.Text) != maxFault {
		t.Errorf("%+v, %v", f, err)
	}
	if err := s.NoteFault(t.Context(), ada, Fault{}); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Fault(t.Context(), ada); err != nil || f != (Fault{}) {
		t.Errorf("%+v, %v", f, err)
	}
}

// FuzzRows: no row does harm.
func FuzzRows(f *testing.F) {
	f.Add([]byte{1, 5, 1, 'a'}, []byte("x"), byte(0))
	f.Fuzz(func(t *testing.T, row, text []byte, chunk byte) {
		db := memkv.New()
		s := &Store{DB: db}
		if len(row) > kv.MaxValue || len(text) > kv.MaxValue {
			return
		}
		err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(ada)}}, func(tx kv.Tx) error {
			tx.Set(key(ada, kindActive), row)
			if len(text) > 3 {
				tx.Set(textKey(ada, "a", 0), text)
			}
			tx.Set(textKey(ada, "a", chunk), text)
			tx.Set(markKey(ada, "m"), row)
			tx.Set(key(ada, kindFault), row)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s.List(t.Context(), ada)
		s.Get(t.Context(), ada, "a")
		s.Active(t.Context(), ada)
		s.Seen(t.Context(), ada, "m")
		s.Fault(t.Context(), ada)
		if _, err := s.Check(t.Context(), ada); err != nil {
			t.Error(err)
		}
		if err := s.Sweep(t.Context(), ada, time.Now()); err != nil {
			t.Error(err)
		}
	})
}

// TestRemembered: which script is active is remembered, and never what was before a change.
func TestRemembered(t *testing.T) {
	s := newStore(t)
	other := &Store{DB: s.DB} // as another part of the server has it
	is := func(want string) {
		t.Helper()
		for range 2 {
			for _, x := range []*Store{s, other} {
				if name, _, err := x.Active(t.Context(), ada); name != want || err != nil {
					t.Errorf("%q, %v, want %q", name, err, want)
				}
			}
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	is("")
	do(s.Put(t.Context(), ada, "a", nil))
	do(s.Put(t.Context(), ada, "b", nil))
	is("")
	do(s.Activate(t.Context(), ada, "a"))
	is("a")
	do(other.Activate(t.Context(), ada, "b"))
	is("b")
	do(s.Rename(t.Context(), ada, "b", "c"))
	is("c")
	_, before, _ := other.Active(t.Context(), ada)
	do(s.Put(t.Context(), ada, "a", []byte("x")))
	if _, after, _ := other.Active(t.Context(), ada); after == before {
		t.Error("another text is no change")
	}
	do(s.Activate(t.Context(), ada, ""))
	is("")
}

package signin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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

// A writes counts what is written.
type writes struct {
	kv.Store
	n int
}

func (w *writes) Update(ctx context.Context, p kv.Plan, fn func(kv.Tx) error) error {
	w.n++
	return w.Store.Update(ctx, p, fn)
}

// in runs a test in a bubble, with a strict store and the accounts 1 and 2.
func in(t *testing.T, fn func(t *testing.T, s *Store, w *writes)) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{Store: memkv.New()}
		db := kv.Strict(w)
		defer db.Close()
		boxes := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
		for a := mail.AccountID(1); a <= 2; a++ {
			err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}, func(tx kv.Tx) error {
				return boxes.Create(tx, a, 0, 0)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		fn(t, &Store{DB: db}, w)
		for a := mail.AccountID(1); a <= 2; a++ {
			if wrong, err := (&Store{DB: db}).Check(t.Context(), a); wrong != nil || err != nil {
				t.Error(wrong, err)
			}
		}
	})
}

func open(t *testing.T, s *Store, a mail.AccountID, program string) string {
	t.Helper()
	token, err := s.Open(t.Context(), Session{Account: a, Proof: "p1", From: netip.MustParseAddr("2001:db8::1"), Program: program})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// finds says what a token opens, by program; "" is nothing.
func finds(t *testing.T, s *Store, token, want string) Session {
	t.Helper()
	got, err := s.Find(t.Context(), token)
	if err != nil && !errors.Is(err, mail.ErrNotFound) || (err != nil) != (want == "") || got.Program != want {
		t.Errorf("%q: %+v, %v", want, got, err)
	}
	return got
}

func names(t *testing.T, s *Store, a mail.AccountID) (out string) {
	t.Helper()
	list, err := s.List(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		out += x.Program + " "
	}
	return strings.TrimSpace(out)
}

func TestSession(t *testing.T) {
	in(t, func(t *testing.T, s *Store, _ *writes) {
		begin := time.Now()
		one, two, other := open(t, s, 1, "one"), open(t, s, 1, "two"), open(t, s, 2, "other")
		got := finds(t, s, one, "one")
		want := Session{Account: 1, ID: got.ID, Proof: "p1", Created: begin, Seen: begin, From: netip.MustParseAddr("2001:db8::1"), Program: "one"}
		if got != want || len(got.ID) != 16 || strings.Contains(one, got.ID) {
			t.Errorf("%+v", got)
		}
		for _, bad := range []string{"", "x", one[:len(one)-1], one + "A", one[:len(one)-1] + "~", strings.Repeat("A", len(one)), other[:11] + one[11:], " " + one[1:]} {
			if bad != one {
				finds(t, s, bad, "")
				if err := s.Close(t.Context(), bad); err != nil {
					t.Error(err)
				}
			}
		}
		if err := s.CloseID(t.Context(), 2, got.ID); err != nil { // not his
			t.Error(err)
		}
		if err := s.Close(t.Context(), two); err != nil {
			t.Error(err)
		}
		finds(t, s, one, "one")
		finds(t, s, two, "")
		if err := s.CloseID(t.Context(), 1, got.ID); err != nil {
			t.Error(err)
		}
		finds(t, s, one, "")
		finds(t, s, other, "other")
		if _, err := s.Open(t.Context(), Session{Account: 3}); !errors.Is(err, mail.ErrNotFound) {
			t.Error("a session of nobody:", err)
		}
	})
}

func TestCloseAll(t *testing.T) {
	in(t, func(t *testing.T, s *Store, w *writes) {
		open(t, s, 1, "a")
		b := open(t, s, 1, "b")
		open(t, s, 1, "c")
		other := open(t, s, 2, "other")
		if err := s.CloseAll(t.Context(), 1, b); err != nil || names(t, s, 1) != "b" {
			t.Error(names(t, s, 1), err)
		}
		before := w.n
		if err := s.CloseAll(t.Context(), 1, b); err != nil || w.n != before {
			t.Error("nothing to do is a write:", w.n-before, err)
		}
		if err := s.CloseAll(t.Context(), 1, other); err != nil || names(t, s, 1) != "" {
			t.Error(names(t, s, 1), err)
		}
		finds(t, s, other, "other")
	})
}

// TestOver: a session ends when nobody uses it, and in any case after a day; it is
// seldom written anew.
func TestOver(t *testing.T) {
	in(t, func(t *testing.T, s *Store, w *writes) {
		begin := time.Now()
		idle, used := open(t, s, 1, "idle"), open(t, s, 1, "used")
		before := w.n
		for time.Since(begin) < Longest {
			finds(t, s, used, "used")
			if since := time.Since(begin); strings.Contains(names(t, s, 1), "idle") != (since < Idle) {
				t.Errorf("after %v: %s", since, names(t, s, 1))
			}
			time.Sleep(time.Minute)
		}
		if n := (w.n - before) / 2; n < 280 || n > 288 { // Strict runs each twice
			t.Errorf("%d writes in a day", n)
		}
		finds(t, s, used, "")
		finds(t, s, idle, "")
		again := open(t, s, 2, "again")
		time.Sleep(Idle - time.Second)
		finds(t, s, again, "again")
		time.Sleep(Idle - time.Second)
		finds(t, s, again, "again")
		time.Sleep(Idle)
		finds(t, s, again, "")
		if err := s.Sweep(t.Context(), 2, time.Now()); err != nil || rows(t, s, 2) != 0 {
			t.Error(err)
		}
		if err := s.Sweep(t.Context(), 1, time.Now()); err != nil || rows(t, s, 1) != 0 {
			t.Error(err)
		}
	})
}

func rows(t *testing.T, s *Store, a mail.AccountID) (n int) {
	t.Helper()
	err := s.DB.View(t.Context(), func(r kv.Reader) error {
		n = 0
		return each(r, a, func([]byte, Session, error) { n++ })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMax: the one that was used longest ago goes.
func TestMax(t *testing.T) {
	in(t, func(t *testing.T, s *Store, _ *writes) {
		first := open(t, s, 1, "first")
		for i := range Max - 1 {
			time.Sleep(time.Second)
			open(t, s, 1, fmt.Sprint(i))
		}
		time.Sleep(seenEvery)
		finds(t, s, first, "first")
		open(t, s, 1, "last")
		list := names(t, s, 1)
		if n := len(strings.Fields(list)); n != Max || rows(t, s, 1) != Max || !strings.HasPrefix(list, "first last 18 ") && !strings.HasPrefix(list, "last first 18 ") || !strings.HasSuffix(list, " 1") {
			t.Error(n, list)
		}
	})
}

// TestFuture: a clock that was ahead makes no session that lasts for years.
func TestFuture(t *testing.T) {
	in(t, func(t *testing.T, s *Store, _ *writes) {
		token := open(t, s, 1, "x")
		_, h, _ := parse(token)
		at := func(d time.Duration) {
			x := Session{Created: time.Now().Add(d), Seen: time.Now().Add(d), Program: "x"}
			err := s.update(t.Context(), 1, func(tx kv.Tx) error { tx.Set(key(1, h), x.row()); return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		at(skew)
		finds(t, s, token, "x")
		at(skew + time.Second)
		finds(t, s, token, "")
	})
}

// TestHidden: the store has nothing of the token, and what a browser says of itself is
// made fit to be shown.
func TestHidden(t *testing.T) {
	in(t, func(t *testing.T, s *Store, _ *writes) {
		token := open(t, s, 1, " Mozilla\x00/5.0\r\n\u2028(\xff\u202eX11; ñ) "+strings.Repeat("é", 400))
		raw, _ := token64.DecodeString(token)
		err := s.DB.View(t.Context(), func(r kv.Reader) error {
			for row, err := range r.Scan(kv.Prefix(prefix(1))) {
				if err != nil || strings.Contains(string(row.Key)+string(row.Value), string(raw[8:16])) {
					t.Error("the token is in the store", err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Find(t.Context(), token)
		if want := "Mozilla/5.0(X11; ñ) éé"; err != nil || !strings.HasPrefix(got.Program, want) || len(got.Program) > maxProgram || len(got.Program) < maxProgram-1 {
			t.Errorf("%q, %v", got.Program, err)
		}
	})
}

// TestDamaged: what cannot be read opens nothing, is told, and goes.
func TestDamaged(t *testing.T) {
	in(t, func(t *testing.T, s *Store, _ *writes) {
		token := open(t, s, 1, "x")
		open(t, s, 1, "y")
		_, h, _ := parse(token)
		put := func(k []byte, v ...byte) {
			err := s.update(t.Context(), 1, func(tx kv.Tx) error { tx.Set(k, v); return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		put(key(1, h), version, 200)
		put(append(prefix(1), 'x'))
		finds(t, s, token, "")
		if wrong, err := s.Check(t.Context(), 1); len(wrong) != 1 || !strings.Contains(wrong[0], "2 sessions") || err != nil {
			t.Error(wrong, err)
		}
		if err := s.CloseID(t.Context(), 1, "nobody"); err != nil {
			t.Error(err)
		}
		if err := s.Sweep(t.Context(), 1, time.Now()); err != nil || names(t, s, 1) != "y" || rows(t, s, 1) != 1 {
			t.Error(err)
		}
		put(key(1, h), append((&Session{Created: time.Now(), Seen: time.Now(), Program: "later"}).row(), 7, 7)...)
		finds(t, s, token, "later") // a later version's row
	})
}

// FuzzToken: what is no token of ours finds nothing, and harms nothing.
func FuzzToken(f *testing.F) {
	f.Add(newToken(1))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if _, _, ok := parse(token); ok {
			raw, err := token64.DecodeString(token)
			if err != nil || token64.EncodeToString(raw) != token {
				t.Errorf("%q is a second form of a token", token)
			}
		}
	})
}

// FuzzRow: whatever stands in a row, reading it ends; what can be read is written again
// as it was.
func FuzzRow(f *testing.F) {
	f.Add((&Session{Proof: "p1", Created: time.Unix(1, 0), Seen: time.Unix(2, 0), From: netip.MustParseAddr("192.0.2.1"), Program: "x"}).row())
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := make([]byte, len(hash{}))
		s, err := decode(1, h, raw)
		if err != nil {
			return
		}
		if again, err := decode(1, h, s.row()); err != nil || again != s {
			t.Errorf("%+v, %+v, %v", s, again, err)
		}
	})
}

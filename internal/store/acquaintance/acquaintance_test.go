package acquaintance

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

var (
	ada = mail.Address{Local: "Ada", Domain: "a.example"}
	bob = mail.Address{Local: "bob", Domain: "b.example"}
)

// TestRemembered: what is noted counts at once, outlives the process once it is
// written, and is forgotten when its time is over.
func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.Strict(memkv.New())
		s := &Store{DB: db}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx, func(err error) { t.Error(err) }) }()
		begin := time.Now().Truncate(time.Second)
		if r, err := s.Of(ctx, begin, "domain b.example"); err != nil || !r.First.IsZero() {
			t.Errorf("%+v %v", r, err)
		}
		s.Took(begin, "domain b.example", "network 192.0.2.0")
		s.Took(begin.Add(time.Minute), "domain b.example")
		s.Wrote(begin, ada)
		if !s.Tried(begin, "n", bob, ada) {
			t.Error("there is room")
		}
		want := Record{First: begin, Last: begin.Add(time.Minute), Count: 2}
		look := func(s *Store, now time.Time, want Record, written, asked int) {
			t.Helper()
			if r, err := s.Of(t.Context(), now, "network 192.0.2.0", "domain b.example", "nobody"); err != nil || r != want {
				t.Errorf("%+v, want %+v, %v", r, want, err)
			}
			if r, err := s.Written(t.Context(), now, mail.Address{Local: "aDa", Domain: "a.example"}); err != nil || r.Count != written {
				t.Errorf("written: %+v %v", r, err)
			}
			if r, err := s.Asked(t.Context(), now, "n", bob, ada); err != nil || r.Count != asked {
				t.Errorf("asked: %+v %v", r, err)
			}
		}
		look(s, begin, want, 1, 1)
		time.Sleep(flushAfter + time.Millisecond)
		synctest.Wait()
		if len(s.waiting) != 0 {
			t.Error("nothing was written")
		}
		s.Wrote(begin, ada)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s = &Store{DB: db}
		look(s, begin, want, 2, 1)
		look(s, begin.Add(3*24*time.Hour), want, 2, 0)
		look(s, begin.Add(200*24*time.Hour), Record{}, 0, 0)
		// What was forgotten begins anew.
		again := begin.Add(200 * 24 * time.Hour)
		s.Took(again, "domain b.example")
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		look(s, again, Record{First: again, Last: again, Count: 1}, 0, 0)
		if err := s.Sweep(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, k := range []kind{kindSender, kindWritten, kindTried} {
			s.each(t.Context(), k, func([]byte, Record, error) { n++ })
		}
		if n != 1 {
			t.Errorf("%d rows are left", n)
		}
		if wrong, err := s.Check(t.Context()); err != nil || wrong != nil {
			t.Error(wrong, err)
		}
	})
}

// TestBounds: neither memory nor store grows without end, and the oldest goes first.
func TestBounds(t *testing.T) {
	s := &Store{DB: memkv.New()}
	begin := time.Unix(1_800_000_000, 0)
	for i := range maxWaiting {
		if !s.Tried(begin.Add(time.Duration(i)*time.Second), fmt.Sprint(i), bob, ada) {
			t.Fatal(i)
		}
	}
	if s.Tried(begin, "one more", bob, ada) {
		t.Error("there is no bound")
	}
	if err := s.Flush(t.Context()); err == nil {
		t.Error("nobody hears of what was lost")
	}
	if err := s.sweep(t.Context(), kindTried, begin, 100); err != nil {
		t.Fatal(err)
	}
	n := 0
	s.each(t.Context(), kindTried, func(_ []byte, r Record, _ error) {
		if n++; r.First.Before(begin.Add((maxWaiting - 100) * time.Second)) {
			t.Errorf("%v is left", r.First)
		}
	})
	if n != 100 {
		t.Errorf("%d are left", n)
	}
}

// TestBroken: a row that cannot be read is told of, and is in nobody's way for long.
func TestBroken(t *testing.T) {
	s := &Store{DB: memkv.New()}
	k := []byte(key(kindSender, "x"))
	err := s.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		tx.Set(k, []byte{0x80})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if wrong, err := s.Check(t.Context()); err != nil || len(wrong) != 1 {
		t.Error(wrong, err)
	}
	if _, err := s.Of(t.Context(), time.Now(), "x"); err == nil {
		t.Error("it was read")
	}
	if err := s.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Of(t.Context(), time.Now(), "x"); err != nil {
		t.Error(err)
	}
}

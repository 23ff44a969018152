package allowance

import (
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/mailbox"
)

// in runs a test in a bubble, with a strict store.
func in(t *testing.T, limit, floor int, fn func(t *testing.T, s *Store)) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.Strict(memkv.New())
		defer db.Close()
		fn(t, &Store{DB: db, Cap: limit, Floor: floor})
	})
}

func take(t *testing.T, s *Store, a mail.AccountID, n int, want bool) Answer {
	t.Helper()
	out, err := s.Take(t.Context(), a, n)
	if err != nil || out.OK != want {
		t.Fatalf("%d: %+v, %v", n, out, err)
	}
	return out
}

func of(t *testing.T, s *Store, a mail.AccountID) State {
	t.Helper()
	st, err := s.Of(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestTake: the cap alone.
func TestTake(t *testing.T) {
	in(t, 100, 0, func(t *testing.T, s *Store) {
		begin := time.Now().Truncate(time.Hour)
		take(t, s, 1, 60, true)
		time.Sleep(3 * time.Hour)
		take(t, s, 1, 40, true)
		if a := take(t, s, 1, 1, false); !a.Room.Equal(begin.Add(24*time.Hour)) || a.Usual || a.Limit != 100 || a.Sum != 101 || !a.New {
			t.Errorf("%+v", a)
		}
		if a := take(t, s, 1, 61, false); !a.Room.Equal(begin.Add(27*time.Hour)) || a.New {
			t.Errorf("room for more at %v", a.Room.Sub(begin))
		}
		if a := take(t, s, 1, 101, false); !a.Room.IsZero() {
			t.Errorf("room for what is always too much at %v", a.Room.Sub(begin))
		}
		take(t, s, 2, 100, true) // somebody else
		if st := of(t, s, 1); st.Sent != 100 || st.Wanted != 201 {
			t.Errorf("%+v", st)
		}
		time.Sleep(21 * time.Hour)
		take(t, s, 1, 61, false)
		take(t, s, 1, 60, true)
		time.Sleep(25 * time.Hour)
		if st := of(t, s, 1); st.Sent != 0 || !st.Stopped.IsZero() {
			t.Errorf("a day later: %+v", st)
		}
	})
}

// TestLearn: an account's limit follows its busiest day, between floor and cap, and
// forgets it after 30 days.
func TestLearn(t *testing.T) {
	in(t, 1000, 50, func(t *testing.T, s *Store) {
		const day = 24 * time.Hour
		limit := func(when string, want int, learned bool) {
			t.Helper()
			if st := of(t, s, 1); st.Limit != want || st.Usual != learned {
				t.Errorf("%s: %+v, want a limit of %d", when, st, want)
			}
		}
		limit("at first", 50, true)
		take(t, s, 1, 40, true)
		limit("today is not over", 50, true)
		take(t, s, 1, 11, false)
		time.Sleep(day)
		limit("after a day", 120, true)
		take(t, s, 1, 120, true)
		take(t, s, 1, 1, false)
		time.Sleep(day)
		limit("after a busy day", 360, true)
		take(t, s, 1, 350, true)
		time.Sleep(day)
		limit("the cap", 1000, false)
		time.Sleep(28 * day)
		limit("before it is forgotten", 1000, false)
		time.Sleep(2 * day)
		limit("when it is forgotten", 50, true)
		if raw, _ := s.Check(t.Context(), 1); raw != nil {
			t.Error(raw)
		}
	})
}

// TestRelease: what was stopped may go for a day, and is learned.
func TestRelease(t *testing.T) {
	in(t, 1000, 50, func(t *testing.T, s *Store) {
		if a := take(t, s, 1, 200, false); !a.Usual || !a.New || a.Limit != 50 {
			t.Errorf("%+v", a)
		}
		if a := take(t, s, 1, 200, false); a.New {
			t.Error("told twice")
		}
		if st := of(t, s, 1); st.Stopped.IsZero() || st.Wanted != 200 {
			t.Errorf("%+v", st)
		}
		if err := s.Release(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if st := of(t, s, 1); !st.Stopped.IsZero() || time.Until(st.Released) < 23*time.Hour || st.Limit != 1000 || st.Usual {
			t.Errorf("%+v", st)
		}
		take(t, s, 1, 200, true)
		take(t, s, 1, 801, false) // the cap
		time.Sleep(24 * time.Hour)
		if st := of(t, s, 1); !st.Released.IsZero() || st.Limit != 600 || st.Busiest != 200 {
			t.Errorf("a day later: %+v", st)
		}
	})
}

// TestOld: what the last version counted is what an account begins with.
func TestOld(t *testing.T) {
	in(t, 1000, 50, func(t *testing.T, s *Store) {
		now := time.Now().Unix() / 3600
		put := func(kind byte, b []byte) {
			err := s.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(1)}}, func(tx kv.Tx) error {
				tx.Set(key(1, kind), b)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		put(kindSent, row(nil, []count{{now - 30, 500}, {now - 5, 90}, {now + 9, 7}}))
		if st := of(t, s, 1); st.Sent != 90 || st.Busiest != 90 || st.Limit != 270 {
			t.Errorf("%+v", st)
		}
		take(t, s, 1, 100, true)
		if st := of(t, s, 1); st.Sent != 190 || st.Busiest != 90 {
			t.Errorf("%+v", st)
		}
		put(kindUsual, []byte{0, 0, 0, 2, 7, 7, 0xff}) // more before the days, and a row that ends within a number
		if wrong, err := s.Check(t.Context(), 1); err != nil || len(wrong) != 1 {
			t.Error(wrong, err)
		}
		put(kindUsual, append([]byte{0, 0, 0, 2, 7, 7}, row(nil, []count{{now/24 - 1, 80}})...))
		if st := of(t, s, 1); st.Busiest != 80 {
			t.Errorf("a later version's row: %+v", st)
		}
	})
}

// TestNone: without a cap nothing is counted.
func TestNone(t *testing.T) {
	in(t, 0, 50, func(t *testing.T, s *Store) {
		take(t, s, 1, 1_000_000, true)
		if st := of(t, s, 1); st != (State{}) {
			t.Errorf("%+v", st)
		}
	})
}

// FuzzRead: whatever stands in the rows, reading them ends, and stops nobody.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{0, 0, 0, 1, 9, 5, 5})
	f.Add([]byte{}, []byte{0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, sent, u []byte) {
		db := memkv.New()
		defer db.Close()
		err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(1)}}, func(tx kv.Tx) error {
			tx.Set(key(1, kindSent), sent)
			tx.Set(key(1, kindUsual), u)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &Store{DB: db, Cap: 1000, Floor: 10}
		_, err = s.Check(t.Context(), 1)
		if _, of := s.Of(t.Context(), 1); err != nil || of != nil {
			t.Error(err, of)
		}
	})
}

// TestDamaged: a row that cannot be read is told by Check, and stops nobody; the next
// Take makes it whole.
func TestDamaged(t *testing.T) {
	for _, kind := range []byte{kindSent, kindUsual} {
		in(t, 100, 10, func(t *testing.T, s *Store) {
			take(t, s, 1, 4, true)
			err := s.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(1)}}, func(tx kv.Tx) error {
				tx.Set(key(1, kind), []byte{0xff})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if wrong, err := s.Check(t.Context(), 1); len(wrong) != 1 || err != nil {
				t.Fatal(wrong, err)
			}
			if st := of(t, s, 1); st.Sent != 0 || st.Limit != 10 {
				t.Errorf("%+v", st)
			}
			take(t, s, 1, 11, false)
			take(t, s, 1, 10, true)
			if wrong, err := s.Check(t.Context(), 1); wrong != nil || err != nil {
				t.Error(wrong, err)
			}
			if st := of(t, s, 1); st.Sent != 10 {
				t.Errorf("%+v", st)
			}
		})
	}
}

package allowance

import (
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv/memkv"
)

func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memkv.New()
		defer db.Close()
		s := &Store{DB: db}
		take := func(a mail.AccountID, n int, want bool) time.Time {
			t.Helper()
			ok, room, err := s.Take(t.Context(), a, n, 100)
			if err != nil || ok != want {
				t.Fatalf("%d: %v, %v", n, ok, err)
			}
			return room
		}
		begin := time.Now().Truncate(time.Hour)
		take(1, 60, true)
		time.Sleep(3 * time.Hour)
		take(1, 40, true)
		if room := take(1, 1, false); !room.Equal(begin.Add(24 * time.Hour)) {
			t.Errorf("room at %v", room.Sub(begin))
		}
		if room := take(1, 61, false); !room.Equal(begin.Add(27 * time.Hour)) {
			t.Errorf("room for more at %v", room.Sub(begin))
		}
		if room := take(1, 101, false); !room.IsZero() {
			t.Errorf("room for what is always too much at %v", room)
		}
		take(2, 100, true) // somebody else
		if n, err := s.Sent(t.Context(), 1); n != 100 || err != nil {
			t.Error(n, err)
		}
		time.Sleep(21 * time.Hour)
		take(1, 61, false)
		take(1, 60, true)
		time.Sleep(24 * time.Hour)
		if n, _ := s.Sent(t.Context(), 1); n != 0 {
			t.Error("a day later", n)
		}
	})
}

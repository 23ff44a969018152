package suppression

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

func TestSuppression(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memkv.New()
		defer db.Close()
		l := &List{DB: db, After: 3}
		joe := mail.Address{Local: "Joe", Domain: "b.example"}
		n := byte(0)
		note := func(a mail.Address, again bool) {
			t.Helper()
			if !again {
				n++
			}
			err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
				return l.Note(tx, a, mail.TraceID{n}, "550 5.1.1 no such user "+strings.Repeat("x", 500))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		check := func(a mail.Address, want time.Duration) {
			t.Helper()
			e, until, err := l.Suppressed(t.Context(), a)
			if err != nil || want == 0 && !until.IsZero() || want > 0 && time.Until(until).Round(time.Hour) != want {
				t.Errorf("%v: %+v until %v, want %v; %v", a, e, time.Until(until), want, err)
			}
		}
		note(joe, false)
		note(joe, true) // the same message, noted twice
		note(joe, false)
		check(joe, 0)
		time.Sleep(24 * time.Hour)
		note(mail.Address{Local: "JOE", Domain: "b.example"}, false)
		check(joe, Rest)
		check(mail.Address{Local: "joe", Domain: "c.example"}, 0)
		all, err := l.All(t.Context())
		if err != nil || len(all) != 1 || all[0].Count != 3 || all[0].Address.Local != "JOE" || len(all[0].Text) != maxText || !all[0].First.Before(all[0].Last) {
			t.Errorf("%+v, %v", all, err)
		}
		time.Sleep(Rest)
		check(joe, 0) // tried again, and if that fails
		note(joe, false)
		check(joe, Rest)
		if err := l.Remove(t.Context(), joe); err != nil {
			t.Error(err)
		}
		check(joe, 0)
		if err := l.Remove(t.Context(), joe); !errors.Is(err, mail.ErrNotFound) {
			t.Error(err)
		}
		// Failures that are far apart are not counted together.
		for range 3 {
			note(joe, false)
			time.Sleep(Window + time.Hour)
		}
		check(joe, 0)
		if err := l.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		if err := l.Remove(t.Context(), joe); !errors.Is(err, mail.ErrNotFound) {
			t.Error("not swept:", err)
		}
		note(joe, false)
		note(joe, false)
		note(joe, false)
		l.After = 0
		check(joe, 0)
	})
}

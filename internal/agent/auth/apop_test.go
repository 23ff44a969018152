package auth

import (
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// TestAPOP: its password opens an account by it and by nothing else, for POP3, and
// guessing gets slower.
func TestAPOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := house(t)
		v := a.For(home, directory.POP3).(*verifier)
		offered := func(want bool) {
			t.Helper()
			if got, err := v.OffersAPOP(t.Context()); err != nil || got != want {
				t.Errorf("offered: %v, %v", got, err)
			}
		}
		offered(false)
		phone := addApp(t, a, ada, "phone", 0)
		_, now, err := a.Directory.Credentials(t.Context(), ada)
		if err != nil {
			t.Fatal(err)
		}
		password, p, c, err := NewAPOPPassword(now)
		if err != nil || len(password) != 34 {
			t.Fatal(password, err)
		}
		p.Name = "scanner"
		err = a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
			_, err := a.Directory.PutAppPassword(tx, 1, p, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		offered(true)
		stamp := NewStamp()
		if stamp == NewStamp() {
			t.Error("two stamps are one")
		}
		if id, err := v.APOP(t.Context(), "ada", stamp, pop3.Stamped(stamp, password)); err != nil || id.Account != 1 || id.Device != 2 {
			t.Errorf("%+v, %v", id, err)
		}
		for _, c := range [][3]string{{"ada", stamp, phone}, {"ada", stamp, "pencil"}, {"ada", "<other@posthaste>", password}, {"bob", stamp, password}, {"nobody", stamp, password}, {"ada", stamp, ""}} {
			if id, err := v.APOP(t.Context(), c[0], stamp, pop3.Stamped(c[1], c[2])); !isFailed(err) || id != (sasl.Identity{}) {
				t.Errorf("%q: %+v, %v", c, id, err)
			}
		}
		if _, err := a.For(home, directory.IMAP).(*verifier).APOP(t.Context(), "ada", stamp, pop3.Stamped(stamp, password)); !isFailed(err) {
			t.Errorf("over IMAP: %v", err)
		}
		for _, mech := range []string{sasl.Plain, sasl.Scram} {
			if _, err := login(t, a.For(away, directory.POP3), mech, "ada", password); !isFailed(err) {
				t.Errorf("%s: %v", mech, err)
			}
			if _, err := login(t, a.For(away, directory.POP3), mech, "ada", phone); err != nil {
				t.Errorf("another app password by %s: %v", mech, err)
			}
		}
		began := time.Now()
		for range 10 {
			v.APOP(t.Context(), "ada", stamp, pop3.Stamped(stamp, "guess"))
		}
		if d := time.Since(began); d < 5*time.Second {
			t.Errorf("ten guesses took only %v", d)
		}
	})
}

package auth

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// TestAttend: a session ends when what opened it does, soon, and no other does.
func TestAttend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := withTokens(t)
		d := a.Directory
		update := func(fn func(kv.Tx) error) {
			t.Helper()
			if err := d.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, fn); err != nil {
				t.Fatal(err)
			}
		}
		phone := addApp(t, a, ada, "phone", 0)
		key := bytes.Repeat([]byte{1}, 32)
		update(func(tx kv.Tx) error { return d.PutCertificate(tx, 1, directory.Certificate{Key: key, Name: "laptop"}) })
		v := a.For(home, directory.IMAP).(*verifier)
		ways := map[string]func() (sasl.Identity, error){
			"password":    func() (sasl.Identity, error) { return v.Password(t.Context(), "", "ada", "pencil") },
			"scram":       func() (sasl.Identity, error) { return login(t, v, sasl.Scram, "ada", "pencil") },
			"phone":       func() (sasl.Identity, error) { return v.Password(t.Context(), "", "ada", phone) },
			"phone scram": func() (sasl.Identity, error) { return login(t, v, sasl.Scram, "ada", phone) },
			"certificate": func() (sasl.Identity, error) { return v.External(t.Context(), "", key) },
			"token":       func() (sasl.Identity, error) { return v.Token(t.Context(), "", "ada") },
		}
		ended := map[string]int{}
		ids := map[string]sasl.Identity{}
		for name, in := range ways {
			id, err := in()
			if err != nil {
				t.Fatal(name, err)
			}
			ids[name] = id
			defer a.Attend(t.Context(), id, func() { ended[name]++ })()
		}
		left := 0
		a.Attend(t.Context(), ids["password"], func() { left++ })()

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		after := func(what string, want ...string) {
			t.Helper()
			time.Sleep(2 * lookPause)
			synctest.Wait()
			if len(ended) != len(want) {
				t.Errorf("%s: ended %v, want %v", what, ended, want)
			}
			for _, w := range want {
				if ended[w] != 1 {
					t.Errorf("%s: ended %v, want %v", what, ended, want)
				}
			}
		}
		update(func(tx kv.Tx) error { return d.SetAdmin(tx, 1, true) })
		update(func(tx kv.Tx) error { return d.SetDisabled(tx, 3, false) })
		after("nothing of hers")
		_, now, err := d.Credentials(t.Context(), ada)
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewCredentials("crayon", now)
		if err != nil {
			t.Fatal(err)
		}
		update(func(tx kv.Tx) error { return d.PutCredentials(tx, 1, c) })
		after("a new password", "password", "scram")
		update(func(tx kv.Tx) error { return d.DeleteAppPassword(tx, 1, "phone") })
		after("an app password is gone", "password", "scram", "phone", "phone scram")
		update(func(tx kv.Tx) error { return d.DeleteCertificate(tx, 1, "laptop") })
		after("a certificate is gone", "password", "scram", "phone", "phone scram", "certificate")
		late := 0
		a.Attend(t.Context(), ids["certificate"], func() { late++ })
		if late != 1 {
			t.Error("who comes when it is gone is left in")
		}
		update(func(tx kv.Tx) error { return d.SetDisabled(tx, 1, true) })
		after("disabled", "password", "scram", "phone", "phone scram", "certificate", "token")
		if left != 0 || len(a.attended.sessions) != 0 {
			t.Errorf("ended %d that had left; %d are attended still", left, len(a.attended.sessions))
		}

		update(func(tx kv.Tx) error { return d.SetDisabled(tx, 1, false) })
		again := 0
		a.Attend(t.Context(), ids["token"], func() { again++ })
		update(func(tx kv.Tx) error { return d.DeleteAccount(tx, 1) })
		time.Sleep(2 * lookPause)
		synctest.Wait()
		if again != 1 {
			t.Error("an account that is gone leaves its sessions")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

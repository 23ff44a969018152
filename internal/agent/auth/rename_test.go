package auth

import (
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// TestRenamed: who is renamed logs in with the same passwords, by the new address and by
// the old one while that is theirs, and is then who they are now. Who was logged in is let
// go.
func TestRenamed(t *testing.T) {
	a := house(t)
	countess := mail.Address{Local: "countess", Domain: "a.example"}
	phone := addApp(t, a, ada, "phone", 0)
	before, err := login(t, a.For(home, directory.IMAP), sasl.Scram, "ada", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	change := func(fn func(tx kv.Tx) error) {
		t.Helper()
		if err := a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, fn); err != nil {
			t.Fatal(err)
		}
	}
	change(func(tx kv.Tx) error {
		_, err := a.Directory.Rename(tx, directory.Renaming{Account: before.Account, From: before.Login, To: countess, Alias: true})
		return err
	})
	ended := false
	a.Attend(t.Context(), before, func() { ended = true })()
	if !ended {
		t.Error("the session goes on under a name that the account no longer has")
	}
	for _, user := range []string{"ada", "countess", "Ada@a.example"} {
		for _, mech := range []string{sasl.Plain, sasl.Scram} {
			for _, password := range []string{"pencil", phone} {
				id, err := login(t, a.For(home, directory.IMAP), mech, user, password)
				if err != nil || id.Account != before.Account || id.Login != countess {
					t.Errorf("%s as %s: %+v, %v", mech, user, id, err)
				}
			}
		}
		if _, err := a.For(home, directory.IMAP).Password(t.Context(), user, user, "pencil"); err != nil {
			t.Errorf("%s as themselves: %v", user, err)
		}
	}
	if _, err := a.For(home, directory.IMAP).Password(t.Context(), "eve", "ada", "pencil"); !isFailed(err) {
		t.Errorf("as somebody else: %v", err)
	}
	change(func(tx kv.Tx) error { return a.Directory.DeleteAlias(tx, ada) })
	if _, err := login(t, a.For(home, directory.IMAP), sasl.Plain, "ada", "pencil"); !isFailed(err) {
		t.Errorf("the old address is no longer theirs: %v", err)
	}
}

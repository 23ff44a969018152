package auth

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// addApp gives an app password, as the registrar adds it.
func addApp(t *testing.T, a *Agent, login mail.Address, name string, opens directory.Protocols) string {
	t.Helper()
	acct, now, err := a.Directory.Credentials(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	password, p, c, err := NewAppPassword(now)
	if err != nil {
		t.Fatal(err)
	}
	p.Name, p.Protocols = name, opens
	err = a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		_, err := a.Directory.PutAppPassword(tx, acct.ID, p, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return password
}

// login runs a mechanism of ours against the verifier.
func login(t *testing.T, v sasl.Verifier, mech, user, password string) (sasl.Identity, error) {
	t.Helper()
	c, err := sasl.NewClient(mech, sasl.Credentials{User: user, Password: password}, sasl.ChannelBinding{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sasl.NewServer(mech, v, sasl.ChannelBinding{})
	if err != nil {
		t.Fatal(err)
	}
	var response []byte
	for {
		challenge, done, err := s.Next(t.Context(), response)
		if err != nil {
			return sasl.Identity{}, err
		}
		if done {
			return s.Identity(), nil
		}
		if response, err = c.Next(challenge); err != nil {
			t.Fatal(err)
		}
		if response == nil {
			response = []byte{}
		}
	}
}

// TestAppPasswords: each opens the account by each mechanism, for its protocols,
// tells which it was, and survives a new password.
func TestAppPasswords(t *testing.T) {
	a := house(t)
	eve := mail.Address{Local: "eve", Domain: "a.example"} // has no password of her own
	all := addApp(t, a, ada, "phone", 0)
	pop := addApp(t, a, ada, "archive", directory.POP3)
	of := addApp(t, a, eve, "phone", 0)
	if len(all) != 19 || all == pop {
		t.Errorf("app passwords %q, %q", all, pop)
	}
	check := func(protocol directory.Protocols, user, password string, device uint32, ok bool) {
		t.Helper()
		for _, mech := range []string{sasl.Plain, sasl.Login, sasl.Scram} {
			id, err := login(t, a.For(home, protocol), mech, user, password)
			if ok && (err != nil || id.Account == 0 || id.Device != device) {
				t.Errorf("%s %s %s: %+v, %v", mech, user, password, id, err)
			}
			if !ok && !isFailed(err) {
				t.Errorf("%s %s %s: %+v, %v", mech, user, password, id, err)
			}
		}
	}
	check(directory.IMAP, "ada", all, 1, true)
	check(directory.POP3, "ada", pop, 2, true)
	check(directory.IMAP, "ada", pop, 0, false)
	check(directory.IMAP, "ada", "pencil", 0, true)
	check(directory.IMAP, "eve", of, 1, true)
	check(directory.IMAP, "eve", all, 0, false)

	acct, now, err := a.Directory.Credentials(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCredentials("crayon", now)
	if err != nil || !bytes.Equal(c.Salt, now.Salt) {
		t.Fatalf("the salt of SCRAM is another: %v", err)
	}
	err = a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		if err := a.Directory.DeleteAppPassword(tx, acct.ID, "archive"); err != nil {
			return err
		}
		return a.Directory.PutCredentials(tx, acct.ID, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	check(directory.IMAP, "ada", all, 1, true)
	check(directory.IMAP, "ada", "crayon", 0, true)
	check(directory.POP3, "ada", pop, 0, false)
}

func isFailed(err error) bool {
	r, ok := errors.AsType[*mail.Refusal](err)
	return ok && r.Status == sasl.ErrFailed.Status && strings.HasPrefix(r.Text, sasl.ErrFailed.Text)
}

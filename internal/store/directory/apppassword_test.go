package directory

import (
	"errors"
	"fmt"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestAppPasswords: numbers are not given again, names are one, the salt is that
// of the account, and all go with it.
func TestAppPasswords(t *testing.T) {
	d := newDirectory(t)
	login := mail.Address{Local: "ada", Domain: "a.example"}
	salt := Credentials{Salt: []byte("salt"), Iterations: 4096}
	add := func(name string, c Credentials) (p AppPassword, err error) {
		err = update(t, d, func(tx kv.Tx) error {
			var err error
			p, err = d.PutAppPassword(tx, 1, AppPassword{Name: name, Protocols: POP3, Hash: []byte("h")}, c)
			return err
		})
		return p, err
	}
	for i, name := range []string{"phone", "desk"} {
		if p, err := add(name, salt); err != nil || p.Device != Device(i+1) {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := add("PHONE", salt); !errors.Is(err, mail.ErrExists) {
		t.Errorf("the same name: %v", err)
	}
	if _, err := add("x", Credentials{Salt: []byte("other"), Iterations: 4096}); !errors.Is(err, mail.ErrInUse) {
		t.Errorf("another salt: %v", err)
	}
	err := update(t, d, func(tx kv.Tx) error { return d.PutCredentials(tx, 1, Credentials{Salt: []byte("new")}) })
	if !errors.Is(err, mail.ErrInUse) {
		t.Errorf("a new password with another salt: %v", err)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAppPassword(tx, 1, "Desk") }))
	if err := update(t, d, func(tx kv.Tx) error { return d.DeleteAppPassword(tx, 1, "desk") }); !errors.Is(err, mail.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if p, err := add("desk", salt); err != nil || p.Device != 3 {
		t.Errorf("a number given again: %+v, %v", p, err)
	}
	_, c, err := d.Credentials(t.Context(), login)
	if err != nil || len(c.Apps) != 2 || c.Apps[0].Name != "phone" || string(c.Apps[1].Hash) != "h" || c.Apps[1].Protocols != POP3 || string(c.Salt) != "salt" {
		t.Errorf("credentials: %+v, %v", c, err)
	}
	for i := len(c.Apps); i < MaxAppPasswords; i++ {
		if _, err := add(fmt.Sprint(i), salt); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := add("more", salt); !errors.Is(err, mail.ErrLimit) {
		t.Errorf("too many: %v", err)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, 1) }))
	if apps, err := d.AppPasswords(t.Context(), 1); err != nil || len(apps) != 0 {
		t.Errorf("of an account that is gone: %v, %v", apps, err)
	}
}

func TestProtocols(t *testing.T) {
	for in, want := range map[string]string{"": "all", "all": "all", "pop3": "pop3", "POP3, imap": "imap,pop3", "sieve,imap": "imap,sieve", "submission,imap,pop3": "submission,imap,pop3"} {
		p, err := ParseProtocols(in)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v", in, p, err)
		}
	}
	if _, err := ParseProtocols("gopher"); err == nil {
		t.Error("gopher is a protocol")
	}
	if Protocols(0).Opens(IMAP) != true || POP3.Opens(IMAP) || !(POP3 | IMAP).Opens(IMAP) {
		t.Error("what they open")
	}
}

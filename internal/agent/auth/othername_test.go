package auth

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// otherName gives a.example, where all are, the name n.example too.
func otherName(t *testing.T, a *Agent) {
	t.Helper()
	update(t, a, func(tx kv.Tx) error { return a.Directory.PutDomainAlias(tx, "n.example", "a.example") })
}

// TestOtherName: whoever logs in with an address in another name of the domain is the
// account, by its own address, however they show it.
func TestOtherName(t *testing.T) {
	a := withTokens(t)
	otherName(t, a)
	d := a.Directory
	phone := addApp(t, a, ada, "phone", 0)
	_, now, err := d.Credentials(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	secret, p, c, err := NewAPOPPassword(now)
	if err != nil {
		t.Fatal(err)
	}
	p.Name = "scanner"
	key := bytes.Repeat([]byte{1}, 32)
	update(t, a, func(tx kv.Tx) error {
		_, err := d.PutAppPassword(tx, 1, p, c)
		return errors.Join(err, d.PutCertificate(tx, 1, directory.Certificate{Key: key, Name: "laptop"}))
	})
	v := a.For(home, directory.POP3).(*verifier)
	const other = "ADA@n.example"
	for name, in := range map[string]func() (sasl.Identity, error){
		"password":     func() (sasl.Identity, error) { return v.Password(t.Context(), "", other, "pencil") },
		"authzid":      func() (sasl.Identity, error) { return v.Password(t.Context(), other, "ada", "pencil") },
		"both":         func() (sasl.Identity, error) { return v.Password(t.Context(), "ada@a.example", other, "pencil") },
		"app password": func() (sasl.Identity, error) { return v.Password(t.Context(), "", other, phone) },
		"PLAIN":        func() (sasl.Identity, error) { return login(t, v, sasl.Plain, other, "pencil") },
		"SCRAM":        func() (sasl.Identity, error) { return login(t, v, sasl.Scram, other, "pencil") },
		"SCRAM, app":   func() (sasl.Identity, error) { return login(t, v, sasl.Scram, other, phone) },
		"APOP": func() (sasl.Identity, error) {
			return v.APOP(t.Context(), other, "<1@x>", pop3.Stamped("<1@x>", secret))
		},
		"token":       func() (sasl.Identity, error) { return v.Token(t.Context(), "", other) },
		"certificate": func() (sasl.Identity, error) { return v.External(t.Context(), other, key) },
		"the web":     func() (sasl.Identity, error) { return a.SignIn(t.Context(), home, other, "pencil") },
	} {
		id, err := in()
		if err != nil || id.Account != 1 || directory.Canonical(id.Login) != ada {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if holds, err := a.holds(t.Context(), id); err != nil || !holds {
			t.Errorf("%s: it does not last: %v", name, err)
		}
	}
	for _, c := range [][3]string{{"", "joe@n.example", "pencil"}, {"", "bob@n.example", "pencil"}, {"eve@n.example", "ada", "pencil"}, {"", "ada@x.example", "pencil"}, {"ada@x.example", "ada", "pencil"}} {
		if id, err := v.Password(t.Context(), c[0], c[1], c[2]); !isFailed(err) || id != (sasl.Identity{}) {
			t.Errorf("%q: %+v, %v", c, id, err)
		}
	}
}

// TestOtherNameTellsNothing: whether somebody is there is not told by another name either.
// Under both names, each has the same salt, and guesses count together.
func TestOtherNameTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := house(t)
		otherName(t, a)
		v := a.For(home, directory.IMAP).(*verifier)
		for _, who := range []string{"ada", "joe"} {
			one, err := v.ScramKeys(t.Context(), who+"@a.example")
			two, err2 := v.ScramKeys(t.Context(), who+"@n.example")
			if err != nil || err2 != nil || !bytes.Equal(one.Salt, two.Salt) || one.Iterations != two.Iterations {
				t.Errorf("%s has a salt for each name: %v %v", who, err, err2)
			}
			begin := time.Now()
			for i := range 4 {
				v.ScramFailed(t.Context(), who+"@a.example")
				v.Password(t.Context(), "", who+"@n.example", string(rune('a'+i)))
			}
			if d := time.Since(begin); d < 2*time.Second {
				t.Errorf("%s: guessing by two names took %v", who, d)
			}
			p := pair{v.network, mail.Address{Local: who, Domain: "a.example"}}
			if n := a.pairs.Score(p, time.Now()); n < 7 {
				t.Errorf("%s: %v failures", who, n)
			}
		}
	})
}

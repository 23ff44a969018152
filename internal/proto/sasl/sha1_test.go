package sasl

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestScramSHA1: both sides, with and without channel binding, where it is offered.
func TestScramSHA1(t *testing.T) {
	cb := ChannelBinding{Exporter: []byte("exported")}
	for _, c := range []struct {
		mech, user, password string
		offer                Offer
		err                  error
	}{
		{Scram1, "ada", "pencil", SHA1, nil},
		{Scram1Plus, "ada", "pencil", SHA1, nil},
		{Scram1Plus, "ada", "pencil", SHA1 | Bound, nil},
		{Scram1, "ada", "pen", SHA1, ErrFailed},
		{Scram1, "eve", "pencil", SHA1, ErrFailed},
		{Scram1, "ada", "pencil", Unbound, ErrMechanism},
		{Scram1Plus, "ada", "pencil", Bound, ErrMechanism},
	} {
		p := newPeople(t)
		if err := p.keys.AddSHA1("pencil"); err != nil {
			t.Fatal(err)
		}
		srv, err := c.offer.NewServer(c.mech, p, cb)
		if err == nil {
			var cl Client
			if cl, err = NewClient(c.mech, Credentials{User: c.user, Password: c.password}, cb); err != nil {
				t.Fatal(err)
			}
			_, err = talk(cl, srv)
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// A password without these keys is nobody's.
	srv, _ := SHA1.NewServer(Scram1, newPeople(t), ChannelBinding{})
	cl, _ := NewClient(Scram1, Credentials{User: "ada", Password: "pencil"}, ChannelBinding{})
	if _, err := talk(cl, srv); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	for o, want := range map[Offer]string{
		SHA1: "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN", SHA1 | Bound: "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN", Bound: "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN",
	} {
		if got := strings.Join(o.Mechanisms(cb), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !slices.Contains(SHA1.Mechanisms(ChannelBinding{}), Scram1) {
		t.Error("not offered")
	}
}

// TestScramSHA1Example has the password and salt of RFC 5802 §5.
func TestScramSHA1Example(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("QSXCR+Q6sek8bf92")
	if err != nil {
		t.Fatal(err)
	}
	k := ScramKeys{Salt: salt, Iterations: 4096}
	if err := k.AddSHA1("pencil"); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(k.StoredKey1); got != "e9d94660c39d65c38fbad91c358f14da0eef2bd6" {
		t.Errorf("the stored key is %s", got)
	}
}

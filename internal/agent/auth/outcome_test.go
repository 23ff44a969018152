package auth

import (
	"errors"
	"slices"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// TestTried: every attempt is told of once, with what came of it, and over which
// protocol.
func TestTried(t *testing.T) {
	a := house(t)
	var told []Outcome
	a.Tried = func(over directory.Protocols, o Outcome) {
		if over != directory.IMAP {
			t.Errorf("%v over %v", o, over)
		}
		told = append(told, o)
	}
	v := a.For(home, directory.IMAP).(*verifier)
	expect := func(what string, want ...Outcome) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %v, want %v", what, told, want)
		}
		told = nil
	}
	v.Password(t.Context(), "", "ada", "pencil")
	expect("the right password", Accepted)
	v.Password(t.Context(), "", "ada", "pen")
	expect("a wrong one", Refused)
	v.Password(t.Context(), "", "bob", "pencil")
	expect("a disabled account", Refused)
	v.ScramKeys(t.Context(), "ada")
	expect("SCRAM that has begun")
	v.ScramFailed(t.Context(), "ada")
	expect("SCRAM that fails", Refused)
	keys, err := v.ScramKeys(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	v.ScramProved(t.Context(), "", "ada", keys)
	expect("SCRAM", Accepted)
	v.APOP(t.Context(), "ada", "<1@x>", []byte("no"))
	expect("APOP", Refused)
	v.External(t.Context(), "", []byte("key"))
	expect("a certificate", Refused)
	v.Token(t.Context(), "", "token")
	expect("a token, of which there are none", Refused)
	v.tried(errSlow)
	v.tried(&sasl.TokenError{Err: mail.Refuse("4.7.0", "later", "")})
	v.tried(errors.New("the disk"))
	expect("other ends", Later, Later, Broken)
}

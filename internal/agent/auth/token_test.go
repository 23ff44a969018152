package auth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// withTokens makes a house that believes tokens: each is a name, but "!why" is no
// good, and "?" cannot be known.
func withTokens(t *testing.T) *Agent {
	a := house(t)
	a.Tokens = func(_ context.Context, token string) (string, error) {
		switch {
		case token == "" || token[0] == '!':
			return "", &sasl.TokenError{Status: sasl.TokenInvalid, Scope: "mail", Err: errors.New("no good")}
		case token == "?":
			return "", errors.New("the issuer is down")
		}
		return token, nil
	}
	return a
}

func TestToken(t *testing.T) {
	a := withTokens(t)
	for _, c := range []struct{ authzid, token, want string }{
		{"", "ada@a.example", "yes"},
		{"", "ADA", "yes"},
		{"ada", "ada@a.example", "yes"},
		{"ada@a.example", "ada", "yes"},
		{"bob", "ada", "no"},
		{"", "bob", "no"},
		{"", "nobody@a.example", "no"},
		{"", "x y", "no"},
		{"", "!", "no"},
		{"", "", "no"},
		{"", "?", "failed"},
	} {
		id, err := a.For(home, directory.IMAP).(sasl.TokenVerifier).Token(t.Context(), c.authzid, c.token)
		got := "failed"
		if te, ok := errors.AsType[*sasl.TokenError](err); ok && isFailed(te.Err) {
			got = "no"
		} else if err == nil && id.Account != 0 && directory.Canonical(id.Login) == ada {
			got = "yes"
		}
		if got != c.want {
			t.Errorf("%+v: %v, %v", c, id, err)
		}
	}
	if _, err := house(t).For(home, directory.IMAP).(sasl.TokenVerifier).Token(t.Context(), "", "ada"); !errors.Is(err, sasl.ErrMechanism) {
		t.Error(err)
	}
}

// TestTokenGuessing: guesses get slower, one bad token again and again does not.
func TestTokenGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := withTokens(t)
		v := a.For(home, directory.IMAP).(sasl.TokenVerifier)
		began := time.Now()
		for range 100 {
			v.Token(t.Context(), "", "!old")
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("an old token costs %v", d)
		}
		for i := range 10 {
			v.Token(t.Context(), "", "!guess "+string(rune('a'+i)))
		}
		if d := time.Since(began); d < 5*time.Second {
			t.Errorf("ten guesses took only %v", d)
		}
		began = time.Now()
		if _, err := a.For(away, directory.IMAP).(sasl.TokenVerifier).Token(t.Context(), "", "ada"); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

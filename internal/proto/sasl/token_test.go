package sasl

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// keepers is people who also know tokens: "good" is ada's.
type keepers struct{ *people }

func (k keepers) Token(_ context.Context, authzid, token string) (Identity, error) {
	k.log = append(k.log, "token "+authzid+"|"+token)
	switch {
	case token == "broken":
		return Identity{}, errDisk
	case token == "narrow":
		return Identity{}, &TokenError{Status: TokenScope, Scope: "mail.read", Err: ErrFailed}
	case token != "good" || authzid != "" && authzid != "ada":
		return Identity{}, &TokenError{Status: TokenInvalid, Scope: "mail.read", Configuration: "https://id.example/.well-known/openid-configuration", Err: ErrFailed}
	}
	return ada, nil
}

// TestTokens: both mechanisms, from both sides.
func TestTokens(t *testing.T) {
	for _, mech := range []string{OAuthBearer, XOAuth2} {
		for _, c := range []struct {
			cred Credentials
			err  error
			log  string
		}{
			{Credentials{"", "ada", "good"}, nil, "token ada|good"},
			{Credentials{"ada", "x", "good"}, nil, "token ada|good"},
			{Credentials{"", "bob", "good"}, ErrFailed, "token bob|good"},
			{Credentials{"", "a,d=a", "good"}, ErrFailed, "token a,d=a|good"},
			{Credentials{"", "ada", "bad.token=="}, ErrFailed, "token ada|bad.token=="},
			{Credentials{"", "ada", "narrow"}, ErrFailed, "token ada|narrow"},
			{Credentials{"", "ada", "broken"}, errDisk, "token ada|broken"},
		} {
			p := newPeople(t)
			cl, err := NewClient(mech, c.cred, ChannelBinding{})
			if err != nil {
				t.Fatal(err)
			}
			srv, err := Tokens.NewServer(strings.ToLower(mech), keepers{p}, ChannelBinding{})
			if err != nil {
				t.Fatal(err)
			}
			cerr, serr := talk(cl, srv)
			if cerr != nil || !errors.Is(serr, c.err) || strings.Join(p.log, ";") != c.log {
				t.Errorf("%s %q: client %v, server %v, want %v; told %q", mech, c.cred, cerr, serr, c.err, p.log)
			}
			if got := srv.Identity(); (got == ada) != (c.err == nil) {
				t.Errorf("%s %q: identity %v", mech, c.cred, got)
			}
		}
		for _, bad := range []string{"", "a b", "a\x01b"} {
			cl, _ := NewClient(mech, Credentials{User: "ada", Password: bad}, ChannelBinding{})
			if _, err := cl.Next(nil); err == nil {
				t.Errorf("%s: %q is a token", mech, bad)
			}
		}
		if _, err := Unbound.NewServer(mech, keepers{newPeople(t)}, ChannelBinding{}); !errors.Is(err, ErrMechanism) {
			t.Errorf("%s is taken where it is not offered: %v", mech, err)
		}
		if _, err := Tokens.NewServer(mech, newPeople(t), ChannelBinding{}); !errors.Is(err, ErrMechanism) {
			t.Errorf("%s is taken by who knows no tokens: %v", mech, err)
		}
	}
}

// TestTokenMessages: what is said, letter by letter; the first is RFC 7628 §4.1.
func TestTokenMessages(t *testing.T) {
	const invalid = `{"status":"invalid_token","scope":"mail.read","openid-configuration":"https://id.example/.well-known/openid-configuration"}`
	for in, want := range map[string]string{
		"n,a=ada,\x01host=server.example.com\x01port=143\x01auth=Bearer good\x01\x01": "yes",
		"y,,\x01auth=BEARER good\x01\x01":                                             "yes",
		"n,a=ad=61,\x01auth=Bearer good\x01\x01":                                      "malformed",
		"n,a=b=2Cb,\x01auth=Bearer good\x01\x01":                                      invalid,
		"n,,\x01auth=\x01\x01":                                                        invalid, // §4.3: what would you take?
		"n,,\x01\x01":                                                                 invalid,
		"n,,\x01auth=Bearer narrow\x01\x01":                                           `{"status":"insufficient_scope","scope":"mail.read"}`,
		"p=tls-exporter,,\x01auth=Bearer good\x01\x01":                                "malformed",
		"n,b=ada,\x01auth=Bearer good\x01\x01":                                        "malformed",
		"n,a=,\x01auth=Bearer good\x01\x01":                                           "malformed",
		"n,,\x01auth=Basic good\x01\x01":                                              "malformed",
		"n,,\x01auth=Bearer\x01\x01":                                                  "malformed",
		"n,,\x01auth=Bearer go od\x01\x01":                                            "malformed",
		"n,,\x01auth=Bearer good\x01auth=Bearer good\x01\x01":                         "malformed",
		"n,,\x01auth=Bearer good\x01":                                                 "malformed",
		"n,,\x01auth=Bearer good":                                                     "malformed",
		"n,,\x01auth=Bearer good\x01\x01more":                                         "malformed",
		"n,,auth=Bearer good":                                                         "malformed",
		"":                                                                            "malformed",
		"x" + "user=ada\x01auth=Bearer good\x01\x01":                                  "yes",
		"x" + "user=ada\x01auth=Bearer bad\x01\x01":                                   `{"status":"401","schemes":"Bearer","scope":"mail.read"}`,
		"x" + "user=ada\x01auth=Bearer narrow\x01\x01":                                `{"status":"403","schemes":"Bearer","scope":"mail.read"}`,
		"x" + "user=\x01auth=Bearer good\x01\x01":                                     "malformed",
		"x" + "ada\x01auth=Bearer good\x01\x01":                                       "malformed",
	} {
		mech := OAuthBearer
		msg, google := strings.CutPrefix(in, "x")
		if google {
			mech = XOAuth2
		}
		s, err := Tokens.NewServer(mech, keepers{newPeople(t)}, ChannelBinding{})
		if err != nil {
			t.Fatal(err)
		}
		if empty, done, err := s.Next(t.Context(), nil); len(empty) > 0 || done || err != nil {
			t.Error("without an initial response", empty, done, err)
		}
		challenge, done, err := s.Next(t.Context(), []byte(msg))
		got := string(challenge)
		switch {
		case errors.Is(err, ErrMalformed):
			got = "malformed"
		case err != nil:
			got = err.Error()
		case done:
			got = "yes"
		default:
			if _, done, err := s.Next(t.Context(), []byte("\x01")); done || !errors.Is(err, ErrFailed) {
				t.Errorf("%q: then %v, %v", in, done, err)
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestBestForToken(t *testing.T) {
	for in, want := range map[string]string{"PLAIN xoauth2": XOAuth2, "XOAUTH2 OAUTHBEARER": OAuthBearer, "PLAIN": ""} {
		if got := BestForToken(strings.Fields(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	for _, m := range []string{OAuthBearer, XOAuth2} {
		if list := strings.Join(Tokens.Mechanisms(ChannelBinding{}), " "); !strings.Contains(list, m) {
			t.Error("offered", list)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add([]byte("n,a=ada,\x01auth=Bearer good\x01\x01"))
	f.Add([]byte("user=ada\x01auth=Bearer good\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if who, tok, ok := parseBearer(b); ok && tok != "" {
			c := &tokenClient{mech: OAuthBearer, c: Credentials{User: who, Password: tok}}
			again, err := c.Next(nil)
			if err != nil {
				t.Fatal(err)
			}
			if w, tk, ok := parseBearer(again); !ok || w != who || tk != tok {
				t.Fatalf("%q says %q %q", again, w, tk)
			}
		}
		parseXOAuth2(b)
	})
}

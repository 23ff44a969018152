package collector_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/store/outpost"
	"posthaste/test/network"
)

func withToken(o *outpost.Outpost) {
	o.Secret, o.OAuth2 = "good", &outpost.OAuth2{URL: "https://login.far.example/token", ClientID: "c"}
}

// TestPOP3Token: a token is got and used, also one too long to stand in the command; one
// that is refused before its time is got anew, and no owner is bothered.
func TestPOP3Token(t *testing.T) {
	for _, mech := range []string{"XOAUTH2", "OAUTHBEARER", "XOAUTH2 PLAIN OAUTHBEARER"} {
		for name, c := range map[string]struct {
			behind string
			curt   bool
		}{"short": {"", false}, "long": {strings.Repeat("x", 1500), false}, "curt": {strings.Repeat("x", 200), true}} {
			t.Run(mech+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					far := &popServer{caps: fullCaps + "\r\nSASL " + mech, token: "t1" + c.behind, curt: c.curt, letters: numbered(1, 1)}
					w, from := newWorld(t, far), &issuer{behind: c.behind}
					w.a.Web = &http.Client{Transport: from}
					o := w.add(withToken)
					w.runs(20 * time.Minute)
					w.has("INBOX", "1")
					if from.n != 1 || far.said("AUTH PLAIN")+far.said("PASS") > 0 {
						t.Errorf("%d tokens, %q", from.n, far.log)
					}
					// It is withdrawn before its time.
					far.mu.Lock()
					far.token, far.letters = "t2"+c.behind, numbered(1, 2)
					far.mu.Unlock()
					w.runs(30 * time.Minute)
					w.has("INBOX", "1", "2")
					if s := w.state(o); s.Stopped || s.Error != "" || from.n != 2 {
						t.Errorf("%+v, %d tokens", s, from.n)
					}
					// Its time is over: the next is asked for before that is tried.
					far.mu.Lock()
					far.token = "t3" + c.behind
					far.mu.Unlock()
					tries := far.said("AUTH")
					w.runs(41 * time.Minute)
					if s := w.state(o); s.Error != "" || from.n != 3 || far.said("AUTH")-tries > 9 {
						t.Errorf("%+v, %d tokens, %d logins", s, from.n, far.said("AUTH")-tries)
					}
				})
			})
		}
	}
}

// TestPOP3TokenRefused: what can go wrong with a token is told in words, and neither
// server is asked for ever.
func TestPOP3TokenRefused(t *testing.T) {
	for name, c := range map[string]struct {
		mechs, refuse, secret string
		words                 string
		stopped               bool
		tokens                int // at most
	}{
		"not taken":          {"XOAUTH2", "", "good", "does not take the access token for ada.l", true, 2},
		"not taken, unsure":  {"OAUTHBEARER", "nope", "good", "does not take the access token for ada.l", true, 6},
		"not now":            {"XOAUTH2", "[SYS/TEMP] come later", "good", "does not let us in now", false, 1},
		"the refresh token":  {"XOAUTH2", "", "bad", "allow the access anew", false, 5},
		"not known there":    {"PLAIN LOGIN", "", "good", "takes no access token", false, 0},
		"nothing is offered": {"", "", "good", "takes no access token", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := &popServer{caps: fullCaps + "\r\nSASL " + c.mechs, token: "another", refuse: c.refuse, letters: numbered(1, 1)}
				w, from := newWorld(t, far), &issuer{}
				w.a.Web = &http.Client{Transport: from}
				o := w.add(func(o *outpost.Outpost) { withToken(o); o.Secret = c.secret })
				w.runs(31 * time.Minute)
				w.has("INBOX")
				if s := w.state(o); s.Stopped != c.stopped || !strings.Contains(s.Error, c.words) || from.n > c.tokens {
					t.Errorf("%d tokens, %+v", from.n, s)
				}
				for _, l := range far.log { // nothing that is none of a token's business
					if strings.Contains(l, c.secret) || strings.HasPrefix(l, "USER") {
						t.Errorf("it said %q", l)
					}
				}
				if err := w.a.Check(t.Context(), &o); err == nil || !strings.Contains(err.Error(), c.words) {
					t.Errorf("Check: %v", err)
				}
			})
		})
	}
}

// TestSTARTTLS is TestSTLS over IMAP. Somebody in between may also take STARTTLS away, or
// say that one is logged in already.
func TestSTARTTLS(t *testing.T) {
	good, roots := network.Certificate("imap.far.example")
	leaf, err := x509.ParseCertificate(good.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	other, _ := network.Certificate("imap.far.example")
	named, _ := network.Certificate("elsewhere.example")
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for name, c := range map[string]struct {
		far   *imapServer
		words string // of what is wrong; "": nothing
	}{
		"good":               {&imapServer{tls: with(good)}, ""},
		"lies before":        {&imapServer{tls: with(good), hello: "* OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5 LOGINDISABLED] ready\r\n* CAPABILITY IMAP4rev1 LOGINDISABLED"}, ""},
		"taken away":         {&imapServer{}, "does not know STARTTLS"},
		"another's":          {&imapServer{tls: with(other)}, "certificate of imap.far.example is not good"},
		"of another host":    {&imapServer{tls: with(named)}, "certificate of imap.far.example is not good"},
		"early answers":      {&imapServer{tls: with(good), early: "* CAPABILITY IMAP4rev1\r\np2 OK\r\n"}, "something came between STARTTLS and TLS"},
		"half of one, early": {&imapServer{tls: with(good), early: "* CAP"}, "something came between STARTTLS and TLS"},
		"logged in already":  {&imapServer{tls: with(good), hello: "* PREAUTH welcome"}, "before TLS"},
		"TLS of the old":     {&imapServer{tls: &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS11}}, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(leaf.NotBefore) + time.Hour) // in the bubble it is not valid yet
				c.far.posts = posts(1, 2)
				w, o := atIMAP(t, c.far, func(o *outpost.Outpost) { o.Security = outpost.StartTLS })
				w.a.Roots = roots
				w.runs(time.Second)
				s := w.state(o)
				if (s.Error == "") != (c.words == "") || !strings.Contains(s.Error, c.words) {
					t.Errorf("%+v", s)
				}
				if c.words == "" {
					w.has("INBOX", "1", "2")
				} else if c.far.said("LOGIN")+c.far.said("AUTHENTICATE") > 0 {
					t.Errorf("%q", c.far.log)
				}
				if n := c.far.said("CAPABILITY"); c.words == "" && n < 2 {
					t.Errorf("after TLS it was asked %d times what it can", n)
				}
			})
		})
	}
}

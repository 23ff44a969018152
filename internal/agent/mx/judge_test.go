package mx_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/spf"
	"posthaste/test/house"
)

// world is a zone in which good.example sends from 192.0.2.1 and signs.
func world(t testing.TB) (*zone.Zone, *dkim.Signer) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &dkim.Signer{Domain: "good.example", Selector: "s", Key: key}
	rec, err := s.Record()
	if err != nil {
		t.Fatal(err)
	}
	z := new(zone.Zone)
	z.Text("good.example", "v=spf1 ip4:192.0.2.1 -all").Text("_dmarc.good.example", "v=DMARC1; p=reject; sp=quarantine").Text(s.Name(), rec)
	z.Text("testing.example", "v=spf1 -all").Text("_dmarc.testing.example", "v=DMARC1; p=reject; t=y")
	return z, s
}

func TestJudging(t *testing.T) {
	z, signer := world(t)
	signed := func(text string) string {
		header, body, _ := strings.Cut(text, "\r\n\r\n")
		field, err := signer.Sign([]byte(header+"\r\n\r\n"), strings.NewReader(body), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return string(field) + text
	}
	from := func(a string) string { return "From: " + a + "\r\nSubject: hello\r\n\r\nHello.\r\n" }
	for name, c := range map[string]struct {
		ip, sender, text string
		status           string
		box              string
		results          []string
	}{
		"by SPF":         {"192.0.2.1", "x@good.example", from("x@good.example"), "", "INBOX", []string{"spf=pass", "dkim=none", "dmarc=pass", "smtp.mailfrom=x@good.example"}},
		"by DKIM":        {"192.0.2.7", "x@other.example", signed(from("x@good.example")), "", "INBOX", []string{"spf=none", "dkim=pass", "dmarc=pass", "header.d=good.example"}},
		"forged":         {"192.0.2.7", "x@good.example", from("x@good.example"), "5.7.1", "", nil},
		"changed":        {"192.0.2.7", "x@other.example", strings.Replace(signed(from("x@good.example")), "Hello.", "Pay me.", 1), "5.7.1", "", nil},
		"forged below":   {"192.0.2.7", "x@other.example", from("x@sub.good.example"), "", "Junk", []string{"dmarc=fail"}},
		"only testing":   {"192.0.2.7", "x@testing.example", from("x@testing.example"), "", "INBOX", []string{"spf=fail", "dmarc=fail"}},
		"says nothing":   {"192.0.2.7", "x@quiet.example", from("x@quiet.example"), "", "INBOX", []string{"spf=none", "dmarc=none"}},
		"a report":       {"192.0.2.7", "", from("x@quiet.example"), "", "INBOX", []string{"smtp.helo=mx.y.example"}},
		"two authors":    {"192.0.2.1", "x@good.example", from("x@good.example, y@evil.example"), "5.7.1", "", nil},
		"no author":      {"192.0.2.1", "x@good.example", "Subject: hello\r\n\r\n", "5.7.1", "", nil},
		"from ourselves": {"127.0.0.1", "x@good.example", from("x@good.example"), "", "INBOX", nil},
		"trusted":        {"10.1.2.3", "x@good.example", from("x@good.example"), "", "INBOX", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHouse(t)
			h.MX.DNS = z
			h.MX.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
			p := mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(c.ip), 9), Hello: "mx.y.example"}
			var sender mail.Address
			if c.sender != "" {
				sender = house.Address(c.sender)
			}
			tx, err := h.MX.Begin(t.Context(), p, sender, smtp.MailParams{})
			if err == nil {
				err = tx.Rcpt(t.Context(), house.Address("ada@a.example"), smtp.RcptParams{})
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Data(t.Context(), strings.NewReader(c.text)); status(err) != c.status {
				t.Fatalf("%v, want %q", err, c.status)
			}
			story := h.Story(tx.ID())
			if judged := slices.Contains(story, trace.Judged); judged != (c.results != nil || c.status != "") {
				t.Errorf("the story is %v", story)
			}
			if c.box == "" {
				return
			}
			got := h.Box("ada@a.example", c.box)
			if len(got) != 1 {
				t.Fatalf("%d messages in %s", len(got), c.box)
			}
			field, _, _ := strings.Cut(got[0], "Received:")
			if strings.Contains(field, "Authentication-Results: mx.a.example") != (c.results != nil) {
				t.Errorf("%q", field)
			}
			for _, want := range c.results {
				if !strings.Contains(field, want) {
					t.Errorf("%q is not in %q", want, field)
				}
			}
		})
	}
}

// TestForgedResults: only we say what we found. RFC 8601 §5
func TestForgedResults(t *testing.T) {
	h, _ := newHouse(t)
	tx := begin(t, h.MX, "ada@a.example")
	text := "X-A: 1\r\nAuthentication-Results: mx.a.example; dmarc=pass\r\nAuthentication-Results: (x) MX.A.example\r\n ; spf=pass\r\nauthentication-results: other.example; spf=pass\r\nFrom: x@y.example\r\n\r\nAuthentication-Results: mx.a.example; in the body\r\n"
	if err := tx.Data(t.Context(), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	got := h.Inbox("ada@a.example")[0]
	if !strings.HasSuffix(got, "X-A: 1\r\nauthentication-results: other.example; spf=pass\r\nFrom: x@y.example\r\n\r\nAuthentication-Results: mx.a.example; in the body\r\n") {
		t.Errorf("%q", got)
	}
}

// TestDNSFails: what cannot be found out is no reason to refuse.
func TestDNSFails(t *testing.T) {
	z, _ := world(t)
	for _, n := range []string{"good.example", "_dmarc.good.example", "_dmarc.example"} {
		z.Fail(n, dns.ErrTemporary)
	}
	h, _ := newHouse(t)
	h.MX.DNS = z
	tx := begin(t, h.MX, "ada@a.example")
	if err := tx.Data(t.Context(), strings.NewReader("From: x@good.example\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := h.Inbox("ada@a.example"); len(got) != 1 || !strings.Contains(got[0], "dmarc=temperror") {
		t.Errorf("%q", got)
	}
}

func TestJudgeIsPure(t *testing.T) {
	ev := mx.Evidence{FromFields: 1, Authors: 1, Judged: true}
	if v := mx.Judge(mx.Policy{}, ev); v.Refusal != nil {
		t.Error(v)
	}
	ev.Hops = 1000
	if v := mx.Judge(mx.Policy{}, ev); v.Refusal == nil || !errors.As(v.Refusal, new(*mail.Refusal)) {
		t.Error(v)
	}
}

// TestQuiet: who cannot have sent a message is not told that it arrived.
func TestQuiet(t *testing.T) {
	for _, c := range []struct {
		ev   mx.Evidence
		want bool
	}{
		{mx.Evidence{Judged: true, FromFields: 1, Authors: 1, SPF: mx.SPF{Result: spf.Pass}}, false},
		{mx.Evidence{Judged: true, FromFields: 1, Authors: 1, SPF: mx.SPF{Result: spf.None}}, false},
		{mx.Evidence{Judged: true, FromFields: 1, Authors: 1, SPF: mx.SPF{Result: spf.Fail}}, true},
		{mx.Evidence{Judged: true, FromFields: 1, Authors: 1, SPF: mx.SPF{Result: spf.SoftFail}}, true},
		{mx.Evidence{Judged: true, FromFields: 1, Authors: 1, SPF: mx.SPF{Result: spf.None}, DMARC: dmarc.Evaluation{Result: dmarc.Fail, Policy: dmarc.Quarantine}}, true},
		{mx.Evidence{FromFields: 1, Authors: 1, SPF: mx.SPF{Result: spf.Fail}}, false},
	} {
		if v := mx.Judge(mx.Policy{}, c.ev); v.Quiet != c.want || v.Refusal != nil {
			t.Errorf("%+v: %+v", c.ev, v)
		}
	}
}

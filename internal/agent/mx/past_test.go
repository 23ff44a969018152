package mx_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/spf"
	"posthaste/internal/store/acquaintance"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

// TestPast: what is known from before has its say, and only where it should.
func TestPast(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration, n int) acquaintance.Record {
		return acquaintance.Record{First: now.Add(-d), Last: now.Add(-d), Count: n}
	}
	p := mx.Policy{NoName: 2, BadHello: 3, Junk: 5, Refuse: 10, Greylist: mx.GreySuspicious}
	always, never := p, p
	always.Greylist, never.Greylist = mx.GreyAlways, mx.GreyNever
	fine := mx.Client{Judged: true, Addr: netip.MustParseAddr("192.0.2.9"), Hello: "a.b.example", Iprev: mx.IprevPass}
	noName, bad, near := fine, fine, fine
	noName.Iprev = mx.IprevPermError
	bad.Iprev, bad.Hello = mx.IprevPermError, "localhost"
	near.Iprev, near.Addr = mx.IprevPermError, netip.MustParseAddr("10.0.0.9")
	forged := mx.SPF{Result: spf.SoftFail, Domain: "b.example"}
	proven := dmarc.Evaluation{Result: dmarc.Pass, Domain: "b.example"}
	for name, c := range map[string]struct {
		p     mx.Policy
		c     mx.Client
		spf   mx.SPF
		dmarc dmarc.Evaluation
		past  *mx.Past
		again bool
		junk  bool
		text  string // of the refusal or the reason
	}{
		"a stranger, fine":            {p: p, c: fine, past: &mx.Past{}},
		"a stranger, no name":         {p: p, c: noName, past: &mx.Past{}, again: true, text: "nothing has come from 192.0.2.9 before, and it has no name in the DNS; send it again"},
		"a stranger, SPF":             {p: p, c: fine, spf: forged, past: &mx.Past{}, again: true, text: "mail of b.example is not sent from there"},
		"a stranger, SPF, but proven": {p: p, c: fine, spf: forged, dmarc: proven, past: &mx.Past{}},
		"a stranger, proven, no name": {p: p, c: noName, dmarc: proven, past: &mx.Past{}, again: true},
		"a stranger, junk":            {p: p, c: bad, past: &mx.Past{}, again: true},
		"always":                      {p: always, c: fine, past: &mx.Past{}, again: true, text: "greylisted: nothing has come from 192.0.2.9 before; send it again"},
		"never":                       {p: never, c: bad, past: &mx.Past{}, junk: true},
		"nothing can be known":        {p: always, c: noName},
		"from the same network":       {p: always, c: near, past: &mx.Past{}},
		"too soon":                    {p: p, c: noName, past: &mx.Past{Asked: ago(59*time.Second, 1)}, again: true},
		"he has come":                 {p: p, c: noName, past: &mx.Past{Asked: ago(time.Minute, 1)}, text: "sent it again"},
		"he has come, and is junk":    {p: p, c: bad, past: &mx.Past{Asked: ago(time.Minute, 1)}, junk: true, text: "it has no name"},
		"known":                       {p: always, c: noName, past: &mx.Past{Known: ago(time.Hour, 1)}},
		"known, junk":                 {p: p, c: bad, past: &mx.Past{Known: ago(time.Hour, 100)}, junk: true},
		"we have written":             {p: p, c: bad, dmarc: proven, past: &mx.Past{Written: ago(time.Hour, 1)}, text: "not junk, since somebody here has written to x@b.example before"},
		"the domain has its say":      {p: p, c: fine, dmarc: dmarc.Evaluation{Result: dmarc.Fail, Policy: dmarc.Quarantine}, past: &mx.Past{Known: ago(time.Hour, 1), Written: ago(time.Hour, 1)}, junk: true, text: "as its domain asks"},
	} {
		ev := mx.Evidence{FromFields: 1, Authors: 1, Author: house.Address("x@b.example"), Judged: true, Client: c.c, SPF: c.spf, DMARC: c.dmarc, Past: c.past}
		if ev.Past != nil {
			ev.Past.At, ev.Past.Author = now, ev.Author
		}
		v := mx.Judge(c.p, ev)
		text := v.Reason
		if v.Refusal != nil {
			text = v.Refusal.Text
		}
		if v.Again != c.again || (v.Refusal != nil) != c.again || (v.Mailbox == mailbox.JunkRole) != c.junk || !strings.Contains(text, c.text) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestProven: who the author is must have been shown.
func TestProven(t *testing.T) {
	for _, c := range []struct {
		ev   mx.Evidence
		want bool
	}{
		{mx.Evidence{DMARC: dmarc.Evaluation{Result: dmarc.Pass}}, true},
		{mx.Evidence{DMARC: dmarc.Evaluation{Result: dmarc.None}}, false},
		{mx.Evidence{SPF: mx.SPF{Result: spf.Pass, Domain: "b.example"}, DMARC: dmarc.Evaluation{Result: dmarc.None}}, true},
		{mx.Evidence{SPF: mx.SPF{Result: spf.Pass, Domain: "c.example"}, DMARC: dmarc.Evaluation{Result: dmarc.None}}, false},
		{mx.Evidence{SPF: mx.SPF{Result: spf.Pass, Domain: "b.example"}, DMARC: dmarc.Evaluation{Result: dmarc.TempError}}, false},
	} {
		c.ev.Judged, c.ev.Authors, c.ev.Author = true, 1, house.Address("x@b.example")
		if c.ev.Proven() != c.want {
			t.Errorf("%+v", c.ev)
		}
		if c.ev.Authors = 2; c.ev.Proven() {
			t.Errorf("two authors: %+v", c.ev)
		}
	}
}

// TestGreylist: a stranger is asked once to come again, however he comes then; who
// is known, or was written to, is not asked.
func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHouse(t)
		z := new(zone.Zone)
		z.Text("big.example", "v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 -all")
		z.Text("friend.example", "v=spf1 ip4:192.0.2.77 -all")
		h.MX.DNS = z
		h.MX.Policy = mx.Policy{NoName: 2, Junk: 5, Greylist: mx.GreySuspicious}
		h.MX.Acquaintances = &acquaintance.Store{DB: h.DB}
		send := func(ip, name, from string, to ...string) (string, mail.TraceID) {
			t.Helper()
			p := mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 9), Hello: "mx.y.example", Name: name}
			tx, err := h.MX.Begin(t.Context(), p, house.Address(from), smtp.MailParams{})
			for _, a := range to {
				if err == nil {
					err = tx.Rcpt(t.Context(), house.Address(a), smtp.RcptParams{})
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			return status(tx.Data(t.Context(), strings.NewReader("From: "+from+"\r\n\r\nHello.\r\n"))), tx.ID()
		}
		expect := func(want string) func(string, mail.TraceID) {
			return func(got string, id mail.TraceID) {
				t.Helper()
				if got != want {
					t.Errorf("%q, want %q", got, want)
				}
				if kinds := h.Story(id); want != "" && (len(kinds) == 0 || kinds[len(kinds)-1] != trace.Refused) {
					t.Errorf("the story is %v", kinds)
				}
			}
		}
		expect("4.7.1")(send("192.0.2.9", "", "x@small.example", "ada@a.example", "bob@a.example"))
		expect("4.7.1")(send("192.0.2.9", "", "x@small.example", "ada@a.example")) // too soon
		time.Sleep(mx.GreyWait)
		expect("4.7.1")(send("203.0.113.9", "", "x@small.example", "ada@a.example")) // somebody else
		expect("4.7.1")(send("192.0.2.9", "", "y@small.example", "ada@a.example"))
		expect("")(send("192.0.2.10", "", "x@small.example", "bob@a.example", "ada@a.example")) // beside him
		expect("")(send("192.0.2.9", "", "new@small.example", "bob@a.example"))                 // known by now
		// A large sender comes from another network, with the same domain.
		expect("4.7.1")(send("198.51.100.7", "", "x@big.example", "ada@a.example"))
		time.Sleep(mx.GreyWait)
		expect("")(send("203.0.113.7", "", "x@big.example", "ada@a.example"))
		// Who has a name, and nothing against him, is not asked.
		expect("")(send("198.18.0.1", "mail.fine.example", "x@fine.example", "ada@a.example"))
		// Somebody here has written to him, and he is proven.
		tx, err := h.MSA.Begin(t.Context(), mail.Peer{Account: 1, Login: house.Address("ada@a.example")}, house.Address("ada@a.example"), smtp.MailParams{})
		if err == nil {
			h.MSA.Acquaintances = h.MX.Acquaintances
			err = tx.Rcpt(t.Context(), house.Address("Me@friend.example"), smtp.RcptParams{})
		}
		if err == nil {
			err = tx.Data(t.Context(), strings.NewReader("From: ada@a.example\r\n\r\nHello.\r\n"))
		}
		if err != nil {
			t.Fatal(err)
		}
		expect("4.7.1")(send("198.51.100.99", "", "me@friend.example", "ada@a.example"))
		h.MX.Policy.NoName = 6 // which would be junk
		_, id := send("192.0.2.77", "", "me@friend.example", "ada@a.example")
		if got := h.Box("ada@a.example", "INBOX"); len(got) != 4 {
			t.Errorf("%d messages, and the story is %v", len(got), h.Story(id))
		}
		// Who cannot be known is not asked: nobody could be known again.
		h.MX.Policy.NoName, h.MX.Policy.Greylist, h.MX.Acquaintances = 2, mx.GreyAlways, nil
		expect("")(send("198.18.9.9", "", "x@other.example", "ada@a.example"))
	})
}

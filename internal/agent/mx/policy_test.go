package mx_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

// TestAdmit: the verdict on a client is in what is known of him.
func TestAdmit(t *testing.T) {
	p := mx.Policy{NoName: 2, BadHello: 3, Junk: 5, Refuse: 10, Unknown: 10}
	ip := netip.MustParseAddr("192.0.2.9")
	bad := mx.Listing{List: mx.List{Zone: "bl.example", Points: 10}, Text: "see https://bl.example/"}
	grey := mx.Listing{List: mx.List{Zone: "gl.example", Points: 4}}
	for name, c := range map[string]struct {
		c      mx.Client
		status string
		junk   bool
		text   string
	}{
		"nothing":      {mx.Client{Hello: "a.b.example", Iprev: mx.IprevPass}, "", false, ""},
		"no name":      {mx.Client{Hello: "a.b.example", Iprev: mx.IprevPermError}, "", false, ""},
		"who knows":    {mx.Client{Hello: "x", Iprev: mx.IprevTempError}, "", false, ""},
		"no name, bad": {mx.Client{Hello: "localhost", Iprev: mx.IprevFail}, "", true, "does not lead back to it, and it calls itself by a name without a domain"},
		"literal":      {mx.Client{Hello: "[192.0.2.9]", Iprev: mx.IprevPermError}, "", false, ""},
		"not his":      {mx.Client{Hello: "[192.0.2.8]", Iprev: mx.IprevPermError}, "", true, "an address that it has not"},
		"number":       {mx.Client{Hello: "192.0.2.9", Iprev: mx.IprevPermError}, "", true, "by a number"},
		"no helo":      {mx.Client{Hello: "", Iprev: mx.IprevPermError}, "", true, "what is no name"},
		"list":         {mx.Client{Hello: "a.b.example", Lists: []mx.Listing{bad}}, "5.7.1", false, "mail from 192.0.2.9 is not taken here: it is on the list bl.example (see https://bl.example/)"},
		"two lists":    {mx.Client{Hello: "a.b.example", Lists: []mx.Listing{grey, grey}}, "", true, "gl.example, and it is on"},
		"all":          {mx.Client{Hello: "x", Iprev: mx.IprevFail, Lists: []mx.Listing{grey, grey}}, "5.7.1", false, ""},
		"too much":     {mx.Client{Hello: "a.b.example", Wait: 90 * time.Second}, "4.7.1", false, "too many messages from 192.0.2.9, try again in 1m30s"},
		"guessing":     {mx.Client{Hello: "a.b.example", Unknown: 10}, "4.7.1", false, "nobody is here"},
	} {
		c.c.Addr = ip
		if v := p.Admit(c.c); v.Refusal != nil || v.Mailbox != mailbox.NoRole {
			t.Errorf("%s: judged though it is not to be", name)
		}
		c.c.Judged = true
		v := p.Admit(c.c)
		got, text := "", v.Reason
		if v.Refusal != nil {
			got, text = v.Refusal.Status.String(), v.Refusal.Text
		}
		if got != c.status || (v.Mailbox == mailbox.JunkRole) != c.junk || !strings.Contains(text, c.text) {
			t.Errorf("%s: %+v", name, v)
		}
		if v := (mx.Policy{}).Admit(c.c); c.c.Wait == 0 && v.Refusal != nil {
			t.Errorf("%s: no policy refuses", name)
		}
	}
}

// TestLists: what lists answer, over IPv4 and IPv6, and what is no answer.
func TestLists(t *testing.T) {
	z := new(zone.Zone)
	z.Address("2.2.0.192.bl.example", "127.0.0.2").Text("2.2.0.192.bl.example", "sends\r\njunk \u00fc "+strings.Repeat("x", 500))
	z.Address("3.2.0.192.bl.example", "127.255.255.254")
	z.Address("4.2.0.192.bl.example", "192.0.2.77")
	z.Address("5.2.0.192.bl.example", "127.0.0.10")
	z.Address("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", "127.0.0.2")
	h, _ := newHouse(t)
	var log bytes.Buffer
	h.MX.Log = slog.New(slog.NewTextHandler(&log, nil))
	h.MX.DNS = z
	h.MX.Policy = mx.Policy{Refuse: 5, Lists: []mx.List{{Zone: "bl.example", Points: 5, Codes: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/31")}}}}
	h.MX.Counts = mx.NewCounts(h.MX.Policy, nil)
	h.MX.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for ip, want := range map[string]string{
		"192.0.2.2": "5.7.1", "::ffff:192.0.2.2": "5.7.1", "2001:db8::1": "5.7.1", "192.0.2.3": "", "192.0.2.4": "", "192.0.2.5": "", "192.0.2.6": "", "10.2.0.192": "",
	} {
		p := mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 9), Hello: "x"}
		tx, err := h.MX.Begin(t.Context(), p, house.Address("x@y.example"), smtp.MailParams{})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"ada@a.example", "nobody@a.example"} {
			err = tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{})
			if to == "nobody@a.example" && want == "" {
				if status(err) != "5.1.1" {
					t.Errorf("%s: %v", ip, err)
				}
			} else if status(err) != want {
				t.Errorf("%s: %v", ip, err)
			}
		}
		if no, ok := errors.AsType[*mail.Refusal](err); ok && ip == "192.0.2.2" && (!strings.Contains(no.Text, "(sendsjunk  xx") || len(no.Text) > 400) {
			t.Errorf("%q", no.Text)
		}
		if err := tx.Rcpt(t.Context(), house.Address("Postmaster@a.example"), smtp.RcptParams{}); err != nil {
			t.Errorf("%s: the postmaster: %v", ip, err)
		}
		tx.Reset(t.Context())
	}
	if strings.Count(log.String(), "does not answer us") != 1 {
		t.Errorf("%s", &log)
	}
}

// TestCounts: who names many that nobody is must wait, and who brings too much.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newHouse(t)
		h.MX.DNS = new(zone.Zone)
		h.MX.Policy = mx.Policy{Unknown: 5, PerHour: 3}
		h.MX.Counts = mx.NewCounts(h.MX.Policy, nil)
		rcpt := func(ip, to string) string {
			tx, err := h.MX.Begin(t.Context(), mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 9)}, house.Address("x@y.example"), smtp.MailParams{})
			if err == nil {
				err = tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{})
			}
			return status(err)
		}
		tx, _ := h.MX.Begin(t.Context(), peer, house.Address("x@y.example"), smtp.MailParams{})
		for i, want := range []string{"5.1.1", "5.1.1", "5.1.1", "5.1.1", "5.1.1", "4.7.1", "4.7.1"} {
			if err := tx.Rcpt(t.Context(), house.Address("nobody@a.example"), smtp.RcptParams{}); status(err) != want {
				t.Errorf("recipient %d: %v", i, err)
			}
		}
		if got := rcpt("192.0.2.1", "ada@a.example"); got != "4.7.1" {
			t.Errorf("in the next transaction: %q", got)
		}
		if got := rcpt("192.0.2.2", "ada@a.example"); got != "" {
			t.Errorf("another: %q", got)
		}
		time.Sleep(4 * time.Hour)
		for i, want := range []string{"", "", "", "4.7.1"} {
			if got := rcpt("192.0.2.1", "ada@a.example"); got != want {
				t.Errorf("message %d: %q", i, got)
			}
		}
	})
}

package msa_test

import (
	"strings"
	"testing"

	"posthaste/internal/agent/filter"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestErrand: mail goes by its author's account elsewhere, under the author's address
// there, to people here as well, and unsigned.
func TestErrand(t *testing.T) {
	const far, work = "ada.l@far.example", "ada.l@work.example"
	for _, c := range []struct {
		sender, author string
		as, from       string // the address that it goes by, and the sender then; "": our own way
		want           string
	}{
		{far, far, far, far, ""},
		{"Ada.L@far.example", "\"Ada\" <ADA.L@Far.Example>", far, "Ada.L@far.example", ""},
		{"ada@a.example", far, far, far, ""},
		{"info@a.example", far, far, far, ""},
		{"", far, far, "", ""},
		{far, "", far, far, ""}, // no From field
		{"ada@a.example", "ada@a.example", "", "ada@a.example", ""},
		{"", "ada@a.example", "", "", ""},
		{far, "ada@a.example", "", "", "5.7.1"},
		{far, work, "", "", "5.7.1"},
		{"ada@a.example", "paused@far.example", "", "", "5.7.1"},
		{"ada@a.example", "else@far.example", "", "", "5.7.1"},
		// One of several authors sends for all.
		{far, "x@y.example, " + far, far, far, ""},
		{work, far + ", " + work, work, work, ""},
		{"ada@a.example", far + ", ada@a.example", "", "ada@a.example", ""},
		{"ada@a.example", "x@y.example, " + far, far, far, ""},
		{far, "x@y.example, ada@a.example", "", "", "5.7.1"},
	} {
		name := c.sender + " for " + c.author
		h := newHouse(t)
		h.MSA.Signers = h.Keys.Signers
		var sender mail.Address
		if c.sender != "" {
			sender = house.Address(c.sender)
		}
		tx, err := h.MSA.Begin(t.Context(), ada, sender, smtp.MailParams{})
		if err != nil {
			t.Fatal(name, err)
		}
		for _, to := range []string{"bob@a.example", "x@p.example", "z@p.example"} {
			if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); err != nil {
				t.Fatal(err)
			}
		}
		field := "From: " + c.author + "\r\n"
		if c.author == "" {
			field = ""
		}
		err = tx.Data(t.Context(), strings.NewReader(field+"Subject: x\r\n\r\nHello.\r\n"))
		if status(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil {
			if len(h.Items())+len(h.Inbox("bob@a.example")) != 0 {
				t.Errorf("%s: something was sent", name)
			}
			continue
		}
		items := h.Items()
		if c.as == "" {
			if len(items) != 1 || items[0].Errand.Is() || items[0].Envelope.Sender != sender || len(h.Inbox("bob@a.example")) != 1 || strings.Contains(string(items[0].Prefix), "DKIM-Signature") == strings.Contains(c.author, ",") {
				t.Errorf("%s: %+v", name, items)
			}
			continue
		}
		if len(items) != 1 || len(items[0].Envelope.Recipients) != 3 || items[0].Errand.As.String() != c.as || items[0].Errand.For != ada.Login || items[0].Domain != items[0].Errand.As.Domain || len(h.Inbox("bob@a.example")) != 0 {
			t.Errorf("%s: %+v", name, items)
			continue
		}
		if got := items[0].Envelope.Sender.String(); got != c.from && (c.from != "" || !items[0].Envelope.Sender.IsZero()) {
			t.Errorf("%s: sent as %s", name, got)
		}
		if strings.Contains(string(items[0].Prefix), "DKIM") {
			t.Errorf("%s: signed", name)
		}
	}
}

// TestErrandOfSomebodyElse: an address elsewhere is that of one account only.
func TestErrandOfSomebodyElse(t *testing.T) {
	h := newHouse(t)
	bob := ada
	bob.Account, bob.Login = 2, house.Address("bob@a.example")
	if _, err := h.MSA.Begin(t.Context(), bob, house.Address("ada.l@far.example"), smtp.MailParams{}); status(err) != "5.7.1" {
		t.Error(err)
	}
}

// TestErrandAndFilter: a filter cannot have mail go out elsewhere under another sender.
func TestErrandAndFilter(t *testing.T) {
	for to, want := range map[string]string{"ada@a.example": "ada.l@far.example", "ada.l@work.example": "ada.l@far.example", "Ada.L@Far.example": "Ada.L@far.example"} {
		h := newHouse(t)
		m := house.Milter{'E': house.Frame('e', "<"+to+">\x00") + house.Frame('c', "")}
		h.MSA.Filters = []filter.Filter{{Address: "f", Dial: m.Dial(nil)}}
		tx, err := h.MSA.Begin(t.Context(), ada, house.Address("ada.l@far.example"), smtp.MailParams{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Rcpt(t.Context(), house.Address("x@p.example"), smtp.RcptParams{}); err != nil {
			t.Fatal(err)
		}
		err = tx.Data(t.Context(), strings.NewReader("From: ada.l@far.example\r\n\r\nx\r\n"))
		if items := h.Items(); err != nil || len(items) != 1 || items[0].Envelope.Sender.String() != want {
			t.Errorf("%s: %+v, %v", to, items, err)
		}
	}
}

package msa_test

import (
	"strings"
	"testing"

	"posthaste/internal/agent/filter"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestFilters: what filters say of a submission reaches who sends it, and what they
// change is signed; they may not have it sent in somebody else's name.
func TestFilters(t *testing.T) {
	end := func(answers ...string) house.Milter { return house.Milter{'E': strings.Join(answers, "")} }
	for name, c := range map[string]struct {
		says       house.Milter
		rcpt, data string
		text       string // that the message has
		waiting    string
	}{
		"nothing":      {says: house.Milter{}, text: "\r\nFrom: ada@a.example\r\n", waiting: "far.example: x"},
		"refused":      {says: end(house.Frame('y', "552 5.3.4 EICAR found\x00")), data: "5.3.4"},
		"refused him":  {says: house.Milter{'R': house.Frame('t', "")}, rcpt: "4.7.1"},
		"set aside":    {says: end(house.Frame('q', "looks bad\x00"), house.Frame('c', "")), data: "5.7.1"},
		"thrown away":  {says: house.Milter{'B': house.Frame('d', "")}, data: "5.7.1"},
		"changed":      {says: end(house.Frame('m', "\x00\x00\x00\x01Subject\x00 other\x00"), house.Frame('c', "")), text: "Subject: other\r\n", waiting: "far.example: x"},
		"one more":     {says: end(house.Frame('+', "<y@far.example>\x00"), house.Frame('+', "<nobody@a.example>\x00"), house.Frame('c', "")), text: "Hello.", waiting: "far.example: x y"},
		"not his name": {says: end(house.Frame('e', "<bob@a.example>\x00"), house.Frame('c', "")), text: "Hello.", waiting: "far.example: x"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.MSA.Signers = h.Keys.Signers
			said := make(chan string, 1)
			h.MSA.Filters = []filter.Filter{{Dial: c.says.Dial(said)}}
			p := ada
			p.Mechanism = "PLAIN"
			tx, err := h.MSA.Begin(t.Context(), p, house.Address("ada@a.example"), smtp.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Rcpt(t.Context(), house.Address("x@far.example"), smtp.RcptParams{}); status(err) != c.rcpt {
				t.Fatal(err)
			}
			if c.rcpt != "" {
				tx.Reset(t.Context())
			} else if err := tx.Data(t.Context(), strings.NewReader("From: ada@a.example\r\nSubject: one\r\nBcc: z@far.example\r\n\r\nHello.\r\n")); status(err) != c.data {
				t.Fatal(err)
			}
			heard := <-said
			if !strings.Contains(heard, "{auth_authen}\x00ada@a.example\x00{auth_type}\x00PLAIN\x00") || strings.Contains(heard, "z@far.example") {
				t.Errorf("heard %q", heard)
			}
			if got := strings.Join(h.Waiting(), " "); got != c.waiting {
				t.Fatalf("%q waits", got)
			}
			for _, it := range h.Items() {
				if it.Envelope.Sender != house.Address("ada@a.example") {
					t.Errorf("from %v", it.Envelope.Sender)
				}
				b, err := h.Bodies.Open(t.Context(), it.Body, it.Prefix)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				if all := signed(t, h, b); !strings.Contains(all, c.text) {
					t.Errorf("%q", all)
				}
			}
		})
	}
}

package msa_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/allowance"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
)

func newHouse(t testing.TB) *house.House {
	h := house.New(t, "mx.a.example")
	h.Account(0, "ada@a.example", "bob@a.example") // 1 and 2
	h.Alias("info@a.example", "ada@a.example", "bob@a.example")
	h.Alias("sales@b.example", "ADA@a.example")
	h.Alias("bobs@a.example", "bob@a.example")
	h.Alias("@c.example", "ada@a.example")
	h.Alias("desk@b.example", "ada@n.example")
	err := h.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		return h.Directory.PutDomainAlias(tx, "n.example", "a.example")
	})
	if err != nil {
		t.Fatal(err)
	}
	h.MSA.Errand = errand
	return h
}

// errand knows ada's addresses elsewhere. One of them is in a domain of ours, which says
// nothing; one cannot be used now.
func errand(_ context.Context, peer mail.Peer, from mail.Address) (queue.Errand, error) {
	switch s := strings.ToLower(from.String()); {
	case peer.Account != 1:
	case s == "ada.l@far.example", s == "ada.l@work.example", s == "bob@a.example":
		return queue.Errand{Outpost: uint64(len(s)), As: house.Address(s), For: peer.Login}, nil
	case s == "paused@far.example":
		return queue.Errand{}, mail.Refuse("5.7.1", "it is paused", "")
	}
	return queue.Errand{}, mail.ErrNotFound
}

var ada = mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:99"), Hello: "pc", Account: 1, Login: house.Address("ada@a.example")}

func status(err error) string {
	if err == nil {
		return ""
	}
	if no, ok := errors.AsType[*mail.Refusal](err); ok {
		return no.Status.String()
	}
	return err.Error()
}

// names has whom ada may be.
var names = map[string]string{
	"ada@a.example": "", "Ada@A.example": "", "ada+lists@a.example": "", "info@a.example": "", "sales@b.example": "", "anything@c.example": "",
	"bob@a.example": "5.7.1", "bobs@a.example": "5.7.1", "nobody@a.example": "5.7.1", "ada@far.example": "5.7.1", "bob+ada@a.example": "5.7.1", "postmaster@a.example": "5.7.1",
	"paused@far.example": "5.7.1", "ada@n.example": "", "ada+lists@n.example": "", "info@n.example": "", "desk@b.example": "", "bob@n.example": "5.7.1",
}

// TestSender: who may send as whom, in the envelope.
func TestSender(t *testing.T) {
	h := newHouse(t)
	for from, want := range names {
		tx, err := h.MSA.Begin(t.Context(), ada, house.Address(from), smtp.MailParams{})
		if status(err) != want || (tx == nil) != (err != nil) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
	if _, err := h.MSA.Begin(t.Context(), ada, mail.Address{}, smtp.MailParams{}); err != nil {
		t.Errorf("a receipt: %v", err)
	}
	stranger := ada
	stranger.Account = 0
	if _, err := h.MSA.Begin(t.Context(), stranger, house.Address("ada@a.example"), smtp.MailParams{}); status(err) != "5.7.0" {
		t.Errorf("a stranger: %v", err)
	}
}

// submit sends a message as ada and gives the transaction's id.
func submit(t testing.TB, h *house.House, text string, to ...string) (mail.TraceID, error) {
	t.Helper()
	tx, err := h.MSA.Begin(t.Context(), ada, house.Address("ada@a.example"), smtp.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range to {
		if err := tx.Rcpt(t.Context(), house.Address(s), smtp.RcptParams{}); err != nil {
			t.Fatal(err)
		}
	}
	return tx.ID(), tx.Data(t.Context(), iotest.HalfReader(strings.NewReader(text)))
}

// TestPerDay: how many people an account may write to.
func TestPerDay(t *testing.T) {
	h := newHouse(t)
	h.MSA.Allowance = &allowance.Store{DB: h.DB, Cap: 3}
	for i, c := range []struct {
		to   []string
		want string
	}{
		{[]string{"a@far.example", "b@far.example"}, ""},
		{[]string{"a@far.example", "b@far.example"}, "4.7.1"},
		{[]string{"a@far.example", "b@far.example", "c@far.example", "d@far.example"}, "5.5.3"},
		{[]string{"c@far.example", "bob@a.example"}, ""},
		{[]string{"c@far.example", "bob@a.example"}, "4.7.1"},
		{[]string{"bob@a.example"}, ""}, // among people here, as often as one likes
	} {
		_, err := submit(t, h, "From: ada@a.example\r\n\r\nHello\r\n", c.to...)
		if status(err) != c.want {
			t.Errorf("message %d: %v, want %q", i+1, err, c.want)
		}
	}
	if n := len(h.Items()); n != 2 || len(h.Inbox("bob@a.example")) != 2 {
		t.Errorf("%d items wait, want those of the first message and of the fourth", n)
	}
}

// TestUnusual: what is far more than usual is refused for the moment, with words for
// its owner and for who looks after the server; released it goes.
func TestUnusual(t *testing.T) {
	h := newHouse(t)
	var log strings.Builder
	h.MSA.Allowance, h.MSA.Log = &allowance.Store{DB: h.DB, Cap: 1000, Floor: 2}, slog.New(slog.NewTextHandler(&log, nil))
	send := func(to ...string) error {
		_, err := submit(t, h, "From: ada@a.example\r\n\r\nHello\r\n", to...)
		return err
	}
	if err := send("a@far.example"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := send("a@far.example", "b@far.example")
		no, ok := errors.AsType[*mail.Refusal](err)
		if !ok || no.Status.String() != "4.7.1" || !strings.Contains(no.Text, "3 recipients within a day, far more than you usually have (up to 2 are taken). If it is right, ask your administrator to release it. There is room for it at ") || !strings.HasSuffix(no.Text, "somebody else knows your password: change it") {
			t.Error(err)
		}
	}
	if n := strings.Count(log.String(), "somebody may have its password. If it is right, say: posthaste account limit"); n != 1 {
		t.Errorf("told %d times in\n%s", n, log.String())
	}
	if err := h.MSA.Allowance.Release(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := send("a@far.example", "b@far.example"); err != nil {
		t.Errorf("released: %v", err)
	}
}

// TestAuthor: who may send as whom, in the From field.
func TestAuthor(t *testing.T) {
	cases := map[string]string{
		"":                        "", // no field: it is completed
		"From: \r\n":              "5.7.1",
		"From: undisclosed:;\r\n": "5.7.1",
		"From: <>\r\n":            "5.7.1",
		"From: nonsense\r\n":      "5.6.0",
		"From: ada@a.example\r\nFROM: bob@a.example\r\n":             "5.6.0",
		"From: ada@a.example\r\nFrom: ada@a.example\r\n":             "5.6.0",
		"From: \"bob@a.example\" <ada@a.example>\r\n":                "",
		"From: \"ada@a.example\" <bob@a.example>\r\n":                "5.7.1",
		"From: ada@a.example (bob@a.example)\r\n":                    "",
		"From: bob@a.example, ada@a.example\r\n":                     "", // one of several authors
		"From: bob@a.example, x@far.example\r\n":                     "5.7.1",
		"From:\r\n =?utf-8?q?Ada?=\r\n <ada@a.example>\r\n":          "",
		"Sender: ada@a.example\r\nFrom: bob@a.example\r\n":           "5.7.1",
		"X: y\r\nFrom: ada@a.example\r\n":                            "",
		strings.Repeat("X: y\r\n", 3000) + "From: bob@a.example\r\n": "5.7.1",
	}
	for from, want := range names {
		cases["From: "+from+"\r\n"] = want
	}
	for field, want := range cases {
		h := newHouse(t)
		id, err := submit(t, h, field+"Subject: x\r\n\r\nHello.\r\n", "bob@a.example")
		got := status(err)
		if got != want {
			t.Errorf("%.60q: %v, want %q", field, err, want)
		}
		if n := len(h.Inbox("bob@a.example")); n != map[bool]int{true: 1}[err == nil] {
			t.Errorf("%.60q: delivered %d times", field, n)
		}
		kinds := []trace.Kind{trace.Refused}
		if err == nil {
			kinds = []trace.Kind{trace.Submitted, trace.Stored}
		}
		if got := h.Story(id); !slices.Equal(got, kinds) {
			t.Errorf("%.60q: %v", field, got)
		}
	}
}

// TestComplete: what is added and what is taken away, and that all other bytes
// stay.
func TestComplete(t *testing.T) {
	const from, date, msgid = "From: ada@a.example\r\n", "Date: Sat, 21 Nov 2026 10:20:30 +0100\r\n", "Message-ID: <1@a.example>\r\n"
	odd := "\r\n.\r\n\x80\x00\xff lone \n and \r.\r\nBcc: not a field\r\n\r\n"
	large := "\r\n" + strings.Repeat("a line of the body\r\n", 10_000) + "no end"
	for name, c := range map[string]struct {
		header, body string
		left         string // of the header
		date, id     bool   // are added
	}{
		"whole":         {from + date + msgid, odd, from + date + msgid, false, false},
		"bare":          {from, odd, from, true, true},
		"without date":  {msgid + from, odd, msgid + from, true, false},
		"without id":    {date + from, large, date + from, false, true},
		"blind copies":  {"BCC: x@y\r\n" + from + date + "bcc:\r\n x@y,\r\n\tz@y\r\n" + msgid + "Resent-Bcc: x@y\r\n", odd, from + date + msgid, false, false},
		"large and bcc": {from + date + msgid + "Bcc: x@y\r\n", large, from + date + msgid, false, false},
		"like fields":   {"X-Bcc: x\r\nBccs: y\r\nDated: z\r\n" + from + date + msgid, odd, "X-Bcc: x\r\nBccs: y\r\nDated: z\r\n" + from + date + msgid, false, false},
		"no body":       {from, "", from, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			id, err := submit(t, h, c.header+c.body, "bob@a.example")
			if err != nil {
				t.Fatal(err)
			}
			got := h.Inbox("bob@a.example")[0]
			rest, ok := strings.CutSuffix(got, c.left+c.body)
			if !ok {
				t.Fatalf("%.300q does not end as it was", got)
			}
			if strings.Contains(strings.ToLower(rest), "bcc") {
				t.Errorf("front: %q", rest)
			}
			added, n := map[string]string{}, 0
			for f := range message.Fields([]byte(rest)) {
				added[strings.ToLower(string(f.Name))] = f.Text()
				n++
			}
			want := 2 // Return-Path, Received
			if c.date {
				want++
				if _, err := message.ParseDate(added["date"]); err != nil {
					t.Errorf("date %q: %v", added["date"], err)
				}
			}
			if c.id {
				want++
				if added["message-id"] != "<"+id.String()+"@mx.a.example>" {
					t.Errorf("message-id %q", added["message-id"])
				}
			}
			if n != want || !strings.Contains(added["received"], "with ESMTPA id "+id.String()) {
				t.Errorf("front: %q", rest)
			}
		})
	}
}

// TestRcpt: anywhere, but of our own we know who is there.
func TestRcpt(t *testing.T) {
	h := newHouse(t)
	tx, err := h.MSA.Begin(t.Context(), ada, house.Address("ada@a.example"), smtp.MailParams{EightBit: true})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{"bob@a.example": "", "x@far.example": "", "nobody@a.example": "5.1.1", "whoever@c.example": "", "x@[192.0.2.1]": ""} {
		if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); status(err) != want {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
	if err := tx.Rcpt(t.Context(), mail.Address{Local: "postmaster"}, smtp.RcptParams{}); err != nil {
		t.Error(err)
	}
	if err := tx.Data(t.Context(), strings.NewReader("From: ada@a.example\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := h.Waiting(); !slices.Equal(got, []string{"[192.0.2.1]: x", "far.example: x"}) {
		t.Errorf("waiting: %q", got)
	}
	for _, it := range h.Items() {
		if !it.Envelope.EightBit || it.Envelope.Sender != house.Address("ada@a.example") || it.Envelope.Trace != tx.ID() {
			t.Errorf("queued as %+v", it.Envelope)
		}
	}
	if got := len(h.Inbox("ada@a.example")); got != 1 { // whoever@c and postmaster
		t.Errorf("ada has %d messages", got)
	}
}

// TestRefused: a circle, and a client that goes away.
func TestRefused(t *testing.T) {
	h := newHouse(t)
	if _, err := submit(t, h, strings.Repeat("Received: x\r\n", 101)+"From: ada@a.example\r\n\r\nx\r\n", "bob@a.example"); status(err) != "5.4.6" {
		t.Errorf("a circle: %v", err)
	}
	gone := errors.New("connection reset")
	tx, _ := h.MSA.Begin(t.Context(), ada, house.Address("ada@a.example"), smtp.MailParams{})
	tx.Rcpt(t.Context(), house.Address("bob@a.example"), smtp.RcptParams{})
	if err := tx.Data(t.Context(), iotest.ErrReader(gone)); err != gone {
		t.Errorf("%v", err)
	}
	if got := h.Story(tx.ID()); !slices.Equal(got, []trace.Kind{trace.Refused}) {
		t.Errorf("%v", got)
	}
	if len(h.Inbox("bob@a.example")) != 0 {
		t.Error("delivered")
	}
}

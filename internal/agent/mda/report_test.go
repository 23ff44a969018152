package mda_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dsn"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// asking has every recipient's success asked for.
func asking(m mda.Mail) mda.Mail {
	m.Envelope.Sender, m.Envelope.EnvelopeID, m.Envelope.Priority = house.Address("eve@far.example"), "QQ1", -2
	for i := range m.Envelope.Recipients {
		r := &m.Envelope.Recipients[i]
		r.Notify, r.ORCPT = mail.NotifySuccess, "rfc822;first-"+r.Address.String()
	}
	return m
}

// said gives what the reports in the queue say: "ENVID: recipient action
// orcpt …", in order.
func said(h *house.House) (out []string) {
	h.T.Helper()
	for _, it := range h.Items() {
		if !it.Envelope.Sender.IsZero() {
			continue
		}
		b, err := h.Bodies.Open(h.T.Context(), it.Body, it.Prefix)
		if err != nil {
			h.T.Fatal(err)
		}
		raw := make([]byte, b.Size())
		b.ReadAt(raw, 0)
		b.Close()
		in, err := dsn.Read(message.ParseBytes(raw), bytes.NewReader(raw))
		if err != nil {
			h.T.Fatalf("%v:\n%s", err, raw)
		}
		line := it.Envelope.Recipients[0].Address.String() + " " + in.EnvelopeID + ":"
		for _, r := range in.Recipients {
			line += fmt.Sprintf(" %s %s %s", r.Outcome.Recipient.Address, r.Action, strings.ReplaceAll(r.ORCPT, " ", ""))
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// TestSuccess: who asks hears that the message has arrived, or that a list has
// it; nobody else does, and nobody before it is true. RFC 3461 §5.2
func TestSuccess(t *testing.T) {
	for _, c := range []struct {
		name string
		to   []string
		want []string // reports
		left []string // notify of what waits: "address notify"
	}{
		{"here", []string{"ada@a.example", "bob@a.example"}, []string{"eve@far.example QQ1: ada@a.example delivered rfc822;first-ada@a.example bob@a.example delivered rfc822;first-bob@a.example"}, nil},
		{"full", []string{"ada@a.example", "tiny@a.example"}, []string{"eve@far.example QQ1: ada@a.example delivered rfc822;first-ada@a.example"}, []string{"tiny@a.example 2"}},
		{"one alias", []string{"info@a.example"}, []string{"eve@far.example QQ1: info@a.example delivered rfc822;first-info@a.example"}, nil},
		{"forwarded", []string{"gone@a.example"}, nil, []string{"x@far.example 2"}},
		{"list", []string{"list@a.example"}, []string{"eve@far.example QQ1: list@a.example expanded rfc822;first-list@a.example"}, []string{"x@far.example 1", "tiny@a.example 1"}},
		{"nobody", []string{"ada@a.example", "nobody@a.example"}, []string{"eve@far.example QQ1: ada@a.example delivered rfc822;first-ada@a.example"}, []string{"nobody@a.example 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.Account(10, "tiny@a.example")
			h.Alias("info@a.example", "ada@a.example")
			h.Alias("gone@a.example", "x@far.example")
			h.Alias("list@a.example", "ada@a.example", "x@far.example", "tiny@a.example")
			m := asking(letter(h, text, c.to...))
			if err := h.Delivery.Deliver(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			for _, it := range h.Items() {
				if it.Envelope.Priority != -2 { // RFC 6710 §4.6
					t.Errorf("what goes to %s has priority %d", it.Domain, it.Envelope.Priority)
				}
			}
			if got := said(h); !slices.Equal(got, c.want) {
				t.Errorf("said %q, want %q", got, c.want)
			}
			var left []string
			for _, it := range h.Items() {
				if it.Envelope.Sender.IsZero() {
					continue
				}
				for _, r := range it.Envelope.Recipients {
					left = append(left, fmt.Sprintf("%s %d", r.Address, r.Notify))
				}
			}
			if !slices.Equal(left, c.left) {
				t.Errorf("left %q, want %q", left, c.left)
			}
			if n := len(c.want); n != count(h.Story(m.Envelope.Trace), trace.Reported) {
				t.Errorf("%v", h.Story(m.Envelope.Trace))
			}
		})
	}
}

func count(kinds []trace.Kind, k trace.Kind) (n int) {
	for _, have := range kinds {
		if have == k {
			n++
		}
	}
	return n
}

// TestSilence: no report on a report, and none that nobody asked for.
func TestSilence(t *testing.T) {
	h := newHouse(t)
	m := asking(letter(h, text, "ada@a.example"))
	m.Envelope.Sender = mail.Address{}
	m2 := asking(letter(h, text, "ada@a.example"))
	m2.Envelope.Recipients[0].Notify = mail.NotifyFailure | mail.NotifyDelay
	for _, m := range []mda.Mail{m, m2} {
		if err := h.Delivery.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if got := said(h); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestTryReports: what the queue delivers is reported in the same transaction,
// and the rest when it is its turn.
func TestTryReports(t *testing.T) {
	h := newHouse(t)
	h.Account(10, "tiny@a.example")
	m := asking(letter(h, text, "ada@a.example", "tiny@a.example"))
	outs, err := h.Delivery.Try(t.Context(), m)
	if err != nil || outs[0].Status.Class != 2 || outs[1].Status.String() != "4.2.2" {
		t.Fatalf("%+v, %v", outs, err)
	}
	if got := said(h); !slices.Equal(got, []string{"eve@far.example QQ1: ada@a.example delivered rfc822;first-ada@a.example"}) {
		t.Errorf("%q", got)
	}
}

// TestDoorReports: LMTP takes the duty over with the message. RFC 3461 §5.2
func TestDoorReports(t *testing.T) {
	h := newHouse(t)
	d := &mda.Door{Hostname: "mx.a.example", Agent: h.Delivery}
	tx, err := d.Begin(t.Context(), mail.Peer{Hello: "client"}, house.Address("x@y.example"), smtp.MailParams{EnvelopeID: "Q", Return: mail.ReturnHeader})
	if err == nil {
		err = tx.Rcpt(t.Context(), house.Address("bob@a.example"), smtp.RcptParams{Notify: mail.NotifySuccess, Original: "rfc822;b@c.example"})
	}
	if err == nil {
		err = tx.Data(t.Context(), strings.NewReader(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := said(h); !slices.Equal(got, []string{"x@y.example Q: bob@a.example delivered rfc822;b@c.example"}) {
		t.Errorf("%q", got)
	}
}

// TestHeavyRecipients: what senders may say of recipients fits into the rows.
func TestHeavyRecipients(t *testing.T) {
	h := newHouse(t)
	m := letter(h, text)
	for i := range 300 {
		r := mail.Recipient{Address: mail.Address{Local: fmt.Sprintf("%0250d", i), Domain: "far.example"}, Notify: mail.NotifyDelay, ORCPT: "rfc822;" + strings.Repeat("x", 490)}
		m.Envelope.Recipients = append(m.Envelope.Recipients, r)
	}
	if err := h.Delivery.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, it := range h.Items() {
		n += len(it.Envelope.Recipients)
	}
	if n != 300 {
		t.Errorf("%d of 300 recipients wait", n)
	}
}

package mx_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mx"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

const text = "From: x@y.example\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n\x80\xff\r\n"

func newHouse(t testing.TB) (*house.House, *bytes.Buffer) {
	h := house.New(t, "mx.a.example")
	h.Account(0, "ada@a.example", "bob@a.example")
	var log bytes.Buffer
	h.MX.Log = slog.New(slog.NewTextHandler(&log, nil))
	return h, &log
}

var peer = mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:99"), Hello: "mx.y.example", TLS: &mail.TLS{Version: "TLS1.3", Cipher: "X"}}

func begin(t testing.TB, a *mx.Agent, to ...string) smtp.Transaction {
	t.Helper()
	tx, err := a.Begin(t.Context(), peer, house.Address("x@y.example"), smtp.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range to {
		if err := tx.Rcpt(t.Context(), house.Address(s), smtp.RcptParams{}); err != nil {
			t.Fatal(err)
		}
	}
	return tx
}

func status(err error) string {
	if err == nil {
		return ""
	}
	if no, ok := errors.AsType[*mail.Refusal](err); ok {
		return no.Status.String()
	}
	return err.Error()
}

// TestTake: a message arrives as it was sent, with what we put in front.
func TestTake(t *testing.T) {
	h, _ := newHouse(t)
	tx := begin(t, h.MX, "ada@a.example")
	if err := tx.Data(t.Context(), iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	got := h.Inbox("ada@a.example")
	if len(got) != 1 || !strings.HasPrefix(got[0], "Return-Path: <x@y.example>\r\nReceived: from mx.y.example ([192.0.2.1])\r\n\tby mx.a.example (Posthaste) with ESMTPS id "+tx.ID().String()) ||
		!strings.Contains(got[0], "for <ada@a.example>;") || !strings.HasSuffix(got[0], "\r\n"+text) {
		t.Errorf("%q", got)
	}
	if got := h.Story(tx.ID()); !slices.Equal(got, []trace.Kind{trace.Received, trace.Stored}) {
		t.Errorf("%v", got)
	}
	events, _ := h.Journal.Events(t.Context(), tx.ID())
	if e := events[0]; e.Remote != "mx.y.example [192.0.2.1]" || e.TLS != "TLS1.3 X" || e.Size != int64(len(text)) || e.Sender != house.Address("x@y.example") {
		t.Errorf("%+v", e)
	}
	// Nobody learns of a blind copy.
	tx = begin(t, h.MX, "ada@a.example", "bob@a.example")
	if err := tx.Data(t.Context(), strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if got := h.Inbox("bob@a.example"); len(got) != 1 || strings.Contains(got[0], "a.example>") {
		t.Errorf("%q", got)
	}
}

// TestRcpt: we are no relay, and the postmaster needs no domain.
func TestRcpt(t *testing.T) {
	h, _ := newHouse(t)
	tx := begin(t, h.MX)
	for to, want := range map[string]string{
		"ada@a.example": "", "Ada+x@A.EXAMPLE": "", "nobody@a.example": "5.1.1", "x@far.example": "5.7.1", "ada@[192.0.2.1]": "5.7.1",
		`"x@far.example"@a.example`: "5.1.1", "x%far.example@a.example": "5.1.1", "far.example!x@a.example": "5.1.1",
	} {
		if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); status(err) != want {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
	if err := tx.Rcpt(t.Context(), mail.Address{Local: "Postmaster"}, smtp.RcptParams{}); err != nil {
		t.Error(err)
	}
	tx.Reset(t.Context())
	if got := h.Story(tx.ID()); len(got) != 6 || got[0] != trace.Refused {
		t.Errorf("%v", got)
	}
}

// TestJudge: the verdict is in the evidence.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		ev   mx.Evidence
		want string
	}{
		{mx.Evidence{FromFields: 1, Authors: 1}, ""},
		{mx.Evidence{FromFields: 1, Authors: 1, Hops: mda.MaxHops}, ""},
		{mx.Evidence{FromFields: 1, Authors: 1, Hops: mda.MaxHops + 1}, "5.4.6"},
		{mx.Evidence{FromFields: 2, Authors: 2}, "5.6.0"},
	} {
		got := ""
		if no := mx.Judge(mx.Policy{}, c.ev).Refusal; no != nil {
			got = no.Status.String()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.ev, got, c.want)
		}
	}
}

// TestRefused: what is refused is nowhere, but in its story.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"two From fields":        {"From: a@b.example\r\nFrom: c@d.example\r\n\r\nx\r\n", "5.6.0"},
		"two From fields, apart": {"From: a@b.example\r\n" + strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 30) + "fRoM: c@d.example\r\n\r\nx\r\n", "5.6.0"},
		"a circle":               {strings.Repeat("Received: x\r\n", mda.MaxHops+1) + text, "5.4.6"},
	} {
		h, log := newHouse(t)
		tx := begin(t, h.MX, "ada@a.example")
		if err := tx.Data(t.Context(), strings.NewReader(c.text)); status(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if len(h.Inbox("ada@a.example")) != 0 {
			t.Errorf("%s: it was delivered", name)
		}
		if got := h.Story(tx.ID()); !slices.Equal(got, []trace.Kind{trace.Refused}) {
			t.Errorf("%s: %v", name, got)
		}
		if strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%s: %s", name, log)
		}
	}
}

// TestLost: a client that goes away is not our failure; a disk that does is.
func TestLost(t *testing.T) {
	gone := errors.New("connection reset")
	for _, n := range []int{0, 1000} {
		h, log := newHouse(t)
		tx := begin(t, h.MX, "ada@a.example")
		err := tx.Data(t.Context(), io.MultiReader(strings.NewReader(strings.Repeat(text, n)), iotest.ErrReader(gone)))
		if err != gone {
			t.Errorf("%v: the reader's error must come back as it is", err)
		}
		if got := h.Story(tx.ID()); !slices.Equal(got, []trace.Kind{trace.Refused}) || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%v, %s", got, log)
		}
		if len(h.Inbox("ada@a.example")) != 0 {
			t.Error("half a message was delivered")
		}
	}
	h, log := newHouse(t)
	h.MX.Delivery = broken{}
	tx := begin(t, h.MX, "ada@a.example")
	if err := tx.Data(t.Context(), strings.NewReader(text)); err == nil || status(err) != "on fire" {
		t.Errorf("%v", err)
	}
	if got := h.Story(tx.ID()); !slices.Equal(got, []trace.Kind{trace.Broken}) || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%v, %s", got, log)
	}
}

type broken struct{}

func (broken) Accepts(context.Context, mail.Address, mail.Recipient) error { return nil }
func (broken) Deliver(context.Context, mda.Mail) error                     { return errors.New("on fire") }

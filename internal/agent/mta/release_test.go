package mta_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/msa"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

// A message that is to go later goes then, to people here and elsewhere, and its
// age counts from then on. RFC 4865
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		w.host("c.example", 10, "mx.c.example", "198.51.100.2").rcpt = func(string) error { return later }
		w.run(w.agent)
		ada := mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:99"), Hello: "pc", Account: 1, Login: house.Address("ada@a.example")}
		tx, err := w.MSA.Begin(t.Context(), ada, ada.Login, smtp.MailParams{HoldUntil: time.Now().Add(10 * 24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"x@b.example", "y@c.example", "ada@a.example"} {
			if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Data(t.Context(), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*24*time.Hour - time.Minute)
		synctest.Wait()
		if n := h.count(); n != 0 || len(w.Inbox("ada@a.example")) != 0 {
			t.Errorf("before its time: %d went, %d came", n, len(w.Inbox("ada@a.example")))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := h.count(); n != 1 || len(w.Inbox("ada@a.example")) != 1 {
			t.Errorf("at its time: %d went, %d came", n, len(w.Inbox("ada@a.example")))
		}
		// It has waited ten days, and none of them counts.
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		for _, r := range w.reports() {
			if strings.Contains(r, "failed") {
				t.Errorf("given up too early: %s", r)
			}
		}
		time.Sleep(5 * 24 * time.Hour)
		synctest.Wait()
		if got := w.reports(); len(got) == 0 || !strings.Contains(got[len(got)-1], "| failed |") && !strings.Contains(strings.Join(got, " "), "failed") {
			t.Errorf("at the end: %q", got)
		}
	})
}

// What is for the junk mailbox goes there also by way of the queue.
func TestReleaseToJunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(w.agent)
		env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: house.Address("x@b.example"), Recipients: []mail.Recipient{{Address: house.Address("ada@a.example")}}}
		m := mda.Mail{Envelope: env, Body: w.Stage(text), Mailbox: mailbox.JunkRole, Release: time.Now().Add(time.Minute)}
		if err := w.Delivery.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n, in := len(w.Box("ada@a.example", "Junk")), len(w.Inbox("ada@a.example")); n != 1 || in != 0 {
			t.Errorf("%d in Junk, %d in INBOX", n, in)
		}
	})
}

func TestReleaseLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ada := mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:99"), Account: 1, Login: house.Address("ada@a.example")}
		for _, c := range []struct {
			p  smtp.MailParams
			ok bool
		}{
			{smtp.MailParams{HoldFor: msa.MaxHold}, true},
			{smtp.MailParams{HoldFor: msa.MaxHold + time.Second}, false},
			{smtp.MailParams{HoldUntil: time.Now().Add(msa.MaxHold + time.Hour)}, false},
			{smtp.MailParams{HoldUntil: time.Now().Add(-time.Hour)}, true},
		} {
			_, err := w.MSA.Begin(t.Context(), ada, ada.Login, c.p)
			if (err == nil) != c.ok {
				t.Errorf("%+v: %v", c.p, err)
			}
		}
	})
}

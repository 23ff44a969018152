package mta_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
)

// TestDeliverBy: a message that must be delivered by a time comes back then, or its
// sender hears of it; hosts that know of such times hear what is left. RFC 2852
func TestDeliverBy(t *testing.T) {
	const (
		came    = "Undelivered mail: your message could not be delivered | x@b.example | failed | 5.4.7"
		delayed = "Delayed mail: your message has not been delivered yet | x@b.example | delayed | 4.4.7"
		relayed = "Relayed mail: your message has been passed on | x@b.example | relayed | 2.0.0"
	)
	answer := func(err error) func(string) error { return func(string) error { return err } }
	for name, c := range map[string]struct {
		by     mail.DeliverBy // its time counts from the year 0
		notify mail.Notify
		rcpt   func(string) error
		bare   bool     // the host knows nothing of times
		want   []string // reports
		heard  string   // the host, at the first attempt
		tries  bool     // it is tried on
	}{
		"in time":                {by: mail.DeliverBy{Return: true}, want: nil, heard: "BY=59m59s,true,false"},
		"in time, traced":        {by: mail.DeliverBy{Return: true, Trace: true}, want: []string{relayed}, heard: "BY=59m59s,true,true"},
		"traced, says never":     {by: mail.DeliverBy{Trace: true}, notify: mail.NotifyNever, want: nil, heard: "BY=59m59s,false,true"},
		"comes back":             {by: mail.DeliverBy{Return: true}, rcpt: answer(later), want: []string{came}, heard: "BY=59m59s,true,false"},
		"comes back, says never": {by: mail.DeliverBy{Return: true}, notify: mail.NotifyNever, rcpt: answer(later), want: nil, heard: "BY=59m59s,true,false"},
		"is told":                {by: mail.DeliverBy{}, rcpt: answer(later), want: []string{delayed}, heard: "BY=59m59s,false,false", tries: true},
		"is told, wants failure": {by: mail.DeliverBy{}, notify: mail.NotifyFailure, rcpt: answer(later), want: nil, heard: "BY=59m59s,false,false", tries: true},
		"bare, return":           {by: mail.DeliverBy{Return: true}, bare: true, want: []string{came}},
		"bare, notify":           {by: mail.DeliverBy{}, bare: true, want: []string{relayed}},
		"bare, says never":       {by: mail.DeliverBy{}, notify: mail.NotifyNever, bare: true, want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				h.rcpt = c.rcpt
				if c.bare {
					w.bare("198.51.100.1", nil)
				}
				w.postAs("ada@a.example", text, func(e *mail.Envelope) {
					e.By = c.by
					e.By.Time = time.Now().Add(time.Hour)
					e.Recipients[0].Notify = c.notify
				}, "x@b.example")
				time.Sleep(time.Second / 2)
				w.run(w.agent)
				time.Sleep(59 * time.Minute)
				synctest.Wait()
				if got := w.reports(); c.rcpt != nil && len(got) > 0 {
					t.Errorf("before the time: %q", got)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				same(t, "reports", w.reports(), c.want)
				asked, tries := h.heard()
				if c.heard != "" && (len(asked) == 0 || !strings.HasSuffix(asked[0], c.heard)) {
					t.Errorf("the host heard %q", asked)
				}
				time.Sleep(12 * time.Hour)
				synctest.Wait()
				_, after := h.heard()
				if on := after > tries; on != c.tries || on != (len(w.Waiting()) > 0) {
					t.Errorf("tried on: %v; %q", on, w.Waiting())
				}
				same(t, "reports after", w.reports(), c.want)
				for _, m := range w.Inbox("ada@a.example") {
					if !strings.Contains(m, "\nDeliver-By-Date: ") {
						t.Error(m)
					}
				}
			})
		})
	}
}

// A host that needs more time than there is left does not get the message.
func TestDeliverByTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		said := w.bare("198.51.100.1", nil, "DELIVERBY 7200")
		w.run(w.agent)
		w.postAs("ada@a.example", text, func(e *mail.Envelope) { e.By = mail.DeliverBy{Time: time.Now().Add(time.Hour), Return: true} }, "x@b.example")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.reports(); len(got) != 1 || !strings.HasSuffix(got[0], "failed | 5.4.7") || strings.Contains(strings.Join(said(), " "), "MAIL") {
			t.Errorf("%q, %q", got, said())
		}
	})
}

package postmaster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/postmaster"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/internal/store/policies"
	"posthaste/internal/store/reports"
	"posthaste/test/house"
)

// TestRounds: with nobody connected, mail that was collected goes when its days
// are over, can be restored for 30 days, and then is gone for good.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := house.New(t, "mx.example.org")
		ada := h.Account(0, "ada@example.org")[0]
		rules := &maildrop.Store{DB: h.DB, Mail: h.Mailboxes}
		a := &postmaster.Agent{Directory: h.Directory, Mailboxes: h.Mailboxes, Maildrops: rules, Bodies: h.Bodies, Queue: h.Queue, Journal: h.Journal, Policies: &policies.Store{DB: h.DB}, Reports: &reports.Store{DB: h.DB}, Log: h.Log}
		ctx := t.Context()
		p, err := h.Mailboxes.PrepareMessage(ctx, mail.NewTraceID(time.Now()), strings.NewReader("Subject: x\r\n\r\n"+strings.Repeat("a body of its own\r\n", 5000)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Mailboxes.AppendMessages(ctx, ada, mailbox.Inbox, mailbox.Incoming{Prepared: p}); err != nil {
			t.Fatal(err)
		}
		if err := rules.SetPolicy(ctx, ada, 0, maildrop.Policy{After: maildrop.KeepDays, Days: 7}); err != nil {
			t.Fatal(err)
		}
		err = rules.Visited(ctx, ada, maildrop.Visit{Boxes: []maildrop.BoxVisit{{Mailbox: mailbox.Inbox, Collected: mail.UIDs(1)}}})
		if err != nil {
			t.Fatal(err)
		}
		states := map[int]string{6: "there", 7: "deleted", 36: "deleted", 38: "gone"}
		for day := range 40 {
			if err := a.Round(ctx); err != nil {
				t.Fatal(err)
			}
			u, err := h.Mailboxes.Usage(ctx, ada)
			if err != nil {
				t.Fatal(err)
			}
			state := "gone"
			switch {
			case u.Messages > 0:
				state = "there"
			case u.Expunged > 0:
				state = "deleted"
			}
			if want := states[day]; want != "" && state != want {
				t.Errorf("on day %d the message is %s, want %s", day, state, want)
			}
			time.Sleep(24 * time.Hour)
		}
		err = a.Check(ctx, func(wrong string) { t.Error(wrong) }, func(int, int) {})
		if err != nil {
			t.Error(err)
		}
	})
}

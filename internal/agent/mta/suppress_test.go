package mta_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/suppression"
	"posthaste/test/house"
)

// Mail to an address that its server has called dead three times goes no more;
// who writes to it hears why, and after a week it is tried again.
func TestSuppression(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		list := &suppression.List{DB: w.DB, After: 3}
		w.agent.Suppression, w.MSA.Suppression = list, list
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		h.rcpt = func(local string) error {
			switch local {
			case "gone":
				return mail.Refuse("5.1.1", "no such user here", "")
			case "full":
				return mail.Refuse("5.2.2", "mailbox full", "")
			}
			return nil
		}
		w.run(w.agent)
		ada := mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:99"), Account: 1, Login: house.Address("ada@a.example")}
		may := func(to string) error {
			tx, err := w.MSA.Begin(t.Context(), ada, ada.Login, smtp.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Reset(t.Context())
			return tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{})
		}
		for i := range 3 {
			if err := may("gone@b.example"); err != nil {
				t.Errorf("after %d: %v", i, err)
			}
			w.post("gone@b.example", "full@b.example", "bob@b.example")
			w.postFrom("", text, "gone@b.example") // a report, whose sender may be forged
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		err := may("gone@b.example")
		no, ok := errors.AsType[*mail.Refusal](err)
		if !ok || no.Status.String() != "5.1.1" || !strings.Contains(no.Text, "come back 3 times") || !strings.Contains(no.Text, "no such user here") {
			t.Errorf("after three: %v", err)
		}
		for _, to := range []string{"full@b.example", "bob@b.example", "GONE@c.example"} {
			if err := may(to); err != nil {
				t.Errorf("%s: %v", to, err)
			}
		}
		time.Sleep(suppression.Rest)
		if err := may("gone@b.example"); err != nil {
			t.Errorf("after a week: %v", err)
		}
	})
}

package registrar_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/test/house"
)

// TestRenameAccount: mail to both addresses is put where the mail was, and who is
// subscribed to the account's mailboxes still is, however many there are.
func TestRenameAccount(t *testing.T) {
	h := house.New(t, "mx.a.example")
	h.Registrar.Prefix = func(a *directory.Account) string { return "Other Users/" + a.Address.String() + "/" }
	ids := h.Account(0, "ada@a.example", "bob@a.example", "eve@a.example", "ada@a.example.net")
	h.Alias("info@a.example", "ada@a.example")
	subscribe := func(who mail.AccountID, names ...string) {
		t.Helper()
		for _, n := range names {
			if err := h.Mailboxes.Subscribe(t.Context(), who, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	subscribe(ids[1], "Other Users/ada@a.example", "Other Users/ada@a.example/INBOX", "Other Users/ada@a.example.net/INBOX", "Other Users/ada@a.example/"+strings.Repeat("x", 974))
	for i := range 2001 { // more than one transaction should take
		subscribe(ids[2], fmt.Sprintf("Other Users/ada@a.example/%d", i))
	}
	seen, err := h.Mailboxes.ModSeq(t.Context(), ids[1])
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = h.Registrar.RenameAccount(t.Context(), registrar.Rename{From: house.Address("ADA@a.example"), To: house.Address("bob@a.example"), Alias: true})
	if !errors.Is(err, mail.ErrExists) {
		t.Fatal(err)
	}
	a, led, err := h.Registrar.RenameAccount(t.Context(), registrar.Rename{From: house.Address("ADA@a.example"), To: house.Address("ada.lovelace@a.example"), Alias: true})
	if err != nil || a.ID != ids[0] || led != 1 {
		t.Fatal(a, led, err)
	}
	others := func(who mail.AccountID) (out []string) {
		t.Helper()
		all, err := h.Mailboxes.Subscriptions(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all, func(n string) bool { return !strings.HasPrefix(n, "Other Users/") })
	}
	if got := others(ids[1]); !slices.Equal(got, []string{"Other Users/ada.lovelace@a.example", "Other Users/ada.lovelace@a.example/INBOX", "Other Users/ada@a.example.net/INBOX"}) {
		t.Errorf("bob is subscribed to %.200q", got)
	}
	for _, n := range others(ids[2]) {
		if !strings.HasPrefix(n, "Other Users/ada.lovelace@a.example/") {
			t.Fatalf("eve is subscribed to %q", n)
		}
	}
	if now, err := h.Mailboxes.ModSeq(t.Context(), ids[1]); err != nil || now == seen {
		t.Error("sessions are not told:", now, err)
	}
	for i, to := range []string{"ada@a.example", "info@a.example", "ada.lovelace@a.example", "Ada+x@a.example"} {
		env := mail.Envelope{Sender: house.Address("x@far.example"), Recipients: []mail.Recipient{{Address: house.Address(to)}}}
		if err := h.Delivery.Deliver(t.Context(), mda.Mail{Envelope: env, Body: h.Stage("Subject: " + to + "\r\n\r\nx\r\n")}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		if got := len(h.Inbox("ada.lovelace@a.example")); got != i+1 {
			t.Errorf("%s: %d messages", to, got)
		}
	}
}

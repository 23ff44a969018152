package registrar_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/outpost"
	"posthaste/test/house"
)

// TestRemoveAccount: nothing is left of it, not even if we are interrupted once it is out
// of the directory; and what is others' stays.
func TestRemoveAccount(t *testing.T) {
	for _, how := range []string{"at once", "half way"} {
		t.Run(how, func(t *testing.T) {
			h := house.New(t, "mx.a.example")
			h.Registrar.Outposts = &outpost.Store{DB: h.DB}
			ids := h.Account(0, "ada@a.example", "bob@a.example")
			large := "Subject: large\r\n\r\n" + strings.Repeat("0123456789\r\n", 20_000)
			for _, text := range []string{"Subject: small\r\n\r\nx\r\n", large} {
				env := mail.Envelope{Sender: house.Address("x@far.example"), Recipients: []mail.Recipient{{Address: house.Address("ada@a.example")}, {Address: house.Address("bob@a.example")}}}
				if err := h.Delivery.Deliver(t.Context(), mda.Mail{Envelope: env, Body: h.Stage(text)}); err != nil {
					t.Fatal(err)
				}
			}
			for i, from := range ids {
				g := mailbox.Grant{To: mailbox.GranteeOf(ids[1-i]), Rights: mailbox.RightLookup}
				if err := h.Mailboxes.Grant(t.Context(), from, mailbox.Inbox, g, mailbox.ReplaceRights); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := h.Registrar.RenameAccount(t.Context(), registrar.Rename{From: house.Address("ada@a.example"), To: house.Address("countess@a.example"), Alias: true}); err != nil {
				t.Fatal(err)
			}
			var err error
			if how == "at once" {
				err = h.Registrar.RemoveAccount(t.Context(), house.Address("countess@a.example"))
			} else {
				err = h.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error { return h.Directory.DeleteAccount(tx, ids[0]) })
				if left, lerr := h.Directory.Leaving(t.Context()); lerr != nil || !slices.Equal(left, ids[:1]) {
					t.Errorf("leaving are %v, %v", left, lerr)
				}
				err = errors.Join(err, h.Registrar.FinishRemovals(t.Context()), h.Registrar.FinishRemovals(t.Context()))
			}
			if err != nil {
				t.Fatal(err)
			}
			if left, err := h.Directory.Leaving(t.Context()); err != nil || len(left) > 0 {
				t.Errorf("leaving are %v, %v", left, err)
			}
			if have, err := h.Mailboxes.Accounts(t.Context()); err != nil || !slices.Equal(have, ids[1:]) {
				t.Errorf("there is something of %v, %v", have, err)
			}
			for _, name := range []string{"ada@a.example", "countess@a.example"} {
				if err := h.Delivery.Accepts(t.Context(), mail.Address{}, mail.Recipient{Address: house.Address(name)}); err == nil {
					t.Errorf("%s takes mail", name)
				}
			}
			if list, err := h.Mailboxes.SharedWith(t.Context(), ids[1]); err != nil || len(list) > 0 {
				t.Errorf("shared are %v, %v", list, err)
			}
			if m, err := h.Mailboxes.Lookup(t.Context(), ids[1], "INBOX"); err != nil || len(m.ACL) > 0 {
				t.Errorf("rights are %v, %v", m.ACL, err)
			}
			if got := h.Inbox("bob@a.example"); len(got) != 2 || !strings.HasSuffix(got[1], large) {
				t.Errorf("bob has %d messages", len(got))
			}
			refs := 0 // of bodies that somebody holds
			err = h.DB.View(t.Context(), func(r kv.Reader) error {
				for _, err := range r.Scan(kv.Prefix([]byte{kv.Free, 'R'})) {
					if err != nil {
						return err
					}
					refs++
				}
				return nil
			})
			if err != nil || refs != 1 {
				t.Errorf("%d hold the large one, %v", refs, err)
			}
		})
	}
}

// TestRemoveDomain: its keys go with it, and stay with one that cannot go.
func TestRemoveDomain(t *testing.T) {
	h := house.New(t, "mx.a.example")
	h.Account(0, "ada@a.example")
	h.Domain("b.example")
	for _, d := range []mail.Domain{"a.example", "b.example"} {
		if _, err := h.Keys.Keys(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Registrar.RemoveDomain(t.Context(), "a.example"); !errors.Is(err, mail.ErrInUse) {
		t.Fatal(err)
	}
	if err := h.Registrar.RemoveDomain(t.Context(), "b.example"); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[mail.Domain]int{"a.example": 2, "b.example": 0} {
		if keys, err := h.Keys.Have(t.Context(), d); err != nil || len(keys) != want {
			t.Errorf("%s has %d keys, %v", d, len(keys), err)
		}
	}
}

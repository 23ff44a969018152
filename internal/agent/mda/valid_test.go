package mda_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
)

// TestValidSince: mail for whoever had an address before does not go to who has it
// now, whether RCPT, the header or an item of the queue asks. RFC 7293
func TestValidSince(t *testing.T) {
	const month = 30 * 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		h := house.New(t, "mx.a.example")
		before := time.Now().Add(-month)
		h.Domain("a.example")
		time.Sleep(month)
		old := time.Now()
		time.Sleep(month)
		h.Account(0, "ada@a.example", "postmaster@a.example")
		h.Alias("info@a.example", "ada@a.example", "x@b.example")
		time.Sleep(month)
		recent := time.Now()
		if err := h.Registrar.SetAlias(t.Context(), alias("info@a.example", "ada@a.example")); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			to   string
			at   time.Time
			want string
		}{
			{"ada@a.example", time.Time{}, ""},
			{"ada@a.example", recent, ""},
			{"ada@a.example", old, "5.7.17"},
			{"ADA+x@a.example", old, "5.7.17"},
			{"ada@a.example", before, ""}, // the domain was elsewhere
			{"info@a.example", old, "5.7.17"},
			{"info@a.example", recent, ""}, // that it leads elsewhere now makes no other of it
			{"postmaster@a.example", old, ""},
		} {
			how := func(what string, err error) {
				got := ""
				if err != nil {
					st, _ := mail.StatusOf(err)
					got = st.String()
				}
				if got != c.want {
					t.Errorf("%s since %v, by %s: %q, want %q", c.to, c.at, what, got, c.want)
				}
			}
			begin := func() smtp.Transaction {
				tx, err := h.MX.Begin(t.Context(), mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:9"), Hello: "x"}, house.Address("eve@c.example"), smtp.MailParams{})
				if err != nil {
					t.Fatal(err)
				}
				return tx
			}
			tx := begin()
			how("RCPT", tx.Rcpt(t.Context(), house.Address(c.to), smtp.RcptParams{ValidSince: c.at}))
			tx.Reset(t.Context())
			if c.at.IsZero() {
				continue
			}
			tx = begin()
			if err := tx.Rcpt(t.Context(), house.Address(c.to), smtp.RcptParams{}); err != nil {
				t.Fatal(err)
			}
			field := fmt.Sprintf("Require-Recipient-Valid-Since: %s; %s\r\n", c.to, message.AppendDate(nil, c.at))
			how("header", tx.Data(t.Context(), strings.NewReader(field+text)))
			env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: house.Address("eve@c.example")}
			env.Recipients = []mail.Recipient{{Address: house.Address(c.to), ValidSince: c.at}}
			outs, err := h.Delivery.Try(t.Context(), mda.Mail{Envelope: env, Body: h.Stage(text)})
			if err == nil && outs[0].Status.Class == 5 {
				err = &mail.Refusal{Status: outs[0].Status}
			}
			how("queue", err)
		}
		// To whom an alias leads is another address.
		if err := h.Registrar.SetAlias(t.Context(), alias("info@a.example", "x@b.example")); err != nil {
			t.Fatal(err)
		}
		env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: house.Address("eve@c.example")}
		env.Recipients = []mail.Recipient{{Address: house.Address("info@a.example"), ValidSince: recent, ValidOnly: true}}
		if err := h.Delivery.Deliver(t.Context(), mda.Mail{Envelope: env, Body: h.Stage(text)}); err != nil {
			t.Fatal(err)
		}
		h.Queue.Each(t.Context(), func(it queue.Item) bool {
			if r := it.Envelope.Recipients[0]; !r.ValidSince.IsZero() || r.ValidOnly {
				t.Errorf("%+v", r)
			}
			return true
		})
	})
}

func alias(from string, to ...string) directory.Alias {
	a := directory.Alias{Address: house.Address(from)}
	for _, s := range to {
		a.Targets = append(a.Targets, house.Address(s))
	}
	return a
}

// TestAccountAgain: whoever deletes an account and adds it anew has made another.
func TestAccountAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := house.New(t, "mx.a.example")
		h.Account(0, "ada@a.example")
		time.Sleep(time.Hour)
		known := mail.Recipient{Address: house.Address("ada@a.example"), ValidSince: time.Now()}
		sender := house.Address("eve@c.example")
		if err := h.Delivery.Accepts(t.Context(), sender, known); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if err := h.Registrar.RemoveAccount(t.Context(), known.Address); err != nil {
			t.Fatal(err)
		}
		h.Account(0, "ada@a.example")
		if err := h.Delivery.Accepts(t.Context(), sender, known); err == nil {
			t.Error("taken for who it was before")
		}
	})
}

// FuzzValidSince: whatever a header asks, nothing breaks, and what is written is read
// as the same.
func FuzzValidSince(f *testing.F) {
	f.Add("Require-Recipient-Valid-Since: ada@a.example; Sat, 1 Jun 2013 09:23:01 -0700\r\n")
	f.Add("Require-Recipient-Valid-Since: ;;;\r\n")
	to := mail.Recipient{Address: house.Address("ada@a.example")}
	f.Fuzz(func(t *testing.T, header string) {
		got := mda.ValidSince([]byte(header), []mail.Recipient{to})
		if got[0].ValidSince.IsZero() || got[0].ValidSince.Year() < 1900 || got[0].ValidSince.Year() > 9000 {
			return
		}
		again := mda.ValidSince(mda.AppendValidSince(nil, got[0]), []mail.Recipient{to})
		if !slices.Equal(got, again) {
			t.Errorf("%q: %v, again %v", header, got, again)
		}
	})
}

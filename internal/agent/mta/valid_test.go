package mta_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestValidSinceOut: the next host is asked what the sender asked; where it does not
// know that, the header asks, or the recipient does not get it. RFC 7293 §5.2, §5.3
func TestValidSinceOut(t *testing.T) {
	at := time.Date(2013, 6, 1, 16, 23, 1, 0, time.UTC)
	const field = "Require-Recipient-Valid-Since: x@b.example; Sat, 1 Jun 2013 16:23:01 +0000"
	for name, c := range map[string]struct {
		rcpt    smtp.RcptParams
		header  string
		offers  []string
		command string
		field   bool
		failed  bool
	}{
		"knows it":             {smtp.RcptParams{ValidSince: at}, "", []string{"RRVS"}, "RCPT TO:<x@b.example> RRVS=2013-06-01T16:23:01Z", false, false},
		"knows it, only":       {smtp.RcptParams{ValidSince: at, ValidOnly: true}, "", []string{"RRVS"}, "RCPT TO:<x@b.example> RRVS=2013-06-01T16:23:01Z;R", false, false},
		"knows it, by header":  {smtp.RcptParams{}, field + "\r\n", []string{"RRVS"}, "RCPT TO:<x@b.example> RRVS=2013-06-01T16:23:01Z", false, false},
		"does not":             {smtp.RcptParams{ValidSince: at}, "", nil, "RCPT TO:<x@b.example>", true, false},
		"does not, by header":  {smtp.RcptParams{}, field + "\r\n", nil, "RCPT TO:<x@b.example>", true, false},
		"does not, only":       {smtp.RcptParams{ValidSince: at, ValidOnly: true}, "", nil, "", false, true},
		"does not, others too": {smtp.RcptParams{}, "", nil, "RCPT TO:<x@b.example>", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				said := w.bare("198.51.100.1", nil, c.offers...)
				ada := mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:99"), Hello: "pc", Account: 1, Login: house.Address("ada@a.example")}
				tx, err := w.MSA.Begin(t.Context(), ada, ada.Login, smtp.MailParams{})
				if err != nil {
					t.Fatal(err)
				}
				if err := tx.Rcpt(t.Context(), house.Address("x@b.example"), c.rcpt); err != nil {
					t.Fatal(err)
				}
				if err := tx.Data(t.Context(), strings.NewReader(c.header+text)); err != nil {
					t.Fatal(err)
				}
				w.run(w.agent)
				time.Sleep(time.Second)
				synctest.Wait()
				all := "\n" + strings.Join(said(), "\n") + "\n"
				if c.command != "" && !strings.Contains(all, "\n"+c.command+"\n") || c.command == "" && strings.Contains(all, "RCPT") || strings.Contains(all, "\n"+field+"\n") != c.field {
					t.Error(all)
				}
				if got := w.reports(); (len(got) > 0) != c.failed || c.failed && !strings.HasSuffix(got[0], "x@b.example | failed | 5.7.19") {
					t.Errorf("%q", got)
				}
			})
		})
	}
}

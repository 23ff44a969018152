package mta_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestPriority: who may raise the priority of a message, and that it goes on to the
// next host by way of the queue. RFC 6710
func TestPriority(t *testing.T) {
	stranger := mail.Peer{Addr: netip.MustParseAddrPort("203.0.113.9:99"), Hello: "pc"}
	friend := mail.Peer{Addr: netip.MustParseAddrPort("10.0.0.9:99"), Hello: "pc"}
	ada := mail.Peer{Addr: stranger.Addr, Hello: "pc", Account: 1, Login: house.Address("ada@a.example")}
	for _, c := range []struct {
		peer       mail.Peer
		asked, got int8
	}{
		{stranger, 4, 0}, {stranger, -4, -4}, {friend, 9, 9}, {friend, -9, -9}, {ada, 4, 4}, {ada, 9, 4}, {ada, -9, -9}, {ada, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Alias("list@a.example", "x@b.example")
			w.MX.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			w.host("b.example", 10, "mx.b.example", "198.51.100.1")
			said := w.bare("198.51.100.1", nil, "MT-PRIORITY")
			var r smtp.Receiver = w.MX
			if c.peer.Account != 0 {
				r = w.MSA
			}
			tx, err := r.Begin(t.Context(), c.peer, house.Address("ada@a.example"), smtp.MailParams{Priority: c.asked})
			if err != nil {
				t.Fatal(err)
			}
			if got := tx.(smtp.Prioritized).Priority(); got != c.got {
				t.Errorf("%d of %+v is taken as %d, want %d", c.asked, c.peer, got, c.got)
			}
			if err := tx.Rcpt(t.Context(), house.Address("list@a.example"), smtp.RcptParams{}); err != nil {
				t.Fatal(err)
			}
			if err := tx.Data(t.Context(), strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			w.run(w.agent)
			time.Sleep(time.Second)
			synctest.Wait()
			all := strings.Join(said(), "\n")
			if !strings.Contains(all, "RCPT TO:<x@b.example>") || !strings.Contains(all, fmt.Sprintf(" MT-PRIORITY=%d", c.got)) {
				t.Errorf("%d: the host heard\n%s", c.got, all)
			}
			if trace := strings.Contains(all, "priority "); trace != (c.got != 0) {
				t.Errorf("%d: the Received field:\n%s", c.got, all)
			}
		})
	}
}

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/dns/zone"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server/config"
	"posthaste/internal/service/imapd"
	"posthaste/internal/service/pop3d"
	"posthaste/internal/service/smtpd"
	"posthaste/internal/store/directory"
)

// TestVisitors: who guesses, and who is in, is known to the house that follows.
func TestVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Outside{DB: memkv.New(), Blobs: memblob.New(), DNS: new(zone.Zone), Log: slog.New(slog.DiscardHandler), Visitors: new(Visitors)}
		build := func(perHour int) *House {
			c := config.Default()
			c.Hostname, c.Receive.MessagesPerHour = "mx.example.org", perHour
			h, err := Build(c, o)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		from := netip.MustParseAddr("198.51.100.7")
		n := 0
		guess := func(h *House) time.Duration {
			began := time.Now()
			n++
			h.auth.For(from, directory.IMAP).Password(context.Background(), "", "ada@example.org", fmt.Sprint("guess ", n))
			return time.Since(began)
		}
		first := build(100)
		for range 10 {
			guess(first)
		}
		second := build(100)
		if took := guess(second); took < time.Second {
			t.Errorf("after a reload, a guess takes %v", took)
		}
		o.Visitors = nil
		if took := guess(build(100)); took != 0 {
			t.Errorf("of somebody who is not known, it takes %v", took)
		}
		o.Visitors = second.visitors
		if first.mx.Counts == nil || first.mx.Counts == build(7).mx.Counts {
			t.Error("another policy counts as the one before")
		}

		for _, l := range []config.Listener{{Address: ":1", Protocol: "imap"}, {Address: ":2", Protocol: "pop3"}, {Address: ":3", Protocol: "submission"}, {Address: ":4", Protocol: "smtp"}} {
			l.TLS = "none"
			a, err := first.service(l, "")
			b, err2 := second.service(l, "")
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			same := false
			switch a := a.(type) {
			case *imapd.Server:
				b := b.(*imapd.Server)
				same = a.Places != nil && a.Places == b.Places && a.Accounts != nil && a.Accounts == b.Accounts
			case *pop3d.Server:
				same = a.Places != nil && a.Places == b.(*pop3d.Server).Places
			case *smtpd.Server:
				same = a.Places != nil && a.Places == b.(*smtpd.Server).Places
			}
			if !same {
				t.Errorf("%s: who is in is not counted by both houses", l.Protocol)
			}
			l.Address = ":9"
			if other, _ := o.Visitors.at(l); other == o.Visitors.places[l.Protocol+" :1"] {
				t.Errorf("%s: two listeners count together", l.Protocol)
			}
		}
	})
}

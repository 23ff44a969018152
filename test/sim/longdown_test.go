package sim

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/test/house"
)

var overdue = flag.Int("overdue", 1000, "how many messages wait in TestLongDown")

// TestLongDown: a house is down for three days while very many messages wait for a host
// that could not be reached before. When it is up again all are due at once: they go
// over few sessions, everything arrives once, within an hour, and nobody hears of a
// delay that they have heard of.
func TestLongDown(t *testing.T) {
	credentials := cheap()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, credentials)
		w.quiet = true
		a, kindest := w.sites[0], w.fars[4]
		ip := netip.MustParseAddr("198.51.100.5")
		a.stop()
		a.patience = 6 * 24 * time.Hour
		w.severed(ip, "refused")
		h := house.Over(t, a.host, a.db, a.blobs)
		ada, to := house.Address("ada@a.example"), house.Address("x@kind.example")
		many, warned := *overdue, *overdue/10
		for i := range many {
			env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: ada, Recipients: []mail.Recipient{{Address: to}}}
			if i >= warned { // the others want to hear of nothing, which makes the test shorter
				env.Recipients[0].Notify = mail.NotifyNever
			}
			if err := h.Delivery.Deliver(context.Background(), mda.Mail{Envelope: env, Body: h.Stage(fmt.Sprintf("Subject: %d\r\n\r\nHello.\r\n", i))}); err != nil {
				t.Fatal(err)
			}
		}
		a.boot()
		time.Sleep(12 * time.Hour)
		a.stop()
		if n := len(h.Inbox("ada@a.example")); n != warned {
			t.Errorf("ada has heard of %d delays, want %d", n, warned)
		}
		time.Sleep(72 * time.Hour)
		w.severed(ip, "")
		w.mu.Lock()
		before := w.dials[a.ip.String()+ip.String()+":25"]
		w.mu.Unlock()
		a.boot()
		time.Sleep(time.Hour)
		w.mu.Lock()
		dials := w.dials[a.ip.String()+ip.String()+":25"] - before
		w.mu.Unlock()
		if dials > many/100+50 { // a hundred over each, and a few to find out
			t.Errorf("%d sessions for %d messages", dials, many)
		}
		a.stop()
		kindest.mu.Lock()
		once := map[string]bool{}
		for _, text := range kindest.got[to] {
			_, rest, _ := strings.Cut(text, "Subject: ")
			n, _, _ := strings.Cut(rest, "\r\n")
			once[n] = true
		}
		if len(once) != many || len(kindest.got[to]) != many {
			t.Errorf("%d messages came, %d of them different; want %d", len(kindest.got[to]), len(once), many)
		}
		kindest.mu.Unlock()
		if n := len(h.Inbox("ada@a.example")); n != warned {
			t.Errorf("at last ada has %d reports, want %d", n, warned)
		}
		for _, s := range w.sites {
			s.stop()
		}
		w.net.Wait()
	})
}

// severed says what becomes of connections to a host: "refused", "dead", or "" for none of
// that.
func (w *world) severed(to netip.Addr, how string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutOff[to] = how
}

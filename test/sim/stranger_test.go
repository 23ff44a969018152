package sim

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/test/house"
)

// TestStranger: a house asks each stranger to come again. The first letter does, and
// arrives, once, though the asking house goes down meanwhile; the second is taken at
// once.
func TestStranger(t *testing.T) {
	credentials := cheap()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, credentials)
		w.quiet = true
		time.Sleep(time.Second)
		ada, bob := house.Address("ada@a.example"), house.Address("bob@b.example")
		env := mail.Envelope{Sender: ada, Recipients: []mail.Recipient{{Address: bob}}}
		begin := time.Now()
		w.submit(ada, env, "From: ada@a.example\r\nSubject: first\r\n\r\nHello.\r\n")
		time.Sleep(30 * time.Second)
		w.sites[1].stop()
		w.sites[1].boot()
		time.Sleep(time.Hour)
		second := time.Now()
		w.submit(ada, env, "From: ada@a.example\r\nSubject: second\r\n\r\nHello.\r\n")
		time.Sleep(30 * time.Second)
		asked, taken := map[bool]int{}, map[bool]int{}
		err := w.sites[1].house.Admin.Journal.Each(context.Background(), begin, func(e trace.Event) bool {
			switch {
			case e.Kind == trace.Refused && strings.HasPrefix(e.Text, "greylisted: nothing has come from 192.0.2.1 before;"):
				asked[e.Time.After(second)]++
			case e.Kind == trace.Stored:
				taken[e.Time.After(second)]++
			}
			return true
		})
		if err != nil || asked[false] == 0 || asked[true] > 0 || taken[false] != 1 || taken[true] != 1 {
			t.Errorf("asked to come again: %v, taken: %v; %v", asked, taken, err)
		}
		for _, s := range w.sites {
			s.stop()
		}
		w.net.Wait()
		if _, boxes := w.sites[1].check(); len(boxes[bob]) != 2 {
			t.Errorf("bob has %d letters", len(boxes[bob]))
		}
	})
}

package sim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/keyring"
	"posthaste/test/house"
)

// TestKeysTurn: the keys of a domain that has everything refused which they have not
// signed take turns twice, while mail is on its way all the time, the house that it goes
// to is down for a day, and the DNS fails for hours. Nothing is refused, and the new keys
// sign what goes once they have been seen for an hour.
func TestKeysTurn(t *testing.T) {
	credentials := cheap()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, credentials)
		w.quiet = true
		time.Sleep(time.Second)
		ctx := context.Background()
		for _, s := range w.sites[:2] {
			s.stop()
			s.patience = 5 * 24 * time.Hour
			s.boot()
		}
		sender, receiver := w.sites[0], w.sites[1]
		keys := func() []keyring.Key {
			t.Helper()
			list, err := sender.house.Admin.Keys.List(ctx, "a.example")
			if err != nil {
				t.Fatal(err)
			}
			var out []keyring.Key
			for _, k := range list {
				out = append(out, k.Key)
			}
			return out
		}
		publish := func() (names []string) {
			t.Helper()
			for _, k := range keys() {
				rec, err := k.Record()
				if err != nil {
					t.Fatal(err)
				}
				w.zone.Forget(k.Name()).Text(k.Name(), rec)
				names = append(names, k.Name())
			}
			return names
		}
		ada, bob := house.Address("ada@a.example"), house.Address("bob@b.example")
		sent := 0
		hours := func(n int) {
			for range n {
				sent++
				w.submit(ada, mail.Envelope{Sender: ada, Recipients: []mail.Recipient{{Address: bob}}}, fmt.Sprintf("From: ada@a.example\r\nSubject: letter %d;\r\n\r\nHello.\r\n", sent))
				time.Sleep(time.Hour)
			}
		}
		w.zone.Text("_dmarc.a.example", "v=DMARC1; p=reject")
		first := publish()
		hours(12)
		if _, err := sender.house.Admin.Keys.Prepare(ctx, "a.example"); err != nil {
			t.Fatal(err)
		}
		hours(6) // the operator takes his time
		second := publish()[len(first):]
		receiver.stop() // what waits is signed by old keys, and then by new ones
		hours(24)
		receiver.boot()
		hours(6)
		if _, err := sender.house.Admin.Keys.Prepare(ctx, "a.example"); err != nil {
			t.Fatal(err)
		}
		all := publish()
		third := all[len(first)+len(second):]
		for _, name := range append(all, "_dmarc.a.example") {
			w.zone.Fail(name, dns.ErrTemporary)
		}
		hours(8)
		for _, name := range append(all, "_dmarc.a.example") {
			w.zone.Fail(name, nil)
		}
		hours(30)
		for _, s := range w.sites {
			s.stop()
		}
		w.net.Wait()
		_, told := sender.check()
		for _, text := range told[ada] { // that it takes longer, she may hear
			if !strings.Contains(text, "\r\nAction: delayed\r\n") {
				t.Errorf("ada was told: %s", text)
			}
		}
		_, boxes := receiver.check()
		signed := map[string]int{}
		for i := range sent {
			n := 0
			for _, text := range boxes[bob] {
				if !strings.Contains(text, fmt.Sprintf("Subject: letter %d;", i+1)) {
					continue
				}
				n++
				for turn, names := range map[string][]string{"first": first, "second": second, "third": third} {
					for _, name := range names {
						selector, _, _ := strings.Cut(name, "._domainkey.")
						if strings.Contains(text, "s="+selector+";") {
							signed[turn]++
						}
					}
				}
			}
			if n != 1 {
				t.Errorf("letter %d has come %d times", i+1, n)
			}
		}
		// Each letter has two signatures. New keys sign when they have been seen for an
		// hour, which nobody could while the DNS failed.
		if signed["first"] < 2*19 || signed["first"] > 2*21 || signed["third"] < 2*27 || signed["third"] > 2*29 || signed["first"]+signed["second"]+signed["third"] != 2*sent {
			t.Errorf("of %d letters by the keys of each turn: %v", sent, signed)
		}
	})
}

package queue

import (
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestErrand: an errand has recipients of several domains, and each of them leaves it
// by itself, also if they have the same name elsewhere.
func TestErrand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Way = func(it *Item) string { return it.Errand.Way() }
		it := b.item("far.example")
		it.Errand = Errand{Outpost: 300, As: mail.Address{Local: "ada.l", Domain: "far.example"}, For: mail.Address{Local: "ada", Domain: "a.example"}}
		var to []mail.Address
		for _, d := range []mail.Domain{"x.example", "y.example", "z.example"} {
			for _, l := range []string{"ada", "odd@home"} {
				a := mail.Address{Local: l, Domain: d}
				to = append(to, a)
				it.Envelope.Recipients = append(it.Envelope.Recipients, mail.Recipient{Address: a, Original: a})
			}
		}
		b.put(it)
		got := b.all()[0]
		if got.Errand != it.Errand || !reflect.DeepEqual(got.Envelope.Recipients, it.Envelope.Recipients) || got.Domain != "far.example" {
			t.Fatalf("%+v", got)
		}
		c := b.claim(time.Hour, 1)[0]
		if c.Way != "outpost 300" || b.Bound(&got) != (Bound{"far.example", "outpost 300"}) {
			t.Errorf("it goes by %q", c.Way)
		}
		var done []mail.Outcome
		for _, i := range []int{1, 2, 5} {
			done = append(done, mail.Outcome{Recipient: mail.Recipient{Address: to[i]}, Status: mail.StatusDelivered})
		}
		b.must(b.update(c.Lock(), func(tx kv.Tx) error { return b.Settle(tx, c, done, time.Now().Add(time.Minute)) }))
		var left []mail.Address
		for _, r := range b.all()[0].Envelope.Recipients {
			left = append(left, r.Address)
		}
		if want := []mail.Address{to[0], to[3], to[4]}; !slices.Equal(left, want) {
			t.Errorf("%v are left, want %v", left, want)
		}
		fixed := it.row()
		for i := range fixed {
			if got, err := decodeItem(1, fixed[:i], it.stateRow()); err == nil {
				t.Errorf("cut at %d it is whole: %+v", i, got)
			}
		}
	})
}

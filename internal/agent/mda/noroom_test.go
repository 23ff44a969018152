package mda_test

import (
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/test/house"
)

// TestNoRoom: only what is sure to be put off is, without a look at the message.
func TestNoRoom(t *testing.T) {
	h := house.New(t, "mx.a.example")
	h.Account(1000, "full@a.example", "sent.on@a.example")
	h.Account(0, "ada@a.example")
	h.Alias("list@a.example", "full@a.example", "ada@a.example")
	ctx := t.Context()
	if err := h.Registrar.SetForward(ctx, house.Address("sent.on@a.example"), &directory.Forward{To: []mail.Address{house.Address("x@far.example")}, Keep: true}); err != nil {
		t.Fatal(err)
	}
	rcpt := func(addresses ...string) (e mail.Envelope) {
		for _, a := range addresses {
			e.Recipients = append(e.Recipients, mail.Recipient{Address: house.Address(a)})
		}
		return e
	}
	since := rcpt("full@a.example")
	since.Recipients[0].ValidSince = time.Unix(1, 0)
	for _, c := range []struct {
		e    mail.Envelope
		size int64
		want int
	}{
		{rcpt("full@a.example"), 1001, 1},
		{rcpt("full@a.example"), 1000, 0},
		{rcpt("full+x@a.example", "full@a.example"), 5000, 2},
		{rcpt("full@a.example", "ada@a.example"), 5000, 0},
		{rcpt("list@a.example"), 5000, 0},
		{rcpt("sent.on@a.example"), 5000, 0},
		{rcpt("nobody@a.example"), 5000, 0},
		{rcpt("x@far.example"), 5000, 0},
		{since, 5000, 0},
	} {
		out := h.Delivery.NoRoom(ctx, c.e, c.size)
		if len(out) != c.want {
			t.Errorf("%v, %d bytes: %v", c.e.Recipients, c.size, out)
		}
		for i, o := range out {
			if o.Status.String() != "4.2.2" || o.Recipient.Address != c.e.Recipients[i].Address {
				t.Errorf("%+v", o)
			}
		}
	}
}

package directory

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A countedStore counts Views.
type countedStore struct {
	kv.Store
	views int
}

func (s *countedStore) View(ctx context.Context, fn func(kv.Reader) error) error {
	s.views++
	return s.Store.View(ctx, fn)
}

// TestRemembered: what was found is not looked for again, until something changes: then it is
// as it is now, whatever has changed, and in whatever way.
func TestRemembered(t *testing.T) {
	d := newDirectory(t)
	db := &countedStore{Store: d.DB}
	d.DB = db
	ctx := t.Context()
	to := func(a string) mail.AccountID {
		t.Helper()
		got, err := d.Resolve(ctx, address(a))
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			t.Fatal(err)
		}
		return got.Account
	}
	ada := to("ada@a.example")
	name := func() string {
		t.Helper()
		a, err := d.Account(ctx, ada)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			t.Fatal(err)
		}
		return a.Name
	}
	if ada == 0 || name() != "Ada" {
		t.Fatal(ada, name())
	}
	to("ADA+list@a.example")
	db.views = 0
	if to("ada@a.example") != ada || to("ADA+list@a.example") != ada || name() != "Ada" || db.views != 0 {
		t.Errorf("account %d, %q, %d Views for what is known", ada, name(), db.views)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.change(tx, ada, func(a *Account) { a.Name = "Countess" }) }))
	if to("ada@a.example") != ada || name() != "Countess" {
		t.Errorf("account %d, %q after a change", to("ada@a.example"), name())
	}
	must(t, update(t, d, func(tx kv.Tx) error {
		return d.SetForward(tx, ada, &Forward{To: []mail.Address{address("x@y.example")}})
	}))
	if got, err := d.Resolve(ctx, address("ada@a.example")); err != nil || got.Forward == nil {
		t.Errorf("%+v, %v after a change", got, err)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, ada) }))
	if to("ada@a.example") != 0 || name() != "" {
		t.Errorf("account %d, %q after it has gone", to("ada@a.example"), name())
	}
	db.views = 0
	if to("ada@a.example"); db.views != 1 {
		t.Error("that nobody is there is remembered")
	}
}

// TestRememberedIsBounded: whoever makes up details does not take the memory.
func TestRememberedIsBounded(t *testing.T) {
	d := newDirectory(t)
	for i := range maxRemembered + 10 {
		if _, err := d.Resolve(t.Context(), address(fmt.Sprintf("ada+%d@a.example", i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.remembered.targets); n > maxRemembered {
		t.Errorf("%d addresses are remembered", n)
	}
}

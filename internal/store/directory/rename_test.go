package directory

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// state tells of all addresses where they lead.
func state(t *testing.T, d *Directory) (out []string) {
	t.Helper()
	must(t, d.DB.View(t.Context(), func(r kv.Reader) error {
		out = out[:0]
		return eachAddress(r, func(tg Target) error {
			s := tg.Found.String()
			var list []mail.Address
			switch {
			case tg.Alias != nil && tg.Alias.Of != 0:
				list, s = tg.Alias.Targets, fmt.Sprintf("%s was %d", s, tg.Alias.Of)
			case tg.Alias != nil:
				list = tg.Alias.Targets
			case tg.Forward != nil:
				list, s = tg.Forward.To, fmt.Sprintf("%s is %d", s, tg.Account)
			default:
				s = fmt.Sprintf("%s is %d", s, tg.Account)
			}
			for _, a := range list {
				s += " → " + a.String()
			}
			out = append(out, s)
			return nil
		})
	}))
	if wrong, err := d.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Fatalf("%q, %v", wrong, err)
	}
	return out
}

func rename(t *testing.T, d *Directory, id mail.AccountID, from, to string, alias bool) (led int, err error) {
	t.Helper()
	err = update(t, d, func(tx kv.Tx) error {
		led, err = d.Rename(tx, Renaming{Account: id, From: address(from), To: address(to), Alias: alias})
		return err
	})
	return led, err
}

// TestRename: what led to the account by its old address leads to it by the new one.
func TestRename(t *testing.T) {
	d := newDirectory(t)
	must(t, update(t, d, func(tx kv.Tx) error {
		return errors.Join(
			d.PutDomainAlias(tx, "n.example", "a.example"),
			d.SetSeparators(tx, "b.example", "-"),
			d.PutAlias(tx, Alias{Address: address("ada+b@a.example"), Targets: []mail.Address{address("bob@a.example")}}),
			d.PutAlias(tx, Alias{Address: address("twice@a.example"), Targets: []mail.Address{address("ADA@n.example"), address("ada@a.example"), address("ada+b@a.example"), address("adam@a.example")}}),
			d.SetForward(tx, 1, &Forward{Keep: true, To: []mail.Address{address("y@far.example")}}),
			d.SetForward(tx, 2, &Forward{To: []mail.Address{address("Ada+Lists@n.example"), address("ada@far.example")}}),
		)
	}))
	led, err := rename(t, d, 1, "Ada@a.example", "Countess@b.example", true)
	if err != nil || led != 5 {
		t.Fatal(led, err)
	}
	want := []string{
		"ada@a.example was 1 → Countess@b.example",
		"ada+b@a.example → bob@a.example",
		"all@a.example → Countess@b.example → bob@a.example → carl@elsewhere.example",
		"bob@a.example is 2 → Countess-Lists@b.example → ada@far.example",
		"twice@a.example → Countess@b.example → ada+b@a.example → adam@a.example",
		`""@b.example → Countess@b.example`,
		"countess@b.example is 1 → y@far.example",
		"info@b.example → bob@a.example",
		"info+news@b.example → Countess@b.example",
	}
	if got := state(t, d); !slices.Equal(got, want) {
		t.Errorf("it is\n%q, not\n%q", got, want)
	}
	for _, name := range []string{"ADA@a.example", "countess@b.example"} {
		a, _, err := d.Login(t.Context(), address(name))
		if err != nil || a.ID != 1 || a.Address != address("Countess@b.example") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for _, name := range []string{"info@b.example", "all@a.example", "ada+b@a.example", "nobody@b.example"} {
		if _, err := d.Known(t.Context(), address(name)); !errors.Is(err, mail.ErrNotFound) {
			t.Errorf("%s is known: %v", name, err)
		}
	}
	if _, err := d.AccountOf(t.Context(), address("ada@a.example")); !errors.Is(err, mail.ErrNotFound) {
		t.Error("an operator could mean the old one:", err)
	}

	// There and back, and on without an alias: nothing is left but what was.
	if led, err := rename(t, d, 1, "Countess@b.example", "Ada@a.example", false); err != nil || led != 5 {
		t.Fatal(led, err)
	}
	if _, err := d.Known(t.Context(), address("countess@b.example")); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	if led, err := rename(t, d, 1, "Ada@a.example", "aDa@a.example", true); err != nil || led != 0 {
		t.Fatal(led, err)
	}
	if a, err := d.Account(t.Context(), 1); err != nil || a.Address.Local != "aDa" {
		t.Error(a, err)
	}
	if got := state(t, d); len(got) != len(want)-1 || !slices.Contains(got, "ada@a.example is 1 → y@far.example") {
		t.Errorf("it is %q", got)
	}
}

// TestRenameRefused: what is somebody else's is not taken away, and nothing changes.
func TestRenameRefused(t *testing.T) {
	d := newDirectory(t)
	must(t, update(t, d, func(tx kv.Tx) error {
		_, err := d.PutAccount(tx, Account{Address: address("team@a.example"), Shared: true})
		return errors.Join(err, d.PutDomainAlias(tx, "n.example", "a.example"))
	}))
	before := state(t, d)
	for to, want := range map[string]error{
		"BOB@a.example": mail.ErrExists, "team@a.example": mail.ErrExists, "all@a.example": mail.ErrExists, "info@b.example": mail.ErrExists,
		"ada@nowhere.example": mail.ErrNotFound, "x@n.example": mail.ErrInUse,
	} {
		if _, err := rename(t, d, 1, "Ada@a.example", to, true); !errors.Is(err, want) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if _, err := rename(t, d, 1, "other@a.example", "x@a.example", true); !errors.Is(err, mail.ErrInUse) {
		t.Error(err)
	}
	if _, err := rename(t, d, 99, "Ada@a.example", "x@a.example", true); !errors.Is(err, mail.ErrNotFound) {
		t.Error(err)
	}
	if after := state(t, d); !slices.Equal(before, after) {
		t.Errorf("%q became %q", before, after)
	}
}

// TestRenamedOwner: an address has belonged to somebody since it was given to them, and
// the one before for as long as it was theirs.
func TestRenamedOwner(t *testing.T) {
	d := newDirectory(t)
	must(t, update(t, d, func(tx kv.Tx) error {
		a, err := readAccount(tx, 1)
		a.Created = a.Created.AddDate(-1, 0, 0)
		tx.Set(idKey(kindAccount, 1), a.row())
		return err
	}))
	was, err := d.Account(t.Context(), 1)
	must(t, err)
	if _, err := rename(t, d, 1, "Ada@a.example", "countess@b.example", true); err != nil {
		t.Fatal(err)
	}
	is, err := d.Account(t.Context(), 1)
	must(t, err)
	if !is.Created.Equal(was.Created) || is.Named.Before(was.Created.AddDate(1, 0, 0)) {
		t.Errorf("%+v", is)
	}
	for name, want := range map[string]bool{"ada@a.example": true, "countess@b.example": false} {
		owned, _, err := d.OwnedSince(t.Context(), address(name))
		if err != nil || owned.Equal(was.Created) != want {
			t.Errorf("%s: since %v, %v", name, owned, err)
		}
	}
	must(t, d.SetFormer(t.Context(), 1, &Former{State: FormerAnswers, User: "ada"}))
	if a, err := d.Account(t.Context(), 1); err != nil || a.Former == nil || !a.Named.Equal(is.Named) {
		t.Errorf("%+v, %v", a, err)
	}

	// Other targets make it anybody's alias; the account takes its own along.
	if _, err := rename(t, d, 1, "countess@b.example", "c@b.example", true); err != nil {
		t.Fatal(err)
	}
	must(t, update(t, d, func(tx kv.Tx) error {
		return d.SetAlias(tx, Alias{Address: address("countess@b.example"), Targets: []mail.Address{address("bob@a.example")}})
	}))
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, 1) }))
	for _, s := range state(t, d) {
		if s == "countess@b.example → bob@a.example" {
			return
		}
	}
	t.Errorf("left is %q", state(t, d))
}

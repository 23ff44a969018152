package directory

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

func address(s string) mail.Address {
	local, domain, _ := strings.Cut(s, "@")
	return mail.Address{Local: local, Domain: mail.Domain(domain)}
}

// update runs fn under the directory's lock.
func update(t testing.TB, d *Directory, fn func(kv.Tx) error) error {
	t.Helper()
	return d.DB.Update(context.Background(), kv.Plan{Locks: []kv.Lock{Lock}}, fn)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDirectory has two domains, ada and bob in one of them, and some aliases.
func newDirectory(t testing.TB) *Directory {
	d := &Directory{DB: kv.Strict(memkv.New())}
	must(t, update(t, d, func(tx kv.Tx) error {
		for _, name := range []mail.Domain{"a.example", "b.example"} {
			if err := d.PutDomain(tx, name); err != nil {
				return err
			}
		}
		for _, a := range []Account{{Address: address("Ada@a.example"), Name: "Ada"}, {Address: address("bob@a.example"), Disabled: true}} {
			if _, err := d.PutAccount(tx, a); err != nil {
				return err
			}
		}
		for from, to := range map[string][]string{
			"all@a.example":       {"ada@a.example", "bob@a.example", "carl@elsewhere.example"},
			"@b.example":          {"ada@a.example"},
			"info@b.example":      {"bob@a.example"},
			"info+news@b.example": {"ada@a.example"},
		} {
			al := Alias{Address: address(from)}
			for _, s := range to {
				al.Targets = append(al.Targets, address(s))
			}
			if err := d.PutAlias(tx, al); err != nil {
				return err
			}
		}
		return nil
	}))
	return d
}

func TestResolve(t *testing.T) {
	d := newDirectory(t)
	for _, c := range []struct{ in, want string }{
		{"ada@a.example", "account 1"},
		{"ADA@a.example", "account 1"},
		{"ada+lists@a.example", "account 1 +lists"},
		{"Ada+A+b@a.example", "account 1 +A+b"},
		{"ada+@a.example", "account 1"},
		{"bob@a.example", "account 2"},
		{"+x@a.example", "not found"},
		{"all@a.example", "alias of 3"},
		{"all+x@a.example", "alias of 3 +x"},
		{"nobody@a.example", "not found"},
		{"nobody+ada@a.example", "not found"},
		{"info@b.example", "alias of 1: bob"},
		{"info+news@b.example", "alias of 1: ada"}, // the whole address comes first
		{"info+old@b.example", "alias of 1: bob +old"},
		{"anybody@b.example", "alias of 1: ada"},
		{"any+body@b.example", "alias of 1: ada"},
		{"ada@c.example", "not found"},
		{"@c.example", "not found"},
	} {
		tg, err := d.Resolve(t.Context(), address(c.in))
		got := fmt.Sprint(err)
		switch {
		case errors.Is(err, mail.ErrNotFound):
			got = "not found"
		case err != nil:
		case tg.Alias != nil:
			got = fmt.Sprintf("alias of %d", len(tg.Alias.Targets))
			if len(tg.Alias.Targets) == 1 {
				got += ": " + tg.Alias.Targets[0].Local
			}
		default:
			got = fmt.Sprintf("account %d", tg.Account)
		}
		if tg.Detail != "" {
			got += " +" + tg.Detail
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

// TestFree: an address belongs to one only, whatever its case, and its domain
// must be here.
func TestFree(t *testing.T) {
	d := newDirectory(t)
	for _, c := range []struct {
		in   string
		want error
	}{
		{"ada@a.example", mail.ErrExists},
		{"aDA@a.example", mail.ErrExists},
		{"ALL@a.example", mail.ErrExists},
		{"ada@b.example", nil},
		{"ada@c.example", mail.ErrNotFound},
		{"éva@a.example", nil},
		{"E\u0301VA@a.example", mail.ErrExists}, // the same letters
	} {
		err := update(t, d, func(tx kv.Tx) error {
			_, err := d.PutAccount(tx, Account{Address: address(c.in)})
			return err
		})
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("account %s: %v, want %v", c.in, err, c.want)
		}
		if c.want == nil {
			continue
		}
		err = update(t, d, func(tx kv.Tx) error {
			return d.PutAlias(tx, Alias{Address: address(c.in), Targets: []mail.Address{address("x@y")}})
		})
		if !errors.Is(err, c.want) {
			t.Errorf("alias %s: %v, want %v", c.in, err, c.want)
		}
	}
	if err := update(t, d, func(tx kv.Tx) error { return d.PutAlias(tx, Alias{Address: address("no@a.example")}) }); err == nil {
		t.Error("an alias that leads nowhere")
	}
	many := Alias{Address: address("many@a.example"), Targets: make([]mail.Address, 10_000)}
	for i := range many.Targets {
		many.Targets[i] = address("somebody@else.example")
	}
	if err := update(t, d, func(tx kv.Tx) error { return d.PutAlias(tx, many) }); !errors.Is(err, mail.ErrLimit) {
		t.Errorf("an alias of 10,000: %v", err)
	}
}

// TestAccounts: what goes in comes out, and ids are never given again.
func TestAccounts(t *testing.T) {
	d := newDirectory(t)
	ac, err := d.Account(t.Context(), 1)
	if err != nil || ac.Address != address("Ada@a.example") || ac.Name != "Ada" || ac.Disabled || ac.Created.IsZero() {
		t.Errorf("%+v, %v", ac, err)
	}
	bob, err := d.AccountOf(t.Context(), address("BOB@a.example"))
	if err != nil || bob.ID != 2 || !bob.Disabled {
		t.Errorf("%+v, %v", bob, err)
	}
	for _, s := range []string{"all@a.example", "ada+x@a.example", "x@b.example"} {
		if _, err := d.AccountOf(t.Context(), address(s)); !errors.Is(err, mail.ErrNotFound) {
			t.Errorf("%s is no account: %v", s, err)
		}
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.SetDisabled(tx, 2, false) }))
	must(t, update(t, d, func(tx kv.Tx) error {
		if err := d.PutCredentials(tx, 1, Credentials{Argon2id: "x"}); err != nil {
			return err
		}
		return d.DeleteAccount(tx, 1)
	}))
	if err := update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, 1) }); !errors.Is(err, mail.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	var again Account
	must(t, update(t, d, func(tx kv.Tx) (err error) {
		again, err = d.PutAccount(tx, Account{Address: address("ada@a.example")})
		return err
	}))
	if again.ID != 3 {
		t.Errorf("the next account has id %d", again.ID)
	}
	if _, c, err := d.Credentials(t.Context(), address("ada@a.example")); err != nil || c.Argon2id != "" {
		t.Errorf("a new account has the credentials of an old one: %+v, %v", c, err)
	}
	all, err := d.Accounts(t.Context())
	if err != nil || len(all) != 2 || all[0].ID != 2 || all[0].Disabled || all[1].ID != 3 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestAliases(t *testing.T) {
	d := newDirectory(t)
	list := func() (out []string) {
		all, err := d.Aliases(t.Context())
		must(t, err)
		for _, a := range all {
			out = append(out, fmt.Sprintf("%s@%s %d", a.Address.Local, a.Address.Domain, len(a.Targets)))
		}
		return out
	}
	if got := list(); !reflect.DeepEqual(got, []string{"all@a.example 3", "@b.example 1", "info@b.example 1", "info+news@b.example 1"}) {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		in   string
		want error
	}{{"INFO@b.example", nil}, {"info@b.example", mail.ErrNotFound}, {"@b.example", nil}, {"ada@a.example", mail.ErrNotFound}} {
		if err := update(t, d, func(tx kv.Tx) error { return d.DeleteAlias(tx, address(c.in)) }); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.in, err, c.want)
		}
	}
	if got := list(); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

func TestDomains(t *testing.T) {
	d := newDirectory(t)
	for name, want := range map[mail.Domain]error{"a.example": mail.ErrExists, "c.example": nil} {
		if err := update(t, d, func(tx kv.Tx) error { return d.PutDomain(tx, name) }); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("add %s: %v", name, err)
		}
	}
	for _, name := range []mail.Domain{"", "[192.0.2.1]"} {
		if err := update(t, d, func(tx kv.Tx) error { return d.PutDomain(tx, name) }); err == nil {
			t.Errorf("%q is a domain", name)
		}
	}
	for _, c := range []struct {
		name mail.Domain
		want error
	}{{"b.example", mail.ErrInUse}, {"c.example", nil}, {"c.example", mail.ErrNotFound}} {
		if err := update(t, d, func(tx kv.Tx) error { return d.DeleteDomain(tx, c.name) }); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("remove %s: %v, want %v", c.name, err, c.want)
		}
	}
	all, err := d.Domains(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "a.example" || all[1].Name != "b.example" || all[0].Created.IsZero() {
		t.Errorf("%+v, %v", all, err)
	}
	for name, want := range map[mail.Domain]bool{"a.example": true, "example": false, "a.exampl": false, "x.a.example": false} {
		if got, err := d.HasDomain(t.Context(), name); got != want || err != nil {
			t.Errorf("has %s: %v, %v", name, got, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	d := newDirectory(t)
	if a, c, err := d.Credentials(t.Context(), address("ada@a.example")); err != nil || a.ID != 1 || c.Argon2id != "" {
		t.Errorf("without a password: %+v %+v %v", a, c, err)
	}
	want := Credentials{Argon2id: "$argon2id$x", Salt: []byte("salt"), Iterations: 4096, StoredKey: []byte("stored"), ServerKey: []byte("server")}
	must(t, update(t, d, func(tx kv.Tx) error { return d.PutCredentials(tx, 1, want) }))
	_, got, err := d.Credentials(t.Context(), address("aDa@a.example"))
	if got.Changed.IsZero() {
		t.Error("no time of the change")
	}
	got.Changed = want.Changed
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, s := range []string{"all@a.example", "nobody@a.example", "ada+x@a.example"} {
		if _, _, err := d.Credentials(t.Context(), address(s)); !errors.Is(err, mail.ErrNotFound) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// TestSecret: whoever asks first makes it, and it stays.
func TestSecret(t *testing.T) {
	d := newDirectory(t)
	got := make(chan string)
	for i := range 8 {
		go func() {
			b, err := d.Secret(context.Background(), "x", func() []byte { return []byte{byte(i)} })
			if err != nil {
				t.Error(err)
			}
			got <- string(b)
		}()
	}
	first := <-got
	for range 7 {
		if s := <-got; s != first {
			t.Errorf("%q and %q", s, first)
		}
	}
	if b, err := d.Secret(t.Context(), "y", func() []byte { return []byte("other") }); string(b) != "other" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// FuzzCanonical: the one form is a fixed point, and no two of its forms differ.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"Ada", "GRÜSSE", "E\u0301va", "\u212b", "İ", "ΑΣ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := mail.ParseAddress(s + "@a.example")
		if err != nil {
			return
		}
		once := Canonical(a)
		if again := Canonical(once); again != once {
			t.Errorf("%q is %q is %q", s, once.Local, again.Local)
		}
	})
}

// TestWithout switches capabilities off and on, and looks that the row keeps
// them beside what it had before.
func TestWithout(t *testing.T) {
	row := Account{Address: address("ada@a.example"), Name: "Ada", Shared: true}.row()
	if a, err := decodeAccount(1, row); err != nil || a.Without != "" || !a.Shared {
		t.Errorf("%+v, %v", a, err)
	}
	d := newDirectory(t)
	must(t, update(t, d, func(tx kv.Tx) error {
		if err := d.PutDomain(tx, "w.example"); err != nil {
			return err
		}
		a, err := d.PutAccount(tx, Account{Address: address("ada@w.example")})
		if err != nil {
			return err
		}
		for _, c := range []string{"notify", "IDLE", "Notify", "UTF8=ACCEPT", "MOVE"} {
			if err := d.SwitchOff(tx, a.ID, c); err != nil {
				return err
			}
		}
		for _, c := range []string{"", "a b", "x\n", strings.Repeat("X", 65)} {
			if err := d.SwitchOff(tx, a.ID, c); !errors.Is(err, ErrCapability) {
				t.Errorf("%q: %v", c, err)
			}
		}
		return d.SwitchOn(tx, a.ID, "move")
	}))
	a, err := d.AccountOf(t.Context(), address("ada@w.example"))
	if err != nil || a.Without != "IDLE NOTIFY UTF8=ACCEPT" {
		t.Errorf("%+v, %v", a, err)
	}
}

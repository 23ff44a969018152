package directory

import (
	"errors"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// TestResolveDomains: separators that were chosen, and other names of a domain.
func TestResolveDomains(t *testing.T) {
	d := newDirectory(t)
	ids := map[mail.AccountID]string{}
	must(t, update(t, d, func(tx kv.Tx) error {
		for _, name := range []mail.Domain{"o.example", "none.example", "empty.example"} {
			if err := d.PutDomain(tx, name); err != nil {
				return err
			}
		}
		for _, a := range []string{"ada@o.example", "anna-maria@o.example", "anna@o.example", "ada@none.example"} {
			acct, err := d.PutAccount(tx, Account{Address: address(a)})
			if err != nil {
				return err
			}
			ids[acct.ID] = a
		}
		return errors.Join(
			d.PutDomainAlias(tx, "n.example", "o.example"),
			d.PutDomainAlias(tx, "void.example", "empty.example"),
			d.SetSeparators(tx, "o.example", "-+-."),
			d.SetSeparators(tx, "none.example", ""),
			d.PutAlias(tx, Alias{Address: address("ada-special@o.example"), Targets: []mail.Address{address("x@far.example")}}),
		)
	}))
	for to, want := range map[string]string{
		"ada@o.example": "ada@o.example ", "ada-x@o.example": "ada@o.example x", "ada.x+y@o.example": "ada@o.example x+y", "ADA+X@o.example": "ada@o.example X",
		"anna-maria@o.example": "anna-maria@o.example ", "anna-maria-x-y@o.example": "anna-maria@o.example x-y", "anna-mari@o.example": "anna@o.example mari",
		"ada-special@o.example": "alias ", "ada-special-2@o.example": "alias 2", "ada@n.example": "ada@o.example ", "ada-x@n.example": "ada@o.example x", "ada=x@o.example": "-",
		"nobody@n.example": "-", "ada+x@none.example": "-", "ada@none.example": "ada@none.example ", "ada@nowhere.example": "-",
		"-ada@o.example": "-", "a-b-c-d-e-f-g-h-i-j-k@o.example": "-", "ada-b-c-d-e-f-g-h-i-j-k@o.example": "ada@o.example b-c-d-e-f-g-h-i-j-k",
	} {
		tg, err := d.Resolve(t.Context(), address(to))
		got := "-"
		switch {
		case err != nil && !errors.Is(err, mail.ErrNotFound):
			t.Fatal(err)
		case tg.Alias != nil:
			got = "alias " + tg.Detail
		case tg.Account != 0:
			got = ids[tg.Account] + " " + tg.Detail
		}
		if got != want {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
	for login, want := range map[string]string{
		"ada@o.example": "ada@o.example", "ADA@n.example": "ada@o.example", "ada-x@n.example": "-", "nobody@n.example": "-", "ada-special@n.example": "-",
		"ada@void.example": "-", "ada@nowhere.example": "-", "ada@none.example": "ada@none.example",
	} {
		acct, err := d.Known(t.Context(), address(login))
		_, c, err2 := d.Login(t.Context(), address(login))
		got := "-"
		if !errors.Is(err, mail.ErrNotFound) {
			must(t, err)
			got = acct.Address.String()
		}
		if got != want || errors.Is(err, mail.ErrNotFound) != errors.Is(err2, mail.ErrNotFound) || c.Argon2id != "" {
			t.Errorf("%s logs in as %s, want %s; %v, %v", login, got, want, err, err2)
		}
	}
	for a, want := range map[string]string{"Nobody@n.example": "Nobody@o.example", "ada@o.example": "ada@o.example", "x@nowhere.example": "x@nowhere.example", "x@void.example": "x@empty.example"} {
		if got, err := d.Main(t.Context(), address(a)); err != nil || got != address(want) {
			t.Errorf("%s is %s, want %s: %v", a, got, want, err)
		}
	}
	for what, c := range map[string]struct {
		fn   func(tx kv.Tx) error
		want error
	}{
		"an alias of an alias":          {func(tx kv.Tx) error { return d.PutDomainAlias(tx, "m.example", "n.example") }, mail.ErrInUse},
		"an alias of nothing":           {func(tx kv.Tx) error { return d.PutDomainAlias(tx, "m.example", "q.example") }, mail.ErrNotFound},
		"a domain that is there":        {func(tx kv.Tx) error { return d.PutDomainAlias(tx, "o.example", "none.example") }, mail.ErrExists},
		"an account in an alias":        {func(tx kv.Tx) error { _, err := d.PutAccount(tx, Account{Address: address("x@n.example")}); return err }, mail.ErrInUse},
		"a letter as separator":         {func(tx kv.Tx) error { return d.SetSeparators(tx, "o.example", "x") }, ErrSeparators},
		"at as separator":               {func(tx kv.Tx) error { return d.SetSeparators(tx, "o.example", "@") }, ErrSeparators},
		"separators of nothing":         {func(tx kv.Tx) error { return d.SetSeparators(tx, "q.example", "+") }, mail.ErrNotFound},
		"other targets of no alias":     {func(tx kv.Tx) error { return d.SetAlias(tx, Alias{Address: address("ada@o.example")}) }, mail.ErrNotFound},
		"a forward to nobody":           {func(tx kv.Tx) error { return d.SetForward(tx, 1, &Forward{}) }, mail.ErrLimit},
		"a forward of nobody":           {func(tx kv.Tx) error { return d.SetForward(tx, 99, nil) }, mail.ErrNotFound},
		"removing what has other names": {func(tx kv.Tx) error { return d.DeleteDomain(tx, "empty.example") }, mail.ErrInUse},
	} {
		if err := update(t, d, c.fn); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, update(t, d, func(tx kv.Tx) error {
		return errors.Join(d.DeleteDomain(tx, "n.example"), d.SetAlias(tx, Alias{Address: address("ada-special@o.example"), Targets: []mail.Address{address("y@far.example")}}))
	}))
	for name, want := range map[mail.Domain]string{"none.example": "", "o.example": "-+.", "empty.example": "+"} {
		if got, err := d.Domain(t.Context(), name); err != nil || got.Separators != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// TestForward: a forward stands where its account is found, and goes with it.
func TestForward(t *testing.T) {
	d := newDirectory(t)
	var a Account
	must(t, update(t, d, func(tx kv.Tx) (err error) {
		if err := d.PutDomain(tx, "o.example"); err != nil {
			return err
		}
		if a, err = d.PutAccount(tx, Account{Address: address("ada@o.example")}); err != nil {
			return err
		}
		return d.SetForward(tx, a.ID, &Forward{Keep: true, To: []mail.Address{address("x@far.example"), address("y@far.example")}})
	}))
	tg, err := d.Resolve(t.Context(), address("Ada+z@o.example"))
	if err != nil || tg.Account != a.ID || tg.Forward == nil || !tg.Forward.Keep || len(tg.Forward.To) != 2 || tg.Forward.To[1] != address("y@far.example") {
		t.Errorf("%+v, %v", tg, err)
	}
	if f, err := d.Forward(t.Context(), a); err != nil || f == nil {
		t.Errorf("%+v, %v", f, err)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.SetForward(tx, a.ID, nil) }))
	if f, err := d.Forward(t.Context(), a); err != nil || f != nil {
		t.Errorf("%+v, %v", f, err)
	}
	must(t, update(t, d, func(tx kv.Tx) error { return d.DeleteAccount(tx, a.ID) }))
}

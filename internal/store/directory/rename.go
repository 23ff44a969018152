package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Renaming is an account that gets another address.
type Renaming struct {
	Account  mail.AccountID
	From, To mail.Address
	// Alias leaves the old address to the account, as an alias with which it may still
	// log in.
	Alias bool
}

// Rename gives an account another address, and tells how many aliases and forwards have
// led to the old one: they lead to the new one now. Who had logged in is let go, to come
// again. An alias that leads to nobody but the account gives way to it. mail.ErrExists
// if somebody else has the address, mail.ErrNotFound if its domain is not here,
// mail.ErrInUse if the account's address is no longer From.
func (d *Directory) Rename(tx kv.Tx, rn Renaming) (led int, err error) {
	a, err := readAccount(tx, rn.Account)
	if err != nil {
		return 0, err
	}
	if a.Address != rn.From {
		return 0, fmt.Errorf("directory: %s is %s by now: %w", rn.From, a.Address, mail.ErrInUse)
	}
	if Canonical(rn.To) == Canonical(rn.From) {
		a.Address = rn.To
		tx.Set(idKey(kindAccount, a.ID), a.row())
		return 0, nil
	}
	if err := d.freeFor(tx, a.ID, rn.To); err != nil {
		return 0, err
	}
	entry, err := tx.Get(addressKey(rn.From))
	if err != nil {
		return 0, err
	}
	change, err := d.leading(tx, rn)
	if err != nil {
		return 0, err
	}
	tx.Wake(topic)
	tx.Set(addressKey(rn.To), entry)
	had := a.since()
	a.Address, a.Named = rn.To, tx.Now()
	tx.Set(idKey(kindAccount, a.ID), a.row())
	tx.Delete(addressKey(rn.From))
	if rn.Alias {
		if err := setAlias(tx, Alias{Address: rn.From, Targets: []mail.Address{rn.To}, Created: had, Of: a.ID}); err != nil {
			return 0, err
		}
	}
	for _, t := range change {
		if t.Alias != nil {
			err = setAlias(tx, *t.Alias)
		} else {
			err = d.SetForward(tx, t.Account, t.Forward)
		}
		if err != nil {
			return 0, err
		}
		if t.Alias == nil || t.Alias.Of != a.ID {
			led++
		}
	}
	return led, nil
}

// freeFor is free, but for an alias that leads to nobody but the account.
func (d *Directory) freeFor(tx kv.Tx, id mail.AccountID, a mail.Address) error {
	err := d.free(tx, a)
	if !errors.Is(err, mail.ErrExists) {
		return err
	}
	t, rerr := exact(tx, a)
	if rerr != nil {
		return rerr
	}
	if t.Alias == nil {
		acct, rerr := readAccount(tx, t.Account)
		switch {
		case rerr != nil:
			return rerr
		case acct.Shared:
			return fmt.Errorf("directory: the shared folder %s: %w", acct.Address, mail.ErrExists)
		}
		return fmt.Errorf("directory: the account %s: %w", acct.Address, mail.ErrExists)
	}
	for _, to := range t.Alias.Targets {
		if to, rerr := exact(tx, to); rerr != nil || to.Account != id {
			return errors.Join(rerr, fmt.Errorf("directory: the alias %s, which leads to others too: %w", a, mail.ErrExists))
		}
	}
	return nil
}

// leading gives the aliases and forwards that lead to an account by the address that it
// will not have any longer, as they will be.
func (d *Directory) leading(r kv.Reader, rn Renaming) (out []Target, err error) {
	old := renamer{Renaming: rn, domains: map[mail.Domain]bool{rn.From.Domain: true}}
	if old.was, err = readDomain(r, rn.From.Domain); err != nil {
		return nil, err
	}
	if old.is, err = readDomain(r, rn.To.Domain); err != nil {
		return nil, err
	}
	all, err := scanDomains(r)
	if err != nil {
		return nil, err
	}
	for _, dom := range all {
		if dom.AliasOf == rn.From.Domain {
			old.domains[dom.Name] = true
		}
	}
	err = eachAddress(r, func(t Target) error {
		changed, err := false, error(nil)
		switch {
		case t.Alias != nil && Canonical(t.Alias.Address) == Canonical(rn.To):
			return nil // it gives way
		case t.Alias != nil:
			t.Alias.Targets, changed, err = old.all(r, t.Alias.Targets)
		case t.Forward != nil:
			t.Forward.To, changed, err = old.all(r, t.Forward.To)
		}
		if changed {
			out = append(out, t)
		}
		return err
	})
	return out, err
}

// A renamer finds the old address among others, and puts the new one in its place.
type renamer struct {
	Renaming
	was, is Domain
	domains map[mail.Domain]bool // in which the old address was one
}

func (o *renamer) all(r kv.Reader, list []mail.Address) (out []mail.Address, changed bool, err error) {
	for _, a := range list {
		to, err := o.one(r, a)
		if err != nil {
			return nil, false, err
		}
		changed = changed || to != a
		if !slices.Contains(out, to) {
			out = append(out, to)
		}
	}
	return out, changed, nil
}

func (o *renamer) one(r kv.Reader, a mail.Address) (mail.Address, error) {
	rest, below := strings.CutPrefix(canonical(a.Local), canonical(o.From.Local))
	switch {
	case !o.domains[a.Domain] || !below:
		return a, nil
	case rest == "":
		return o.To, nil
	case strings.IndexByte(o.was.Separators, rest[0]) < 0:
		return a, nil
	}
	t, err := Resolve(r, a)
	if err != nil || t.Account != o.Account || t.Detail == "" {
		if errors.Is(err, mail.ErrNotFound) {
			err = nil
		}
		return a, err // a longer address that is there itself
	}
	to, divider := o.To, rest[:1]
	if strings.IndexByte(o.is.Separators, rest[0]) < 0 {
		if o.is.Separators == "" {
			return to, nil
		}
		divider = o.is.Separators[:1]
	}
	to.Local += divider + t.Detail
	return to, nil
}

// eachAddress calls fn for all addresses that are there.
func eachAddress(r kv.Reader, fn func(Target) error) error {
	p := key(kindAddress)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return err
		}
		dom, local, _ := strings.Cut(string(row.Key[len(p):]), string(rune(separator)))
		t, err := decodeEntry(mail.Address{Local: local, Domain: mail.Domain(dom)}, row.Value)
		if err != nil {
			return err
		}
		if err := fn(t); err != nil {
			return err
		}
	}
	return nil
}

// formerly gives the addresses that an account had before, and still has as aliases.
func formerly(r kv.Reader, id mail.AccountID) (list []mail.Address, err error) {
	err = eachAddress(r, func(t Target) error {
		if t.Alias != nil && t.Alias.Of == id {
			list = append(list, t.Alias.Address)
		}
		return nil
	})
	return list, err
}

// known finds the account whose address a is, in its domain or another name of that, or
// was before it was renamed; zero if there is none.
func known(r kv.Reader, a mail.Address) (mail.AccountID, error) {
	a, err := mainOf(r, a)
	if err != nil {
		return 0, err
	}
	t, err := exact(r, a)
	return t.Named(), err
}

// Known is AccountOf that also knows an account by its address in another name of the
// domain, and by one that it had before; see Rename. It is for the names that people give
// themselves and each other; commands want the address of today.
func (d *Directory) Known(ctx context.Context, a mail.Address) (acct Account, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		acct, err = readKnown(r, a)
		return err
	})
	return acct, err
}

func readKnown(r kv.Reader, a mail.Address) (Account, error) {
	id, err := known(r, a)
	if err != nil {
		return Account{}, err
	}
	if id == 0 {
		return Account{}, fmt.Errorf("directory: account %s: %w", a, mail.ErrNotFound)
	}
	return readAccount(r, id)
}

// Login is Credentials that knows an account by all that Known does.
func (d *Directory) Login(ctx context.Context, login mail.Address) (a Account, c Credentials, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		if a, err = readKnown(r, login); err != nil {
			return err
		}
		c, err = readCredentials(r, a.ID)
		return err
	})
	return a, c, err
}

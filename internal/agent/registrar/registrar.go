// Package registrar adds and removes domains, accounts and aliases: what the
// directory says and what the mailbox store has, in one transaction.
package registrar

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/keyring"
	"posthaste/internal/store/mailbox"
)

// A Registrar changes who is here. All fields but Quota must be set.
type Registrar struct {
	DB        kv.Store
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Keys      *keyring.Keyring
	// Hash makes what is kept of a password.
	Hash func(ctx context.Context, password string) (directory.Credentials, error)
	// Quota is how many bytes a new account may take; 0 is no limit.
	Quota int64
}

// MinPassword is the fewest characters of a password.
const MinPassword = 8

var locked = kv.Plan{Locks: []kv.Lock{directory.Lock}}

// AddDomain adds a domain; mail.ErrExists if it is there.
func (r *Registrar) AddDomain(ctx context.Context, d mail.Domain) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutDomain(tx, d) })
}

// RemoveDomain removes a domain; mail.ErrInUse while it has addresses.
func (r *Registrar) RemoveDomain(ctx context.Context, d mail.Domain) error {
	err := r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteDomain(tx, d) })
	if err != nil {
		return err
	}
	return r.Keys.Delete(ctx, d)
}

// A NewAccount is what AddAccount makes.
type NewAccount struct {
	Address  mail.Address
	Name     string
	Password string // empty: nobody can log in until one is set
	Quota    int64  // bytes; 0 is the registrar's
}

// ErrPassword: the password is too short, or no text.
var ErrPassword = fmt.Errorf("a password has at least %d characters", MinPassword)

// AddAccount adds an account with its first mailboxes.
func (r *Registrar) AddAccount(ctx context.Context, n NewAccount) (directory.Account, error) {
	var cred directory.Credentials
	if n.Password != "" {
		var err error
		if cred, err = r.hash(ctx, n.Password); err != nil {
			return directory.Account{}, err
		}
	}
	if n.Quota == 0 {
		n.Quota = r.Quota
	}
	var a directory.Account
	// The mailboxes' lock is known only with the id, so the id comes first. A
	// crash in between leaves an address without a mailbox, which the next
	// AddAccount of that address puts right.
	err := r.DB.Update(ctx, locked, func(tx kv.Tx) (err error) {
		a, err = r.Directory.PutAccount(tx, directory.Account{Address: n.Address, Name: n.Name})
		return err
	})
	if errors.Is(err, mail.ErrExists) {
		a, err = r.unfinished(ctx, n.Address, err)
	}
	if err != nil {
		return directory.Account{}, err
	}
	plan := kv.Plan{Locks: []kv.Lock{directory.Lock, mailbox.Lock(a.ID)}}
	err = r.DB.Update(ctx, plan, func(tx kv.Tx) error {
		if n.Password != "" {
			r.Directory.PutCredentials(tx, a.ID, cred)
		}
		return r.Mailboxes.Create(tx, a.ID, n.Quota, 0)
	})
	return a, err
}

// unfinished gives the account that has the address if it has no mailboxes yet;
// else the error exists.
func (r *Registrar) unfinished(ctx context.Context, addr mail.Address, exists error) (directory.Account, error) {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return a, exists
	}
	if _, err := r.Mailboxes.ModSeq(ctx, a.ID); !errors.Is(err, mail.ErrNotFound) {
		return a, exists
	}
	return a, nil
}

// RemoveAccount removes an account and all its mail.
func (r *Registrar) RemoveAccount(ctx context.Context, addr mail.Address) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	// Nobody logs in and no mail comes any more before the bodies are let go.
	err = r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteAccount(tx, a.ID) })
	if err != nil {
		return err
	}
	if err := r.Mailboxes.DestroyBodies(ctx, a.ID); err != nil {
		return err
	}
	return r.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(a.ID)}}, func(tx kv.Tx) error {
		r.Mailboxes.Destroy(tx, a.ID)
		return nil
	})
}

// SetPassword sets an account's password.
func (r *Registrar) SetPassword(ctx context.Context, addr mail.Address, password string) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	cred, err := r.hash(ctx, password)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error {
		r.Directory.PutCredentials(tx, a.ID, cred)
		return nil
	})
}

func (r *Registrar) hash(ctx context.Context, password string) (directory.Credentials, error) {
	if !utf8.ValidString(password) || utf8.RuneCountInString(password) < MinPassword {
		return directory.Credentials{}, ErrPassword
	}
	return r.Hash(ctx, password)
}

// AddAlias adds an alias; mail.ErrExists if the address is taken.
func (r *Registrar) AddAlias(ctx context.Context, a directory.Alias) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutAlias(tx, a) })
}

// RemoveAlias removes an alias.
func (r *Registrar) RemoveAlias(ctx context.Context, addr mail.Address) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteAlias(tx, addr) })
}

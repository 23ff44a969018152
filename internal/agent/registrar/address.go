package registrar

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/keyring"
)

// AddDomain adds a domain; mail.ErrExists if it is there.
func (r *Registrar) AddDomain(ctx context.Context, d mail.Domain) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutDomain(tx, d) })
}

// AddDomainAlias adds a domain as another name of one that is here.
func (r *Registrar) AddDomainAlias(ctx context.Context, d, of mail.Domain) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutDomainAlias(tx, d, of) })
}

// SetSeparators says what stands between a domain's addresses and their details.
func (r *Registrar) SetSeparators(ctx context.Context, d mail.Domain, chars string) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SetSeparators(tx, d, chars) })
}

// RemoveDomain removes a domain with its keys; mail.ErrInUse while it has addresses.
func (r *Registrar) RemoveDomain(ctx context.Context, d mail.Domain) error {
	both := kv.Plan{Locks: []kv.Lock{directory.Lock, keyring.Lock}}
	err := r.DB.Update(ctx, both, func(tx kv.Tx) error {
		r.Keys.Delete(tx, d)
		return r.Directory.DeleteDomain(tx, d)
	})
	r.Keys.Forget(d)
	return err
}

// AddAlias adds an alias; mail.ErrExists if the address is taken.
func (r *Registrar) AddAlias(ctx context.Context, a directory.Alias) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutAlias(tx, a) })
}

// SetAlias gives an alias other targets; mail.ErrNotFound if there is none.
func (r *Registrar) SetAlias(ctx context.Context, a directory.Alias) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SetAlias(tx, a) })
}

// RemoveAlias removes an alias.
func (r *Registrar) RemoveAlias(ctx context.Context, addr mail.Address) error {
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteAlias(tx, addr) })
}

// SetForward says where an account's mail is sent on to; nil: nowhere.
func (r *Registrar) SetForward(ctx context.Context, addr mail.Address, f *directory.Forward) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SetForward(tx, a.ID, f) })
}

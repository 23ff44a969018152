package registrar

import (
	"context"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// A Rename is what RenameAccount does.
type Rename struct {
	From, To mail.Address
	Alias    bool // the old address goes on leading to the account
}

// namesAtOnce is how many subscriptions of others are changed together with the address.
const namesAtOnce = 2000

// RenameAccount gives an account, or a shared folder, another address; all that it has
// goes along, and what others are subscribed to. It tells how many aliases and forwards
// have led to the old address: they lead to the new one now. Errors are as of
// directory.Rename.
func (r *Registrar) RenameAccount(ctx context.Context, n Rename) (a directory.Account, led int, err error) {
	if a, err = r.Directory.AccountOf(ctx, n.From); err != nil {
		return a, 0, err
	}
	rn := directory.Renaming{Account: a.ID, From: a.Address, To: n.To, Alias: n.Alias}
	readers, from, to, err := r.readers(ctx, a, n.To)
	if err != nil {
		return a, 0, err
	}
	plan, late := kv.Plan{Locks: []kv.Lock{directory.Lock}}, 0
	for names := 0; late < len(readers); late++ {
		if names += readers[late].Names; names > namesAtOnce {
			break // more than one transaction takes: they follow
		}
		plan.Locks = append(plan.Locks, mailbox.Lock(readers[late].Account))
	}
	err = r.DB.Update(ctx, plan, func(tx kv.Tx) (err error) {
		if led, err = r.Directory.Rename(tx, rn); err != nil {
			return err
		}
		for _, s := range readers[:late] {
			if err := r.Mailboxes.Resubscribe(tx, s.Account, from, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return a, 0, err
	}
	for _, s := range readers[late:] {
		err := r.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(s.Account)}}, func(tx kv.Tx) error {
			return r.Mailboxes.Resubscribe(tx, s.Account, from, to)
		})
		if err != nil {
			return a, led, fmt.Errorf("the account is renamed, but not all who are subscribed to its mailboxes are so any longer: %w", err)
		}
	}
	a.Address = n.To
	return a, led, nil
}

// readers gives who is subscribed to mailboxes of an account, and what they have before
// their names now, and then.
func (r *Registrar) readers(ctx context.Context, a directory.Account, to mail.Address) (list []mailbox.Subscriber, before, after string, err error) {
	if r.Prefix == nil {
		return nil, "", "", nil
	}
	all, err := r.Directory.Accounts(ctx)
	if err != nil {
		return nil, "", "", err
	}
	ids := make([]mail.AccountID, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	before = r.Prefix(&a)
	list, err = r.Mailboxes.Subscribers(ctx, ids, before)
	a.Address = to
	return list, before, r.Prefix(&a), err
}

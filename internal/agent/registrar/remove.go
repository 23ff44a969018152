package registrar

import (
	"context"
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// RemoveAccount removes an account and all that it has: nobody logs in and no mail comes
// any more once it is out of the directory. If we are interrupted then, FinishRemovals
// does the rest.
func (r *Registrar) RemoveAccount(ctx context.Context, addr mail.Address) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	err = r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteAccount(tx, a.ID) })
	if err != nil {
		return err
	}
	return r.clear(ctx, a.ID)
}

// FinishRemovals clears away what accounts have left that were removed half way.
func (r *Registrar) FinishRemovals(ctx context.Context) error {
	ids, err := r.Directory.Leaving(ctx)
	for _, id := range ids {
		err = errors.Join(err, r.clear(ctx, id))
	}
	return err
}

// clear removes what there is of an account that is out of the directory. It may be done
// again, and by several at a time.
func (r *Registrar) clear(ctx context.Context, id mail.AccountID) error {
	if err := r.Mailboxes.Retire(ctx, id); err != nil {
		return err
	}
	if r.Outposts != nil {
		if err := r.Outposts.RemoveAll(ctx, id); err != nil {
			return err
		}
	}
	if err := r.Mailboxes.Remove(ctx, id); err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error {
		r.Directory.Left(tx, id)
		return nil
	})
}

package directory

import (
	"context"
	"encoding/binary"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// DeleteAccount removes an account, the addresses it had before and its credentials
// from the directory. What other stores have of it is still to be removed: until Left it
// is among those that are Leaving.
func (d *Directory) DeleteAccount(tx kv.Tx, id mail.AccountID) error {
	a, err := readAccount(tx, id)
	if err != nil {
		return err
	}
	had, err := formerly(tx, id)
	if err != nil {
		return err
	}
	tx.Wake(topic)
	for _, was := range append(had, a.Address) {
		tx.Delete(addressKey(was))
	}
	tx.Delete(idKey(kindAccount, id))
	tx.Delete(idKey(kindCredential, id))
	tx.DeleteRange(idKey(kindAppPassword, id), kv.Next(idKey(kindAppPassword, id)))
	tx.DeleteRange(idKey(kindAPOP, id), kv.Next(idKey(kindAPOP, id)))
	list, err := readCertificates(tx, id)
	for _, c := range list {
		deleteCertificate(tx, id, c)
	}
	tx.Set(idKey(kindLeaving, id), []byte{})
	return err
}

// Left notes that nothing is left of an account that was deleted.
func (d *Directory) Left(tx kv.Tx, id mail.AccountID) { tx.Delete(idKey(kindLeaving, id)) }

// Leaving gives the accounts that were deleted and of which something may be left.
func (d *Directory) Leaving(ctx context.Context) (ids []mail.AccountID, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		ids = ids[:0]
		p := key(kindLeaving)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			if len(row.Key) != len(p)+8 {
				return fmt.Errorf("account %x: %w", row.Key[len(p):], kv.ErrRow)
			}
			ids = append(ids, mail.AccountID(binary.BigEndian.Uint64(row.Key[len(p):])))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("directory: removed accounts: %w", err)
	}
	return ids, nil
}

// Leading gives the aliases, and the accounts that have their mail sent on, which name an
// account's address; not those that are its own former addresses.
func (d *Directory) Leading(ctx context.Context, a Account) (list []Target, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		// As if it got an address that nobody has: what would change leads to it.
		to := mail.Address{Local: "\x00", Domain: a.Address.Domain}
		found, err := d.leading(r, Renaming{Account: a.ID, From: a.Address, To: to})
		list = list[:0]
		for _, t := range found {
			if t.Account != a.ID && (t.Alias == nil || t.Alias.Of != a.ID) {
				list = append(list, t)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("directory: what leads to %s: %w", a.Address, err)
	}
	return list, nil
}

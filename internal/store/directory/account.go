package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// An entry of kindAddress begins with one of these.
const (
	entryAccount = 1 // u64 account id; if it has a forward: flags, count, targets
	entryAlias   = 2 // count, targets; when it was made, if that is known; whose address it was, if it was one
)

// PutAccount adds an account under a new id and gives it. The domain must be
// here (mail.ErrNotFound) and the address free (mail.ErrExists).
func (d *Directory) PutAccount(tx kv.Tx, a Account) (Account, error) {
	if err := d.free(tx, a.Address); err != nil {
		return Account{}, err
	}
	raw, err := tx.Get(key(kindCounter))
	if err != nil {
		return Account{}, err
	}
	next := uint64(1)
	if raw != nil {
		next = kv.Decode(raw).Uvarint()
	}
	a.ID = mail.AccountID(next)
	a.Created = tx.Now()
	tx.Set(key(kindCounter), binary.AppendUvarint(nil, next+1))
	tx.Set(addressKey(a.Address), accountEntry(a.ID))
	tx.Set(idKey(kindAccount, a.ID), a.row())
	return a, nil
}

func (d *Directory) free(tx kv.Tx, a mail.Address) error {
	rows, err := tx.GetMany(domainKey(a.Domain), addressKey(a))
	if err != nil {
		return err
	}
	if rows[0] == nil {
		return fmt.Errorf("directory: domain %s: %w", a.Domain, mail.ErrNotFound)
	}
	dom, err := decodeDomain(a.Domain, rows[0])
	if err != nil {
		return err
	}
	if dom.AliasOf != "" {
		return fmt.Errorf("directory: domain %s is another name of %s, where addresses are added: %w", a.Domain, dom.AliasOf, mail.ErrInUse)
	}
	if rows[1] != nil {
		return fmt.Errorf("directory: address %s: %w", a, mail.ErrExists)
	}
	return nil
}

// SetDisabled allows or forbids an account to log in.
func (d *Directory) SetDisabled(tx kv.Tx, id mail.AccountID, disabled bool) error {
	tx.Wake(topic)
	return d.change(tx, id, func(a *Account) { a.Disabled = disabled })
}

// SetAdmin makes an account an administrator's, or not.
func (d *Directory) SetAdmin(tx kv.Tx, id mail.AccountID, admin bool) error {
	return d.change(tx, id, func(a *Account) { a.Admin = admin })
}

func (d *Directory) change(tx kv.Tx, id mail.AccountID, fn func(*Account)) error {
	a, err := readAccount(tx, id)
	if err != nil {
		return err
	}
	fn(&a)
	tx.Set(idKey(kindAccount, id), a.row())
	return nil
}

// Flags of an account's row.
const (
	accountDisabled = 1 << iota
	accountShared
	accountAdmin
)

func (a Account) row() []byte {
	b := kv.AppendBytes(nil, a.Address.Local)
	b = kv.AppendBytes(b, string(a.Address.Domain))
	b = kv.AppendBytes(b, a.Name)
	b = binary.AppendVarint(b, a.Created.Unix())
	flags := byte(0)
	if a.Disabled {
		flags |= accountDisabled
	}
	if a.Shared {
		flags |= accountShared
	}
	if a.Admin {
		flags |= accountAdmin
	}
	b = append(b, flags)
	if a.Without != "" || a.Former != nil || !a.Named.IsZero() {
		b = kv.AppendBytes(b, a.Without)
	}
	switch {
	case a.Former != nil:
		b = kv.AppendBytes(b, a.Former.row())
	case !a.Named.IsZero():
		b = kv.AppendBytes(b, "")
	}
	if !a.Named.IsZero() {
		b = binary.AppendVarint(b, a.Named.Unix())
	}
	return b
}

// since tells from when on the account has its address.
func (a *Account) since() time.Time {
	if !a.Named.IsZero() {
		return a.Named
	}
	return a.Created
}

func readAccount(r kv.Reader, id mail.AccountID) (Account, error) {
	raw, err := r.Get(idKey(kindAccount, id))
	if err != nil {
		return Account{}, err
	}
	if raw == nil {
		return Account{}, fmt.Errorf("directory: account %d: %w", id, mail.ErrNotFound)
	}
	return decodeAccount(id, raw)
}

func decodeAccount(id mail.AccountID, raw []byte) (Account, error) {
	dec := kv.Decode(raw)
	a := Account{
		ID:      id,
		Address: mail.Address{Local: dec.String(), Domain: mail.Domain(dec.String())},
		Name:    dec.String(),
		Created: time.Unix(dec.Varint(), 0),
	}
	flags := dec.Byte()
	a.Disabled, a.Shared, a.Admin = flags&accountDisabled != 0, flags&accountShared != 0, flags&accountAdmin != 0
	if dec.More() {
		a.Without = dec.String()
	}
	var former []byte
	if dec.More() {
		former = dec.Bytes()
	}
	if len(former) > 0 {
		f, err := decodeFormer(former)
		if err != nil {
			return a, fmt.Errorf("directory: former server of account %d: %w", id, err)
		}
		a.Former = f
	}
	if dec.More() {
		a.Named = time.Unix(dec.Varint(), 0)
	}
	return a, dec.Err()
}

// Account gives an account by its id.
func (d *Directory) Account(ctx context.Context, id mail.AccountID) (a Account, err error) {
	commits := d.DB.Commits(Lock.Class)
	if a, ok := d.remembered.account(commits, id); ok {
		return a, nil
	}
	err = d.DB.View(ctx, func(r kv.Reader) error {
		a, err = readAccount(r, id)
		return err
	})
	if err == nil {
		d.remembered.keep(commits, func() { d.remembered.accounts[id] = a })
	}
	return a, err
}

// AddressOf gives the login address of an account; mail.ErrNotFound if there is none.
func (d *Directory) AddressOf(ctx context.Context, id mail.AccountID) (mail.Address, error) {
	a, err := d.Account(ctx, id)
	return a.Address, err
}

// AccountOf gives the account whose login address is a, without details or
// aliases; mail.ErrNotFound if there is none.
func (d *Directory) AccountOf(ctx context.Context, a mail.Address) (acct Account, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		t, err := exact(r, a)
		if err != nil {
			return err
		}
		if t.Account == 0 {
			return fmt.Errorf("directory: account %s: %w", a, mail.ErrNotFound)
		}
		acct, err = readAccount(r, t.Account)
		return err
	})
	return acct, err
}

// Accounts gives all accounts in the order they were added.
func (d *Directory) Accounts(ctx context.Context) ([]Account, error) {
	var out []Account
	err := d.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		p := key(kindAccount)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			a, err := decodeAccount(mail.AccountID(binary.BigEndian.Uint64(row.Key[len(p):])), row.Value)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("directory: accounts: %w", err)
	}
	return out, nil
}

// PutCredentials sets what proves the account's password. SCRAM has one salt for
// all passwords of an account, so c must have the salt and rounds that the
// account has if there are app passwords: else it is mail.ErrInUse.
func (d *Directory) PutCredentials(tx kv.Tx, id mail.AccountID, c Credentials) error {
	now, err := readCredentials(tx, id)
	if err != nil {
		return err
	}
	if len(now.Apps) > 0 && (!bytes.Equal(now.Salt, c.Salt) || now.Iterations != c.Iterations) {
		return fmt.Errorf("directory: the passwords were changed at the same moment: %w", mail.ErrInUse)
	}
	d.writeCredentials(tx, id, c)
	tx.Wake(topic)
	return nil
}

func (*Directory) writeCredentials(tx kv.Tx, id mail.AccountID, c Credentials) {
	b := kv.AppendBytes(nil, c.Argon2id)
	b = kv.AppendBytes(b, c.Salt)
	b = binary.AppendUvarint(b, uint64(c.Iterations))
	b = kv.AppendBytes(b, c.StoredKey)
	b = kv.AppendBytes(b, c.ServerKey)
	b = binary.AppendVarint(b, tx.Now().UnixNano())
	b = appendSHA1(b, c.StoredKey1, c.ServerKey1)
	tx.Set(idKey(kindCredential, id), b)
}

// Credentials gives the account with this login address and what proves its
// password; mail.ErrNotFound if there is no such account. An account that has
// no password yet has empty credentials.
func (d *Directory) Credentials(ctx context.Context, login mail.Address) (a Account, c Credentials, err error) {
	err = d.DB.View(ctx, func(r kv.Reader) error {
		t, err := exact(r, login)
		if err != nil {
			return err
		}
		if t.Account == 0 {
			return fmt.Errorf("directory: account %s: %w", login, mail.ErrNotFound)
		}
		if a, err = readAccount(r, t.Account); err != nil {
			return err
		}
		c, err = readCredentials(r, t.Account)
		return err
	})
	return a, c, err
}

// appendSHA1 appends the keys of SCRAM-SHA-1, if there are any, to a row.
func appendSHA1(b, stored, server []byte) []byte {
	if stored == nil {
		return b
	}
	return kv.AppendBytes(kv.AppendBytes(b, stored), server) // both may be empty
}

func readSHA1(dec *kv.Decoder) (stored, server []byte) {
	if !dec.More() {
		return nil, nil
	}
	if stored, server = bytes.Clone(dec.Bytes()), bytes.Clone(dec.Bytes()); len(stored) == 0 {
		return nil, nil
	}
	return stored, server
}

func readCredentials(r kv.Reader, id mail.AccountID) (c Credentials, err error) {
	raw, err := r.Get(idKey(kindCredential, id))
	if err != nil {
		return c, err
	}
	if raw != nil {
		dec := kv.Decode(raw)
		c = Credentials{
			Argon2id:   dec.String(),
			Salt:       dec.Bytes(),
			Iterations: int(dec.Uvarint()),
			StoredKey:  dec.Bytes(),
			ServerKey:  dec.Bytes(),
			Changed:    time.Unix(0, dec.Varint()),
		}
		c.StoredKey1, c.ServerKey1 = readSHA1(dec)
		if err := dec.Err(); err != nil {
			return c, err
		}
	}
	c.Apps, err = readApps(r, id)
	return c, err
}

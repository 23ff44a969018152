// Package directory keeps who is here: domains, accounts, aliases, and what
// proves that somebody is who they say.
//
// All of it lies under one lock, since it changes rarely and is read often. An
// address belongs to at most one account or alias. Addresses are found without
// regard to case, and an account is also reached under its address with a
// "+detail" behind the local part (RFC 5233).
package directory

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Lock guards the whole directory.
var Lock = kv.Lock{Class: 'D'}

// Kinds of rows under Lock.
const (
	kindCounter     = 0x00 // → next account id
	kindDomain      = 0x01 // domain → Domain
	kindAccount     = 0x02 // account id → Account
	kindAddress     = 0x03 // domain 0x00 local → entry
	kindCredential  = 0x04 // account id → Credentials
	kindSecret      = 0x05 // name → bytes
	kindAppPassword = 0x10 // account id, device → AppPassword; device 0 → next device
)

// A Domain is one that we receive mail for.
type Domain struct {
	Name    mail.Domain
	Created time.Time
}

// An Account is somebody who logs in and has a mailbox.
type Account struct {
	ID       mail.AccountID
	Address  mail.Address // what they log in with, and their main address
	Name     string       // a person's name, for people
	Created  time.Time
	Disabled bool // may not log in; mail still comes in
	Admin    bool // may set the limits of others
	Shared   bool // nobody's own: its mailboxes are there for whom they are shared with
	// Without is capabilities of IMAP that this account is not offered, in
	// capital letters and divided by spaces.
	Without string
}

// An Alias is an address whose mail goes to others, here or elsewhere.
type Alias struct {
	Address mail.Address // an empty Local takes all of the domain's mail that nobody else takes
	Targets []mail.Address
}

// A Target is what an address leads to: one of both fields is set.
type Target struct {
	Account mail.AccountID
	Alias   *Alias
	Detail  string // what stood behind "+"
}

// Credentials are what the server keeps to check a password. None of it gives
// the password back.
type Credentials struct {
	Argon2id   string // in PHC string form
	Salt       []byte // SCRAM-SHA-256, RFC 5803
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
	Changed    time.Time
	Apps       []AppPassword // others that open the account
}

// A Directory reads and changes the rows. DB must be set.
type Directory struct {
	DB kv.Store
}

const separator = 0x00

func key(kind byte) []byte { return append(Lock.Prefix(), kind) }

func idKey(kind byte, id mail.AccountID) []byte {
	return binary.BigEndian.AppendUint64(key(kind), uint64(id))
}

func domainKey(d mail.Domain) []byte { return append(key(kindDomain), d...) }

func addressKey(a mail.Address) []byte {
	b := append(key(kindAddress), a.Domain...)
	return append(append(b, separator), canonical(a.Local)...)
}

// canonical is the form in which local parts are compared: nobody runs a server
// where Ada and ada are two people, and both forms of é are one letter.
func canonical(local string) string {
	for i := 0; i < len(local); i++ {
		if c := local[i]; c >= 0x80 {
			return norm.NFC.String(strings.ToLower(local))
		}
	}
	return strings.ToLower(local)
}

// Canonical gives the one form of an address under which it is filed.
func Canonical(a mail.Address) mail.Address {
	return mail.Address{Local: canonical(a.Local), Domain: a.Domain}
}

// PutDomain adds a domain; mail.ErrExists if it is there. The transaction needs
// Lock.
func (*Directory) PutDomain(tx kv.Tx, name mail.Domain) error {
	if _, literal := name.IP(); literal || name == "" {
		return fmt.Errorf("directory: %q: only a domain name can have accounts", name)
	}
	old, err := tx.Get(domainKey(name))
	if err != nil {
		return err
	}
	if old != nil {
		return fmt.Errorf("directory: domain %s: %w", name, mail.ErrExists)
	}
	tx.Set(domainKey(name), binary.AppendVarint(nil, tx.Now().Unix()))
	return nil
}

// DeleteDomain removes a domain; mail.ErrInUse while it has addresses.
func (*Directory) DeleteDomain(tx kv.Tx, name mail.Domain) error {
	old, err := tx.Get(domainKey(name))
	if err != nil {
		return err
	}
	if old == nil {
		return fmt.Errorf("directory: domain %s: %w", name, mail.ErrNotFound)
	}
	r := kv.Prefix(append(append(key(kindAddress), name...), separator))
	r.Limit = 1
	for _, err := range tx.Scan(r) {
		if err != nil {
			return err
		}
		return fmt.Errorf("directory: domain %s still has accounts or aliases: %w", name, mail.ErrInUse)
	}
	tx.Delete(domainKey(name))
	return nil
}

// Domains gives all domains in order.
func (d *Directory) Domains(ctx context.Context) ([]Domain, error) {
	var out []Domain
	err := d.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		p := key(kindDomain)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			dec := kv.Decode(row.Value)
			out = append(out, Domain{Name: mail.Domain(row.Key[len(p):]), Created: time.Unix(dec.Varint(), 0)})
			if err := dec.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("directory: domains: %w", err)
	}
	return out, nil
}

// HasDomain tells whether we receive mail for name.
func (d *Directory) HasDomain(ctx context.Context, name mail.Domain) (bool, error) {
	found := false
	err := d.DB.View(ctx, func(r kv.Reader) error {
		v, err := r.Get(domainKey(name))
		found = v != nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("directory: domain %s: %w", name, err)
	}
	return found, nil
}

// Secret gives the server's own secret of that name, made at first use and the
// same ever after: n random bytes from make.
func (d *Directory) Secret(ctx context.Context, name string, make func() []byte) ([]byte, error) {
	k := append(key(kindSecret), name...)
	var out []byte
	err := d.DB.View(ctx, func(r kv.Reader) (err error) {
		out, err = r.Get(k)
		return err
	})
	if err != nil || out != nil {
		return out, err
	}
	fresh := make()
	err = d.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}, Reads: [][]byte{k}}, func(tx kv.Tx) (err error) {
		if out, err = tx.Get(k); err != nil || out != nil {
			return err
		}
		out = fresh
		tx.Set(k, fresh)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("directory: secret %s: %w", name, err)
	}
	return out, nil
}

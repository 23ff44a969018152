// Package directory keeps who is here: domains, accounts, aliases, and what
// proves that somebody is who they say.
//
// All of it lies under one lock, since it changes rarely and is read often. An
// address belongs to at most one account or alias. Addresses are found without
// regard to case, and an account is also reached under its address with a
// "+detail" behind the local part (RFC 5233). A domain may be another name of one
// that is here.
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
	kindAddress     = 0x03 // domain 0x00 local → entry: an account, with its forward if it has one, or an alias
	kindCredential  = 0x04 // account id → Credentials
	kindSecret      = 0x05 // name → bytes
	kindAppPassword = 0x10 // account id, device → AppPassword; device 0 → next device
	kindCertificate = 0x11 // account id, key → Certificate
	kindKeyOwner    = 0x12 // key of a certificate → account id
	kindAPOP        = 0x13 // account id, device → nothing: it is an app password for APOP
	kindLeaving     = 0x14 // account id → nothing: it is gone, but something may be left of it
)

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
	// Former is where the account was before, and may still be answered; nil: nowhere.
	Former *Former
	// Named is when the account got its address; zero: with Created.
	Named time.Time
}

// Credentials are what the server keeps to check a password. None of it gives
// the password back.
type Credentials struct {
	Argon2id   string // in PHC string form
	Salt       []byte // SCRAM-SHA-256, RFC 5803
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
	StoredKey1 []byte // SCRAM-SHA-1, with the same salt; nil if there is none
	ServerKey1 []byte
	Changed    time.Time
	Apps       []AppPassword // others that open the account
}

// A Directory reads and changes the rows. DB must be set.
type Directory struct {
	DB kv.Store

	remembered remembered
}

const separator = 0x00

// topic is what who must know of withdrawals subscribes to.
const topic = uint64('D') << 56

// Watch hears when something that opened an account may open it no more: a
// password that is another one now, an app password or a certificate that is gone,
// an account that is disabled or gone. The function ends that.
func (d *Directory) Watch() (<-chan struct{}, func()) { return kv.Subscribe(d.DB, topic) }

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

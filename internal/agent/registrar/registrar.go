// Package registrar adds and removes domains, accounts and aliases: what the
// directory says and what the mailbox store has, in one transaction.
package registrar

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/keyring"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/outpost"
)

// A Registrar changes who is here. All fields but Quota, Prefix
// and Outposts must be set.
type Registrar struct {
	DB        kv.Store
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Keys      *keyring.Keyring
	// Outposts go with their account; nil: there are none.
	Outposts *outpost.Store
	// Hash makes what is kept of a password, in place of what there is now.
	Hash func(ctx context.Context, password string, now directory.Credentials) (directory.Credentials, error)
	// AppPassword makes an app password for an account that has the credentials
	// now, what is kept of it, and the salt and rounds it was made with.
	AppPassword func(now directory.Credentials) (string, directory.AppPassword, directory.Credentials, error)
	// APOPPassword makes one for APOP.
	APOPPassword func(now directory.Credentials) (string, directory.AppPassword, directory.Credentials, error)
	// KeyOf names the public key of a certificate.
	KeyOf func(*x509.Certificate) []byte
	// Prefix gives what others have before the names of an account's mailboxes, with the
	// separator behind it; nil: others do not see them.
	Prefix func(*directory.Account) string
	// Quota is how many bytes a new account may take; 0 is no limit.
	Quota int64
}

// MinPassword is the fewest characters of a password.
const MinPassword = 8

var locked = kv.Plan{Locks: []kv.Lock{directory.Lock}}

// A NewAccount is what AddAccount makes.
type NewAccount struct {
	Address  mail.Address
	Name     string
	Password string // empty: nobody can log in until one is set
	Quota    int64  // bytes; 0 is the registrar's
	Shared   bool   // a folder for many: nobody logs in, so there is no password
}

// ErrPassword: the password is too short, or no text.
var ErrPassword = fmt.Errorf("a password has at least %d characters", MinPassword)

// ErrShared: nobody logs in to a shared folder.
var ErrShared = errors.New("a shared folder has no password")

// AddAccount adds an account with its first mailboxes.
func (r *Registrar) AddAccount(ctx context.Context, n NewAccount) (directory.Account, error) {
	if n.Shared && n.Password != "" {
		return directory.Account{}, ErrShared
	}
	var cred directory.Credentials
	if n.Password != "" {
		var err error
		if cred, err = r.hash(ctx, n.Password, directory.Credentials{}); err != nil {
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
		a, err = r.Directory.PutAccount(tx, directory.Account{Address: n.Address, Name: n.Name, Shared: n.Shared, Disabled: n.Shared})
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
			if err := r.Directory.PutCredentials(tx, a.ID, cred); err != nil {
				return err
			}
		}
		if a.Shared {
			return r.Mailboxes.CreateShared(tx, a.ID, n.Quota, 0)
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

// SetPassword sets an account's password.
func (r *Registrar) SetPassword(ctx context.Context, addr mail.Address, password string) error {
	a, now, err := r.Directory.Credentials(ctx, addr)
	if err != nil {
		return err
	}
	if a.Shared {
		return ErrShared
	}
	cred, err := r.hash(ctx, password, now)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutCredentials(tx, a.ID, cred) })
}

// ErrAppName: what an app password is called is empty, too long, or no text.
var ErrAppName = fmt.Errorf("an app password's name has 1 to %d letters, such as phone", directory.MaxAppName)

// AddAppPassword makes a password for one device or program of an account, which
// opens the given protocols only, and gives it: nobody can see it again.
// mail.ErrExists if the account has one of that name.
func (r *Registrar) AddAppPassword(ctx context.Context, addr mail.Address, name string, opens directory.Protocols) (string, error) {
	return r.addApp(ctx, addr, name, func(now directory.Credentials) (string, directory.AppPassword, directory.Credentials, error) {
		password, p, c, err := r.AppPassword(now)
		p.Protocols = opens
		return password, p, c, err
	})
}

// AddAPOPPassword is AddAppPassword for one that goes with APOP only, over POP3.
func (r *Registrar) AddAPOPPassword(ctx context.Context, addr mail.Address, name string) (string, error) {
	return r.addApp(ctx, addr, name, r.APOPPassword)
}

func (r *Registrar) addApp(ctx context.Context, addr mail.Address, name string, make func(directory.Credentials) (string, directory.AppPassword, directory.Credentials, error)) (string, error) {
	if name == "" || len(name) > directory.MaxAppName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", ErrAppName
	}
	a, now, err := r.Directory.Credentials(ctx, addr)
	if err != nil {
		return "", err
	}
	if a.Shared {
		return "", ErrShared
	}
	password, p, salt, err := make(now)
	if err != nil {
		return "", err
	}
	p.Name = name
	err = r.DB.Update(ctx, locked, func(tx kv.Tx) error {
		_, err := r.Directory.PutAppPassword(tx, a.ID, p, salt)
		return err
	})
	return password, err
}

// RemoveAppPassword removes an app password by its name.
func (r *Registrar) RemoveAppPassword(ctx context.Context, addr mail.Address, name string) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteAppPassword(tx, a.ID, name) })
}

func (r *Registrar) hash(ctx context.Context, password string, now directory.Credentials) (directory.Credentials, error) {
	if !utf8.ValidString(password) || utf8.RuneCountInString(password) < MinPassword {
		return directory.Credentials{}, ErrPassword
	}
	return r.Hash(ctx, password, now)
}

// SetDisabled forbids an account to log in, or allows it again. Its sessions end; mail
// still comes in.
func (r *Registrar) SetDisabled(ctx context.Context, addr mail.Address, disabled bool) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	if a.Shared {
		return ErrShared
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SetDisabled(tx, a.ID, disabled) })
}

// SwitchOff withholds a capability of IMAP from an account.
func (r *Registrar) SwitchOff(ctx context.Context, addr mail.Address, capability string) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SwitchOff(tx, a.ID, capability) })
}

// SwitchOn offers it again.
func (r *Registrar) SwitchOn(ctx context.Context, addr mail.Address, capability string) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SwitchOn(tx, a.ID, capability) })
}

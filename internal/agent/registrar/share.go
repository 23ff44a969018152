package registrar

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

// ErrNotShared: the account is a person's, who shares its mailboxes if they like.
var ErrNotShared = errors.New("this is no shared folder")

// ErrRights: the rights are not letters of RFC 4314.
var ErrRights = errors.New("rights are letters of lrswipkxtea (RFC 4314 §2.1)")

// Share says what somebody may do with a shared folder and all that is below it:
// a person by address, "anyone" or "authenticated", with "-" before it for what
// they may not do whatever else gives it. No rights take all away.
func (r *Registrar) Share(ctx context.Context, folder mail.Address, who, rights string) error {
	a, err := r.Directory.AccountOf(ctx, folder)
	if err != nil {
		return err
	}
	if !a.Shared {
		return fmt.Errorf("%s: %w", folder, ErrNotShared)
	}
	g, err := r.grant(ctx, who, rights)
	if err != nil {
		return err
	}
	list, _, err := r.Mailboxes.Mailboxes(ctx, a.ID)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Placeholder {
			continue
		}
		err := r.Mailboxes.Grant(ctx, a.ID, list[i].ID, g, mailbox.ReplaceRights)
		if err != nil && !errors.Is(err, mail.ErrNotFound) { // it may have gone meanwhile
			return err
		}
	}
	return nil
}

// ErrNoSeenMode: whether mail is read is each reader's own, or common.
var ErrNoSeenMode = errors.New("whose it is that mail is read is own or common")

// SetSeenMode says whether each reader has read what they have read, or what one
// has read is read for all: in the mailbox of that name (as mailbox.ParseName gives
// it), or if it is empty, in a shared folder and all that is below it.
func (r *Registrar) SetSeenMode(ctx context.Context, addr mail.Address, name, mode string) error {
	m, ok := mailbox.ParseSeenMode(mode)
	if !ok {
		return ErrNoSeenMode
	}
	list, acct, err := r.meant(ctx, addr, name)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Placeholder {
			continue
		}
		err := r.Mailboxes.SetSeenMode(ctx, mailbox.Box{Account: acct, Mailbox: list[i].ID}, m)
		if err != nil && (name != "" || !errors.Is(err, mail.ErrNotFound)) { // it may have gone meanwhile
			return err
		}
	}
	return nil
}

// SeenMode tells what SetSeenMode has said; of a shared folder itself.
func (r *Registrar) SeenMode(ctx context.Context, addr mail.Address, name string) (string, error) {
	list, _, err := r.meant(ctx, addr, name)
	if err != nil {
		return "", err
	}
	return string(list[0].SeenMode()), nil
}

// meant gives the mailbox of that name, or if there is none, those of a shared
// folder, of which the folder itself comes first.
func (r *Registrar) meant(ctx context.Context, addr mail.Address, name string) ([]mailbox.Mailbox, mail.AccountID, error) {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return nil, 0, err
	}
	if name == "" {
		if !a.Shared {
			return nil, 0, fmt.Errorf("%s: %w", addr, ErrNotShared)
		}
		list, _, err := r.Mailboxes.Mailboxes(ctx, a.ID)
		return list, a.ID, err
	}
	m, err := r.Mailboxes.Lookup(ctx, a.ID, name)
	return []mailbox.Mailbox{m}, a.ID, err
}

// SetAdmin says whether somebody is an administrator, who may set the limits of
// others over IMAP.
func (r *Registrar) SetAdmin(ctx context.Context, addr mail.Address, admin bool) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	if a.Shared {
		return ErrShared
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.SetAdmin(tx, a.ID, admin) })
}

func (r *Registrar) grant(ctx context.Context, who, rights string) (g mailbox.Grant, err error) {
	var ok bool
	if g.Rights, ok = mailbox.ParseRights(rights); !ok {
		return g, ErrRights
	}
	who, g.Takes = strings.CutPrefix(who, "-")
	switch strings.ToLower(who) {
	case "anyone":
		g.To = mailbox.Anyone
	case "authenticated":
		g.To = mailbox.Authenticated
	default:
		addr, err := mail.ParseAddress(who)
		if err != nil {
			return g, err
		}
		person, err := r.Directory.Known(ctx, addr)
		if err != nil {
			return g, err
		}
		g.To = mailbox.GranteeOf(person.ID)
	}
	return g, nil
}

// Rights are what somebody may do with a shared folder.
type Rights struct {
	Who    string // as Share takes it
	Rights string
}

// Rights tells who may do what with a shared folder.
func (r *Registrar) Rights(ctx context.Context, folder mail.Address) ([]Rights, error) {
	a, err := r.Directory.AccountOf(ctx, folder)
	if err != nil {
		return nil, err
	}
	if !a.Shared {
		return nil, fmt.Errorf("%s: %w", folder, ErrNotShared)
	}
	m, err := r.Mailboxes.Lookup(ctx, a.ID, mailbox.InboxName)
	if err != nil {
		return nil, err
	}
	var out []Rights
	for _, g := range m.ACL {
		who, err := g.Identifier(func(id mail.AccountID) (mail.Address, error) { return r.Directory.AddressOf(ctx, id) })
		if err != nil {
			return nil, err
		}
		if who == "" {
			continue
		}
		out = append(out, Rights{who, g.Rights.String()})
	}
	return out, nil
}

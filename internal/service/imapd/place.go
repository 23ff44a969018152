package imapd

import (
	"context"
	"errors"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

// People tells whose addresses are whose: a *directory.Directory. Without it
// there are no mailboxes of others.
type People interface {
	Account(context.Context, mail.AccountID) (directory.Account, error)
	// Known also knows an account by an address that it had before.
	Known(context.Context, mail.Address) (directory.Account, error)
}

// The namespaces beside the person's own. Behind them stands the owner's
// address, and behind that the name that the owner has for the mailbox.
const (
	othersPrefix = "Other Users/"
	sharedPrefix = "Shared Folders/"
)

// A spot is a name within the mailboxes of somebody. There need not be a mailbox
// of that name.
type spot struct {
	owner  mail.AccountID
	name   string // for the owner
	prefix string // what the client has before it: empty for the person's own
}

// full gives the whole name as the client has it. A shared folder is the INBOX
// of its account, with what is below; it has no other mailboxes.
func (p *spot) full() string {
	if strings.HasPrefix(p.prefix, sharedPrefix) {
		return p.prefix[:len(p.prefix)-1] + p.name[len(mailbox.InboxName):]
	}
	return p.prefix + p.name
}

// A place is a mailbox as a session reaches it.
type place struct {
	spot
	mailbox.Mailbox
	rights mailbox.Rights // of the person logged in
}

// box gives what the store calls the mailbox.
func (p *place) box() mailbox.Box { return mailbox.Box{Account: p.owner, Mailbox: p.ID} }

var errNoPerm = no(imap.CodeNoPerm, "you may not do this with this mailbox")

// name brings a mailbox name to the form of the store, and finds out whose it
// is: the one place that does. RFC 2342
func (s *session) name(ctx context.Context, clientName string) (spot, error) {
	n, err := mailbox.ParseName(clientName)
	if err != nil {
		return spot{}, badName(clientName, err)
	}
	own := spot{owner: s.peer.Account, name: n}
	if !strings.HasPrefix(n, othersPrefix) && !strings.HasPrefix(n, sharedPrefix) || s.srv.People == nil {
		return own, nil
	}
	space := n[:strings.IndexByte(n, mailbox.Separator)+1]
	address, rest, _ := strings.Cut(n[len(space):], string(mailbox.Separator))
	addr, err := mail.ParseAddress(address)
	if err != nil {
		return own, nil // a mailbox from before there were others
	}
	a, err := s.srv.People.Known(ctx, addr)
	if errors.Is(err, mail.ErrNotFound) {
		return spot{prefix: space}, mail.ErrNotFound
	}
	if err != nil {
		return spot{}, err
	}
	if a.Shared {
		rest = strings.TrimSuffix(mailbox.InboxName+string(mailbox.Separator)+rest, string(mailbox.Separator))
	}
	if rest == "" || a.ID == s.peer.Account || spaceOf(&a) != space {
		return spot{prefix: space}, mail.ErrNotFound
	}
	if rest, err = mailbox.ParseName(rest); err != nil { // INBOX in any case
		return spot{}, badName(clientName, err)
	}
	return spot{owner: a.ID, name: rest, prefix: PrefixOf(&a)}, nil
}

// badName tells what is wrong with a name. What came in no encoding at all,
// the Decoder has marked.
func badName(name string, err error) error {
	if imap.IsBadName(name) {
		return no(imap.CodeCannot, "a mailbox name is in modified UTF-7 unless UTF-8 is enabled, and this one is not")
	}
	return no(imap.CodeCannot, err.Error())
}

// spaceOf gives the namespace that an account's mailboxes are in for others.
func spaceOf(a *directory.Account) string {
	if a.Shared {
		return sharedPrefix
	}
	return othersPrefix
}

// PrefixOf gives what others have before the names of an account's mailboxes.
func PrefixOf(a *directory.Account) string {
	return spaceOf(a) + a.Address.String() + string(mailbox.Separator)
}

// lookup finds a mailbox by what the client calls it, to do with it what needs
// the rights. What cannot be a name is the name of none; and what somebody may
// not even see is not there. RFC 4314 §4, §6
func (s *session) lookup(ctx context.Context, clientName string, need mailbox.Rights) (place, error) {
	at, err := s.name(ctx, clientName)
	if f, ok := errors.AsType[*failure](err); ok && f.code == imap.CodeCannot {
		return place{}, mail.ErrNotFound
	}
	if err != nil {
		return place{spot: at}, err
	}
	return s.at(ctx, at, need)
}

// own gives the place of a mailbox of the person's own.
func (s *session) own(m *mailbox.Mailbox) *place {
	return &place{spot{owner: s.peer.Account, name: m.Name}, *m, mailbox.AllRights}
}

// at is lookup for a name that is known.
func (s *session) at(ctx context.Context, at spot, need mailbox.Rights) (place, error) {
	m, err := s.srv.Mail.Lookup(ctx, at.owner, at.name)
	if err != nil {
		return place{spot: at}, err
	}
	p := place{spot: at, Mailbox: m, rights: m.RightsOf(s.peer.Account, at.owner)}
	return p, p.allow(need)
}

// allow refuses what needs rights that the person does not have.
func (p *place) allow(need mailbox.Rights) error {
	switch {
	case p.rights&need == need:
		return nil
	case p.rights&mailbox.RightLookup != 0:
		return errNoPerm
	}
	return mail.ErrNotFound
}

// refreshRights looks what the person may do with the selected mailbox now, if
// it is somebody else's: that can change at any time.
func (s *session) refreshRights(ctx context.Context) error {
	if s.box == nil || s.box.Account == s.peer.Account {
		return nil
	}
	_, err := s.snapshot(ctx)
	return err
}

// may refuses what the person may not do with the selected mailbox.
func (s *session) may(need mailbox.Rights) error {
	if s.box.rights&need != need {
		return errNoPerm
	}
	return nil
}

// above looks for the right to make a mailbox below the nearest there is above a
// name. At the top of their mailboxes only owners may. RFC 4314 §4
func (s *session) above(ctx context.Context, at spot) error {
	for n := parent(at.name); n != "" && at.owner != s.peer.Account; n = parent(n) {
		m, err := s.srv.Mail.Lookup(ctx, at.owner, n)
		if errors.Is(err, mail.ErrNotFound) || err == nil && m.Placeholder {
			continue
		}
		if err != nil {
			return err
		}
		p := place{rights: m.RightsOf(s.peer.Account, at.owner)}
		return p.allow(mailbox.RightCreate)
	}
	if at.owner != s.peer.Account {
		return errNoPerm
	}
	return nil
}

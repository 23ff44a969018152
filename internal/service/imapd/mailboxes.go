package imapd

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// create is CREATE. RFC 9051 §6.3.4, RFC 6154 §3
func (s *session) create(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Create)
	at, err := s.name(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	if err := s.creatable(ctx, at); err != nil {
		return err
	}
	role, err := s.role(ctx, at.owner, a.Use)
	if err != nil {
		return err
	}
	m, err := s.srv.Mail.CreateMailbox(ctx, at.owner, at.name, role)
	if err == nil {
		s.knowName(func(n *names) { n.add(mailbox.Box{Account: at.owner, Mailbox: m.ID}, at.full(), at.prefix != "") })
		s.code = imap.CodeMailboxID(m.ID.Object())
		s.tellName("()", at.full(), cmp.Or(a.Given, a.Mailbox), false)
	}
	return err
}

// tellName tells who speaks IMAP4rev2 under which name a mailbox is known that the client
// has given another name: of which several are the same, since é can be written as one
// character or as two, and INBOX comes in any case. always tells it also where the name
// is the same.
// RFC 9051 §6.3.2, §6.3.9.7
func (s *session) tellName(attributes, name, given string, always bool) {
	same := name == strings.TrimSuffix(given, string(mailbox.Separator))
	if !s.has(rev2) || same && !always {
		return
	}
	s.enc.Raw("* LIST ").Raw(attributes).Raw(` "/" `).Mailbox(name)
	if !same {
		s.enc.Raw(` ("OLDNAME" (`).Mailbox(given).Raw("))")
	}
	s.enc.CRLF()
}

// creatable refuses to make a mailbox that the person may not.
func (s *session) creatable(ctx context.Context, at spot) error {
	if at.prefix == "" && (strings.HasPrefix(at.name, othersPrefix) || strings.HasPrefix(at.name, sharedPrefix)) {
		return no(imap.CodeCannot, "the mailboxes of others are below this name")
	}
	return s.above(ctx, at)
}

// role gives the role that the client wants for a new mailbox. A mailbox has
// one at most, and no two have the same.
func (s *session) role(ctx context.Context, owner mail.AccountID, uses []string) (mailbox.Role, error) {
	if len(uses) == 0 {
		return mailbox.NoRole, nil
	}
	role, ok := mailbox.ParseUse(uses[0])
	if !ok || len(uses) > 1 {
		return mailbox.NoRole, errNoUse
	}
	list, _, err := s.srv.Mail.Mailboxes(ctx, owner)
	if err != nil {
		return mailbox.NoRole, err
	}
	for i := range list {
		if list[i].Role == role {
			return mailbox.NoRole, errUseTaken
		}
	}
	return role, nil
}

var (
	errNoUse    = no(imap.CodeUseAttr, "this use is not supported")
	errUseTaken = no(imap.CodeUseAttr, "another mailbox has this use")
)

// delete is DELETE. A client that deletes the mailbox which it has open has it
// closed first. RFC 9051 §6.3.5
func (s *session) delete(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Delete)
	at, err := s.name(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	m, err := s.at(ctx, at, mailbox.RightRemove)
	if err != nil {
		return err
	}
	if at.name == mailbox.InboxName {
		return no(imap.CodeCannot, "INBOX cannot be deleted")
	}
	if s.box != nil && m.box() == s.box.Box {
		s.closed()
	}
	err = s.srv.Mail.DeleteMailbox(ctx, at.owner, at.name)
	if errors.Is(err, mail.ErrInUse) {
		return no(imap.CodeHasChildren, "there are mailboxes below this name")
	}
	if err == nil {
		s.knowName(func(n *names) { delete(n.boxes, m.box()) })
		s.tellName(`(\NonExistent)`, at.full(), cmp.Or(a.Given, a.Mailbox), false)
	}
	return err
}

// rename is RENAME. RFC 9051 §6.3.6
func (s *session) rename(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Rename)
	from, err := s.name(ctx, a.From)
	if err != nil {
		return err
	}
	if _, err := s.at(ctx, from, mailbox.RightRemove); err != nil {
		return err
	}
	to, err := s.name(ctx, a.To)
	if err != nil {
		return err
	}
	if from.owner != to.owner || from.prefix != "" && from.name == mailbox.InboxName {
		return no(imap.CodeCannot, "a mailbox stays with its owner: copy the messages")
	}
	if err := s.creatable(ctx, to); err != nil {
		return err
	}
	err = s.srv.Mail.RenameMailbox(ctx, from.owner, from.name, to.name)
	if errors.Is(err, mail.ErrInUse) {
		return no(imap.CodeCannot, "a mailbox cannot go below itself")
	}
	if err == nil && from.name != mailbox.InboxName {
		s.knowName(func(n *names) { n.rename(from.full(), to.full()) })
	}
	if err == nil {
		s.tellName("()", to.full(), cmp.Or(a.Given, a.To), false)
	}
	return err
}

// subscribable gives the name of a subscription, which need not lead anywhere.
func (s *session) subscribable(ctx context.Context, clientName string) (string, error) {
	at, err := s.name(ctx, clientName)
	if errors.Is(err, mail.ErrNotFound) {
		return mailbox.ParseName(clientName)
	}
	return at.full(), err
}

// subscribe is SUBSCRIBE and UNSUBSCRIBE. RFC 9051 §6.3.7, §6.3.8
func (s *session) subscribe(ctx context.Context, c *imap.Command) error {
	n, err := s.subscribable(ctx, c.Args.(*imap.Subscribe).Mailbox)
	if err != nil {
		return err
	}
	if c.Name == "SUBSCRIBE" {
		err = s.srv.Mail.Subscribe(ctx, s.peer.Account, n)
	} else {
		err = s.srv.Mail.Unsubscribe(ctx, s.peer.Account, n)
	}
	if err == nil {
		s.knowName(func(known *names) { known.subscribed[n] = c.Name == "SUBSCRIBE" })
	}
	return err
}

package imapd

import (
	"context"
	"errors"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// specialUses has the uses that mailboxes can have. RFC 6154 §2
var specialUses = map[mailbox.Role]string{
	mailbox.SentRole:    `\Sent`,
	mailbox.DraftsRole:  `\Drafts`,
	mailbox.TrashRole:   `\Trash`,
	mailbox.JunkRole:    `\Junk`,
	mailbox.ArchiveRole: `\Archive`,
}

// create is CREATE. RFC 9051 §6.3.4, RFC 6154 §3
func (s *session) create(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Create)
	n, err := name(a.Mailbox)
	if err != nil {
		return err
	}
	role, err := s.role(ctx, a.Use)
	if err != nil {
		return err
	}
	m, err := s.srv.Mail.CreateMailbox(ctx, s.peer.Account, n, role)
	if err == nil {
		s.knowName(func(n *names) { n.boxes[m.ID] = m.Name })
		s.code = imap.CodeMailboxID(mailboxID(m.ID))
	}
	return err
}

// role gives the role that the client wants for a new mailbox. A mailbox has
// one at most, and no two have the same.
func (s *session) role(ctx context.Context, uses []string) (mailbox.Role, error) {
	if len(uses) == 0 {
		return mailbox.NoRole, nil
	}
	list, _, err := s.srv.Mail.Mailboxes(ctx, s.peer.Account)
	if err != nil {
		return mailbox.NoRole, err
	}
	for role, use := range specialUses {
		if len(uses) != 1 || !strings.EqualFold(use, uses[0]) {
			continue
		}
		for i := range list {
			if list[i].Role == role {
				return mailbox.NoRole, no(imap.CodeUseAttr, "another mailbox has this use")
			}
		}
		return role, nil
	}
	return mailbox.NoRole, no(imap.CodeUseAttr, "this use is not supported")
}

// delete is DELETE. A client that deletes the mailbox which it has open has it
// closed first. RFC 9051 §6.3.5
func (s *session) delete(ctx context.Context, c *imap.Command) error {
	n, err := name(c.Args.(*imap.Delete).Mailbox)
	if err != nil {
		return err
	}
	if n == mailbox.InboxName {
		return no(imap.CodeCannot, "INBOX cannot be deleted")
	}
	m, err := s.srv.Mail.Lookup(ctx, s.peer.Account, n)
	if err == nil && s.box != nil && m.ID == s.box.id {
		s.closed()
	}
	err = s.srv.Mail.DeleteMailbox(ctx, s.peer.Account, n)
	if errors.Is(err, mail.ErrInUse) {
		return no(imap.CodeHasChildren, "there are mailboxes below this name")
	}
	if err == nil {
		s.knowName(func(n *names) { delete(n.boxes, m.ID) })
	}
	return err
}

// rename is RENAME. RFC 9051 §6.3.6
func (s *session) rename(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Rename)
	from, err := name(a.From)
	if err != nil {
		return err
	}
	to, err := name(a.To)
	if err != nil {
		return err
	}
	err = s.srv.Mail.RenameMailbox(ctx, s.peer.Account, from, to)
	if errors.Is(err, mail.ErrInUse) {
		return no(imap.CodeCannot, "a mailbox cannot go below itself")
	}
	if err == nil && from != mailbox.InboxName {
		s.knowName(func(n *names) { n.rename(from, to) })
	}
	return err
}

// subscribe is SUBSCRIBE and UNSUBSCRIBE. RFC 9051 §6.3.7, §6.3.8
func (s *session) subscribe(ctx context.Context, c *imap.Command) error {
	n, err := name(c.Args.(*imap.Subscribe).Mailbox)
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

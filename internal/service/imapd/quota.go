package imapd

import (
	"context"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// An account has one quota root for all of its mailboxes. The name of the own one
// is empty; that of somebody else's is what their mailboxes are below.

// getQuota is GETQUOTA. RFC 9208 §4.1.1
func (s *session) getQuota(ctx context.Context, c *imap.Command) error {
	root := c.Args.(*imap.GetQuota).Root
	owner, err := s.rootOwner(ctx, root)
	if err != nil {
		return err
	}
	return s.tellQuota(ctx, root, owner)
}

// getQuotaRoot is GETQUOTAROOT. RFC 9208 §4.1.2
func (s *session) getQuotaRoot(ctx context.Context, c *imap.Command) error {
	m, err := s.lookup(ctx, c.Args.(*imap.GetQuotaRoot).Mailbox, mailbox.RightRead)
	if err != nil {
		return err
	}
	root := strings.TrimSuffix(m.prefix, string(mailbox.Separator))
	s.enc.Raw("* QUOTAROOT ").Mailbox(m.full()).Raw(" ").Mailbox(root).CRLF()
	return s.tellQuota(ctx, root, m.owner)
}

var errNoRoot = no(imap.CodeNonExistent, "there is no such quota root")

// rootOwner gives whose quota root that is. Somebody else's is there for who may
// read one of their mailboxes, and for administrators.
func (s *session) rootOwner(ctx context.Context, root string) (mail.AccountID, error) {
	if root == "" {
		return s.peer.Account, nil
	}
	at, err := s.name(ctx, root+string(mailbox.Separator)+mailbox.InboxName)
	if err != nil || at.prefix != root+string(mailbox.Separator) {
		return 0, errNoRoot
	}
	if s.admin {
		return at.owner, nil
	}
	list, err := s.srv.Mail.SharedWith(ctx, s.peer.Account)
	if err != nil {
		return 0, err
	}
	for i := range list {
		if list[i].Owner == at.owner && list[i].ACL.Rights(s.peer.Account)&mailbox.RightRead != 0 {
			return at.owner, nil
		}
	}
	return 0, errNoRoot
}

// tellQuota tells the resources that have a limit: storage in units of 1024
// bytes, messages and mailboxes. RFC 9208 §5
func (s *session) tellQuota(ctx context.Context, root string, owner mail.AccountID) error {
	u, err := s.srv.Mail.Usage(ctx, owner)
	if err != nil {
		return err
	}
	s.enc.Raw("* QUOTA ").Mailbox(root).Raw(" (")
	if u.MaxBytes > 0 {
		s.enc.Raw("STORAGE ").Num(uint64(u.Bytes+1023) / 1024).Raw(" ").Num(uint64(u.MaxBytes+1023) / 1024)
	}
	if u.MaxMessages > 0 {
		if u.MaxBytes > 0 {
			s.enc.Raw(" ")
		}
		s.enc.Raw("MESSAGE ").Num(uint64(u.Messages)).Raw(" ").Num(uint64(u.MaxMessages))
	}
	if u.MaxBytes > 0 || u.MaxMessages > 0 {
		s.enc.Raw(" ")
	}
	s.enc.Raw("MAILBOX ").Num(uint64(u.Mailboxes)).Raw(" ").Num(uint64(u.MaxMailboxes)).Raw(")").CRLF()
	return nil
}

// setQuota is SETQUOTA, for administrators. Limits that it does not name are
// taken away. RFC 9208 §4.1.3
func (s *session) setQuota(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.SetQuota)
	if !s.admin {
		return no(imap.CodeNoPerm, "only administrators set limits")
	}
	owner, err := s.rootOwner(ctx, a.Root)
	if err != nil {
		return err
	}
	var bytes, messages, boxes int64
	for _, l := range a.Limits {
		n := int64(min(l.Limit, maxLimit))
		if n == 0 {
			return no(imap.CodeCannot, "a limit is above zero")
		}
		switch l.Resource {
		case "STORAGE":
			bytes = n * 1024
		case "MESSAGE":
			messages = n
		case "MAILBOX":
			boxes = n
		default:
			return no(imap.CodeCannot, "there is no limit of this resource")
		}
	}
	if err := s.srv.Mail.SetLimits(ctx, owner, bytes, messages, boxes); err != nil {
		return err
	}
	return s.tellQuota(ctx, a.Root, owner)
}

// maxLimit is the highest limit that can be set.
const maxLimit = 1 << 50

// deletedStorage gives the bytes of the messages with \Deleted. RFC 9208 §4.1.4
func (s *session) deletedStorage(ctx context.Context, m *place) (uint64, error) {
	if m.Deleted == 0 {
		return 0, nil
	}
	snap, err := s.srv.Mail.Open(ctx, m.owner, m.ID)
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, row := range snap.In(mail.UIDSpan(1, ^mail.UID(0))) {
		if row.Flags&mailbox.Deleted != 0 {
			size += row.Size
		}
	}
	return uint64(size), nil
}

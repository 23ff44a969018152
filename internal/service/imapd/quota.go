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
// read one of their mailboxes.
func (s *session) rootOwner(ctx context.Context, root string) (mail.AccountID, error) {
	if root == "" {
		return s.peer.Account, nil
	}
	at, err := s.name(ctx, root+string(mailbox.Separator)+mailbox.InboxName)
	if err != nil || at.prefix != root+string(mailbox.Separator) {
		return 0, errNoRoot
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
// bytes, and messages. RFC 9208 §5
func (s *session) tellQuota(ctx context.Context, root string, owner mail.AccountID) error {
	u, err := s.srv.Mail.Usage(ctx, owner)
	if err != nil {
		return err
	}
	s.enc.Raw("* QUOTA ").Mailbox(root).Raw(" (")
	if u.MaxBytes > 0 {
		s.enc.Raw("STORAGE ").Num(uint64(u.Bytes+1023) / 1024).Raw(" ").Num(uint64(u.MaxBytes) / 1024)
	}
	if u.MaxMessages > 0 {
		if u.MaxBytes > 0 {
			s.enc.Raw(" ")
		}
		s.enc.Raw("MESSAGE ").Num(uint64(u.Messages)).Raw(" ").Num(uint64(u.MaxMessages))
	}
	s.enc.Raw(")").CRLF()
	return nil
}

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

package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// An account has one quota root, whose name is empty, for all of its mailboxes.

// getQuota is GETQUOTA. RFC 9208 §4.1.1
func (s *session) getQuota(ctx context.Context, c *imap.Command) error {
	if c.Args.(*imap.GetQuota).Root != "" {
		return no(imap.CodeNonExistent, "there is no such quota root")
	}
	return s.tellQuota(ctx)
}

// getQuotaRoot is GETQUOTAROOT. RFC 9208 §4.1.2
func (s *session) getQuotaRoot(ctx context.Context, c *imap.Command) error {
	m, err := s.lookup(ctx, c.Args.(*imap.GetQuotaRoot).Mailbox, mailbox.RightRead)
	if err != nil {
		return err
	}
	s.enc.Raw("* QUOTAROOT ").Mailbox(m.full()).Raw(` ""`).CRLF()
	return s.tellQuota(ctx)
}

// tellQuota tells the resources that have a limit: storage in units of 1024
// bytes, and messages. RFC 9208 §5
func (s *session) tellQuota(ctx context.Context) error {
	u, err := s.srv.Mail.Usage(ctx, s.peer.Account)
	if err != nil {
		return err
	}
	s.enc.Raw(`* QUOTA "" (`)
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

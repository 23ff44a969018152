package imapd

import (
	"context"

	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// status is STATUS. RFC 9051 §6.3.11
func (s *session) status(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Status)
	m, err := s.lookup(ctx, a.Mailbox, mailbox.RightRead)
	if err != nil {
		return err
	}
	if m.Placeholder {
		return no(imap.CodeNonExistent, "this name only holds other mailboxes")
	}
	if a.Items&imap.StatusHighestModSeq != 0 {
		s.condStore() // RFC 7162 §3.1
	}
	return s.tellStatus(ctx, &m, a.Items)
}

// tellStatus writes one STATUS response.
func (s *session) tellStatus(ctx context.Context, m *place, items imap.StatusItems) error {
	recent := uint64(0)
	if first := s.srv.Mail.FirstRecent(m.owner, &m.Mailbox); items&imap.StatusRecent != 0 && first < m.UIDNext {
		snap, err := s.srv.Mail.Open(ctx, m.owner, m.ID)
		if err != nil {
			return err
		}
		i, _ := snap.Index(first)
		recent = uint64(snap.Len() - i)
	}
	unseen, modSeq := m.Unseen, m.ModSeq
	if items&(imap.StatusUnseen|imap.StatusHighestModSeq) != 0 && m.OwnSeen(m.owner, s.peer.Account) {
		var err error
		if unseen, modSeq, err = s.srv.Mail.UnseenBy(ctx, m.box(), s.peer.Account); err != nil {
			return err
		}
	}
	deleted := uint64(0)
	if items&imap.StatusDeletedStorage != 0 {
		var err error
		if deleted, err = s.deletedStorage(ctx, m); err != nil {
			return err
		}
	}
	s.enc.Raw("* STATUS ").Mailbox(m.full()).Raw(" ").StatusItems(items, &imap.StatusValues{
		Messages:       uint64(m.Total),
		UIDNext:        uint64(m.UIDNext),
		UIDValidity:    uint64(m.UIDValidity),
		Unseen:         uint64(unseen),
		Deleted:        uint64(m.Deleted),
		Size:           uint64(m.Size),
		HighestModSeq:  uint64(modSeq),
		MailboxID:      m.ID.Object(),
		AppendLimit:    uint64(s.srv.limits.Message),
		Recent:         recent,
		DeletedStorage: deleted,
	}).CRLF()
	return nil
}

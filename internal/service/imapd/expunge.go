package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// writable refuses what changes a mailbox that is only looked at.
func (s *session) writable() error {
	if s.box.readOnly {
		return no(imap.CodeReadOnly, "the mailbox was opened with EXAMINE")
	}
	return nil
}

// expunge is EXPUNGE and UID EXPUNGE. The EXPUNGE responses are those that
// update tells. RFC 9051 §6.4.3, §6.4.9
func (s *session) expunge(ctx context.Context, c *imap.Command) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.may(mailbox.RightExpunge); err != nil {
		return err
	}
	uids := s.box.view.UIDs()
	if a, ok := c.Args.(*imap.UIDExpunge); ok {
		var err error
		if uids, err = s.resolve(a.Set); err != nil {
			return err
		}
		if uids, err = s.limitedDeleted(ctx, uids); err != nil {
			return err
		}
	}
	gone, seq, err := s.srv.Mail.Expunge(ctx, s.box.Account, s.box.Mailbox, uids, mailbox.ExpungeDeleted)
	if err != nil {
		return err
	}
	if s.has(condStore) && !gone.IsEmpty() {
		s.code = imap.CodeNumber("HIGHESTMODSEQ", uint64(seq)) // RFC 7162 §3.2.7
	}
	return nil
}

// limitedDeleted is limited for UID EXPUNGE, which is about deleted messages.
func (s *session) limitedDeleted(ctx context.Context, uids mail.UIDSet) (mail.UIDSet, error) {
	if n := s.srv.limits.Messages; n == 0 || uids.Len() <= n {
		return uids, nil
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return uids, err
	}
	var deleted mail.UIDSet
	for _, row := range snap.In(uids) {
		if row.Flags&mailbox.Deleted != 0 {
			deleted.Add(row.UID)
		}
	}
	return s.limited(deleted), nil
}

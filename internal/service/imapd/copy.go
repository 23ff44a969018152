package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// copy is COPY and UID COPY. RFC 9051 §6.4.7
func (s *session) copy(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Copy)
	uids, err := s.resolve(a.Set)
	if err != nil {
		return err
	}
	if n := s.srv.limits.saved(); n > 0 && uids.Len() > n { // it is done whole or not at all
		return no(imap.CodeMessageLimit(n, slice(uids, uids.Len()-n, uids.Len()).Min()), "too many messages, try fewer")
	}
	done, err := s.transfer(ctx, a.Mailbox, uids, s.srv.Mail.CopyBetween)
	if err == nil && !done.To.IsEmpty() {
		s.code = imap.CodeCopyUID(done.UIDValidity, done.From, done.To)
	}
	return err
}

// move is MOVE and UID MOVE: COPYUID comes before the EXPUNGE responses, which
// update tells. RFC 9051 §6.4.8
func (s *session) move(ctx context.Context, c *imap.Command) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.may(mailbox.RightMark | mailbox.RightExpunge); err != nil {
		return err
	}
	a := c.Args.(*imap.Copy)
	uids, err := s.resolve(a.Set)
	if err != nil {
		return err
	}
	done, err := s.transfer(ctx, a.Mailbox, s.limited(uids), s.srv.Mail.MoveBetween)
	if !done.To.IsEmpty() { // even if not all could be moved
		s.enc.Status("*", imap.OK, imap.CodeCopyUID(done.UIDValidity, done.From, done.To), "moved")
	}
	if err == nil && s.has(condStore) && !done.From.IsEmpty() {
		s.code = imap.CodeNumber("HIGHESTMODSEQ", uint64(done.ModSeq))
	}
	return err
}

// transfer finds out where messages are to go, and lets do bring them there.
func (s *session) transfer(ctx context.Context, name string, uids mail.UIDSet, do transferFunc) (mailbox.Copied, error) {
	to, err := s.target(ctx, name)
	if err != nil {
		return mailbox.Copied{}, err
	}
	done, err := do(ctx, mailbox.Transfer{From: s.box.Box, To: to.box(), UIDs: uids, Keep: to.rights.Flags(), By: s.peer.Account})
	s.made(to.box(), done.To, done.Filed)
	return done, tryCreate(err)
}

// transferFunc is CopyBetween or MoveBetween of the store.
type transferFunc func(context.Context, mailbox.Transfer) (mailbox.Copied, error)

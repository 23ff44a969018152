package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// copy is COPY and UID COPY. RFC 9051 §6.4.7
func (s *session) copy(ctx context.Context, c *imap.Command) error {
	done, err := s.transfer(ctx, c, s.srv.Mail.Copy)
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
	done, err := s.transfer(ctx, c, s.srv.Mail.Move)
	if !done.To.IsEmpty() { // even if not all could be moved
		s.enc.Status("*", imap.OK, imap.CodeCopyUID(done.UIDValidity, done.From, done.To), "moved")
	}
	if err == nil && s.has(condStore) && !done.From.IsEmpty() {
		s.code = imap.CodeNumber("HIGHESTMODSEQ", uint64(done.ModSeq))
	}
	return err
}

// transfer finds out what is to go where, and lets do bring it there.
func (s *session) transfer(ctx context.Context, c *imap.Command, do transferFunc) (mailbox.Copied, error) {
	a := c.Args.(*imap.Copy)
	uids, err := s.resolve(a.Set)
	if err != nil {
		return mailbox.Copied{}, err
	}
	to, err := s.lookup(ctx, a.Mailbox)
	if err != nil {
		return mailbox.Copied{}, tryCreate(err)
	}
	if to.Placeholder {
		return mailbox.Copied{}, no(imap.CodeTryCreate, "this name only holds other mailboxes")
	}
	done, err := do(ctx, s.peer.Account, s.box.id, to.ID, uids)
	s.made(to.ID, done.To, done.ModSeq)
	return done, tryCreate(err)
}

// transferFunc is Copy or Move of the store.
type transferFunc func(ctx context.Context, a mail.AccountID, from, to mail.MailboxID, set mail.UIDSet) (mailbox.Copied, error)

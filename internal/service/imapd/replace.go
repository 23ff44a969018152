package imapd

import (
	"context"
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// replace is REPLACE and UID REPLACE: APPEND and EXPUNGE in one step. RFC 8508
func (s *session) replace(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Replace)
	if err := s.writable(); err != nil {
		return err
	}
	set := imap.Set{UID: a.UID, Ranges: []imap.Range{{First: a.Number, Last: a.Number}}}
	old, err := s.resolve(set)
	if err != nil {
		return err
	}
	if old.IsEmpty() {
		return no(imap.CodeNonExistent, "there is no such message")
	}
	if err := s.may(mailbox.RightMark | mailbox.RightExpunge); err != nil {
		return err
	}
	to, err := s.target(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	in, err := s.incoming(ctx, c.Tag, to.owner, &a.Message)
	if err != nil {
		return err
	}
	if len(in) != 1 {
		return bad("", "one message replaces one")
	}
	to.strip(in)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	done, err := s.srv.Mail.ReplaceBetween(ctx, s.box.Box, old.Min(), to.box(), in[0])
	if errors.Is(err, mail.ErrNotFound) {
		return no(imap.CodeExpungeIssued, "the message to replace is gone")
	}
	if err != nil {
		return err
	}
	s.made(to.box(), mail.UIDs(done.UID), done.ModSeq)
	s.enc.Status("*", imap.OK, imap.CodeAppendUID(done.UIDValidity, mail.UIDs(done.UID)), "replaced")
	return nil
}

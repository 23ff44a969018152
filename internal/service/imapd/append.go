package imapd

import (
	"context"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// commitTimeout is how long keeping a message may take once it is here whole: a
// client that hangs up then must not catch us half way.
const commitTimeout = time.Minute

// append is APPEND. What can be refused is refused before the message is asked
// for. RFC 9051 §6.3.12, RFC 4315 §3, RFC 7889
func (s *session) append(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Append)
	m := &a.Message
	if err := s.refuseEarly(ctx, a); err != nil {
		return err
	}
	flags, keywords, err := splitFlags(m.Flags)
	if err != nil {
		return err
	}
	prepared, err := s.srv.Mail.PrepareMessage(ctx, mail.NewTraceID(time.Now()), m.Body)
	if err != nil {
		return err
	}
	if more, err := s.dec.More(c.Tag); err != nil {
		return err
	} else if more != nil {
		return bad("", "one message at a time")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	box, err := s.lookup(ctx, a.Mailbox)
	if err != nil {
		return tryCreate(err)
	}
	done, err := s.srv.Mail.AppendMessages(ctx, s.peer.Account, box.ID, mailbox.Incoming{
		Prepared: prepared, Flags: flags, Keywords: keywords, Date: m.Date,
	})
	if err != nil {
		return tryCreate(err)
	}
	s.code = imap.CodeAppendUID(done[0].UIDValidity, mail.UIDs(done[0].UID))
	return nil
}

// refuseEarly says no before the message comes, if that is sure already.
func (s *session) refuseEarly(ctx context.Context, a *imap.Append) error {
	body := a.Message.Body
	if body.UTF8 && !s.has(utf8Accept|rev2) {
		return bad(imap.CodeClientBug, "ENABLE UTF8=ACCEPT first")
	}
	if body.Size == 0 {
		return no(imap.CodeCannot, "an empty message")
	}
	if body.Size > s.srv.limits.Message {
		return no(imap.CodeTooBig, "the message is too large")
	}
	box, err := s.lookup(ctx, a.Mailbox)
	if err != nil {
		return tryCreate(err)
	}
	if box.Placeholder {
		return no(imap.CodeTryCreate, "this name only holds other mailboxes")
	}
	u, err := s.srv.Mail.Usage(ctx, s.peer.Account)
	if err != nil {
		return err
	}
	if u.MaxBytes > 0 && u.Bytes+body.Size > u.MaxBytes || u.MaxMessages > 0 && u.Messages >= u.MaxMessages {
		return mail.ErrOverQuota
	}
	return nil
}

package imapd

import (
	"context"
	"errors"
	"io"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// commitTimeout is how long keeping a message may take once it is here whole: a
// client that hangs up then must not catch us half way.
const commitTimeout = time.Minute

// little is the size of a message that one need not be quick to refuse.
const little = 64 << 10

// maxAppends is how many messages one APPEND may bring: they are kept all or
// none, in one commit.
const maxAppends = 1000

// append is APPEND. What can be refused is refused before the message is asked
// for. RFC 9051 §6.3.12, RFC 4315 §3, RFC 7889, RFC 3502, RFC 4469
func (s *session) append(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Append)
	to, err := s.target(ctx, a.Mailbox)
	if err != nil {
		return err
	}
	in, err := s.incoming(ctx, c.Tag, to.owner, &a.Message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	box, done, err := s.save(ctx, a.Mailbox, to, in)
	if err != nil {
		return err
	}
	var uids mail.UIDSet
	for i := range done {
		uids.Add(done[i].UID)
	}
	s.made(box.box(), uids, done[0].ModSeq)
	s.code = imap.CodeAppendUID(done[0].UIDValidity, uids)
	return nil
}

// save keeps the messages in the place that was found before they came. What has become
// of it meanwhile is looked at once more: of one's own, only if it is gone.
func (s *session) save(ctx context.Context, name string, to place, in []mailbox.Incoming) (place, []mailbox.Appended, error) {
	if to.prefix == "" {
		done, err := s.srv.Mail.AppendMessages(ctx, to.owner, to.ID, in...)
		if !errors.Is(err, mail.ErrNotFound) {
			return to, done, tryCreate(err)
		}
	}
	to, err := s.target(ctx, name)
	if err != nil {
		return to, nil, err
	}
	to.strip(in)
	done, err := s.srv.Mail.AppendMessages(ctx, to.owner, to.ID, in...)
	return to, done, tryCreate(err)
}

// target gives the mailbox that messages are to go to.
func (s *session) target(ctx context.Context, name string) (place, error) {
	box, err := s.lookup(ctx, name, mailbox.RightInsert)
	if err != nil && box.prefix == "" {
		return box, tryCreate(err)
	}
	if err != nil {
		return box, err
	}
	if box.Placeholder {
		return box, no(imap.CodeTryCreate, "this name only holds other mailboxes")
	}
	return box, nil
}

// strip takes those flags off new messages that the person may not set there.
// RFC 4314 §4
func (p *place) strip(in []mailbox.Incoming) {
	may := p.rights.Flags()
	for i := range in {
		in[i].Flags &= may
		if p.rights&mailbox.RightWrite == 0 {
			in[i].Keywords = nil
		}
	}
}

// incoming takes all messages of a command from the client, for mailboxes of an
// account.
func (s *session) incoming(ctx context.Context, tag string, owner mail.AccountID, m *imap.AppendMessage) ([]mailbox.Incoming, error) {
	var in []mailbox.Incoming
	var bytes int64
	weight := 0
	for m != nil {
		if n := s.srv.limits.saved(); n > 0 && len(in) == n {
			return nil, no(imap.CodeMessageLimit(n, 0), "too many messages at once")
		}
		if len(in) == maxAppends || weight > mailbox.MaxAppend {
			return nil, no(imap.CodeLimit, "too many messages at once")
		}
		if err := s.refuseEarly(ctx, owner, m, int64(len(in)), bytes); err != nil {
			return nil, err
		}
		flags, keywords, err := splitFlags(m.Flags)
		if err != nil {
			return nil, err
		}
		var r io.Reader = m.Body
		if m.Catenate {
			j := &joined{s: s, ctx: ctx, tag: tag, room: s.srv.limits.Message}
			defer j.close()
			r = j
		}
		p, err := s.srv.Mail.PrepareMessage(ctx, mail.NewTraceID(time.Now()), r)
		if err != nil {
			return nil, err
		}
		if p.Size == 0 {
			return nil, no(imap.CodeCannot, "an empty message")
		}
		in = append(in, mailbox.Incoming{Prepared: p, Flags: flags, Keywords: keywords, Date: m.Date, By: s.peer.Account})
		bytes, weight = bytes+p.Size, weight+p.RowBytes()
		if m, err = s.dec.More(tag); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// refuseEarly says no before a message comes, if that is sure already. Before it
// come count messages of so many bytes, by the same command.
func (s *session) refuseEarly(ctx context.Context, owner mail.AccountID, m *imap.AppendMessage, count, bytes int64) error {
	if body := m.Body; body != nil {
		if body.UTF8 && !s.has(utf8Accept|rev2) {
			return errNoUTF8
		}
		if body.Size == 0 {
			return no(imap.CodeCannot, "an empty message")
		}
		if body.Size > s.srv.limits.Message {
			return no(imap.CodeTooBig, "the message is too large")
		}
		bytes += body.Size
	}
	if m.Body != nil && !m.Body.Waiting() && m.Body.Size <= little {
		return nil // it is here already, and will be refused when it is to be kept
	}
	u, err := s.srv.Mail.Usage(ctx, owner)
	if err != nil {
		return err
	}
	if u.MaxBytes > 0 && u.Bytes+bytes > u.MaxBytes || u.MaxMessages > 0 && u.Messages+count >= u.MaxMessages {
		return mail.ErrOverQuota
	}
	return nil
}

var errNoUTF8 = bad(imap.CodeClientBug, "ENABLE UTF8=ACCEPT first")

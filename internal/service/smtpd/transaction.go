package smtpd

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
)

// nameWait is how long MAIL waits for the name of the client.
const nameWait = 5 * time.Second

// minBy is the least time in which a message may be asked to be delivered or to come
// back: one attempt may take that long. RFC 2852 §3
const minBy = time.Minute

func (ses *session) mail(ctx context.Context, c smtp.Command) {
	if ses.name != nil {
		wait := time.NewTimer(nameWait)
		select {
		case ses.peer.Name = <-ses.name:
			ses.name = nil
		case <-wait.C:
		}
		wait.Stop()
	}
	if err := ses.wishes(c.Mail); err != nil {
		ses.refuse(err)
		return
	}
	tx, err := ses.s.Receiver.Begin(ctx, ses.peer, c.Path, c.Mail)
	if err == nil {
		ses.tx, ses.changed = tx, nil
		if p, ok := tx.(smtp.Prioritized); ok && p.Priority() != c.Mail.Priority {
			n := p.Priority()
			ses.changed = &n
		}
		ses.reply(smtp.Reply{Code: 250, Status: mail.Status{Class: 2, Subject: 1}, Text: "OK"})
	} else {
		ses.failed(err, "begin", mail.TraceID{})
		ses.refuse(err)
	}
	ses.machine.Done(c, err)
}

// wishes refuses parameters of MAIL that are not on offer in this session.
func (ses *session) wishes(p smtp.MailParams) error {
	switch {
	case (p.HoldFor > 0 || !p.HoldUntil.IsZero()) && ses.s.Policy.HoldMax == 0:
		return smtp.ErrParameter
	case p.RequireTLS && ses.peer.TLS == nil:
		return smtp.ErrRequireTLS
	case p.By.Return && p.By.Within < minBy:
		return smtp.ErrTooSoon
	}
	return nil
}

func (ses *session) rcpt(ctx context.Context, c smtp.Command) {
	if ses.machine.Recipients() >= ses.s.limits.Recipients {
		ses.reply(smtp.RefusalReply(smtp.ErrManyRcpts))
		return
	}
	err := ses.tx.Rcpt(ctx, c.Path, c.Rcpt)
	if err == nil {
		ses.reply(smtp.Reply{Code: 250, Status: mail.StatusDelivered, Text: "OK"})
	} else {
		ses.failed(err, "rcpt", ses.tx.ID())
		ses.refused(err, ses.tx.ID())
	}
	ses.machine.Done(c, err)
}

// refused answers no with the id of the transaction.
func (ses *session) refused(err error, id mail.TraceID) {
	ses.reply(withID(smtp.RefusalReply(err), id))
	if ses.refusals++; ses.refusals > ses.s.limits.Refusals {
		ses.end(smtp.ErrManyErrors)
	}
}

// failed logs an error that is ours: the client does not hear it.
func (ses *session) failed(err error, what string, id mail.TraceID) {
	if _, ok := errors.AsType[*mail.Refusal](err); !ok {
		ses.log.Error("failed", "id", id, "in", what, "error", err)
	}
}

// A body is a message as it comes in.
type body interface {
	io.Reader
	Err() error
	Drain() error
	Last() bool
}

// errUnread tells of a Receiver that kept a message without reading it.
var errUnread = errors.New("the receiver has not read the message to its end")

// data receives a message. Who sends it without waiting to be asked for it is not
// listened to any more, unless they have logged in: programs that speak to us in
// another's name, as browsers and smuggled mail do, cannot wait. RFC 2920 §3.1
func (ses *session) data(ctx context.Context, c smtp.Command) {
	if ses.r.Buffered() > 0 && ses.peer.Account == 0 {
		ses.refused(smtp.ErrUnasked, ses.tx.ID())
		ses.ending = true
		return
	}
	ses.reply(smtp.Reply{Code: 354, Text: "send the message, and end it with a line that is a dot"})
	ses.wire.beginMessage()
	ses.receive(ctx, c, ses.r.Data(ses.s.limits.Size))
}

// receive gives the message to the transaction, and answers for what became of
// it. The message has been read to its end then, or the session ends.
func (ses *session) receive(ctx context.Context, c smtp.Command, b body) {
	tx := ses.tx
	ses.tx = nil // Data is the last call
	n := ses.machine.Recipients()
	outs, err := give(ctx, tx, b)
	end := b.Err()
	if errors.Is(end, io.ErrNoProgress) {
		if end = b.Drain(); err == nil {
			err = errUnread
		}
	}
	ses.wire.endMessage()
	ses.machine.Done(c, errEnded)
	if _, ok := errors.AsType[*mail.Refusal](end); ok {
		// What the transaction made of it does not matter: it cannot have
		// kept it.
		outs, err = nil, end
	} else if smtp.Fetching(end) {
		outs, err = nil, end
	} else if end != nil && !errors.Is(end, io.ErrNoProgress) {
		if !errors.Is(end, errEnded) {
			ses.broken(end)
		}
		return
	}
	if err != nil {
		ses.failed(err, "data", tx.ID())
	}
	if !b.Last() { // this chunk is answered, and not the message for each recipient
		n, outs = 1, nil
	}
	ses.answer(tx.ID(), n, outs, err)
	if errors.Is(end, smtp.ErrBroken) {
		// Somebody may have wanted the rest to be taken for commands.
		ses.ending = true
	}
}

// give gives the message to the transaction, with an answer for each recipient
// if it has them.
func give(ctx context.Context, tx smtp.Transaction, b io.Reader) ([]mail.Outcome, error) {
	if each, ok := tx.(smtp.LMTPTransaction); ok {
		return each.DataEach(ctx, b)
	}
	return nil, tx.Data(ctx, b)
}

// answer answers for a message; in LMTP once for each recipient.
// RFC 2033 §4.2
func (ses *session) answer(id mail.TraceID, recipients int, outs []mail.Outcome, err error) {
	if ses.s.Policy.Dialect == smtp.SMTP {
		if err == nil {
			err = worst(outs)
		}
		ses.verdict(id, err)
		return
	}
	if err == nil && len(outs) == recipients {
		for _, o := range outs {
			ses.reply(withID(smtp.OutcomeReply(o), id))
		}
		return
	}
	for range recipients {
		ses.verdict(id, err)
	}
}

// worst gives the outcome that stands for all where only one answer is
// possible: a "not now" brings them all back, so it comes first.
func worst(outs []mail.Outcome) error {
	var no *mail.Refusal
	for _, o := range outs {
		if o.Status.Temporary() || o.Status.Permanent() && no == nil {
			no = &mail.Refusal{Status: o.Status, Text: o.Text}
		}
		if o.Status.Temporary() {
			return no
		}
	}
	if no == nil {
		return nil
	}
	return no
}

func (ses *session) verdict(id mail.TraceID, err error) {
	if err != nil {
		ses.refused(err, id)
		return
	}
	if ses.changed != nil { // RFC 6710 §4.1: the number comes first
		ses.reply(smtp.Reply{Code: 250, Status: mail.Status{Class: 2, Subject: 3, Detail: 6}, Text: strconv.Itoa(int(*ses.changed)) + " is the new priority of the message, id " + id.String()})
		return
	}
	ses.ok("OK, id " + id.String())
}

// errEnded ends a message in chunks that another command came in between of.
var errEnded = errors.New("the client gave the message up")

// chunks receives a message in chunks. RFC 3030
func (ses *session) chunks(ctx context.Context, c smtp.Command) {
	if c.Size > ses.s.limits.Size {
		ses.reset(ctx)
		ses.machine.Done(c, smtp.ErrTooLong)
		ses.skipChunk(c.Size)
		return
	}
	p := pieces{ses: ses, ctx: ctx}
	defer p.close()
	first, err := p.chunk(c)
	if err != nil {
		id := ses.tx.ID()
		ses.reset(ctx)
		ses.machine.Done(c, err)
		ses.failed(err, "burl", id)
		ses.refused(err, id)
		return
	}
	ses.wire.beginMessage()
	cur := c
	more := func() (smtp.Chunk, error) {
		ses.machine.Done(cur, nil)
		ses.ok(strconv.FormatInt(p.size, 10) + " octets received")
		ses.wire.endMessage()
		next, err := ses.nextChunk()
		ses.wire.beginMessage()
		if err != nil {
			return smtp.Chunk{}, err
		}
		cur = next
		return p.chunk(next)
	}
	b := ses.r.Chunks(first, ses.s.limits.Size, more)
	if ses.machine.Binary() {
		b.Binary()
	}
	ses.receive(ctx, c, b)
}

// nextChunk reads commands until the next BDAT. Another one that may come ends
// the message, and is carried out afterwards.
func (ses *session) nextChunk() (smtp.Command, error) {
	for !ses.ending {
		c, ok := ses.command()
		if !ok {
			continue
		}
		err := ses.check(c)
		switch {
		case err != nil:
			ses.outOfTurn(c, err)
		case c.Verb == smtp.BDAT && c.Size > ses.s.limits.Size:
			ses.skipChunk(c.Size)
		case c.Verb == smtp.BDAT, c.Verb == smtp.BURL:
			return c, nil
		case c.Verb == smtp.NOOP || c.Verb == smtp.VRFY || c.Verb == smtp.HELP:
			ses.aside(c)
		default:
			ses.pending = &c
			return c, errEnded
		}
	}
	return smtp.Command{}, errEnded
}

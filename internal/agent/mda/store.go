package mda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
)

// A stored message is in a mailbox; why says so if the owner had a say in it.
type stored struct{ mailbox, why string }

// store puts the message into one account, and tells where. mail.ErrOverQuota if there is
// room for it nowhere.
func (a *Agent) store(tx kv.Tx, l step, m Mail, msg *mailbox.Prepared) (out []stored, err error) {
	puts := l.puts()
	if len(puts) == 0 {
		return nil, nil
	}
	e, err := a.Mailboxes.Edit(tx, l.account)
	if err != nil {
		return nil, err
	}
	full := error(nil)
	for _, p := range puts {
		in := mailbox.Incoming{Prepared: msg, Flags: p.Flags, Keywords: p.Keywords}
		box, why, err := l.place(e, m, p, &in)
		if err != nil {
			return nil, err
		}
		_, err = e.Append(box, in)
		if errors.Is(err, mail.ErrLimit) && len(in.Keywords) > 0 {
			in.Keywords = nil // there is no room for more of them in the mailbox
			_, err = e.Append(box, in)
		}
		switch {
		case err == nil:
			out = append(out, stored{e.Name(box), why})
		case errors.Is(err, mail.ErrOverQuota):
			full = err
		default:
			return nil, err
		}
	}
	if err := e.Done(); err != nil { // a mailbox may be new, even if it is full
		return nil, err
	}
	if len(out) == 0 {
		return nil, full
	}
	return out, nil
}

// place finds the mailbox that gets the message. What rules name and is not there is no
// reason to lose it: then it goes where it would go without them.
func (l *step) place(e *mailbox.Edit, m Mail, p rules.Put, in *mailbox.Incoming) (box mail.MailboxID, why string, err error) {
	if !p.Keeps() {
		why = fmt.Sprintf("the rules say so, line %d", p.Line)
		box, err = rules.Find(e, p.Place)
		if !errors.Is(err, mail.ErrNotFound) && !errors.Is(err, mail.ErrLimit) {
			return box, why, err
		}
		why = fmt.Sprintf("the rules name a mailbox that is not there, line %d: %s", p.Line, p.Place.Name)
	} else {
		why = l.why
	}
	role := l.role
	if role == mailbox.NoRole {
		role = mailbox.InboxRole
	}
	if m.Place.of(l.account) {
		in.Flags |= m.Place.Flags
		in.Keywords = append(in.Keywords[:len(in.Keywords):len(in.Keywords)], m.Place.Keywords...)
		in.Date = m.Place.Date
		if l.role == mailbox.NoRole && m.Place.Mailbox != "" {
			box, err = e.Named(m.Place.Mailbox)
			return box, why, err
		}
	}
	box, err = e.ByRole(role)
	return box, why, err
}

// A reply is what the rules of an account answer, ready for the queue.
type reply struct {
	answer *rules.Answer
	item   queue.Item
	copy   *mailbox.Prepared // of what its owner keeps of it; nil: nothing
}

// replies makes the answers that rules give durable.
func (a *Agent) replies(ctx context.Context, m Mail, local []step) (map[mail.AccountID]reply, error) {
	var out map[mail.AccountID]reply
	for _, l := range local {
		if l.verdict == nil || l.verdict.Answer == nil {
			continue
		}
		x := l.verdict.Answer
		st, err := a.Bodies.Stage(ctx, bytes.NewReader(x.Text))
		if err != nil {
			return nil, fmt.Errorf("mda: answer: %w", err)
		}
		defer st.Close()
		holders := 1
		if x.Copy != nil {
			holders = 2
		}
		ref, err := a.Bodies.Keep(ctx, st, holders)
		if err != nil {
			return nil, fmt.Errorf("mda: answer: %w", err)
		}
		// Nobody hears of an answer that did not arrive: the sender is <>. RFC 5230 §5.1
		env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Recipients: []mail.Recipient{{Address: x.To}}, UTF8: !x.To.IsASCII(), RequireTLS: m.Envelope.RequireTLS}
		r := reply{answer: x, item: queue.Item{Envelope: env, Domain: x.To.Domain, Body: ref, Prefix: x.Prefix}}
		if x.Copy != nil {
			if r.copy, err = mailbox.Prepare(env.Trace, nil, st); err != nil {
				return nil, fmt.Errorf("mda: answer: %w", err)
			}
			r.copy.Ref = ref
		}
		if out == nil {
			out = map[mail.AccountID]reply{}
		}
		out[l.account] = r
	}
	return out, nil
}

// ruled does what the rules of an account want done beside putting the message somewhere.
func (d *delivery) ruled(tx kv.Tx, l step) error {
	if l.verdict == nil {
		return nil
	}
	if err := d.a.Rules.Leave(tx, l.account, l.verdict); err != nil {
		return err
	}
	r, ok := d.answers[l.account]
	if !ok {
		return nil
	}
	first, err := d.a.Rules.Answered(tx, l.account, r.answer)
	if err != nil || !first {
		return err
	}
	if _, err := d.a.Queue.Put(tx, r.item); err != nil {
		return err
	}
	id := r.item.Envelope.Trace
	own := []trace.Event{
		{Trace: id, Time: tx.Now(), Kind: trace.Received, Size: r.item.Size(), Link: d.m.Envelope.Trace},
		{Trace: id, Time: tx.Now(), Kind: trace.Queued, Rcpt: r.answer.To},
	}
	journal.Write(tx, own...)
	d.others = append(d.others, own...)
	d.note(tx, trace.Event{Kind: trace.Answered, Rcpt: l.rcpt.Address, Link: id})
	if r.copy == nil {
		return nil
	}
	return d.a.keepCopy(tx, l, r)
}

// keepCopy puts an answer where its owner wants to find it, if there is room. RFC 8580 §3
func (a *Agent) keepCopy(tx kv.Tx, l step, r reply) error {
	e, err := a.Mailboxes.Edit(tx, l.account)
	if err != nil {
		return err
	}
	p := *r.answer.Copy
	box, err := rules.Find(e, p.Place)
	if errors.Is(err, mail.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = e.Append(box, mailbox.Incoming{Prepared: r.copy, Flags: p.Flags, Keywords: p.Keywords})
	if err != nil && !errors.Is(err, mail.ErrOverQuota) && !errors.Is(err, mail.ErrLimit) {
		return err
	}
	return e.Done()
}

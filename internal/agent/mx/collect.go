package mx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

// Collected is a message that was fetched for somebody from an account elsewhere.
type Collected struct {
	For  mail.Address // the account's own
	Body *body.Staged
	// Host is where it was, and Protocol is POP3 or IMAP.
	Host, Protocol string
	Place          *mda.Place
	// Unjudged has nothing judged but by the server that had it; filters are not asked
	// either.
	Unjudged bool
}

// Collect takes a message that was collected. That it is taken at all, its owner has
// decided: at worst it is junk. Who has sent it is known by its signatures alone, since
// the host that we have it from is none that sends mail. A *mail.Refusal means that it
// can never be taken, any other error that it can be tried again; then nothing was
// done. The error of c.Place.Note is given as it is.
func (a *Agent) Collect(ctx context.Context, c Collected, try func(context.Context, mda.Mail) ([]mail.Outcome, error)) error {
	t := &transaction{a: a, env: mail.Envelope{Trace: mail.NewTraceID(time.Now())}}
	t.peer.Name, t.peer.Hello = c.Host, c.Host
	t.filters = t.chain()
	defer t.filters.Close()
	header, err := mda.Header(c.Body)
	if err != nil {
		return fmt.Errorf("mx: read the header: %w", err)
	}
	switch {
	case mda.Hops(header) > mda.MaxHops:
		return mail.Refuse("5.4.6", "the message runs in a circle: it has passed too many servers", "")
	case mda.WasCollected(header, a.Hostname, c.For):
		return mail.Refuse("5.4.6", "the message runs in a circle: it was collected before, and has got back there", "")
	}
	t.env.Sender = returnPath(header)
	t.env.Recipients = []mail.Recipient{{Address: c.For}}
	st, err := a.ours(ctx, c.Body, header)
	if err != nil {
		return fmt.Errorf("mx: %w", err)
	}
	if st != c.Body {
		defer st.Close()
	}
	m, err := t.collected(ctx, c, st)
	if err != nil {
		return err
	}
	if m.Body != st {
		defer m.Body.Close()
	}
	outcomes, err := try(ctx, m)
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if o.Status.Class != 2 {
			return &mail.Refusal{Status: o.Status, Text: o.Text}
		}
	}
	return nil
}

// collected judges a message, and makes what is delivered of it.
func (t *transaction) collected(ctx context.Context, c Collected, st *body.Staged) (mda.Mail, error) {
	now := time.Now()
	m := mda.Mail{Body: st, Place: c.Place}
	m.Events = []trace.Event{{Trace: t.env.Trace, Time: now, Kind: trace.Received, Sender: t.env.Sender, Remote: c.Host, Text: "collected over " + c.Protocol, Size: st.Size()}}
	if !c.Unjudged {
		ev, why, err := t.suspect(ctx, st)
		if err != nil {
			return m, err
		}
		if m.Body, why, err = t.sift(ctx, st, why); err != nil {
			return m, err
		}
		judged := trace.Event{Trace: t.env.Trace, Time: now, Kind: trace.Judged, Text: ev.Words()}
		if !ev.Judged {
			judged.Text = ""
		}
		if why != "" {
			m.Mailbox = mailbox.JunkRole
			judged.Text = strings.TrimPrefix(judged.Text+"; "+why, "; ")
		}
		if judged.Text != "" {
			m.Events = append(m.Events, judged)
		}
		m.Sort = t.a.sorter(&judgement{ev: ev, v: Verdict{Mailbox: m.Mailbox, Reason: why}, now: now})
		if ev.Judged {
			results := ev.Results()
			m.Trace = authres.Append(nil, t.a.Hostname, results)
			if kept := m.Body; t.a.Signers != nil {
				m.Seal = func(ctx context.Context, d mail.Domain) ([]byte, error) {
					return t.a.seal(ctx, d, kept, ev.ARC, authres.Value(t.a.Hostname, results))
				}
			}
		}
	}
	m.Envelope = t.env
	m.Trace = append(m.Trace, mda.CollectedFrom(t.a.Hostname, c.Host, c.Protocol, c.For, t.env.Trace, now)...)
	return m, nil
}

// suspect finds out what can be known of the message, and why it is junk; "" if it is
// not.
func (t *transaction) suspect(ctx context.Context, st *body.Staged) (ev Evidence, why string, err error) {
	header, err := mda.Header(st)
	if err != nil {
		return ev, "", fmt.Errorf("mx: read the header: %w", err)
	}
	if ev, err = t.a.signed(ctx, header, st); err != nil {
		return ev, "", fmt.Errorf("mx: %v: %w", t.env.Trace, err)
	}
	v := Judge(Policy{}, ev)
	switch {
	case v.Refusal != nil:
		why = "junk, as it would have been refused: " + v.Refusal.Text
	case v.Mailbox == mailbox.JunkRole:
		why = v.Reason
	}
	return ev, why, nil
}

// sift asks the filters. What they would refuse is junk, and whom they would have it
// sent to does not matter: it is for who has collected it. The message that it gives
// may be another one.
func (t *transaction) sift(ctx context.Context, st *body.Staged, why string) (*body.Staged, string, error) {
	env := t.env
	err := t.filters.Rcpt(ctx, env.Recipients[0].Address)
	kept := st
	if err == nil {
		var junk string
		if kept, junk, err = t.filters.Message(ctx, st); junk != "" {
			why = "junk, because " + junk
		}
	}
	t.env = env
	no, refused := errors.AsType[*mail.Refusal](err)
	switch {
	case err == nil:
	case refused && no.Status.Permanent():
		why = "junk, as a filter refuses it: " + no.Text
	default:
		if kept != st {
			kept.Close()
		}
		return st, why, err
	}
	return kept, why, nil
}

// ours gives a message without the fields that only a server that delivers writes: what
// stood in them said something of the way to where it was.
func (a *Agent) ours(ctx context.Context, st *body.Staged, header []byte) (*body.Staged, error) {
	cut := message.CutFields(header, func(f message.Field) bool {
		return f.Is("return-path") || a.forged(f)
	})
	if len(cut) == 0 {
		return st, nil
	}
	edit := message.Edit{Cut: cut}
	return a.Bodies.Stage(ctx, edit.Reader(st, st.Size()))
}

// returnPath gives the sender of a message that has been delivered; zero if that is
// not known. RFC 5321 §4.4
func returnPath(header []byte) mail.Address {
	f, ok := message.Find(header, "return-path")
	if !ok {
		return mail.Address{}
	}
	a, err := filter.Bracketed(f.Text())
	if err != nil {
		return mail.Address{}
	}
	return a
}

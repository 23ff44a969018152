package mx

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/authres"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

// take judges a message that has come whole, and hands on what is taken. Its error
// is the refusal, or that we failed.
func (t *transaction) take(ctx context.Context, st *body.Staged) error {
	header, err := mda.Header(st)
	if err != nil {
		return fmt.Errorf("mx: %v: read the header: %w", t.env.Trace, err)
	}
	j, err := t.judge(ctx, header, st)
	if err != nil {
		return err
	}
	var made forms
	defer made.close()
	if t.binary { // its signatures have been looked at as they came
		if st, err = mda.Armored(ctx, t.a.Bodies, st); err != nil {
			return err
		}
		made = append(made, st)
		if header, err = mda.Header(st); err != nil {
			return fmt.Errorf("mx: %v: read the header: %w", t.env.Trace, err)
		}
	}
	kept, why, err := t.changed(ctx, &made, j, header, st)
	if err != nil {
		return err
	}
	if why != "" {
		j.v.Mailbox, j.v.Reason = mailbox.JunkRole, "junk, because "+why
	}
	if j.v.Reason != "" {
		j.event.Text += "; " + j.v.Reason
	}
	if !j.ev.Judged {
		j.event.Text = j.v.Reason
	}
	t.settle(j.v, header)
	m := t.delivery(j, kept, st.Size(), why != "")
	if err := t.a.Delivery.Deliver(ctx, m); err != nil {
		return err
	}
	t.took(j.ev, j.v, j.now)
	return nil
}

// A judgement is what was found of a message, and what is to become of it.
type judgement struct {
	ev    Evidence
	v     Verdict
	now   time.Time
	event trace.Event
}

// judge gathers what can be known of the message and judges it. Its error is the
// refusal, or that we failed.
func (t *transaction) judge(ctx context.Context, header []byte, st *body.Staged) (*judgement, error) {
	ev, err := t.a.gather(ctx, t.peer, t.env, header, st)
	if err != nil {
		return nil, fmt.Errorf("mx: %v: %w", t.env.Trace, err)
	}
	if t.client != nil {
		ev.Client = *t.client
	}
	now := time.Now()
	ev.Past = t.a.past(ctx, t.env, ev, now)
	v := Judge(t.a.Policy, ev)
	if v.Again && !t.asked(ev, now) {
		ev.Past = nil // who cannot be known again must not be asked to come again
		v = Judge(t.a.Policy, ev)
	}
	if x, wanted := ev.Sight(t.peer.Addr.Addr(), v); wanted && t.a.Saw != nil {
		t.a.Saw(ctx, t.env, x)
	}
	j := &judgement{ev, v, now, trace.Event{Trace: t.env.Trace, Time: now, Kind: trace.Judged, Text: ev.Words()}}
	if v.Refusal == nil {
		return j, nil
	}
	if ev.Judged {
		j.event.Log(t.a.Log)
		t.a.Journal.Add(j.event)
	}
	return nil, v.Refusal
}

// forms are the message in the forms that were made of it on its way.
type forms []*body.Staged

func (f *forms) add(st, from *body.Staged) {
	if st != from {
		*f = append(*f, st)
	}
}

func (f forms) close() {
	for _, st := range f {
		st.Close()
	}
}

// changed gives the message without what may not come from outside, and as filters
// and hooks want it; why tells that they want it in Junk.
func (t *transaction) changed(ctx context.Context, made *forms, j *judgement, header []byte, st *body.Staged) (kept *body.Staged, why string, err error) {
	clean, err := t.a.clean(ctx, header, st)
	if err != nil {
		return nil, "", fmt.Errorf("mx: %v: %w", t.env.Trace, err)
	}
	made.add(clean, st)
	filtered, why, err := t.filters.Message(ctx, clean)
	made.add(filtered, clean)
	if err != nil {
		return nil, "", err
	}
	kept, hooked, err := t.hookMessage(ctx, j.ev, j.v, filtered)
	if err != nil {
		return nil, "", err
	}
	made.add(kept, filtered)
	return kept, cmp.Or(why, hooked), nil
}

// settle leaves to the recipients what may be asked for them.
func (t *transaction) settle(v Verdict, header []byte) {
	if v.Quiet {
		for i := range t.env.Recipients {
			t.env.Recipients[i].Notify = t.env.Recipients[i].Notify.WithoutSuccess()
		}
	}
	t.env.Recipients = mda.ValidSince(header, t.env.Recipients)
}

// delivery gives the mail as it is delivered; size is that of the message as it came,
// and told says that the story has something of filters to tell.
func (t *transaction) delivery(j *judgement, kept *body.Staged, size int64, told bool) mda.Mail {
	m := mda.Mail{Envelope: t.env, Body: kept, Mailbox: j.v.Mailbox, Sort: t.a.sorter(j)}
	m.Events = []trace.Event{{
		Trace: t.env.Trace, Time: j.now, Kind: trace.Received, Sender: t.env.Sender, Remote: Remote(t.peer), TLS: tlsWords(t.peer), Size: size,
	}}
	if j.ev.Judged || told {
		m.Events = append(m.Events, j.event)
	}
	if j.ev.Judged {
		results := j.ev.Results()
		m.Trace = authres.Append(nil, t.a.Hostname, results)
		if t.a.Signers != nil {
			m.Seal = func(ctx context.Context, d mail.Domain) ([]byte, error) {
				return t.a.seal(ctx, d, kept, j.ev.ARC, authres.Value(t.a.Hostname, results))
			}
		}
	}
	m.Trace = append(m.Trace, mda.Received(t.a.Hostname, "ESMTP", t.peer, t.env, j.now)...)
	return m
}

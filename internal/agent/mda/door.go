package mda

import (
	"context"
	"fmt"
	"io"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/smtp"
)

// A Door takes mail over LMTP from a server that has received and judged it
// already, and answers for each recipient. RFC 2033
type Door struct {
	Hostname string
	*Agent
}

// Begin opens a mail transaction.
func (d *Door) Begin(_ context.Context, peer mail.Peer, from mail.Address, p smtp.MailParams) (smtp.Transaction, error) {
	env := p.Envelope(mail.NewTraceID(time.Now()), from)
	return &doorTransaction{d: d, peer: peer, env: env, binary: p.Binary}, nil
}

type doorTransaction struct {
	d    *Door
	peer mail.Peer
	env  mail.Envelope
	// binary: the message comes as BINARYMIME.
	binary bool
}

// ID is what the client, the log and the Received field call it.
func (t *doorTransaction) ID() mail.TraceID { return t.env.Trace }

// Rcpt takes a recipient that is here.
func (t *doorTransaction) Rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams) error {
	if to.Domain == "" { // <postmaster>
		to.Domain = t.d.Agent.Hostname
	}
	r := p.Recipient(to)
	if err := t.d.Accepts(ctx, t.env.Sender, r); err != nil {
		return err
	}
	t.env.Recipients = append(t.env.Recipients, r)
	return nil
}

// Reset ends the transaction without a message.
func (t *doorTransaction) Reset(context.Context) {}

// Data is DataEach for who wants one answer: an error if one recipient failed.
func (t *doorTransaction) Data(ctx context.Context, r io.Reader) error {
	outcomes, err := t.DataEach(ctx, r)
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

// DataEach delivers, and tells what became of each recipient.
func (t *doorTransaction) DataEach(ctx context.Context, r io.Reader) ([]mail.Outcome, error) {
	st, err := t.d.Bodies.Stage(ctx, r)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	ctx = context.WithoutCancel(ctx)
	if t.binary {
		if st, err = Armored(ctx, t.d.Bodies, st); err != nil {
			return nil, err
		}
		defer st.Close()
	}
	header, err := Header(st)
	if err != nil {
		return nil, fmt.Errorf("mda: read the header of %v: %w", t.env.Trace, err)
	}
	if Hops(header) > MaxHops {
		return nil, mail.Refuse("5.4.6", "the message runs in a circle: it has passed too many servers", "")
	}
	t.env.Recipients = ValidSince(header, t.env.Recipients)
	now := time.Now()
	m := Mail{Envelope: t.env, Body: st, Trace: Received(t.d.Hostname, "LMTP", t.peer, t.env, now)}
	m.Events = []trace.Event{{
		Trace: t.env.Trace, Time: now, Kind: trace.Received, Sender: t.env.Sender, Remote: "[" + t.peer.Addr.Addr().Unmap().String() + "]", Size: st.Size(),
	}}
	return t.d.Try(ctx, m)
}

package mda

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dsn"
	"posthaste/internal/store/body"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/queue"
)

// A Reporter writes reports to senders. All fields must be set.
type Reporter struct {
	Hostname mail.Domain
	Bodies   *body.Store
	Log      *slog.Logger
}

// An About is what a report is about: some recipients of a message, and the
// message, which may be nil.
type About struct {
	Envelope   mail.Envelope
	Recipients []dsn.Recipient
	Original   io.ReaderAt
	Size       int64
}

// A Report is one that is to be queued; Action is what it tells of all its
// recipients, empty if that is not the same.
type Report struct {
	queue.Item
	Action dsn.Action
}

// Report writes a report and makes it durable; the item is to be given to
// PutReport. The message must have a sender.
func (rp *Reporter) Report(ctx context.Context, ab About, now time.Time) (Report, error) {
	id := mail.NewTraceID(now)
	r := dsn.Report{
		Host: string(rp.Hostname), From: mail.Address{Local: postmaster, Domain: rp.Hostname}, To: ab.Envelope.Sender, Date: now,
		MessageID: "<" + id.String() + "@" + string(rp.Hostname) + ">", Boundary: boundary(),
		EnvelopeID: ab.Envelope.EnvelopeID, Trace: ab.Envelope.Trace, Arrival: ab.Envelope.Trace.Time(), DeliverBy: ab.Envelope.By.Time, UTF8: ab.Envelope.UTF8,
		Recipients: ab.Recipients, Original: ab.Original, Size: ab.Size, Return: ab.Envelope.Return,
	}
	if ab.Envelope.RequireTLS { // no more of it than must be. RFC 8689 §5
		r.Return = mail.ReturnHeader
	}
	text, err := r.Bytes()
	if err != nil && r.Original != nil {
		// A message that cannot be read any more must not keep its sender from
		// hearing of it, nor the item in the queue for ever.
		rp.Log.Error("a report goes without the message", "id", ab.Envelope.Trace.String(), "error", err)
		r.Original = nil
		text, err = r.Bytes()
	}
	if err != nil {
		return Report{}, fmt.Errorf("mda: report: %w", err)
	}
	st, err := rp.Bodies.Stage(ctx, bytes.NewReader(text))
	if err != nil {
		return Report{}, fmt.Errorf("mda: report: %w", err)
	}
	defer st.Close()
	ref, err := rp.Bodies.Keep(ctx, st, 1)
	if err != nil {
		return Report{}, fmt.Errorf("mda: report: %w", err)
	}
	env := mail.Envelope{Trace: id, Recipients: []mail.Recipient{{Address: ab.Envelope.Sender}}, UTF8: r.NeedsUTF8(), RequireTLS: ab.Envelope.RequireTLS, Priority: ab.Envelope.Priority}
	out := Report{Item: queue.Item{Envelope: env, Domain: ab.Envelope.Sender.Domain, Body: ref}, Action: ab.Recipients[0].Action}
	for _, rc := range ab.Recipients {
		if rc.Action != out.Action {
			out.Action = ""
		}
	}
	return out, nil
}

// PutReport queues a report on a message and writes how its story begins, which is
// own; it gives the event for the story of the message, too. The transaction needs the
// lock ShardOf of the report.
func PutReport(tx kv.Tx, q *queue.Queue, r Report, about mail.Envelope) (e trace.Event, own []trace.Event, err error) {
	if _, err := q.Put(tx, r.Item); err != nil {
		return trace.Event{}, nil, err
	}
	id := r.Envelope.Trace
	own = []trace.Event{
		{Trace: id, Time: tx.Now(), Kind: trace.Received, Size: r.Size(), Link: about.Trace},
		{Trace: id, Time: tx.Now(), Kind: trace.Queued, Rcpt: about.Sender},
	}
	journal.Write(tx, own...)
	return trace.Event{Trace: about.Trace, Time: tx.Now(), Kind: trace.Reported, Rcpt: about.Sender, Text: string(r.Action), Link: id}, own, nil
}

func boundary() string {
	var b [12]byte
	rand.Read(b[:])
	return "report-" + hex.EncodeToString(b[:])
}

// report makes the report on the recipients that have the message once d is
// committed, if the sender wants to hear of them. RFC 3461 §5.2.4, §5.2.7.3
func (d *delivery) report(ctx context.Context) error {
	d.reports, d.reported = nil, map[mail.AccountID]bool{}
	if d.unreported == nil {
		d.unreported = map[mail.AccountID]bool{}
	}
	env := d.m.Envelope
	if env.Sender.IsZero() {
		return nil
	}
	now := time.Now()
	var told []dsn.Recipient
	for _, r := range env.Recipients {
		if r.Notify&mail.NotifySuccess == 0 || d.plan.no[r.Address] != nil {
			continue
		}
		o := mail.Outcome{Recipient: r, Status: mail.StatusDelivered}
		if d.plan.expanded[r.Address] {
			told = append(told, dsn.Recipient{Outcome: o, Action: dsn.Expanded, ORCPT: r.ORCPT, LastAttempt: now})
		} else if d.serves(r.Address) {
			told = append(told, dsn.Recipient{Outcome: o, Action: dsn.Delivered, ORCPT: r.ORCPT, LastAttempt: now})
			for _, a := range d.plan.accounts[r.Address] {
				d.reported[a] = true
			}
		}
	}
	if len(told) == 0 {
		return nil
	}
	rp := Reporter{Hostname: d.a.Hostname, Bodies: d.a.Bodies, Log: d.a.Log}
	it, err := rp.Report(ctx, About{Envelope: env, Recipients: told, Original: d.m.Body, Size: d.m.Body.Size()}, now)
	if err == nil {
		d.reports = []Report{it}
	}
	return err
}

// serves tells whether a recipient has a mailbox here that the delivery puts
// the message into, as far as is known.
func (d *delivery) serves(to mail.Address) bool {
	accts := d.plan.accounts[to]
	for _, a := range accts {
		if i, ok := d.plan.seenAcct[a]; !ok || i >= len(d.local) || d.unreported[a] {
			return false
		}
	}
	return len(accts) > 0
}

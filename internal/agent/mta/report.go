package mta

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dsn"
	"posthaste/internal/store/queue"
)

// reports makes the reports that the sender is owed: one on all recipients that
// failed, and once, after a while, one on those that are delayed. A message
// without a sender is owed none. Bodies are durable when it returns; the items
// are put by whoever settles c, in whose Warned it notes the warning.
func (a *Agent) reports(ctx context.Context, c *queue.Claim, failed, delayed []mail.Outcome, now, next time.Time) ([]queue.Item, error) {
	if c.Envelope.Sender.IsZero() {
		return nil, nil
	}
	var out []queue.Item
	if len(failed) > 0 {
		it, err := a.report(ctx, c, dsn.Failed, failed, now)
		if err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	if len(delayed) > 0 && !c.Warned && next.Sub(c.Queued) > or(a.WarnAfter, 4*time.Hour) {
		it, err := a.report(ctx, c, dsn.Delayed, delayed, now)
		if err != nil {
			return nil, err
		}
		c.Warned = true
		out = append(out, it)
	}
	return out, nil
}

func (a *Agent) report(ctx context.Context, c *queue.Claim, action dsn.Action, outcomes []mail.Outcome, now time.Time) (queue.Item, error) {
	id := mail.NewTraceID(now)
	host, err := mail.ParseDomain(a.Hostname)
	if err != nil {
		return queue.Item{}, fmt.Errorf("mta: host name %q: %w", a.Hostname, err)
	}
	r := dsn.Report{
		Host: a.Hostname, From: mail.Address{Local: "postmaster", Domain: host}, To: c.Envelope.Sender, Date: now,
		MessageID: "<" + id.String() + "@" + a.Hostname + ">", Boundary: boundary(),
		Trace: c.Envelope.Trace, Arrival: c.Envelope.Trace.Time(), UTF8: c.Envelope.UTF8,
	}
	for _, o := range outcomes {
		o.Remote, _, _ = strings.Cut(o.Remote, " ") // the name alone, without the address
		r.Recipients = append(r.Recipients, dsn.Recipient{Outcome: o, Action: action, LastAttempt: now, RetryUntil: c.Queued.Add(or(a.GiveUp, 5*24*time.Hour))})
	}
	text, err := a.withOriginal(ctx, c, r)
	if err != nil {
		// A message that cannot be read any more must not keep its sender from
		// hearing of it, nor the item in the queue for ever.
		a.Log.Error("a report goes without the message", "id", c.Envelope.Trace.String(), "error", err)
		if text, err = r.Bytes(); err != nil {
			return queue.Item{}, fmt.Errorf("mta: report: %w", err)
		}
	}
	st, err := a.Bodies.Stage(ctx, bytes.NewReader(text))
	if err != nil {
		return queue.Item{}, fmt.Errorf("mta: report: %w", err)
	}
	defer st.Close()
	ref, err := a.Bodies.Keep(ctx, st, 1)
	if err != nil {
		return queue.Item{}, fmt.Errorf("mta: report: %w", err)
	}
	env := mail.Envelope{Trace: id, Recipients: []mail.Recipient{{Address: c.Envelope.Sender}}, UTF8: r.NeedsUTF8()}
	return queue.Item{Envelope: env, Domain: c.Envelope.Sender.Domain, Body: ref}, nil
}

// withOriginal writes the report with the message that it is about.
func (a *Agent) withOriginal(ctx context.Context, c *queue.Claim, r dsn.Report) ([]byte, error) {
	b, err := a.Bodies.Open(ctx, c.Body, c.Prefix)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r.Original, r.Size = b, b.Size()
	return r.Bytes()
}

func boundary() string {
	var b [12]byte
	rand.Read(b[:])
	return "report-" + hex.EncodeToString(b[:])
}

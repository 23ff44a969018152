package mta

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dsn"
	"posthaste/internal/store/queue"
)

// A tally is what became of the recipients of a claim, sorted by what their
// sender may have to hear.
type tally struct {
	failed, delayed, relayed []mail.Outcome
}

// reports makes the reports that the sender is owed: one on all recipients that
// failed; once, after a while, one on those that are delayed; and one on those
// whose next host will not tell that they have arrived. A message without a
// sender is owed none. Bodies are durable when it returns; the items are put by
// whoever settles c, in whose Warned it notes the warning.
func (a *Agent) reports(ctx context.Context, c *queue.Claim, ta tally, now, next time.Time) ([]mda.Report, error) {
	if c.Envelope.Sender.IsZero() {
		return nil, nil
	}
	ta.relayed = slices.DeleteFunc(ta.relayed, func(o mail.Outcome) bool { return !hears(c.Envelope.By, o) })
	if isLate(c, now) && len(ta.delayed) > 0 {
		ta.delayed = asLate(c, ta.delayed)
		c.Late = true
	} else if c.Warned || next.Sub(c.Queued) <= or(a.WarnAfter, 4*time.Hour) {
		ta.delayed = nil
	}
	var out []mda.Report
	for _, r := range []struct {
		action   dsn.Action
		wish     mail.Notify
		outcomes []mail.Outcome
	}{{dsn.Failed, mail.NotifyFailure, ta.failed}, {dsn.Delayed, mail.NotifyDelay, ta.delayed}, {dsn.Relayed, mail.NotifySuccess, ta.relayed}} {
		var told []dsn.Recipient
		for _, o := range r.outcomes {
			if o.Recipient.Notify.Wants(r.wish) || r.action == dsn.Relayed {
				told = append(told, a.told(c, r.action, o, now))
			}
		}
		if len(told) == 0 {
			continue
		}
		it, err := a.report(ctx, c, told, now)
		if err != nil {
			return nil, err
		}
		c.Warned = c.Warned || r.action == dsn.Delayed
		out = append(out, it)
	}
	return out, nil
}

// told gives what a report says of a recipient.
func (a *Agent) told(c *queue.Claim, action dsn.Action, o mail.Outcome, now time.Time) dsn.Recipient {
	o.Remote, _, _ = strings.Cut(o.Remote, " ") // the name alone, without the address
	return dsn.Recipient{Outcome: o, Action: action, ORCPT: o.Recipient.ORCPT, LastAttempt: now, RetryUntil: a.Until(&c.Item)}
}

// Until tells until when an item is tried.
func (a *Agent) Until(it *queue.Item) time.Time {
	until := it.Queued.Add(or(a.GiveUp, 5*24*time.Hour))
	if by := it.Envelope.By; by.Return && by.Time.Before(until) {
		until = by.Time
	}
	return until
}

// owed gives the envelope of a message, with whom a report on it goes to as its sender:
// of an errand the account here hears, as nobody can say whether what goes to the one
// elsewhere is collected.
func owed(it queue.Item) mail.Envelope {
	env := it.Envelope
	if it.Errand.Is() {
		env.Sender = it.Errand.For
	}
	return env
}

func (a *Agent) report(ctx context.Context, c *queue.Claim, told []dsn.Recipient, now time.Time) (mda.Report, error) {
	host, err := mail.ParseDomain(a.Hostname)
	if err != nil {
		return mda.Report{}, fmt.Errorf("mta: host name %q: %w", a.Hostname, err)
	}
	ab := mda.About{Envelope: owed(c.Item), Recipients: told}
	b, err := a.Bodies.Open(ctx, c.Body, c.Prefix)
	if err == nil {
		defer b.Close()
		ab.Original, ab.Size = b, b.Size()
	} else {
		a.Log.Error("a report goes without the message", "id", c.Envelope.Trace.String(), "error", err)
	}
	rp := mda.Reporter{Hostname: host, Bodies: a.Bodies, Log: a.Log}
	return rp.Report(ctx, ab, now)
}

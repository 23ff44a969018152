package mta

import (
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/queue"
)

// The status of a message that comes back because its time is over, and of one that
// is late and still tried. RFC 2852 §4.1.5
var (
	expired = mail.Status{Class: 5, Subject: 4, Detail: 7}
	overdue = mail.Status{Class: 4, Subject: 4, Detail: 7}
)

// late refuses a message that was to be delivered by now, or to come back.
func late(c queue.Claim, now time.Time) error {
	if !c.Envelope.By.Over(now) {
		return nil
	}
	return &mail.Refusal{Status: expired, Text: lateText(c) + given(c.Text)}
}

func lateText(c queue.Claim) string {
	return "not delivered by " + c.Envelope.By.Time.UTC().Format("15:04:05 UTC on 2 January") + ", as its sender asked"
}

// given gives what was last heard, if anything was.
func given(text string) string {
	if text == "" {
		return ""
	}
	return "; the last answer was: " + text
}

// isLate tells whether the sender is owed the news that it is later than he asked for.
// He hears it once. RFC 2852 §4.1.5
func isLate(c *queue.Claim, now time.Time) bool {
	by := c.Envelope.By
	return by.Asked() && !by.Return && !c.Late && !now.Before(by.Time)
}

// asLate tells the delay of a message as that of one that is late.
func asLate(c *queue.Claim, outcomes []mail.Outcome) []mail.Outcome {
	out := make([]mail.Outcome, len(outcomes))
	for i, o := range outcomes {
		out[i] = o
		out[i].Status, out[i].Text, out[i].Remote = overdue, lateText(*c)+given(o.Text), ""
	}
	return out
}

// hears tells whether the sender hears that another host has taken the message: if he
// asked to, and that host will not tell him what becomes of it, or knows nothing of
// the time that it has. RFC 3461 §5.2.2, RFC 2852 §4.1.4
func hears(by mail.DeliverBy, o mail.Outcome) bool {
	if by.Asked() && (by.Trace || !o.Timed) {
		return o.Recipient.Notify&mail.NotifyNever == 0
	}
	return !o.Reports && o.Recipient.Notify.Wants(mail.NotifySuccess)
}

// Package dsn writes and reads delivery status notifications: what a mail
// system tells the sender of a message that went wrong, takes long, or arrived.
// RFC 3462, RFC 3464; with addresses that are not ASCII RFC 6533.
//
// A Report is written for people first: what happened, to whom, what the other
// side said, and what can be done; then for programs; then comes what is needed
// to know which message it was. It goes out with the null sender, and nothing
// is ever written about a message that had none.
//
// A report is 7bit unless it needs SMTPUTF8: a message that is not goes back as
// its header only. What remote hosts said is quoted, cut, and never on more than one line.
package dsn

import (
	"errors"
	"io"
	"time"

	"posthaste/internal/base/mail"
)

// An Action is what became of a recipient. RFC 3464 §2.3.3
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// A Recipient is what a report says of one recipient.
type Recipient struct {
	Outcome mail.Outcome
	// Action, if it is empty, follows from the status: 2 delivered, 4 delayed,
	// 5 failed. What was given up after many tries is Failed with a 4.
	Action      Action
	ORCPT       string    // as in RCPT, decoded: "rfc822;joe@example.org". RFC 3461 §4.2
	LastAttempt time.Time // zero if unknown
	RetryUntil  time.Time // of a delay
}

// action gives the action.
func (r *Recipient) action() Action {
	if r.Action != "" {
		return r.Action
	}
	switch r.Outcome.Status.Class {
	case 2:
		return Delivered
	case 4:
		return Delayed
	}
	return Failed
}

// MaxReturn is how much of a message goes back at most: of what is larger, and
// in reports other than of failures, the header alone does.
const MaxReturn = 50_000

// A Report is a delivery status notification to be written.
type Report struct {
	Host      string       // the reporting host
	From      mail.Address // the author: postmaster or the like
	To        mail.Address // the sender of the message
	Date      time.Time
	MessageID string // of the report, with brackets
	Boundary  string // must not occur in the message: make it random

	EnvelopeID string       // as in MAIL, decoded; empty if there was none. RFC 3461 §4.4
	Trace      mail.TraceID // under which our log has the message
	Arrival    time.Time    // when the message came
	DeliverBy  time.Time    // when it was to be delivered by; zero if nobody said. RFC 2852 §6
	Recipients []Recipient

	// Original is the message, of Size bytes.
	Original io.ReaderAt
	Size     int64
	Return   mail.Return
	// UTF8 means that the message needs SMTPUTF8, and so does the report.
	UTF8 bool
}

// ErrNullSender means that nobody can be told: the message was a report itself.
var ErrNullSender = errors.New("a message without a sender gets no report")

// NeedsUTF8 tells whether the report can go by SMTPUTF8 only.
func (r *Report) NeedsUTF8() bool { return r.UTF8 || !r.To.IsASCII() }

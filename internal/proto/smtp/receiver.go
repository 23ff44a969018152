package smtp

import (
	"context"
	"io"
	"time"

	"posthaste/internal/base/mail"
)

// A Receiver takes the mail that sessions bring. The mx is one, for strangers;
// the msa is one, for our users; the mda is one, for LMTP.
type Receiver interface {
	// Begin opens a mail transaction for the path of MAIL FROM; the zero
	// Address is the null path. RFC 5321 §3.3
	Begin(ctx context.Context, peer mail.Peer, from mail.Address, p MailParams) (Transaction, error)
}

// A Transaction is a mail transaction. A *mail.Refusal from any of its methods
// is the answer to the client; any other error means that we failed.
//
// After Begin exactly one of Data and Reset is called last.
type Transaction interface {
	// ID is what the client, the log and the Received field call it.
	ID() mail.TraceID
	Rcpt(ctx context.Context, to mail.Address, p RcptParams) error
	// Data reads all of body, whose line ends are CRLF, unless it is binary, and
	// which has no dots stuffed. When it returns nil, the message is ours to keep. An error of
	// body (the client went away, a bare LF, too large) is returned as it is.
	Data(ctx context.Context, body io.Reader) error
	// Reset ends the transaction without a message: RSET, QUIT, a new
	// greeting, or a lost connection.
	Reset(ctx context.Context)
}

// An LMTPTransaction can answer for each recipient. RFC 2033 §4.2
type LMTPTransaction interface {
	Transaction
	// DataEach is Data with an outcome for each recipient that Rcpt took, in
	// their order. An error counts for all.
	DataEach(ctx context.Context, body io.Reader) ([]mail.Outcome, error)
}

// A Prioritized transaction tells by which priority it takes the message: not always
// by the one that was asked for. RFC 6710 §4.1
type Prioritized interface {
	Transaction
	Priority() int8
}

// MailParams are the parameters of MAIL that we announce.
type MailParams struct {
	Size     int64  // SIZE=, 0 if not given. RFC 1870
	EightBit bool   // BODY=8BITMIME. RFC 6152
	Binary   bool   // BODY=BINARYMIME: lines may end anyhow, or not at all. RFC 3030
	UTF8     bool   // SMTPUTF8. RFC 6531
	Auth     string // AUTH=, xtext decoded, "" if not given. RFC 4954 §5
	// Return and EnvelopeID are RET= and ENVID=, the latter decoded. RFC 3461 §4.3, §4.4
	Return     mail.Return
	EnvelopeID string
	// HoldFor and HoldUntil are HOLDFOR= and HOLDUNTIL=: not to be sent before.
	// At most one is set. RFC 4865 §5
	HoldFor   time.Duration
	HoldUntil time.Time
	// RequireTLS is REQUIRETLS: it goes on protected, or not at all. RFC 8689 §2
	RequireTLS bool
	By         By // BY=. RFC 2852
	// Priority is MT-PRIORITY=, from -9 to 9; 0 also if it was not given. RFC 6710
	Priority int8
}

// A By says within what time a message is to be delivered, if Asked. RFC 2852 §4
type By struct {
	Asked         bool
	Within        time.Duration
	Return, Trace bool // as in mail.DeliverBy
}

// Envelope makes the envelope of a transaction for the path of MAIL FROM. It has no
// recipients yet.
func (p MailParams) Envelope(id mail.TraceID, from mail.Address) mail.Envelope {
	env := mail.Envelope{
		Trace: id, Sender: from, UTF8: p.UTF8, EightBit: p.EightBit || p.Binary, Return: p.Return, EnvelopeID: p.EnvelopeID, RequireTLS: p.RequireTLS, Priority: p.Priority,
	}
	if p.By.Asked { // from when the transaction began
		env.By = mail.DeliverBy{Time: id.Time().Add(p.By.Within), Return: p.By.Return, Trace: p.By.Trace}
	}
	return env
}

// RcptParams are the parameters of RCPT that we announce.
type RcptParams struct {
	Notify mail.Notify // NOTIFY=. RFC 3461 §4.1
	// Original is ORCPT=, decoded: "rfc822;joe@example.org". RFC 3461 §4.2
	Original string
	// ValidSince and ValidOnly are RRVS=, and whether ;R stood there. RFC 7293 §3.1
	ValidSince time.Time
	ValidOnly  bool
}

// Recipient makes the recipient of a path.
func (p RcptParams) Recipient(to mail.Address) mail.Recipient {
	return mail.Recipient{Address: to, Notify: p.Notify, ORCPT: p.Original, ValidSince: p.ValidSince, ValidOnly: p.ValidOnly}
}

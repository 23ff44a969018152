package mail

import (
	"net/netip"
	"time"
)

// An Envelope is what SMTP said about a message, without the message.
type Envelope struct {
	Trace      TraceID
	Sender     Address // the zero Address is the null path <>
	Recipients []Recipient
	UTF8       bool // MAIL said SMTPUTF8: header or addresses need it. RFC 6531 §3.4
	EightBit   bool // MAIL said BODY=8BITMIME. RFC 6152
	// Return and EnvelopeID are what reports on the message give back: how much
	// of it, and the sender's own name for it. RFC 3461 §4.3, §4.4
	Return     Return
	EnvelopeID string
	// RequireTLS: it goes only to hosts that encrypt, prove who they are, and ask the
	// same of the next. RFC 8689 §2
	RequireTLS bool
	// AnyTLS: its header says "TLS-Required: No", and RequireTLS is not set. How
	// safely others ask to be spoken to does not hold it up. RFC 8689 §3
	AnyTLS bool
	By     DeliverBy
	// Priority is from -9 to 9; 0 is that of usual mail. RFC 6710
	Priority int8
}

// A DeliverBy is until when a message is to be delivered; the zero DeliverBy is that
// nobody says. RFC 2852
type DeliverBy struct {
	Time   time.Time
	Return bool // it comes back then, by-mode R; else its sender is told, by-mode N
	Trace  bool // the sender is told of each host that passes it on
}

// Asked tells whether somebody says until when.
func (b DeliverBy) Asked() bool { return !b.Time.IsZero() }

// Over tells that it may not be delivered any more.
func (b DeliverBy) Over(now time.Time) bool { return b.Return && !now.Before(b.Time) }

// A Recipient is one address that a message is for.
type Recipient struct {
	Address  Address
	Original Address // as the sender wrote it, when an alias led here; else zero
	// Notify says of what the sender wants to hear, ORCPT whom he wrote to at
	// first, decoded: "rfc822;joe@example.org". RFC 3461 §4.1, §4.2
	Notify Notify
	ORCPT  string
	// ValidSince is since when the address must have belonged to whom it belongs to
	// now, zero if nobody asks that; with ValidOnly it goes to no host that does not
	// look. RFC 7293
	ValidSince time.Time
	ValidOnly  bool
}

// A Return tells how much of a message a report on its failure gives back.
// RFC 3461 §4.3
type Return uint8

// What MAIL may say.
const (
	ReturnUnsaid Return = iota // we give back the header
	ReturnHeader
	ReturnFull
)

// A Notify is a set of what the sender of a message wants to hear of. Zero is
// that he did not say: he hears of failures and delays. RFC 3461 §4.1
type Notify uint8

// What RCPT may say. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants tells whether the sender wants to hear of n, which is one of
// NotifySuccess, NotifyFailure and NotifyDelay.
func (have Notify) Wants(n Notify) bool {
	if have == 0 {
		return n != NotifySuccess
	}
	return have&n != 0
}

// WithoutSuccess is what is left to ask for once success has been told.
func (have Notify) WithoutSuccess() Notify {
	switch {
	case have&NotifySuccess == 0:
		return have
	case have == NotifySuccess:
		return NotifyNever
	}
	return have &^ NotifySuccess
}

// An Outcome is what became of one recipient in one attempt.
type Outcome struct {
	Recipient Recipient
	Status    Status
	Text      string // what the remote host or we said, one line
	Remote    string // the host that said so; empty if we did
	TLS       string // how the session with it was protected; empty in clear
	From      string // our name and address in it, "host [address]"; empty if we have but one
	// Reports tells that the remote host will report to the sender: what it took
	// is its affair. RFC 3461 §5.2.1
	Reports bool
	// Timed tells that the remote host has taken the time by which the message is to
	// be delivered. RFC 2852
	Timed bool
}

// Done tells that there is nothing left to do for the recipient.
func (o Outcome) Done() bool { return o.Status.Class != 4 }

// A Peer is who is at the other end of a session.
type Peer struct {
	Addr    netip.AddrPort
	Name    string // from reverse DNS, confirmed; empty if unknown
	Hello   string // what it called itself in HELO, EHLO or LHLO
	TLS     *TLS   // nil in clear
	Account AccountID
	Login   Address // the address that logged in; zero if nobody has
	// Mechanism is how: the SASL mechanism; empty if a front says so.
	Mechanism string
}

// TLS is what is known of a session's protection.
type TLS struct {
	Version string // "TLS1.3"
	Cipher  string // "TLS_AES_128_GCM_SHA256"
	Server  string // the name the client asked for; empty if none
}

// Protocol gives the word for the "with" clause of a Received field.
// RFC 3848, RFC 6531 §4.3
func (p Peer) Protocol(base string, utf8 bool) string {
	if utf8 {
		base = "UTF8" + map[string]string{"ESMTP": "SMTP", "LMTP": "LMTP"}[base]
	}
	if p.TLS != nil {
		base += "S"
	}
	if p.Account != 0 {
		base += "A"
	}
	return base
}

// A Body is a message as it came in: bytes that can be read as often as one
// likes until Close.
type Body interface {
	// ReadAt reads as io.ReaderAt does.
	ReadAt(p []byte, off int64) (int, error)
	// Size is the length in bytes.
	Size() int64
}

package mda

import (
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/mailbox"
)

// A Place is where a message goes in the account of somebody who had it collected
// elsewhere, and what is written down of that. An account that has no room takes
// nothing: the message is not kept for later, and nobody else gets it either, as it is
// still where it came from.
type Place struct {
	Account mail.AccountID
	// Mailbox is the name of the mailbox that gets it, unless it is junk. It is made if
	// need be; "" is the inbox.
	Mailbox  string
	Keywords []string
	Flags    mailbox.Flags
	Date     time.Time // INTERNALDATE; zero: now
	// Note is called in the transaction that delivers, which has the account's lock. If
	// it fails, nothing is delivered.
	Note func(tx kv.Tx) error
}

// of tells whether the place is in an account.
func (p *Place) of(a mail.AccountID) bool { return p != nil && p.Account == a }

// came tells when a message that was collected came to where it was: as that place says, or
// else as the message does. The zero time if it is no such message.
func (p *Place) came(a mail.AccountID, header []byte) time.Time {
	if !p.of(a) {
		return time.Time{}
	}
	if !p.Date.IsZero() {
		return p.Date
	}
	f, ok := message.Find(header, "date")
	if !ok {
		return time.Time{}
	}
	when, err := message.ParseDate(f.Text())
	if err != nil {
		return time.Time{}
	}
	return when
}

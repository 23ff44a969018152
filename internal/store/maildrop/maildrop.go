// Package maildrop keeps what POP3 needs beyond mailboxes: the policies of an
// account and its devices, which messages each device has collected and when,
// and a ledger of its visits.
//
// All rows lie under the account's lock, beside those of package mailbox, and go
// with the account:
//
//	21 device                a Policy; device 0 has the account's, for all that have no other
//	22 device mailbox chunk  marks of up to 1024 UIDs: collected when, and hidden or not
//	23 time device           a Visit in which something was collected or removed
//
// A mark outlives its message until the keeper comes by; marks and visits of a
// mailbox that is gone mean nothing.
package maildrop

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const (
	kindPolicy = 0x21
	kindMarks  = 0x22
	kindVisit  = 0x23
)

// A Store keeps the rows. DB and Mail must be set.
type Store struct {
	DB   kv.Store
	Mail *mailbox.Store
}

// A Device is which of an account's passwords a client has logged in with, as the
// directory numbers them; 0 is the account's own.
type Device uint32

func key(a mail.AccountID, kind byte) []byte { return append(mailbox.Lock(a).Prefix(), kind) }

func deviceKey(a mail.AccountID, kind byte, d Device) []byte {
	return binary.BigEndian.AppendUint32(key(a, kind), uint32(d))
}

// An After is what becomes of a message that a device has collected.
type After byte

// The answers.
const (
	KeepForEver After = iota
	DeleteAtOnce
	KeepDays // from the first RETR on
)

// A Removal is what it means that a message goes: by DELE, or by the policy.
type Removal byte

// The answers.
const (
	Delete Removal = iota // expunge; it can be restored for some time
	Trash                 // move to the Trash mailbox
	Hide                  // this device does not see it any more, all else does
)

// A Policy says what a device sees, and what becomes of it. The zero Policy is
// POP3 as everybody knows it: INBOX, and nothing goes but by DELE.
type Policy struct {
	After     After
	Days      int // of KeepDays
	Removal   Removal
	Newest    int       // only so many of the newest messages; 0: all
	Since     time.Time // only messages from then on; zero: all
	Unread    bool      // only what nobody has read
	Mailboxes []mail.MailboxID
}

// Limits of a policy.
const (
	MaxDays      = 3650
	MaxMailboxes = 100
)

// Boxes gives the mailboxes that make up the maildrop.
func (p *Policy) Boxes() []mail.MailboxID {
	if len(p.Mailboxes) == 0 {
		return []mail.MailboxID{mailbox.Inbox}
	}
	return p.Mailboxes
}

func (p *Policy) append(b []byte) []byte {
	b = append(b, byte(p.After), byte(p.Removal))
	b = binary.AppendUvarint(b, uint64(p.Days))
	b = binary.AppendUvarint(b, uint64(p.Newest))
	since := int64(0)
	if !p.Since.IsZero() {
		since = p.Since.Unix()
	}
	b = binary.AppendVarint(b, since)
	unread := byte(0)
	if p.Unread {
		unread = 1
	}
	b = append(b, unread)
	b = binary.AppendUvarint(b, uint64(len(p.Mailboxes)))
	for _, m := range p.Mailboxes {
		b = binary.AppendUvarint(b, uint64(m))
	}
	return b
}

func decodePolicy(raw []byte) (p Policy, err error) {
	d := kv.Decode(raw)
	p = Policy{After: After(d.Byte()), Removal: Removal(d.Byte()), Days: int(d.Uvarint()), Newest: int(d.Uvarint())}
	if since := d.Varint(); since != 0 {
		p.Since = time.Unix(since, 0).UTC()
	}
	p.Unread = d.Byte() != 0
	n := d.Uvarint()
	if n > MaxMailboxes || p.After > KeepDays || p.Removal > Hide || p.Days < 0 || p.Days > MaxDays || p.Newest < 0 {
		return p, kv.ErrRow
	}
	for ; n > 0; n-- {
		p.Mailboxes = append(p.Mailboxes, mail.MailboxID(d.Uvarint()))
	}
	return p, d.Err()
}

// SetPolicy gives a device a policy of its own; device 0 stands for the account's
// own password and all devices that have none.
func (s *Store) SetPolicy(ctx context.Context, a mail.AccountID, d Device, p Policy) error {
	if p.After == KeepDays && (p.Days < 1 || p.Days > MaxDays) || p.Newest < 0 || len(p.Mailboxes) > MaxMailboxes {
		return fmt.Errorf("maildrop: a policy keeps 1 to %d days, of at most %d mailboxes: %w", MaxDays, MaxMailboxes, mail.ErrLimit)
	}
	return s.update(ctx, a, func(tx kv.Tx) error {
		tx.Set(deviceKey(a, kindPolicy, d), p.append(nil))
		return nil
	})
}

// ClearPolicy takes a device's policy away: it has the account's then, and the
// account that of everybody.
func (s *Store) ClearPolicy(ctx context.Context, a mail.AccountID, d Device) error {
	return s.update(ctx, a, func(tx kv.Tx) error {
		tx.Delete(deviceKey(a, kindPolicy, d))
		return nil
	})
}

// Forget removes all that is known of a device but its visits.
func (s *Store) Forget(ctx context.Context, a mail.AccountID, d Device) error {
	return s.update(ctx, a, func(tx kv.Tx) error {
		tx.Delete(deviceKey(a, kindPolicy, d))
		marks := deviceKey(a, kindMarks, d)
		tx.DeleteRange(marks, kv.Next(marks))
		return nil
	})
}

func (s *Store) update(ctx context.Context, a mail.AccountID, fn func(kv.Tx) error) error {
	if err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}, fn); err != nil {
		return fmt.Errorf("maildrop: account %d: %w", a, err)
	}
	return nil
}

// Policies are those of an account, by device.
type Policies map[Device]Policy

// Of gives the policy of a device: its own, or the account's.
func (p Policies) Of(d Device) Policy {
	if own, ok := p[d]; ok {
		return own
	}
	return p[0]
}

// Policies gives all policies of an account; nil if there are none.
func (s *Store) Policies(ctx context.Context, a mail.AccountID) (all Policies, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		all = nil
		p := key(a, kindPolicy)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			policy, err := decodePolicy(row.Value)
			if err != nil {
				return err
			}
			if all == nil {
				all = Policies{}
			}
			all[Device(binary.BigEndian.Uint32(row.Key[len(p):]))] = policy
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("maildrop: policies of account %d: %w", a, err)
	}
	return all, nil
}

package maildrop

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Visit is what a device did in one session.
type Visit struct {
	Device  Device
	At      time.Time // the end of it
	From    netip.Addr
	Removal Removal // how what went did
	Bytes   int64   // of what was collected
	Boxes   []BoxVisit

	// Collected and Removed count what Boxes have, or had if it was too much to
	// be written down.
	Collected, Removed int
}

// A BoxVisit is what was done in one mailbox.
type BoxVisit struct {
	Mailbox   mail.MailboxID
	Collected mail.UIDSet
	Removed   mail.UIDSet
	// There is what there was when the visit began, and Next the UID that none had
	// yet: marks of messages that are no more can go.
	There mail.UIDSet
	Next  mail.UID
}

// What the ledger keeps of an account.
const (
	MaxVisits = 1000
	KeepVisit = 400 * 24 * time.Hour
	maxVisit  = 8 << 10 // bytes of one; beyond it, messages are counted only
)

func (v *Visit) append(b []byte, boxes []BoxVisit) []byte {
	b = kv.AppendBytes(b, v.From.AsSlice())
	b = append(b, byte(v.Removal))
	b = binary.AppendUvarint(b, uint64(v.Bytes))
	b = binary.AppendUvarint(b, uint64(v.Collected))
	b = binary.AppendUvarint(b, uint64(v.Removed))
	for _, x := range boxes {
		b = binary.AppendUvarint(b, uint64(x.Mailbox))
		b = appendSet(b, x.Collected)
		b = appendSet(b, x.Removed)
	}
	return b
}

func appendSet(b []byte, s mail.UIDSet) []byte {
	ranges := s.Ranges()
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	last := mail.UID(0)
	for _, r := range ranges {
		b = binary.AppendUvarint(b, uint64(r.First-last))
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		last = r.Last
	}
	return b
}

func decodeSet(d *kv.Decoder) (s mail.UIDSet, err error) {
	last := uint64(0)
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		first := last + d.Uvarint()
		last = first + d.Uvarint()
		if first == 0 || last < first || last > uint64(^mail.UID(0)) {
			return s, kv.ErrRow
		}
		s.AddRange(mail.UID(first), mail.UID(last))
	}
	return s, d.Err()
}

func decodeVisit(raw []byte) (v Visit, err error) {
	d := kv.Decode(raw)
	v.From, _ = netip.AddrFromSlice(d.Bytes())
	v.Removal = Removal(d.Byte())
	v.Bytes = int64(d.Uvarint())
	v.Collected, v.Removed = int(d.Uvarint()), int(d.Uvarint())
	for d.More() {
		x := BoxVisit{Mailbox: mail.MailboxID(d.Uvarint())}
		if x.Collected, err = decodeSet(d); err != nil {
			return v, err
		}
		if x.Removed, err = decodeSet(d); err != nil {
			return v, err
		}
		v.Boxes = append(v.Boxes, x)
	}
	return v, d.Err()
}

// Visited writes down what a device did, once it has ended: which messages it
// collected, from when their days are counted, and what went. A visit in which
// nothing happened leaves no trace.
func (s *Store) Visited(ctx context.Context, a mail.AccountID, v Visit) error {
	for _, x := range v.Boxes {
		v.Collected += x.Collected.Len()
		v.Removed += x.Removed.Len()
		left := x.Collected
		if v.Removal != Hide {
			left = left.Subtract(x.Removed) // what is gone needs no mark
		}
		if err := s.collected(ctx, a, v.Device, x.Mailbox, left); err != nil {
			return err
		}
		if err := s.prune(ctx, a, v.Device, x); err != nil {
			return err
		}
	}
	if v.Collected == 0 && v.Removed == 0 {
		return nil
	}
	b := v.append(nil, v.Boxes)
	if len(b) > maxVisit {
		b = v.append(nil, nil)
	}
	return s.update(ctx, a, func(tx kv.Tx) error {
		at := tx.Now()
		for { // two visits of one moment are two
			k := visitKey(a, at, v.Device)
			old, err := tx.Get(k)
			if err != nil {
				return err
			}
			if old == nil {
				tx.Set(k, b)
				return nil
			}
			at = at.Add(1)
		}
	})
}

// Visits gives the visits of an account, the last one first, and no more than
// most.
func (s *Store) Visits(ctx context.Context, a mail.AccountID, most int) (out []Visit, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		rg := kv.Prefix(key(a, kindVisit))
		rg.Reverse, rg.Limit = true, most
		for row, err := range r.Scan(rg) {
			if err != nil {
				return err
			}
			v, err := decodeVisit(row.Value)
			if err != nil {
				return err
			}
			k := row.Key[kv.PrefixLen+1:]
			v.At = time.Unix(0, int64(binary.BigEndian.Uint64(k)))
			v.Device = Device(binary.BigEndian.Uint32(k[8:]))
			out = append(out, v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("maildrop: visits of account %d: %w", a, err)
	}
	return out, nil
}

// trimVisits forgets visits that are too old, or too many.
func (s *Store) trimVisits(ctx context.Context, a mail.AccountID, now time.Time) error {
	low := key(a, kindVisit)
	cut := visitKey(a, now.Add(-KeepVisit), 0)
	old := false
	err := s.DB.View(ctx, func(r kv.Reader) error {
		old = false
		n := 0
		rg := kv.Prefix(low)
		rg.Reverse, rg.Limit = true, MaxVisits+1
		for row, err := range r.Scan(rg) {
			if err != nil {
				return err
			}
			if n++; n > MaxVisits || string(row.Key) < string(cut) {
				if string(row.Key) >= string(cut) {
					cut = append(append([]byte(nil), row.Key...), 0)
				}
				old = true
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("maildrop: visits of account %d: %w", a, err)
	}
	if !old {
		return nil
	}
	return s.update(ctx, a, func(tx kv.Tx) error {
		tx.DeleteRange(low, cut)
		return nil
	})
}

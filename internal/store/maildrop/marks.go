package maildrop

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A mark is what a device has done with one message.
type mark struct {
	at     int64 // of the first RETR, seconds; 0: none
	hidden bool
}

// chunk is how many UIDs share a row of marks.
const chunk = 1024

// marks are those of one row, by what is left of the UID.
type marks map[uint16]mark

func marksKey(a mail.AccountID, d Device, box mail.MailboxID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(boxKey(a, d, box), n)
}

func boxKey(a mail.AccountID, d Device, box mail.MailboxID) []byte {
	return binary.BigEndian.AppendUint64(deviceKey(a, kindMarks, d), uint64(box))
}

// marksOf tells whose marks a row has.
func marksOf(k []byte) (d Device, box mail.MailboxID, n uint32) {
	k = k[kv.PrefixLen+1:]
	return Device(binary.BigEndian.Uint32(k)), mail.MailboxID(binary.BigEndian.Uint64(k[4:])), binary.BigEndian.Uint32(k[12:])
}

// append writes runs of equal marks: the gap before, the length, the mark.
func (m marks) append(b []byte) []byte {
	end := 0
	for i := 0; i < chunk; {
		v, ok := m[uint16(i)]
		if !ok {
			i++
			continue
		}
		j := i + 1
		for ; j < chunk; j++ {
			if w, ok := m[uint16(j)]; !ok || w != v {
				break
			}
		}
		hidden := uint64(0)
		if v.hidden {
			hidden = 1
		}
		b = binary.AppendUvarint(b, uint64(i-end))
		b = binary.AppendUvarint(b, uint64(j-i))
		b = binary.AppendUvarint(b, uint64(v.at)<<1|hidden)
		i, end = j, j
	}
	return b
}

func decodeMarks(raw []byte) (marks, error) {
	m := marks{}
	d := kv.Decode(raw)
	at := uint64(0)
	for d.More() {
		first := at + d.Uvarint()
		n, v := d.Uvarint(), d.Uvarint()
		if err := d.Err(); err != nil {
			return nil, err
		}
		if first >= chunk || n == 0 || n > chunk-first {
			return nil, kv.ErrRow
		}
		for at = first; at < first+n; at++ {
			m[uint16(at)] = mark{int64(v >> 1), v&1 != 0}
		}
	}
	return m, d.Err()
}

// A row is marks, and whose they are.
type row struct {
	device Device
	box    mail.MailboxID
	first  mail.UID
	marks  marks
}

// each gives the rows of marks under a prefix.
func each(r kv.Reader, prefix []byte, fn func(row) error) error {
	for kvRow, err := range r.Scan(kv.Prefix(prefix)) {
		if err != nil {
			return err
		}
		d, box, n := marksOf(kvRow.Key)
		m, err := decodeMarks(kvRow.Value)
		if err != nil {
			return fmt.Errorf("marks of device %d in mailbox %d: %w", d, box, err)
		}
		if err := fn(row{d, box, mail.UID(n * chunk), m}); err != nil {
			return err
		}
	}
	return nil
}

// Hidden gives the messages of a mailbox that a device does not want to see any
// more.
func (s *Store) Hidden(ctx context.Context, a mail.AccountID, d Device, box mail.MailboxID) (set mail.UIDSet, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		set = mail.UIDSet{}
		return each(r, boxKey(a, d, box), func(rw row) error {
			for i := range uint16(chunk) {
				if rw.marks[i].hidden {
					set.Add(rw.first + mail.UID(i))
				}
			}
			return nil
		})
	})
	if err != nil {
		return set, fmt.Errorf("maildrop: hidden messages: %w", err)
	}
	return set, nil
}

// maxRows is how many rows of marks one commit writes.
const maxRows = 64

// change applies fn to the mark of each message in the set; one that fn makes the
// zero mark is removed.
func (s *Store) change(ctx context.Context, a mail.AccountID, d Device, box mail.MailboxID, set mail.UIDSet, fn func(now int64, m mark) mark) error {
	for !set.IsEmpty() {
		first := uint32(set.Min()) / chunk
		span := mail.UIDSpan(1, ^mail.UID(0))
		if last := (uint64(first) + maxRows) * chunk; last <= uint64(^mail.UID(0)) {
			span = mail.UIDSpan(1, mail.UID(last-1))
		}
		part := set.Intersect(span)
		err := s.update(ctx, a, func(tx kv.Tx) error { return changeSome(tx, a, d, box, part, fn) })
		if err != nil {
			return err
		}
		set = set.Subtract(part)
	}
	return nil
}

func changeSome(tx kv.Tx, a mail.AccountID, d Device, box mail.MailboxID, set mail.UIDSet, fn func(int64, mark) mark) error {
	now := tx.Now().Unix()
	for !set.IsEmpty() {
		n := uint32(set.Min()) / chunk
		k := marksKey(a, d, box, n)
		raw, err := tx.Get(k)
		if err != nil {
			return err
		}
		m, err := decodeMarks(raw)
		if err != nil {
			return err
		}
		first, last := mail.UID(n*chunk), mail.UID(n*chunk+chunk-1)
		for _, rg := range set.Intersect(mail.UIDSpan(max(first, 1), last)).Ranges() {
			for u := uint64(rg.First); u <= uint64(rg.Last); u++ {
				i := uint16(u - uint64(first))
				if v := fn(now, m[i]); v != (mark{}) {
					m[i] = v
				} else {
					delete(m, i)
				}
			}
		}
		if len(m) == 0 {
			tx.Delete(k)
		} else {
			tx.Set(k, m.append(nil))
		}
		if last == ^mail.UID(0) {
			break
		}
		set = set.Intersect(mail.UIDSpan(last+1, ^mail.UID(0)))
	}
	return nil
}

// prune removes rows of marks that have no message left.
func (s *Store) prune(ctx context.Context, a mail.AccountID, d Device, x BoxVisit) error {
	var stale [][]byte
	err := s.DB.View(ctx, func(r kv.Reader) error {
		stale = stale[:0]
		return each(r, boxKey(a, d, x.Mailbox), func(rw row) error {
			last := rw.first + (chunk - 1)
			if last < x.Next && len(stale) < maxRows && x.There.Intersect(mail.UIDSpan(max(rw.first, 1), last)).IsEmpty() {
				stale = append(stale, marksKey(a, d, x.Mailbox, uint32(rw.first)/chunk))
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("maildrop: account %d: %w", a, err)
	}
	if len(stale) == 0 {
		return nil
	}
	return s.update(ctx, a, func(tx kv.Tx) error {
		for _, k := range stale {
			tx.Delete(k)
		}
		return nil
	})
}

// collected marks messages as collected now, if they were not before.
func (s *Store) collected(ctx context.Context, a mail.AccountID, d Device, box mail.MailboxID, set mail.UIDSet) error {
	return s.change(ctx, a, d, box, set, func(now int64, m mark) mark {
		if m.at == 0 {
			m.at = now
		}
		return m
	})
}

// Remove lets messages go from a device's maildrop, in the way that r says.
func (s *Store) Remove(ctx context.Context, a mail.AccountID, d Device, box mail.MailboxID, set mail.UIDSet, r Removal) error {
	switch r {
	case Hide:
		return s.change(ctx, a, d, box, set, func(_ int64, m mark) mark {
			m.hidden = true
			return m
		})
	case Trash:
		trash, err := s.trash(ctx, a)
		if err != nil {
			return err
		}
		if trash != box {
			_, err := s.Mail.Move(ctx, a, box, trash, set)
			return err
		}
	}
	return s.expunge(ctx, a, box, set)
}

// due tells when a mark's message goes by a policy; the zero time if it does not.
func (m mark) due(p *Policy) time.Time {
	if p.After != KeepDays || m.at == 0 || m.hidden {
		return time.Time{}
	}
	return time.Unix(m.at, 0).Add(time.Duration(p.Days) * 24 * time.Hour)
}

package reports

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Subject is what reports are on.
type Subject byte

// What we report on.
const (
	OnTLS   Subject = kindSent
	OnDMARC Subject = kindSentDMARC
)

// maxNote bounds what is kept of why a report was not sent.
const maxNote = 500

// A Sending is what became of a report.
type Sending struct {
	Subject Subject
	Day     Day
	Domain  mail.Domain
	// At is when it was decided; zero in rows of old, which tell nothing more.
	At      time.Time
	Counted int64          // sessions or messages
	To      []string       // addresses and URIs to which it goes; none: nobody gets it
	Mail    []mail.TraceID // the messages that carry it, as "why" knows them
	Note    string         // what is wrong with the others that were named
	Left    []string       // URIs at which it is still to be tried
}

// MarkSent notes in a transaction that the report of a domain's day is done with,
// and forgets what it was made of, if it has not been done meanwhile. It needs Lock.
func MarkSent(tx kv.Tx, s Sending) (first bool, err error) {
	k := seen{s.Day, s.Domain}
	have, err := tx.Get(seenKey(byte(s.Subject), k))
	if err != nil || have != nil {
		return false, err
	}
	PutSent(tx, s)
	if s.Subject == OnDMARC {
		all := sightsOf(k)
		tx.DeleteRange(all.Low, all.High)
		tx.Delete(seenKey(kindPolicy, k))
	}
	return true, nil
}

// PutSent writes anew in a transaction what became of a report. It needs Lock.
func PutSent(tx kv.Tx, s Sending) {
	tx.Set(seenKey(byte(s.Subject), seen{s.Day, s.Domain}), s.row())
}

// sentPlain is the whole row of versions that kept nothing else; sentVersion begins
// those that tell more.
const (
	sentPlain   = 1
	sentVersion = 2
)

func (s Sending) row() []byte {
	b := binary.AppendVarint(binary.AppendVarint([]byte{sentVersion}, s.At.Unix()), s.Counted)
	b = binary.AppendUvarint(b, uint64(len(s.To)))
	for _, to := range s.To {
		b = kv.AppendBytes(b, to)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Mail)))
	for _, id := range s.Mail {
		b = append(b, id[:]...)
	}
	b = kv.AppendBytes(b, s.Note[:min(len(s.Note), maxNote)])
	b = binary.AppendUvarint(b, uint64(len(s.Left)))
	for _, uri := range s.Left {
		b = kv.AppendBytes(b, uri)
	}
	return b
}

func (s *Sending) decode(row []byte) error {
	if len(row) == 1 && row[0] == sentPlain {
		return nil
	}
	d := kv.Decode(row)
	if d.Byte() != sentVersion {
		return fmt.Errorf("%w: of a newer version", kv.ErrRow)
	}
	s.At, s.Counted = time.Unix(d.Varint(), 0).UTC(), d.Varint()
	for n := d.Uvarint(); n > 0 && d.More(); n-- {
		s.To = append(s.To, d.String())
	}
	for n := d.Uvarint(); n > 0 && d.More(); n-- {
		var id mail.TraceID
		copy(id[:], d.Raw(len(id)))
		s.Mail = append(s.Mail, id)
	}
	s.Note = d.String()
	if d.More() {
		for n := d.Uvarint(); n > 0 && d.More(); n-- {
			s.Left = append(s.Left, d.String())
		}
	}
	return d.Err()
}

// LatestSent gives what became of up to n reports on each subject, the last days
// first.
func (s *Store) LatestSent(ctx context.Context, n int) (out []Sending, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for _, on := range []Subject{OnDMARC, OnTLS} {
			all := kv.Prefix(append(lock.Prefix(), byte(on)))
			all.Reverse, all.Limit = true, n
			for row, err := range r.Scan(all) {
				if err != nil {
					return err
				}
				k := row.Key[kv.PrefixLen+1:]
				one := Sending{Subject: on, Day: Day(binary.BigEndian.Uint32(k)), Domain: mail.Domain(k[4:])}
				if err := one.decode(row.Value); err != nil {
					return err
				}
				out = append(out, one)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	slices.SortStableFunc(out, func(a, b Sending) int { return int(b.Day) - int(a.Day) })
	return out, nil
}

// Sent gives what became of the report of a domain's day; false if nothing yet.
func (s *Store) Sent(ctx context.Context, on Subject, day Day, d mail.Domain) (one Sending, done bool, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		row, err := r.Get(seenKey(byte(on), seen{day, d}))
		one, done = Sending{Subject: on, Day: day, Domain: d}, row != nil
		if err != nil || row == nil {
			return err
		}
		return one.decode(row)
	})
	if err != nil {
		return one, false, fmt.Errorf("reports: %w", err)
	}
	return one, done, nil
}

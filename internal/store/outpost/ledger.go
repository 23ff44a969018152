package outpost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const (
	subLine  = 0x01
	subSum   = 0x02
	subTally = 0x03
)

// A tally is how much was collected.
type tally struct{ messages, bytes int64 }

func tallyKey(of []byte) []byte { return append(bytes.Clone(of), subTally) }

// decodeTally reads one; there is none if raw is nil.
func decodeTally(raw []byte) (n tally, err error) {
	if raw == nil {
		return n, nil
	}
	d := kv.Decode(raw)
	n = tally{int64(d.Uvarint()), int64(d.Uvarint())}
	if err = d.Err(); err == nil && (n.messages < 0 || n.bytes < 0) {
		err = kv.ErrRow
	}
	return n, err
}

func (n tally) append(b []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(n.messages)), uint64(n.bytes))
}

// A Message is what an outpost calls a message: its UIDL, or its UID with its
// UIDVALIDITY.
type Message [16]byte

// MessageOf gives the Message of a name.
func MessageOf(name string) Message {
	sum := sha256.Sum256([]byte(name))
	return Message(sum[:16])
}

// A Sum is that of the bytes of a message. The zero Sum is none.
type Sum [16]byte

// A Fate is what became of a message.
type Fate byte

// The fates.
const (
	Collected Fate = iota
	Refused        // it cannot be taken, however often it is tried
)

// A Line of the ledger.
type Line struct {
	At   time.Time // when it was collected; zero: there is no such line
	Fate Fate
	Sum  Sum
	Why  string // it was refused
}

// A Folder is the ledger of a folder of an outpost; POP3 has one that is called "".
type Folder struct {
	account mail.AccountID
	key     []byte // of the outpost
	name    [8]byte
}

// Folder gives the ledger of a folder.
func (o *Outpost) Folder(name string) Folder {
	sum := sha256.Sum256([]byte(name))
	return Folder{account: o.Account, key: ledgerKey(o.Account, o.ID), name: [8]byte(sum[:8])}
}

func (f Folder) lines() []byte {
	return append(append(bytes.Clone(f.key), subLine), f.name[:]...)
}

func (f Folder) line(m Message) []byte { return append(f.lines(), m[:]...) }

func (f Folder) sum(s Sum) []byte { return append(append(bytes.Clone(f.key), subSum), s[:]...) }

func (l *Line) append(b []byte) []byte {
	b = binary.AppendVarint(b, l.At.Unix())
	b = append(append(b, byte(l.Fate)), l.Sum[:]...)
	return kv.AppendBytes(b, trace.Cut(l.Why, 300))
}

func decodeLine(raw []byte) (l Line, err error) {
	d := kv.Decode(raw)
	l.At, l.Fate = time.Unix(d.Varint(), 0), Fate(d.Byte())
	copy(l.Sum[:], d.Raw(len(l.Sum)))
	l.Why = d.String()
	if err = d.Err(); err == nil && l.Fate > Refused {
		err = kv.ErrRow
	}
	return l, err
}

// Lines gives the lines of messages, in their order. At most some thousands should be
// asked for at a time.
func (s *Store) Lines(ctx context.Context, f Folder, list []Message) (out []Line, err error) {
	keys := make([][]byte, len(list))
	for i, m := range list {
		keys[i] = f.line(m)
	}
	out = make([]Line, len(list))
	err = s.DB.View(ctx, func(r kv.Reader) error {
		rows, err := r.GetMany(keys...)
		for i, raw := range rows {
			if raw == nil || err != nil {
				continue
			}
			out[i], err = decodeLine(raw)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outpost: ledger: %w", err)
	}
	return out, nil
}

// Twin gives the line of a message of the same bytes, in whatever folder of the
// outpost; false if there is none.
func (s *Store) Twin(ctx context.Context, f Folder, sum Sum) (l Line, found bool, err error) {
	if sum == (Sum{}) {
		return l, false, nil
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		at, err := r.Get(f.sum(sum))
		if err != nil || at == nil {
			return err
		}
		raw, err := r.Get(append(append(bytes.Clone(f.key), subLine), at...))
		if err != nil || raw == nil {
			return err
		}
		l, err = decodeLine(raw)
		found = err == nil && l.Fate == Collected
		return err
	})
	if err != nil {
		return l, false, fmt.Errorf("outpost: ledger: %w", err)
	}
	return l, found, nil
}

// Note writes the line of a message that is delivered in the same transaction, which
// must have the account's lock, and counts it with its size in bytes. mail.ErrExists if
// there is one, or one of a message of the same bytes: then somebody else has delivered it.
func Note(tx kv.Tx, f Folder, m Message, l Line, size int64) error {
	keys := [][]byte{f.line(m)}
	if l.Sum != (Sum{}) {
		keys = append(keys, f.sum(l.Sum))
	}
	rows, err := tx.GetMany(keys...)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(raw []byte) bool { return raw != nil }) {
		return fmt.Errorf("outpost: ledger: %w", mail.ErrExists)
	}
	raw, err := tx.Get(tallyKey(f.key))
	if err != nil {
		return err
	}
	n, err := decodeTally(raw)
	if err != nil {
		return fmt.Errorf("outpost: ledger: %w", err)
	}
	n.messages++
	n.bytes += size
	tx.Set(tallyKey(f.key), n.append(nil))
	write(tx, f, m, l)
	return nil
}

// write writes a line. l.At is now if it is zero.
func write(tx kv.Tx, f Folder, m Message, l Line) {
	if l.At.IsZero() {
		l.At = tx.Now()
	}
	tx.Set(f.line(m), l.append(nil))
	if l.Sum != (Sum{}) {
		tx.Set(f.sum(l.Sum), slices.Concat(f.name[:], m[:]))
	}
}

// Write writes a line that goes with no delivery, in place of what there is.
func (s *Store) Write(ctx context.Context, f Folder, m Message, l Line) error {
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(f.account)}}, func(tx kv.Tx) error {
		write(tx, f, m, l)
		return nil
	})
	if err != nil {
		return fmt.Errorf("outpost: ledger: %w", err)
	}
	return nil
}

// prunePage is how many lines are looked at in one step.
const prunePage = 2000

// Prune forgets the lines of messages that are no longer there, which there tells.
func (s *Store) Prune(ctx context.Context, f Folder, there func(Message) bool) (gone int, err error) {
	low := f.lines()
	rg := kv.Range{Low: low, High: kv.Next(low), Limit: prunePage}
	for {
		var lost []Message
		n := 0
		err := s.DB.View(ctx, func(r kv.Reader) error {
			lost, n = nil, 0
			for row, err := range r.Scan(rg) {
				if err != nil {
					return err
				}
				n++
				m := Message(row.Key[len(low):])
				if !there(m) {
					lost = append(lost, m)
				}
				rg.Low = append(bytes.Clone(row.Key), 0)
			}
			return nil
		})
		if err == nil && len(lost) > 0 {
			err = s.forget(ctx, f, lost)
			gone += len(lost)
		}
		if err != nil {
			return gone, fmt.Errorf("outpost: ledger: %w", err)
		}
		if n < prunePage {
			return gone, nil
		}
	}
}

func (s *Store) forget(ctx context.Context, f Folder, list []Message) error {
	return s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(f.account)}}, func(tx kv.Tx) error {
		for _, m := range list {
			raw, err := tx.Get(f.line(m))
			if err != nil {
				return err
			}
			if raw == nil {
				continue
			}
			tx.Delete(f.line(m))
			l, err := decodeLine(raw)
			if err != nil || l.Sum == (Sum{}) {
				continue
			}
			// Another message of the same bytes may be there still.
			at, err := tx.Get(f.sum(l.Sum))
			if err != nil {
				return err
			}
			if bytes.Equal(at, slices.Concat(f.name[:], m[:])) {
				tx.Delete(f.sum(l.Sum))
			}
		}
		return nil
	})
}

// Refusals counts the messages there that cannot be taken.
func (s *Store) Refusals(ctx context.Context, o *Outpost) (n int64, err error) {
	low := append(ledgerKey(o.Account, o.ID), subLine)
	err = s.DB.View(ctx, func(r kv.Reader) error {
		n = 0
		for row, err := range r.Scan(kv.Prefix(low)) {
			if err != nil {
				return err
			}
			if l, err := decodeLine(row.Value); err != nil {
				return err
			} else if l.Fate == Refused {
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("outpost: ledger: %w", err)
	}
	return n, nil
}

// Check verifies that all rows can be read, and gives a sentence for each that
// cannot, and for each outpost from which nothing can be collected, or that cannot send.
func (s *Store) Check(ctx context.Context, name func(mail.AccountID) string) (wrong []string, err error) {
	var list []Entry
	err = s.DB.View(ctx, func(r kv.Reader) (err error) {
		if list, err = scan(r); err == nil {
			wrong, err = checkAddresses(r, list)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outpost: %w", err)
	}
	for i := range list {
		e := &list[i]
		who := name(e.Account)
		if who == "" {
			wrong = append(wrong, fmt.Sprintf("outpost %d (%s) belongs to account %d, which is no more", e.ID, e.Name, e.Account))
			continue
		}
		if e.Error != "" && !e.Paused && (e.Stopped || e.Fails >= 3) {
			wrong = append(wrong, fmt.Sprintf("nothing can be collected from %q for %s: %s", e.Name, who, e.Error))
		}
		if e.SendAs != nil && e.SendStopped && !e.Paused {
			wrong = append(wrong, fmt.Sprintf("nothing can be sent as %s for %s: %s", e.SendAs.Address, who, e.SendError))
		}
		bad, err := s.checkLedger(ctx, &e.Outpost)
		if err != nil {
			return nil, err
		}
		if bad > 0 {
			wrong = append(wrong, fmt.Sprintf("outpost %d (%s) of %s: %d lines of its ledger cannot be read", e.ID, e.Name, who, bad))
		}
	}
	return wrong, nil
}

func (s *Store) checkLedger(ctx context.Context, o *Outpost) (bad int, err error) {
	low := ledgerKey(o.Account, o.ID)
	err = s.DB.View(ctx, func(r kv.Reader) error {
		bad = 0
		for row, err := range r.Scan(kv.Prefix(low)) {
			if err != nil {
				return err
			}
			k := row.Key[len(low):]
			switch {
			case len(k) == 1+8+16 && k[0] == subLine:
				_, err = decodeLine(row.Value)
			case len(k) == 1+16 && k[0] == subSum && len(row.Value) == 8+16:
			case len(k) == 1 && k[0] == subTally:
				_, err = decodeTally(row.Value)
			default:
				err = kv.ErrRow
			}
			if err != nil {
				bad++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("outpost: ledger: %w", err)
	}
	return bad, nil
}

package mailbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// What one commit did to one mailbox. A row 05 is a sequence of these.
type op struct {
	kind        byte
	box         mail.MailboxID
	uids        mail.UIDSet    // opAppend, opFlags, opExpunge
	add, remove Flags          // opFlags: first remove, then add
	entries     []noted        // opMetadata
	reader      mail.AccountID // opSeen: whose it is
}

const (
	opAppend   = 1 // messages came in
	opFlags    = 2 // their flags changed
	opExpunge  = 3 // messages went
	opMailbox  = 4 // the mailbox was made, renamed, subscribed
	opGone     = 5 // the mailbox was deleted
	opKeywords = 6 // it has new keywords
	opMetadata = 7 // something was noted about it, or about the account
	opSeen     = 8 // what somebody has seen changed, for that reader only
)

func (o *op) append(b []byte) []byte {
	b = append(b, o.kind)
	b = binary.AppendUvarint(b, uint64(o.box))
	switch o.kind {
	case opFlags:
		b = binary.BigEndian.AppendUint64(b, uint64(o.add))
		b = binary.BigEndian.AppendUint64(b, uint64(o.remove))
		b = appendUIDs(b, o.uids)
	case opAppend, opExpunge:
		b = appendUIDs(b, o.uids)
	case opMetadata:
		b = appendEntries(b, o.entries)
	case opSeen:
		b = appendUIDs(binary.AppendUvarint(b, uint64(o.reader)), o.uids)
	}
	return b
}

func decodeOps(raw []byte, fn func(*op) error) error {
	d := kv.Decode(raw)
	for d.More() {
		o := op{kind: d.Byte(), box: mail.MailboxID(d.Uvarint())}
		switch o.kind {
		case opFlags:
			o.add, o.remove = Flags(d.Uint64()), Flags(d.Uint64())
			o.uids = decodeUIDs(d)
		case opAppend, opExpunge:
			o.uids = decodeUIDs(d)
		case opMetadata:
			o.entries = decodeEntries(d)
		case opSeen:
			o.reader = mail.AccountID(d.Uvarint())
			o.uids = decodeUIDs(d)
		case opMailbox, opGone, opKeywords:
		default:
			return kv.ErrRow
		}
		if err := d.Err(); err != nil {
			return err
		}
		if err := fn(&o); err != nil {
			return err
		}
	}
	return d.Err()
}

// eachChange calls fn for every op of the log after since, up to and with upTo.
func eachChange(r kv.Reader, a mail.AccountID, since, upTo mail.ModSeq, fn func(mail.ModSeq, *op) error) error {
	if since >= upTo {
		return nil
	}
	want := since
	rows := kv.Range{Low: key64(a, kindChange, uint64(since)+1), High: key64(a, kindChange, uint64(upTo)+1)}
	for row, err := range r.Scan(rows) {
		if err != nil {
			return fmt.Errorf("mailbox: change log of account %d: %w", a, err)
		}
		seq := mail.ModSeq(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))
		if want++; seq != want {
			return fmt.Errorf("mailbox: change log of account %d: entry %d is missing", a, want)
		}
		if err := decodeOps(row.Value, func(o *op) error { return fn(seq, o) }); err != nil {
			return fmt.Errorf("mailbox: change %d of account %d: %w", seq, a, err)
		}
	}
	if want != upTo {
		return fmt.Errorf("mailbox: change log of account %d ends at %d, not at %d", a, want, upTo)
	}
	return nil
}

// Touched is what happened to a mailbox in a span of the log.
type Touched struct {
	ID       mail.MailboxID
	Box      *Mailbox     // as it is now; nil if it is gone
	Appended bool         // messages came in
	Expunged bool         // messages went
	Flags    bool         // their flags changed
	Noted    []Annotation // entries that were written, without their values
	Renamed  bool         // the mailbox was made, renamed or deleted, or a subscription changed
}

// Touched gives the mailboxes that were changed after since in the order of
// their ids, and the account's sequence now. Commits that skip holds for are
// passed over, and what others have seen is no change for who asks. It gives false
// if the log does not reach back so far. With Renamed, an ID of zero stands for a
// subscription to a name that is none.
func (s *Store) Touched(ctx context.Context, a, who mail.AccountID, since mail.ModSeq, skip func(mail.ModSeq) bool) (list []Touched, seq mail.ModSeq, ok bool, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		list, ok = nil, false
		rt, err := readRoot(r, a)
		if err != nil {
			return err
		}
		if seq = rt.modseq; since < rt.floor {
			return nil
		}
		ok = true
		at := map[mail.MailboxID]*Touched{}
		err = eachChange(r, a, since, rt.modseq, func(n mail.ModSeq, o *op) error {
			if !skip(n) {
				t := at[o.box]
				if t == nil {
					t = &Touched{ID: o.box}
					at[o.box] = t
				}
				t.note(o, who)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, t := range at {
			m, err := readMailbox(r, a, t.ID)
			if err == nil {
				t.Box = &m
			} else if !errors.Is(err, mail.ErrNotFound) {
				return err
			}
			list = append(list, *t)
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, fmt.Errorf("mailbox: what was touched: %w", err)
	}
	slices.SortFunc(list, func(x, y Touched) int { return cmp.Compare(x.ID, y.ID) })
	return list, seq, ok, nil
}

func (t *Touched) note(o *op, who mail.AccountID) {
	switch o.kind {
	case opAppend:
		t.Appended = true
	case opExpunge:
		t.Expunged = true
	case opFlags:
		t.Flags = true
	case opSeen:
		t.Flags = t.Flags || o.reader == who
	case opMetadata:
		for _, n := range o.entries {
			t.Noted = append(t.Noted, Annotation{Reader: n.reader, Name: n.name})
		}
	case opMailbox, opGone:
		t.Renamed = true
	}
}

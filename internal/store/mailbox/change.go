package mailbox

import (
	"encoding/binary"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// What one commit did to one mailbox. A row 05 is a sequence of these.
type op struct {
	kind        byte
	box         mail.MailboxID
	uids        mail.UIDSet // opAppend, opFlags, opExpunge
	add, remove Flags       // opFlags: first remove, then add
}

const (
	opAppend   = 1 // messages came in
	opFlags    = 2 // their flags changed
	opExpunge  = 3 // messages went
	opMailbox  = 4 // the mailbox was made, renamed, subscribed
	opGone     = 5 // the mailbox was deleted
	opKeywords = 6 // it has new keywords
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

package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

// rows gives the rows of the emails, nil where there is none.
func (s *Store) rows(ctx context.Context, a mail.AccountID, kind byte, ids []mail.EmailID) (rows [][]byte, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) (err error) {
		if dense(ids) {
			rows, err = scanRows(r, a, kind, ids)
			return err
		}
		keys, room := make([][]byte, len(ids)), make([]byte, 0, len(ids)*(kv.PrefixLen+9))
		for i, id := range ids {
			at := len(room)
			room = append(Lock(a).AppendPrefix(room), kind)
			room = binary.BigEndian.AppendUint64(room, uint64(id))
			keys[i] = room[at:len(room):len(room)]
		}
		rows, err = r.GetMany(keys...)
		return err
	})
	return rows, err
}

// dense tells whether one scan over the rows is cheaper than to look for each.
func dense(ids []mail.EmailID) bool {
	n := len(ids)
	if n < 4 || uint64(ids[n-1]-ids[0]) >= 2*uint64(n) {
		return false
	}
	for i := range n - 1 {
		if ids[i] >= ids[i+1] {
			return false
		}
	}
	return true
}

// maxGuess is how much memory scanRows takes at first.
const maxGuess = 2 << 20

// scanRows is rows for ids that are in order and close to each other.
func scanRows(r kv.Reader, a mail.AccountID, kind byte, ids []mail.EmailID) ([][]byte, error) {
	rows := make([][]byte, len(ids))
	ends := make([]int, len(ids))
	var text []byte
	i := 0
	rg := kv.Range{Low: key64(a, kind, uint64(ids[0])), High: key64(a, kind, uint64(ids[len(ids)-1])+1)}
	for row, err := range r.Scan(rg) {
		if err != nil {
			return nil, err
		}
		id := mail.EmailID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))
		for ids[i] < id {
			ends[i] = len(text)
			i++
		}
		if text == nil { // the others are likely of that size, too
			text = make([]byte, 0, min(len(ids)*(len(row.Value)+len(row.Value)/8+64), maxGuess))
		}
		if ids[i] == id {
			text = append(text, row.Value...)
			ends[i] = len(text)
			i++
		}
	}
	for ; i < len(ids); i++ {
		ends[i] = len(text)
	}
	at := 0
	for i, end := range ends {
		if end > at { // no row is empty
			rows[i] = text[at:end:end]
		}
		at = end
	}
	return rows, nil
}

// parseAgain makes the record of a message whose record is too large for a row.
func (s *Store) parseAgain(ctx context.Context, a mail.AccountID, id mail.EmailID) (Record, error) {
	m, err := s.Messages(ctx, a, []mail.EmailID{id})
	if err != nil {
		return Record{}, err
	}
	b, err := m[0].Open(ctx)
	if err != nil {
		return Record{}, err
	}
	defer b.Close()
	return ParseRecord(b)
}

// ParseRecord makes the record of a message, however large it is.
func ParseRecord(b mail.Body) (Record, error) {
	var p Prepared
	if err := p.parse(b); err != nil {
		return Record{}, err
	}
	if len(p.record) == 1 {
		return p.large, nil
	}
	return decodeRecord(p.record)
}

// A Message is an email whose bytes can be opened.
type Message struct {
	Trace mail.TraceID
	s     *Store
	row   email
	gone  bool
}

// Messages finds the bytes of the emails, in the order of ids.
func (s *Store) Messages(ctx context.Context, a mail.AccountID, ids []mail.EmailID) ([]Message, error) {
	rows, err := s.rows(ctx, a, kindEmail, ids)
	if err != nil {
		return nil, fmt.Errorf("mailbox: messages: %w", err)
	}
	out := make([]Message, len(ids))
	for i, raw := range rows {
		out[i] = Message{s: s, gone: raw == nil}
		if raw == nil {
			continue
		}
		if out[i].row, err = decodeEmail(raw); err != nil {
			return nil, fmt.Errorf("mailbox: email %d: %w", ids[i], err)
		}
		out[i].Trace = out[i].row.trace
	}
	return out, nil
}

// Open opens the message. mail.ErrNotFound if it is gone for good.
func (m *Message) Open(ctx context.Context) (*body.Reader, error) {
	if m.gone {
		return nil, fmt.Errorf("mailbox: message: %w", mail.ErrNotFound)
	}
	return m.s.Bodies.Open(ctx, m.row.ref, m.row.prefix)
}

// OpenIn is Open that uses the memory of buf if that is enough: the reader's
// Bytes give it back.
func (m *Message) OpenIn(ctx context.Context, buf []byte) (*body.Reader, error) {
	if m.gone {
		return nil, fmt.Errorf("mailbox: message: %w", mail.ErrNotFound)
	}
	return m.s.Bodies.OpenIn(ctx, buf, m.row.ref, m.row.prefix)
}

// Append appends the whole message to dst if its body stands in its row, as
// that of a small message does; else it appends nothing, gives false, and the
// message must be opened. mail.ErrNotFound if it is gone for good.
func (m *Message) Append(dst []byte) ([]byte, bool, error) {
	if m.gone {
		return dst, true, fmt.Errorf("mailbox: message: %w", mail.ErrNotFound)
	}
	return body.AppendInline(dst, m.row.ref, m.row.prefix)
}

// OpenEmail is Messages and Open for one.
func (s *Store) OpenEmail(ctx context.Context, a mail.AccountID, id mail.EmailID) (*body.Reader, error) {
	m, err := s.Messages(ctx, a, []mail.EmailID{id})
	if err != nil {
		return nil, err
	}
	return m[0].Open(ctx)
}

// MaxAppend is how much messages that are added in one commit may take in
// rows, all together; one alone always can be.
const MaxAppend = kv.MaxTx * 9 / 10

// AppendMessages adds messages to a mailbox: all or none. mail.ErrLimit if they are
// more than one commit takes.
func (s *Store) AppendMessages(ctx context.Context, a mail.AccountID, box mail.MailboxID, msgs ...Incoming) (out []Appended, err error) {
	weight := 0
	for _, m := range msgs {
		if weight += m.RowBytes(); weight > MaxAppend && len(msgs) > 1 {
			return nil, fmt.Errorf("mailbox: append %d messages: %w", len(msgs), mail.ErrLimit)
		}
	}
	err = s.update(ctx, a, func(e *Edit) error {
		out = out[:0]
		for _, m := range msgs {
			ap, err := e.Append(box, m)
			if err != nil {
				return err
			}
			out = append(out, ap)
		}
		return nil
	})
	return out, err
}

// Watch has wake called when something in the account may have changed, until the
// returned function is called. A look at the account's sequence tells what did. Wake must
// be as kv.Store.Listen wants it.
func (s *Store) Watch(a mail.AccountID, wake func()) (end func()) {
	return s.DB.Listen(topic(a), wake)
}

// ModSeq gives the account's sequence.
func (s *Store) ModSeq(ctx context.Context, a mail.AccountID) (seq mail.ModSeq, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		rt, err := readRoot(r, a)
		seq = rt.modseq
		return err
	})
	return seq, err
}

// Usage is what an account takes and may take. Limits of 0 are none.
type Usage struct {
	Bytes, MaxBytes         int64
	Messages, MaxMessages   int64
	Mailboxes, MaxMailboxes int64
	Expunged                int64 // bytes of what was expunged and can be restored
}

// Usage gives what the account takes.
func (s *Store) Usage(ctx context.Context, a mail.AccountID) (u Usage, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		rt, err := readRoot(r, a)
		if err == nil && !rt.counted {
			rt.boxes, err = countBoxes(r, a)
		}
		u = Usage{Bytes: rt.usedBytes, MaxBytes: rt.maxBytes, Messages: rt.usedCount, MaxMessages: rt.maxCount, Expunged: rt.deadBytes}
		u.Mailboxes, u.MaxMailboxes = rt.boxes, rt.mostBoxes()
		return err
	})
	return u, err
}

// Vanished gives the UIDs that left a mailbox after since. It gives false if
// the log does not reach back so far: then all UIDs that are not there may
// have. RFC 7162 §3.2.5
func (s *Store) Vanished(ctx context.Context, a mail.AccountID, box mail.MailboxID, since mail.ModSeq) (gone mail.UIDSet, ok bool, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		gone, ok = mail.UIDSet{}, false
		rt, err := readRoot(r, a)
		if err != nil || since < rt.floor {
			return err
		}
		ok = true
		m, err := readMailbox(r, a, box)
		if err != nil || m.vanished <= since {
			return err
		}
		return eachChange(r, a, since, rt.modseq, func(_ mail.ModSeq, o *op) error {
			if o.box == box && o.kind == opExpunge {
				gone = gone.Union(o.uids)
			}
			return nil
		})
	})
	if err != nil {
		return mail.UIDSet{}, false, fmt.Errorf("mailbox: vanished: %w", err)
	}
	return gone, ok, nil
}

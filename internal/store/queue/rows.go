package queue

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

const (
	envelopeUTF8 = 1 << iota
	envelopeEightBit
	envelopeRequireTLS
	envelopeAnyTLS
	wholeNames // of recipients: each has its domain
)

// row is what does not change: a recipient is named by its place in it.
func (it *Item) row() []byte {
	b := append([]byte(nil), it.Envelope.Trace[:]...)
	b = appendAddress(b, it.Envelope.Sender)
	b = append(b, it.flags())
	b = kv.AppendBytes(b, string(it.Domain))
	b = binary.AppendVarint(b, it.Queued.UnixMilli())
	b = kv.AppendBytes(b, it.Prefix)
	b = it.Body.AppendBinary(b)
	b = binary.AppendUvarint(b, uint64(len(it.Envelope.Recipients)))
	for _, r := range it.Envelope.Recipients {
		b = kv.AppendBytes(b, it.name(r.Address))
		b = appendAddress(b, r.Original)
	}
	return it.appendWishes(b)
}

// flags gives what the envelope says yes to.
func (it *Item) flags() (b byte) {
	e := &it.Envelope
	for i, set := range [...]bool{e.UTF8, e.EightBit, e.RequireTLS, e.AnyTLS, it.Errand.Is()} {
		if set {
			b |= 1 << i
		}
	}
	return b
}

// What a fixed row may have behind the recipients: a number for what it is, and
// its bytes. Rows of older versions have none of it.
const (
	wishEnvelopeID = 1
	wishReturn     = 2
	wishNotify     = 3 // a byte for each recipient
	wishOriginals  = 4 // a string for each recipient
	wishRole       = 5
	wishBy         = 6 // milliseconds, and a byte of flags
	wishPriority   = 7
	wishValidSince = 8 // seconds and a byte for each recipient
	wishErrand     = 9 // the number of an outpost, and two addresses
)

// appendWishes writes what the sender asked for.
func (it *Item) appendWishes(b []byte) []byte {
	e := &it.Envelope
	wish := func(kind uint64, value string) {
		b = kv.AppendBytes(binary.AppendUvarint(b, kind), value)
	}
	if e.EnvelopeID != "" {
		wish(wishEnvelopeID, e.EnvelopeID)
	}
	if e.Return != mail.ReturnUnsaid {
		wish(wishReturn, string([]byte{byte(e.Return)}))
	}
	if it.Role != 0 {
		wish(wishRole, string([]byte{it.Role}))
	}
	if it.Errand.Is() {
		wish(wishErrand, it.Errand.row())
	}
	if e.By.Asked() {
		wish(wishBy, string(appendBy(e.By)))
	}
	if e.Priority != 0 {
		wish(wishPriority, string([]byte{byte(e.Priority)}))
	}
	var notify, originals []byte
	asked, named := false, false
	for _, r := range e.Recipients {
		notify = append(notify, byte(r.Notify))
		originals = kv.AppendBytes(originals, r.ORCPT)
		asked, named = asked || r.Notify != 0, named || r.ORCPT != ""
	}
	if v := appendValid(e.Recipients); v != nil {
		wish(wishValidSince, string(v))
	}
	if asked {
		wish(wishNotify, string(notify))
	}
	if named {
		wish(wishOriginals, string(originals))
	}
	return b
}

// appendValid writes since when the addresses must be whose they are; nil if nobody
// asks that.
func appendValid(rcpts []mail.Recipient) []byte {
	if !slices.ContainsFunc(rcpts, func(r mail.Recipient) bool { return !r.ValidSince.IsZero() }) {
		return nil
	}
	var b []byte
	for _, r := range rcpts {
		at, only := int64(0), byte(0)
		if !r.ValidSince.IsZero() {
			at = r.ValidSince.Unix()
		}
		if r.ValidOnly {
			only = 1
		}
		b = append(binary.AppendVarint(b, at), only)
	}
	return b
}

func decodeValid(b []byte, rcpts []mail.Recipient) {
	d := kv.Decode(b)
	for i := range rcpts {
		if at := d.Varint(); at != 0 {
			rcpts[i].ValidSince = time.Unix(at, 0).UTC()
		}
		rcpts[i].ValidOnly = d.Byte() != 0
	}
}

// decodeWishes reads what the sender asked for, into the envelope and into the
// recipients, which are in the order of the row.
func (it *Item) decodeWishes(d *kv.Decoder, rcpts []mail.Recipient) {
	for d.More() && d.Err() == nil {
		kind, value := d.Uvarint(), d.Bytes()
		switch {
		case d.Err() != nil:
		case kind == wishEnvelopeID:
			it.Envelope.EnvelopeID = string(value)
		case kind == wishReturn && len(value) == 1:
			it.Envelope.Return = mail.Return(value[0])
		case kind == wishRole && len(value) == 1:
			it.Role = value[0]
		case kind == wishPriority && len(value) == 1:
			it.Envelope.Priority = int8(value[0])
		case kind == wishErrand:
			it.Errand = decodeErrand(value)
		case kind == wishBy:
			it.Envelope.By = decodeBy(value)
		case kind == wishNotify && len(value) == len(rcpts):
			for i := range rcpts {
				rcpts[i].Notify = mail.Notify(value[i])
			}
		case kind == wishValidSince:
			decodeValid(value, rcpts)
		case kind == wishOriginals:
			v := kv.Decode(value)
			for i := range rcpts {
				rcpts[i].ORCPT = v.String()
			}
		}
	}
}

// stateRow is what attempts change.
func (it *Item) stateRow() []byte {
	b := binary.AppendVarint(nil, it.Next.UnixMilli())
	b = binary.BigEndian.AppendUint64(b, it.token)
	b = binary.AppendUvarint(b, uint64(it.Attempts))
	warned := byte(0)
	if it.Warned {
		warned = 1
	}
	b = append(b, warned)
	b = kv.AppendBytes(b, it.Text)
	b = kv.AppendBytes(b, it.Remote)
	for _, n := range [...]uint16{it.Status.Class, it.Status.Subject, it.Status.Detail} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(len(it.Envelope.Recipients)))
	for _, r := range it.Envelope.Recipients {
		b = kv.AppendBytes(b, it.name(r.Address))
	}
	flags := byte(0)
	if it.Held {
		flags |= stateHeld
	}
	if it.Late {
		flags |= stateLate
	}
	if it.Via != "" {
		flags |= stateVia
	}
	if it.From != "" {
		flags |= stateFrom
	}
	if flags != 0 { // rows of older versions have no such byte
		b = append(b, flags)
	}
	if it.Via != "" {
		b = kv.AppendBytes(b, it.Via)
	}
	if it.From != "" {
		b = kv.AppendBytes(b, it.From)
	}
	return b
}

// What the byte behind a state says.
const (
	stateHeld = 1 << iota
	stateLate
	stateVia  // the way follows,
	stateFrom // and our address
)

const (
	byReturn = 1 << iota
	byTrace
)

func appendBy(by mail.DeliverBy) []byte {
	flags := byte(0)
	if by.Return {
		flags |= byReturn
	}
	if by.Trace {
		flags |= byTrace
	}
	return append(binary.AppendVarint(nil, by.Time.UnixMilli()), flags)
}

func decodeBy(b []byte) mail.DeliverBy {
	d := kv.Decode(b)
	by := mail.DeliverBy{Time: time.UnixMilli(d.Varint())}
	flags := d.Byte()
	by.Return, by.Trace = flags&byReturn != 0, flags&byTrace != 0
	if d.Err() != nil {
		return mail.DeliverBy{}
	}
	return by
}

func appendAddress(b []byte, a mail.Address) []byte {
	return kv.AppendBytes(kv.AppendBytes(b, a.Local), string(a.Domain))
}

func decodeAddress(d *kv.Decoder) mail.Address {
	return mail.Address{Local: d.String(), Domain: mail.Domain(d.String())}
}

// read reads an item; mail.ErrNotFound if it is gone.
func read(r kv.Reader, l kv.Lock, id mail.QueueID) (Item, error) {
	rows, err := r.GetMany(key(l, kindItem, id), key(l, kindState, id))
	if err != nil {
		return Item{}, fmt.Errorf("queue: item %d: %w", id, err)
	}
	if rows[0] == nil || rows[1] == nil {
		return Item{}, fmt.Errorf("queue: item %d: %w", id, mail.ErrNotFound)
	}
	it, err := decodeItem(id, rows[0], rows[1])
	if err != nil {
		return Item{}, fmt.Errorf("queue: item %d: %w", id, err)
	}
	return it, nil
}

func decodeItem(id mail.QueueID, fixed, state []byte) (Item, error) {
	it := Item{ID: id}
	d := kv.Decode(fixed)
	copy(it.Envelope.Trace[:], d.Raw(len(it.Envelope.Trace)))
	it.Envelope.Sender = decodeAddress(d)
	flags := d.Byte()
	it.Envelope.UTF8, it.Envelope.EightBit = flags&envelopeUTF8 != 0, flags&envelopeEightBit != 0
	it.Envelope.RequireTLS, it.Envelope.AnyTLS = flags&envelopeRequireTLS != 0, flags&envelopeAnyTLS != 0
	it.Domain = mail.Domain(d.String())
	it.Queued = time.UnixMilli(d.Varint())
	it.Prefix = d.Bytes()
	it.Body = body.DecodeRef(d)
	var rcpts []mail.Recipient
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		to := named(d.String(), it.Domain, flags&wholeNames != 0)
		rcpts = append(rcpts, mail.Recipient{Address: to, Original: decodeAddress(d)})
	}
	it.decodeWishes(d, rcpts)
	if err := d.Err(); err != nil {
		return Item{}, err
	}
	if it.Errand.Is() != (flags&wholeNames != 0) {
		return Item{}, kv.ErrRow
	}
	s := kv.Decode(state)
	it.Next = time.UnixMilli(s.Varint())
	it.token = s.Uint64()
	it.Attempts = int(s.Uvarint())
	it.Warned = s.Byte() != 0
	it.Text, it.Remote = s.String(), s.String()
	it.Status = mail.Status{Class: uint16(s.Uvarint()), Subject: uint16(s.Uvarint()), Detail: uint16(s.Uvarint())}
	it.Envelope.Recipients = it.left(rcpts, s)
	if s.More() {
		flags := s.Byte()
		it.Held, it.Late = flags&stateHeld != 0, flags&stateLate != 0
		if flags&stateVia != 0 {
			it.Via = s.String()
		}
		if flags&stateFrom != 0 {
			it.From = s.String()
		}
	}
	return it, s.Err()
}

// left reads which of the recipients are left: mostly all of them, and always
// in their order.
func (it *Item) left(rcpts []mail.Recipient, s *kv.Decoder) []mail.Recipient {
	var out []mail.Recipient
	at := 0
	for n := s.Uvarint(); n > 0 && s.Err() == nil; n-- {
		name := s.String()
		for at < len(rcpts) && it.name(rcpts[at].Address) != name {
			at++
		}
		if at < len(rcpts) {
			out = append(out, rcpts[at])
			at++
		}
	}
	return out
}

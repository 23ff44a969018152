package queue

import (
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

const (
	envelopeUTF8     = 1
	envelopeEightBit = 2
)

// row is what does not change: a recipient is named by its place in it.
func (it *Item) row() []byte {
	b := append([]byte(nil), it.Envelope.Trace[:]...)
	b = appendAddress(b, it.Envelope.Sender)
	flags := byte(0)
	if it.Envelope.UTF8 {
		flags |= envelopeUTF8
	}
	if it.Envelope.EightBit {
		flags |= envelopeEightBit
	}
	b = append(b, flags)
	b = kv.AppendBytes(b, string(it.Domain))
	b = binary.AppendVarint(b, it.Queued.UnixMilli())
	b = kv.AppendBytes(b, it.Prefix)
	b = it.Body.AppendBinary(b)
	b = binary.AppendUvarint(b, uint64(len(it.Envelope.Recipients)))
	for _, r := range it.Envelope.Recipients {
		b = kv.AppendBytes(b, r.Address.Local)
		b = appendAddress(b, r.Original)
	}
	return b
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
		b = kv.AppendBytes(b, r.Address.Local)
	}
	return b
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
	it.Domain = mail.Domain(d.String())
	it.Queued = time.UnixMilli(d.Varint())
	it.Prefix = d.Bytes()
	it.Body = body.DecodeRef(d)
	originals := map[string]mail.Address{}
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		local := d.String()
		originals[local] = decodeAddress(d)
	}
	if err := d.Err(); err != nil {
		return Item{}, err
	}
	s := kv.Decode(state)
	it.Next = time.UnixMilli(s.Varint())
	it.token = s.Uint64()
	it.Attempts = int(s.Uvarint())
	it.Warned = s.Byte() != 0
	it.Text, it.Remote = s.String(), s.String()
	it.Status = mail.Status{Class: uint16(s.Uvarint()), Subject: uint16(s.Uvarint()), Detail: uint16(s.Uvarint())}
	for n := s.Uvarint(); n > 0 && s.Err() == nil; n-- {
		local := s.String()
		it.Envelope.Recipients = append(it.Envelope.Recipients, mail.Recipient{
			Address: mail.Address{Local: local, Domain: it.Domain}, Original: originals[local],
		})
	}
	return it, s.Err()
}

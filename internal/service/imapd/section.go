package imapd

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
)

// A span is a piece of a message.
type span struct{ off, size int64 }

// find gives where a section lies in the message; false if there is no such part.
func find(root *message.Part, size int64, sec *imap.Section) (span, bool) {
	off, n, ok := sec.Find(root, size)
	return span{off, n}, ok
}

// part gives a piece of what is size bytes long.
func (it *item) part(size int64) span {
	if !it.Partial {
		return span{0, size}
	}
	off := min(it.Offset, uint64(size))
	return span{int64(off), int64(min(it.Count, uint64(size)-off))}
}

// writeSection writes BODY[…] and its older forms.
func (f *fetcher) writeSection(m *fetched, it *item) {
	e := f.s.enc
	e.Raw(it.label)
	if it.cached != nil {
		// The record knows all of these fields; that is what cached means.
		b, _ := m.record.Fields(f.fields[:0], it.cached...)
		b = append(b, '\r', '\n')
		f.fields = b
		p := it.part(int64(len(b)))
		e.LiteralBytes(b[p.off : p.off+p.size])
		return
	}
	at, ok := find(m.tree, m.body.Size(), &it.Section)
	if !ok {
		e.Raw("NIL")
		return
	}
	if it.fields != nil {
		b := selectFields(m.body, it, at)
		p := it.part(int64(len(b)))
		e.LiteralBytes(b[p.off : p.off+p.size])
		return
	}
	p := it.part(at.size)
	at = span{at.off + p.off, p.size}
	if b := m.body.Bytes(); b != nil && at.off+at.size <= int64(len(b)) {
		e.LiteralBytes(b[at.off : at.off+at.size])
		return
	}
	e.Literal(io.NewSectionReader(m.body, at.off, at.size), at.size)
}

// selectFields gives some fields of the header at a place.
func selectFields(r io.ReaderAt, it *item, at span) []byte {
	return it.Section.Select(r, it.fields, at.off, at.size)
}

// decodable tells whether we know the transfer encoding of a part.
// RFC 3516 §4.3, UNKNOWN-CTE
func decodable(p *message.Part) bool {
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		return true
	}
	return p.IsMultipart()
}

// measure makes the command fail for a message whose part cannot be decoded,
// before anything of the message is written.
func (f *fetcher) measure(m *fetched) error {
	for i := range f.items {
		it := &f.items[i]
		if it.Kind != imap.ItemBinary && it.Kind != imap.ItemBinarySize || len(it.Section.Path) == 0 {
			continue
		}
		if p := m.tree.At(it.Section.Path...); p != nil && !decodable(p) {
			return no(imap.CodeUnknownCTE, fmt.Sprintf("message %d has a part in an unknown transfer encoding", m.seq))
		}
	}
	return nil
}

// decoded opens a part without its transfer encoding; nil if there is none.
func decoded(m *fetched, sec *imap.Section) io.Reader {
	if len(sec.Path) == 0 {
		return io.NewSectionReader(m.body, 0, m.body.Size())
	}
	p := m.tree.At(sec.Path...)
	if p == nil {
		return nil
	}
	return message.NewBodyReader(p, m.body)
}

// writeBinary writes BINARY[…] and BINARY.SIZE[…]. The size of a decoded part
// is only known at its end, so it is decoded twice. RFC 9051 §6.4.5
func (f *fetcher) writeBinary(m *fetched, it *item) {
	f.s.enc.Raw(it.label)
	f.s.writeDecoded(m, it)
}

// writeDecoded writes a part, or its size, without its transfer encoding.
func (s *session) writeDecoded(m *fetched, it *item) {
	e := s.enc
	r := decoded(m, &it.Section)
	if r == nil {
		if it.Kind == imap.ItemBinarySize {
			e.Raw("0")
		} else {
			e.Raw("NIL")
		}
		return
	}
	c := &counter{}
	size, _ := io.Copy(c, r)
	if it.Kind == imap.ItemBinarySize {
		e.Num(uint64(size))
		return
	}
	p := it.part(size)
	r = decoded(m, &it.Section)
	io.CopyN(io.Discard, r, p.off)
	if c.nul {
		e.Literal8(r, p.size)
	} else {
		e.Literal(r, p.size)
	}
}

// A counter throws bytes away and looks for NUL among them, and for bytes that
// are not ASCII.
type counter struct{ nul, high bool }

// Write takes p.
func (c *counter) Write(p []byte) (int, error) {
	c.nul = c.nul || bytes.IndexByte(p, 0) >= 0
	c.high = c.high || !ascii(p)
	return len(p), nil
}

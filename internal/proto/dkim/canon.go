package dkim

import (
	"bytes"
	"hash"

	"posthaste/internal/proto/message"
)

// A canon is a canonicalization. RFC 6376 §3.4
type canon byte

const (
	simple canon = iota
	relaxed
)

func parseCanon(s string) (canon, bool) {
	switch s {
	case "simple":
		return simple, true
	case "relaxed":
		return relaxed, true
	}
	return simple, false
}

func (c canon) String() string {
	if c == relaxed {
		return "relaxed"
	}
	return "simple"
}

// header appends a field in its canonical form. RFC 6376 §3.4.1, §3.4.2
func (c canon) header(dst []byte, f *message.Field) []byte {
	if c == simple {
		return append(dst, f.Raw...)
	}
	for _, b := range f.Name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	dst = append(dst, ':')
	space, begun := false, false
	for _, b := range f.Value {
		switch b {
		case '\r', '\n':
		case ' ', '\t':
			space = begun
		default:
			if space {
				dst = append(dst, ' ')
			}
			space, begun = false, true
			dst = append(dst, b)
		}
	}
	return append(dst, "\r\n"...)
}

// A bodyHash hashes a body in its canonical form, as its bytes come.
// RFC 6376 §3.4.3, §3.4.4
type bodyHash struct {
	canon canon
	h     hash.Hash
	limit int64 // of l=; below zero there is none

	n       int64 // canonical bytes so far, those beyond limit as well
	crlfs   int   // line ends that wait: at the end they do not count
	space   bool  // white space that waits: at the end of a line it does not count
	cr      bool  // a CR that may begin a line end
	content bool  // the line has something on it
}

// Write takes more of the body; it never fails.
func (b *bodyHash) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if b.cr {
			b.cr = false
			if p[0] == '\n' {
				b.crlfs++
				b.space, b.content = false, false
				p = p[1:]
				continue
			}
			b.put([]byte{'\r'})
			continue
		}
		n := b.plain(p)
		if n > 0 {
			b.put(p[:n])
			p = p[n:]
			continue
		}
		switch p[0] {
		case '\r':
			b.cr = true
		default: // white space, relaxed
			b.space = true
		}
		p = p[1:]
	}
	return total, nil
}

// plain tells how many bytes at the front of p stay as they are.
func (b *bodyHash) plain(p []byte) int {
	if b.canon == simple {
		if i := bytes.IndexByte(p, '\r'); i >= 0 {
			return i
		}
		return len(p)
	}
	for i, c := range p {
		if c == ' ' || c == '\t' || c == '\r' {
			return i
		}
	}
	return len(p)
}

// put hashes bytes, and what waited for something to come behind it.
func (b *bodyHash) put(p []byte) {
	for ; b.crlfs > 0; b.crlfs-- {
		b.sum("\r\n")
	}
	if b.space {
		b.space = false
		b.sum(" ")
	}
	b.content = true
	b.bytes(p)
}

func (b *bodyHash) sum(s string) { b.bytes([]byte(s)) }

func (b *bodyHash) bytes(p []byte) {
	left := int64(len(p))
	if b.limit >= 0 {
		left = min(left, max(b.limit-b.n, 0))
	}
	b.h.Write(p[:left])
	b.n += int64(len(p))
}

// end gives the hash of the whole body.
func (b *bodyHash) end() []byte {
	if b.cr {
		b.cr = false
		b.put([]byte{'\r'})
	}
	if b.n > 0 || b.content || b.canon == simple {
		b.sum("\r\n")
	}
	return b.h.Sum(nil)
}

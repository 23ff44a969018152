package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"posthaste/internal/base/mail"
)

// An Encoder writes answers. Its methods give the Encoder back, so that one
// response is one line of calls; what goes wrong in writing is kept for Flush
// and Err. Whatever string it is given, no more than that string comes out: what
// cannot be quoted goes as a literal. It belongs to one goroutine.
type Encoder struct {
	// UTF8 lets strings and mailbox names go out in UTF-8: after ENABLE of
	// IMAP4rev2 or UTF8=ACCEPT.
	UTF8 bool
	// Words gives the words for people in another language, in UTF-8; nil: they go
	// out as they are, in ASCII. RFC 5255 §3
	Words func(string) string

	w   io.Writer
	buf []byte
	err error
}

// flushAt is when the buffer is written without being asked.
const flushAt = 32 << 10

// NewEncoder makes an encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Reset makes the encoder write to w; nothing may be waiting.
func (e *Encoder) Reset(w io.Writer) { e.w, e.buf = w, nil }

// Flush writes what is waiting.
func (e *Encoder) Flush() error {
	if len(e.buf) > 0 && e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
	return e.err
}

// Err gives the first error of writing.
func (e *Encoder) Err() error { return e.err }

// Release gives the buffer back while nothing is to be written for long.
func (e *Encoder) Release() {
	if len(e.buf) == 0 {
		e.buf = nil
	}
}

func (e *Encoder) set(b []byte) *Encoder {
	e.buf = b
	if len(b) >= flushAt {
		e.Flush()
	}
	return e
}

// Raw writes words of the protocol as they are.
func (e *Encoder) Raw(s string) *Encoder { return e.set(append(e.buf, s...)) }

// Bytes writes what an Append function of this package has made.
func (e *Encoder) Bytes(b []byte) *Encoder { return e.set(append(e.buf, b...)) }

// CRLF ends a response.
func (e *Encoder) CRLF() *Encoder { return e.set(append(e.buf, '\r', '\n')) }

// Num writes a number.
func (e *Encoder) Num(n uint64) *Encoder { return e.set(strconv.AppendUint(e.buf, n, 10)) }

// String writes a string.
func (e *Encoder) String(s string) *Encoder {
	if e.UTF8 {
		return e.set(AppendStringUTF8(e.buf, s))
	}
	return e.set(AppendString(e.buf, s))
}

// Mailbox writes a mailbox name.
func (e *Encoder) Mailbox(name string) *Encoder {
	if e.UTF8 || isASCII(name) && !hasAmp(name) {
		return e.String(name)
	}
	return e.String(string(AppendUTF7(nil, name)))
}

func hasAmp(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '&' {
			return true
		}
	}
	return false
}

// Flags writes flags in parentheses. What is no flag is left out.
func (e *Encoder) Flags(flags []string) *Encoder { return e.set(AppendFlags(e.buf, flags)) }

// Date writes a date with time and zone.
func (e *Encoder) Date(t time.Time) *Encoder { return e.set(AppendDateTime(e.buf, t)) }

// UIDs writes a set of UIDs.
func (e *Encoder) UIDs(s mail.UIDSet) *Encoder { return e.set(s.Append(e.buf)) }

// Literal writes size bytes of r as a literal. If r gives less, the client can
// no longer be spoken to: that is an error of writing as well. NUL, which a
// literal must not have, goes out as 0x80.
func (e *Encoder) Literal(r io.Reader, size int64) *Encoder {
	e.buf = appendMark(e.buf, size)
	e.copy(r, size, e.withoutNUL)
	return e
}

// LiteralBytes is Literal for what is in memory; it does not change b.
func (e *Encoder) LiteralBytes(b []byte) *Encoder {
	e.buf = appendMark(e.buf, int64(len(b)))
	for len(b) > 0 && e.err == nil {
		if len(e.buf) >= flushAt {
			e.Flush()
		}
		n := min(len(b), flushAt)
		start := len(e.buf)
		e.buf = append(e.buf, b[:n]...)
		e.withoutNUL(e.buf[start:])
		b = b[n:]
	}
	return e
}

// withoutNUL replaces NUL, which a literal must not have, by 0x80.
func (*Encoder) withoutNUL(b []byte) {
	for i := bytes.IndexByte(b, 0); i >= 0 && i < len(b); i++ {
		if b[i] == 0 {
			b[i] = 0x80
		}
	}
}

// Literal8 writes size bytes of r as a literal that may have NUL. RFC 3516 §4.2
func (e *Encoder) Literal8(r io.Reader, size int64) *Encoder {
	e.buf = appendMark(append(e.buf, '~'), size)
	e.copy(r, size, func([]byte) {})
	return e
}

var errShort = errors.New("imap: a literal ended early")

func (e *Encoder) copy(r io.Reader, size int64, change func([]byte)) {
	for size > 0 && e.err == nil {
		if len(e.buf) >= flushAt {
			e.Flush()
		}
		room := min(size, int64(max(cap(e.buf)-len(e.buf), 4<<10)), flushAt)
		start := len(e.buf)
		e.buf = grow(e.buf, int(room))
		n, err := r.Read(e.buf[start : start+int(room)])
		change(e.buf[start : start+n])
		e.buf = e.buf[:start+n]
		size -= int64(n)
		if err != nil && size > 0 {
			if err == io.EOF {
				err = errShort
			}
			e.buf = e.buf[:0]
			e.err = fmt.Errorf("imap: read a literal: %w", err)
		}
	}
}

// grow makes b longer by n bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	return append(b, make([]byte, n)...)
}

func appendMark(dst []byte, size int64) []byte {
	dst = strconv.AppendInt(append(dst, '{'), size, 10)
	return append(dst, "}\r\n"...)
}

// maxQuoted is how long a string may be to be quoted.
const maxQuoted = 1000

// AppendString appends s quoted if it is plain ASCII, and as a literal if not:
// good for every client. NUL, which has no form, becomes a space.
func AppendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return appendLiteral(dst, s)
		}
	}
	if len(s) > maxQuoted {
		return appendLiteral(dst, s)
	}
	return appendQuoted(dst, s)
}

// AppendStringUTF8 is AppendString for clients that take UTF-8 in quotes.
// RFC 9051 §4.3
func AppendStringUTF8(dst []byte, s string) []byte {
	if len(s) > maxQuoted || !utf8.ValidString(s) {
		return appendLiteral(dst, s)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return appendLiteral(dst, s)
		}
	}
	return appendQuoted(dst, s)
}

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(append(dst, s[from:i]...), '\\')
			from = i
		}
	}
	return append(append(dst, s[from:]...), '"')
}

func appendLiteral(dst []byte, s string) []byte {
	start := len(appendMark(dst, int64(len(s))))
	dst = append(appendMark(dst, int64(len(s))), s...)
	for i := start; i < len(dst); i++ {
		if dst[i] == 0 {
			dst[i] = ' '
		}
	}
	return dst
}

// AppendNString appends s, or NIL if it is empty.
func AppendNString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s)
}

// AppendAstring appends s as an atom if it is one, else as a string.
func AppendAstring(dst []byte, s string) []byte {
	if s == "" || len(s) > maxQuoted {
		return AppendString(dst, s)
	}
	for i := 0; i < len(s); i++ {
		if !isAtom[s[i]] {
			return AppendString(dst, s)
		}
	}
	return append(dst, s...)
}

// AppendFlags appends flags in parentheses. What is no flag is left out.
func AppendFlags(dst []byte, flags []string) []byte {
	dst = append(dst, '(')
	first := true
	for _, f := range flags {
		if !IsFlag(f) {
			continue
		}
		if !first {
			dst = append(dst, ' ')
		}
		first = false
		dst = append(dst, f...)
	}
	return append(dst, ')')
}

// IsFlag tells whether f can stand among flags: an atom, or one behind "\", or
// the "\*" of PERMANENTFLAGS.
func IsFlag(f string) bool {
	if f == `\*` {
		return true
	}
	if len(f) > 0 && f[0] == '\\' {
		f = f[1:]
	}
	for i := 0; i < len(f); i++ {
		if !isAtom[f[i]] {
			return false
		}
	}
	return f != ""
}

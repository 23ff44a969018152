package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// ErrStray tells that a message is no lawful MIME: bytes that no text has, or line
// ends other than CRLF, stand where nothing says that they may.
var ErrStray = errors.New("bytes that are no text stand outside of parts with Content-Transfer-Encoding: binary")

const (
	// maxQuoted is the largest text that becomes quoted-printable; a larger one, of
	// which nobody can know what is in it without reading it, becomes base64.
	maxQuoted = 1 << 20
	// maxArmorHeader is the longest header of a part.
	maxArmorHeader = 1 << 20
)

// Armor writes the message of size bytes in r, which is binary (RFC 3030 §3), so that
// it is lines of text: what its parts have in Content-Transfer-Encoding "binary"
// becomes base64, or quoted-printable where it is text, and stays as it is where it
// is lines already; parts and messages around them become "8bit". All other bytes
// are copied, and are ErrStray if they are no lines. RFC 2045 §6.2, §6.4
func Armor(w io.Writer, r io.ReaderAt, size int64) error {
	tree, err := Parse(r, size)
	if err != nil {
		return err
	}
	a := armorer{r: r, out: lineWriter{w: w}}
	if err := a.part(tree); err != nil {
		return err
	}
	return a.out.end()
}

type armorer struct {
	r   io.ReaderAt
	out lineWriter
}

// part writes a part. It nests no deeper than trees do.
func (a *armorer) part(p *Part) error {
	inner := p.Children
	if p.Message != nil {
		inner = []*Part{p.Message}
	}
	if !equalFold(p.Encoding, "binary") {
		return a.around(p, p.Offset, inner)
	}
	if len(inner) > 0 || p.IsMultipart() || p.IsType("message") { // what has parts is never encoded
		if err := a.header(p, "8bit"); err != nil {
			return err
		}
		return a.around(p, p.BodyOffset(), inner)
	}
	return a.leaf(p)
}

// around copies a part from a place on, but writes those in it.
func (a *armorer) around(p *Part, pos int64, inner []*Part) error {
	for _, c := range inner {
		if err := a.copy(pos, c.Offset); err != nil {
			return err
		}
		if err := a.part(c); err != nil {
			return err
		}
		pos = c.End()
	}
	return a.copy(pos, p.End())
}

func (a *armorer) copy(from, to int64) error {
	_, err := io.Copy(&a.out, io.NewSectionReader(a.r, from, max(to-from, 0)))
	return err
}

// header writes the header of a part with another encoding.
func (a *armorer) header(p *Part, encoding string) error {
	if p.HeaderSize > maxArmorHeader {
		return ErrStray
	}
	h := make([]byte, p.HeaderSize)
	if n, err := a.r.ReadAt(h, p.Offset); n < len(h) {
		return fmt.Errorf("message: read the header at %d: %w", p.Offset, err)
	}
	at, named := 0, false
	for f := range Fields(h) {
		if !f.Is("content-transfer-encoding") {
			continue
		}
		if _, err := a.out.Write(h[at:f.Offset]); err != nil {
			return err
		}
		at = f.Offset + len(f.Raw)
		if named {
			continue
		}
		named = true
		if _, err := a.out.Write([]byte("Content-Transfer-Encoding: " + encoding + "\r\n")); err != nil {
			return err
		}
	}
	_, err := a.out.Write(h[at:])
	return err
}

// leaf writes a part that is binary and has no others in it.
func (a *armorer) leaf(p *Part) error {
	body := func() io.Reader { return io.NewSectionReader(a.r, p.BodyOffset(), p.BodySize) }
	var l lineCheck
	if _, err := io.Copy(&l, body()); err != nil && !errors.Is(err, ErrStray) {
		return err
	} else if err == nil && l.text() {
		if err := a.header(p, "8bit"); err != nil {
			return err
		}
		return a.copy(p.BodyOffset(), p.End())
	}
	if p.IsType("text") && p.BodySize <= maxQuoted {
		data, err := io.ReadAll(body())
		if err != nil {
			return err
		}
		if chooseEncoding(data, true) == "quoted-printable" {
			if err := a.header(p, "quoted-printable"); err != nil {
				return err
			}
			_, err := a.out.Write(appendQuotedPrintable(nil, data))
			return err
		}
	}
	if err := a.header(p, "base64"); err != nil {
		return err
	}
	return a.base64(body())
}

// base64 writes lines of 76 characters. RFC 2045 §6.8
func (a *armorer) base64(r io.Reader) error {
	const line = 57
	in, out := make([]byte, 300*line), make([]byte, 0, 300*78)
	for {
		n, err := io.ReadFull(r, in)
		out = out[:0]
		for rest := in[:n]; len(rest) > 0; {
			k := min(line, len(rest))
			out = append(base64.StdEncoding.AppendEncode(out, rest[:k]), "\r\n"...)
			rest = rest[k:]
		}
		if _, werr := a.out.Write(out); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// A lineWriter passes on what is lines: every CR and LF is one of a CRLF, and there
// is no NUL.
type lineWriter struct {
	w    io.Writer
	last byte // the last byte; 0 at the beginning
}

// Write writes as io.Writer does; ErrStray if p is no lines.
func (l *lineWriter) Write(p []byte) (int, error) {
	if err := strayIn(l.last, p); err != nil {
		return 0, err
	}
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}

// end ends the last line.
func (l *lineWriter) end() error {
	switch l.last {
	case '\r':
		return ErrStray
	case '\n':
		return nil
	}
	_, err := l.w.Write([]byte("\r\n"))
	return err
}

// strayIn looks at a piece of a text, with the byte before it.
func strayIn(last byte, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if bytes.IndexByte(p, 0) >= 0 {
		return ErrStray
	}
	if last == '\r' {
		if p[0] != '\n' {
			return ErrStray
		}
		p = p[1:]
	}
	for {
		n := bytes.IndexByte(p, '\r')
		line := p
		if n >= 0 {
			line = p[:n]
		}
		switch {
		case bytes.IndexByte(line, '\n') >= 0:
			return ErrStray
		case n < 0 || n+1 == len(p):
			return nil
		case p[n+1] != '\n':
			return ErrStray
		}
		p = p[n+2:]
	}
}

// A lineCheck tells whether what is written to it can be "8bit".
type lineCheck struct {
	last byte
	col  int
	long bool
}

// Write looks at p; ErrStray if it is no lines.
func (l *lineCheck) Write(p []byte) (int, error) {
	if err := strayIn(l.last, p); err != nil {
		return 0, err
	}
	for rest := p; len(rest) > 0; {
		line, more, ended := bytes.Cut(rest, newLine)
		if l.col += len(line); l.col > hardLimit {
			l.long = true
		}
		if ended {
			l.col = 0
		}
		rest = more
	}
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return len(p), nil
}

func (l *lineCheck) text() bool { return !l.long && l.last != '\r' }

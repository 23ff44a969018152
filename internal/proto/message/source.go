package message

import (
	"bytes"
	"fmt"
	"io"
)

// A source gives windows on a message, in memory or elsewhere.
type source struct {
	r    io.ReaderAt // nil if buf is all of it
	size int64
	buf  []byte
	base int64 // where buf begins in the message
	step int   // how much is read at once
	err  error // once set, the message seems to end where it happened
}

// windowSize is how much Parse reads at once.
const windowSize = 64 << 10

// at gives the bytes from off on: at least n if there are as many, and as many
// more as there are in memory.
func (s *source) at(off int64, n int) []byte {
	if i := off - s.base; i >= 0 && i <= int64(len(s.buf)) {
		if rest := s.buf[i:]; len(rest) >= n || s.base+int64(len(s.buf)) >= s.size {
			return rest
		}
	}
	if s.r == nil || off >= s.size {
		return nil
	}
	want := min(int64(max(n, s.step)), s.size-off)
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.base = s.buf[:want], off
	got, err := s.r.ReadAt(s.buf, off)
	if int64(got) < want {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		s.err = fmt.Errorf("message: read at %d: %w", off, err)
		s.buf = s.buf[:got]
		s.size = off + int64(got)
	}
	return s.buf
}

// maxLook is how much of a line is looked at to see whether it is a boundary.
const maxLook = MaxBoundary + 64

// A cursor goes through a source and counts lines.
type cursor struct {
	source
	pos   int64
	lines int64 // LFs before pos
}

// line goes over one line and gives its first bytes: at least maxLook or all.
// It is empty at the end only.
func (c *cursor) line() []byte {
	w := c.at(c.pos, maxLook)
	if len(w) == 0 {
		return nil
	}
	if i := bytes.IndexByte(w, '\n'); i >= 0 {
		c.pos += int64(i) + 1
		c.lines++
		return w[:i+1]
	}
	if len(w) > maxLook {
		w = w[:maxLook:maxLook]
	}
	if c.pos+int64(len(w)) >= c.size {
		c.pos += int64(len(w))
		return w
	}
	head := append([]byte(nil), w...) // the window may move
	c.pos += int64(len(w))
	for {
		w = c.at(c.pos, 1)
		if len(w) == 0 {
			return head
		}
		if i := bytes.IndexByte(w, '\n'); i >= 0 {
			c.pos += int64(i) + 1
			c.lines++
			return head
		}
		c.pos += int64(len(w))
	}
}

// dashes goes on to the next line that begins with "--", or to the end. It
// begins at the front of a line.
func (c *cursor) dashes() bool {
	if w := c.at(c.pos, 2); len(w) >= 2 && w[0] == '-' && w[1] == '-' {
		return true
	}
	for {
		w := c.at(c.pos, 3)
		if i := bytes.Index(w, newDashes); i >= 0 {
			c.skip(w[:i+1])
			return true
		}
		if c.pos+int64(len(w)) >= c.size {
			c.skip(w)
			return false
		}
		c.skip(w[:len(w)-2])
	}
}

// toEnd goes to the end.
func (c *cursor) toEnd() {
	for c.pos < c.size {
		c.skip(c.at(c.pos, 1))
	}
}

func (c *cursor) skip(w []byte) {
	c.lines += int64(bytes.Count(w, newLine))
	c.pos += int64(len(w))
}

var (
	newDashes = []byte("\n--")
	newLine   = []byte("\n")
)

package body

import (
	"bytes"
	"io"
)

// lineEnds counts what lacks to have every line of a text end in CRLF.
type lineEnds struct {
	bare int64 // LFs without a CR before them
	last byte  // the last byte seen; 0 at the beginning
}

// count goes on with a piece of the text.
func (e *lineEnds) count(p []byte) {
	if len(p) == 0 {
		return
	}
	if p[0] == '\n' && e.last != '\r' {
		e.bare++
	}
	// All LFs but one in front, less those behind a CR.
	e.bare += int64(bytes.Count(p[1:], lf) - bytes.Count(p, crlf))
	e.last = p[len(p)-1]
}

var lf, crlf = []byte("\n"), []byte("\r\n")

// missing is how many bytes lack, at the end of the text too.
func (e *lineEnds) missing() int64 {
	switch e.last {
	case 0, '\n':
		return e.bare
	case '\r':
		return e.bare + 1
	}
	return e.bare + 2
}

// A countedReader counts what is read through it.
type countedReader struct {
	r    io.Reader
	ends lineEnds
}

// Read reads as io.Reader does.
func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.ends.count(p[:n])
	return n, err
}

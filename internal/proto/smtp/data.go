package smtp

import (
	"bytes"
	"errors"
	"io"

	"posthaste/internal/base/mail"
)

// Why a message is refused while it comes in. A body gives them after the end
// of the message has been found and passed.
var (
	ErrBroken  = mail.Refuse("5.6.0", "message has a bare CR, a bare LF or a NUL", "")
	ErrTooLong = mail.Refuse("5.3.4", "message too large", "")
)

var endOfData = []byte("\r\n.\r\n")

// A DataReader reads the message that follows DATA, without stuffed dots. Its
// lines end in CRLF. The message ends with CRLF . CRLF and with nothing else;
// one that has other line ends, or a NUL, is read to that end and gives
// ErrBroken, and one above the limit ErrTooLong. A stream that ends before is
// io.ErrUnexpectedEOF. RFC 5321 §4.1.1.4, §4.5.2
type DataReader struct {
	r     *Reader
	left  int64  // what may yet come
	begin bool   // the window is at the beginning of a line
	sour  error  // the message will be refused: find its end
	err   error  // what all further reads give; io.EOF after the message
	run   []byte // what next gave and Read has not
}

// Data begins to read a message of at most limit bytes.
func (r *Reader) Data(limit int64) *DataReader {
	r.grow()
	return &DataReader{r: r, left: limit, begin: true}
}

// Err tells how the message ended: nil if it came whole and clean, io.ErrNoProgress
// if it has not been read to its end yet.
func (d *DataReader) Err() error {
	switch {
	case d.err == nil:
		return io.ErrNoProgress
	case errors.Is(d.err, io.EOF):
		return nil
	}
	return d.err
}

// Last is always true: it comes in one piece.
func (d *DataReader) Last() bool { return true }

// Read gives the message.
func (d *DataReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(d.run) == 0 {
		run, err := d.next()
		if err != nil {
			return 0, err
		}
		d.run = run
	}
	n := copy(p, d.run)
	d.run = d.run[n:]
	return n, nil
}

// WriteTo writes the message to w without copying it first.
func (d *DataReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		run, err := d.run, error(nil)
		if d.run = nil; len(run) == 0 {
			run, err = d.next()
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(run)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// next gives the next bytes of the message, in the buffer of the Reader, until
// the next call. It never gives none without an error.
func (d *DataReader) next() ([]byte, error) {
	for d.err == nil {
		w := d.r.window()
		if d.begin {
			if !d.atLine(w) {
				continue
			}
			w = d.r.window()
		}
		if d.sour != nil {
			d.discard(w)
			continue
		}
		n, why := scan(w)
		d.begin = why == stopLine
		if int64(n) > d.left {
			d.sour = ErrTooLong
			d.r.advance(n)
			continue
		}
		if n > 0 {
			// The bytes stay where they are until the next fill.
			d.left -= int64(n)
			d.r.lo += n
			return w[:n], nil
		}
		switch why {
		case stopBreak:
			d.sour = ErrBroken
			d.r.advance(1)
		default:
			d.more()
		}
	}
	return nil, d.err
}

// more reads on; that a stream ends here is never right.
func (d *DataReader) more() {
	if d.r.lo == d.r.hi {
		d.r.lo, d.r.hi = 0, 0
	}
	if err := d.r.fill(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.err = err
	}
}

// atLine looks for a dot at the beginning of a line, and tells whether the
// line goes on behind it.
func (d *DataReader) atLine(w []byte) bool {
	switch {
	case len(w) == 0:
		d.more()
		return false
	case w[0] != '.':
		d.begin = false
		return true
	case len(w) == 1 || len(w) == 2 && w[1] == '\r':
		d.more()
		return false
	case w[1] == '\r' && w[2] == '\n':
		d.r.advance(3)
		if d.err = d.sour; d.err == nil {
			d.err = io.EOF
		}
		return false
	}
	d.r.advance(1)
	d.begin = false
	return true
}

// discard looks for the end of a message that is refused.
func (d *DataReader) discard(w []byte) {
	if i := bytes.Index(w, endOfData); i >= 0 {
		d.r.advance(i + len(endOfData))
		d.err = d.sour
		return
	}
	if n := len(w) - len(endOfData) + 1; n > 0 {
		d.r.advance(n)
	}
	d.more()
}

// Drain reads the rest of the message and forgets it; it gives what Err gives
// then.
func (d *DataReader) Drain() error {
	for {
		if _, err := d.next(); err != nil {
			return d.Err()
		}
	}
}

package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"
)

// ErrFormat says that a file does not begin with a separator.
var ErrFormat = errors.New("mbox: the file does not begin with \"From \"")

const (
	maxLine  = 64 << 10 // what is looked at of a line; longer ones pass through
	maxField = 16 << 10 // what is kept of a field
)

// A Reader reads a file, message for message.
type Reader struct {
	// Sender and Date are those of the separator; they may be empty and zero.
	Sender string
	Date   time.Time
	// Start is where the message's separator begins, End where the next begins.
	// End and Fields are good once the message is read.
	Start, End int64
	Fields     map[string]string // taken out of the header, names in lower case

	in    *bufio.Reader
	quote Quoting
	at    int64  // how far the file is read
	out   []byte // of the message, not yet read
	room  []byte

	inside  bool
	header  bool   // of the message
	field   string // kept field that is being read
	drop    bool   // the line under way is of such a field
	blank   bool   // an empty line came that may belong to the separator
	partial bool   // the line under way has begun before
	next    []byte // the separator of the next message, behind "From "
	found   bool   // there is one
	err     error
}

// NewReader reads from r.
func NewReader(r io.Reader, q Quoting) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, maxLine), quote: q}
}

// Next goes to the next message; io.EOF if there is none.
func (r *Reader) Next() error {
	if r.inside {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	} else if !r.found && r.err == nil {
		r.begin()
	}
	if !r.found {
		if r.err == nil {
			r.err = io.EOF
		}
		return r.err
	}
	r.Sender, r.Date, _ = parseFrom(string(r.next))
	r.Start, r.Fields = r.End, map[string]string{}
	r.found, r.inside, r.header, r.blank, r.partial, r.field = false, true, true, false, false, ""
	return nil
}

// begin looks for the first separator, behind empty lines.
func (r *Reader) begin() {
	for {
		line, err := r.in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull && (err != io.EOF || len(line) == 0) {
			r.err = err
			return
		}
		r.End = r.at
		r.at += int64(len(line))
		if rest, ok := bytes.CutPrefix(line, []byte("From ")); ok {
			r.next, r.found = bytes.Clone(rest), true
			return
		}
		if len(bytes.TrimRight(line, "\r\n")) > 0 {
			r.err = ErrFormat
			return
		}
	}
}

// Read reads the message, with CRLF at the end of each line.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if !r.inside {
			return 0, io.EOF
		}
		if err := r.line(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// line takes a line, or the next part of a very long one.
func (r *Reader) line() error {
	line, err := r.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
		r.err, r.inside = err, false
		return err
	}
	r.out = r.room[:0]
	if len(line) == 0 {
		r.End, r.inside = r.at, false
		return nil
	}
	start := !r.partial
	ended := line[len(line)-1] == '\n'
	if start && r.blank {
		if rest, ok := bytes.CutPrefix(line, []byte("From ")); ok {
			if _, _, ok := parseFrom(string(rest)); ok {
				r.next, r.found, r.inside = bytes.Clone(rest), true, false
				r.End = r.at
				r.at += int64(len(line))
				return nil
			}
		}
		r.out = append(r.out, "\r\n"...)
		r.blank = false
	}
	r.at += int64(len(line))
	r.partial = !ended
	r.take(line, start, ended)
	r.room = r.out[:0]
	return nil
}

// take appends what a line says in the message.
func (r *Reader) take(line []byte, start, ended bool) {
	text := line
	if ended {
		text = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
	}
	if start && ended && len(text) == 0 {
		r.header, r.drop, r.field = false, false, ""
		r.blank = true
		return
	}
	if r.header {
		if start {
			r.beginField(text)
		}
		if r.drop {
			if start {
				text = r.value(text)
			}
			if v := r.Fields[r.field]; len(v)+len(text) < maxField {
				r.Fields[r.field] = v + string(text)
			}
			return
		}
	}
	if start {
		text = r.unquote(text)
	}
	r.out = append(r.out, text...)
	if ended {
		r.out = append(r.out, "\r\n"...)
	}
}

// beginField looks whether a line of the header is of a field that is kept out
// of the message.
func (r *Reader) beginField(text []byte) {
	if len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
		return
	}
	name, _, ok := bytes.Cut(text, []byte(":"))
	r.field = strings.ToLower(string(bytes.TrimRight(name[:min(len(name), 64)], " \t")))
	if r.drop = ok && kept[r.field]; r.drop {
		r.Fields[r.field] = ""
	}
}

// value gives what a line says of a field: all of a line that goes on, or what is
// behind the name.
func (r *Reader) value(text []byte) []byte {
	if text[0] == ' ' || text[0] == '\t' {
		return append([]byte(" "), bytes.TrimSpace(text)...)
	}
	_, v, _ := bytes.Cut(text, []byte(":"))
	return bytes.TrimSpace(v)
}

// unquote takes off the ">" that was put there.
func (r *Reader) unquote(text []byte) []byte {
	if len(text) == 0 || text[0] != '>' {
		return text
	}
	rest := text[1:]
	if r.quote == RD {
		rest = bytes.TrimLeft(rest, ">")
	}
	if bytes.HasPrefix(rest, []byte("From ")) {
		return text[1:]
	}
	return text
}

package pop3

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
)

// What is wrong with what a server says.
var (
	// ErrAnswer is what is no answer.
	ErrAnswer = errors.New("pop3: the server says what is no answer")
	// ErrUnread means that the answer before has not been read to its end.
	ErrUnread = errors.New("pop3: an answer has not been read to its end")
)

// maxAnswer is how long a line of a server may be: challenges are the longest.
const maxAnswer = 16 << 10

// Answers reads what a server says. It belongs to one goroutine.
type Answers struct {
	src  *bufio.Reader
	many bool // an answer of many lines is not over
}

// NewAnswers reads from src.
func NewAnswers(src io.Reader) *Answers {
	return &Answers{src: bufio.NewReaderSize(src, maxAnswer)}
}

// Buffered tells how many bytes have come in and are yet to be read. There must be
// none when TLS begins.
func (a *Answers) Buffered() int { return a.src.Buffered() }

// Reset reads from src from now on.
func (a *Answers) Reset(src io.Reader) { a.src.Reset(src) }

// An Answer is the first line of one.
type Answer struct {
	OK bool
	// More is a challenge of AUTH, whose bytes are in Text as they came.
	More bool
	Code Code // in upper case; "" if there is none
	Text string
}

// Next reads the first line of the next answer.
func (a *Answers) Next() (Answer, error) {
	if a.many {
		return Answer{}, ErrUnread
	}
	line, err := a.line()
	if err != nil {
		return Answer{}, err
	}
	word, rest, _ := strings.Cut(string(line), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(word, "+OK"):
		return Answer{OK: true, Text: rest}, nil
	case word == "+":
		return Answer{More: true, Text: rest}, nil
	case !strings.EqualFold(word, "-ERR"):
		return Answer{}, ErrAnswer
	}
	out := Answer{Text: rest}
	if inner, ok := strings.CutPrefix(rest, "["); ok {
		if code, text, ok := strings.Cut(inner, "]"); ok {
			out.Code, out.Text = Code(strings.ToUpper(code)), strings.TrimSpace(text)
		}
	}
	return out, nil
}

// Challenge gives the bytes of a challenge. RFC 5034 §4
func (a Answer) Challenge() ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(a.Text)
	if err != nil {
		return nil, ErrBase64
	}
	return b, nil
}

// Stamp gives the stamp that stands in a greeting for APOP, with its brackets; "" if
// there is none. RFC 1939 §7
func (a Answer) Stamp() string {
	i := strings.IndexByte(a.Text, '<')
	if i < 0 {
		return ""
	}
	j := strings.IndexByte(a.Text[i:], '>')
	if j < 0 || !strings.Contains(a.Text[i:i+j], "@") {
		return ""
	}
	return a.Text[i : i+j+1]
}

// line reads a line without its end; it is good until the next.
func (a *Answers) line() ([]byte, error) {
	line, err := a.src.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, ErrFlood
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return trim(line), nil
}

// Lines calls fn for each further line of an answer that has many, until its end. It
// is read to the end whatever fn says; a line is good until the next.
func (a *Answers) Lines(fn func(line []byte) error) (err error) {
	for {
		line, rerr := a.line()
		if rerr != nil {
			return rerr
		}
		if len(line) > 0 && line[0] == '.' {
			if line = line[1:]; len(line) == 0 {
				return err
			}
		}
		if err == nil {
			err = fn(line)
		}
	}
}

// ParseUnique reads a line of UIDL: the number of a message and its unique id. An id
// has 1 to 70 printable characters, though some servers have longer ones. RFC 1939 §7
func ParseUnique(line []byte) (n uint32, id string, err error) {
	number, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
	v, err := strconv.ParseUint(string(number), 10, 32)
	rest = bytes.TrimSpace(rest)
	if err != nil || v == 0 || len(rest) == 0 || len(rest) > MaxLine {
		return 0, "", ErrAnswer
	}
	return uint32(v), string(rest), nil
}

// ParseScan reads a line of LIST: the number of a message and its size. What stands
// behind does not matter. RFC 1939 §5
func ParseScan(line []byte) (n uint32, size int64, err error) {
	f := bytes.Fields(line)
	if len(f) < 2 {
		return 0, 0, ErrAnswer
	}
	v, err := strconv.ParseUint(string(f[0]), 10, 32)
	if err == nil && v > 0 {
		if size, err = strconv.ParseInt(string(f[1]), 10, 64); err == nil && size >= 0 {
			return uint32(v), size, nil
		}
	}
	return 0, 0, ErrAnswer
}

// Message reads the message of an answer to RETR, with CRLF at the end of each line and
// without the dots that were put before others. It must be read to io.EOF before the
// next answer.
func (a *Answers) Message() io.Reader {
	a.many = true
	return &received{a: a, start: true}
}

// received is a message on its way.
type received struct {
	a     *Answers
	rest  []byte // of what was read
	start bool   // of a line
	cr    bool   // the last byte was a CR
	buf   []byte
	err   error
}

// Read is as of io.Reader.
func (r *received) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.more()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// more reads a line, or a piece of one that is long.
func (r *received) more() {
	line, err := r.a.src.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.err = err
		return
	}
	if r.start && line[0] == '.' {
		if err == nil && len(trim(line)) == 1 {
			r.a.many, r.err = false, io.EOF
			return
		}
		line = line[1:]
	}
	r.start = err == nil
	n := len(line)
	if bare := err == nil && !(n > 1 && line[n-2] == '\r' || n == 1 && r.cr); bare {
		r.buf = append(append(append(r.buf[:0], line[:n-1]...), '\r'), '\n')
		line = r.buf
	}
	r.cr = err != nil && n > 0 && line[n-1] == '\r'
	r.rest = line
}

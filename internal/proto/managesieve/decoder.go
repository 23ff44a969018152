package managesieve

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"unicode/utf8"
)

// A Decoder reads what a client says. It belongs to one goroutine.
type Decoder struct {
	// Limits may change between commands.
	Limits Limits
	src    *bufio.Reader
	big    []byte // a line longer than what src holds
}

// NewDecoder makes a Decoder of src, with LimitsBeforeLogin.
func NewDecoder(src io.Reader) *Decoder {
	return &Decoder{src: bufio.NewReaderSize(src, 1024), Limits: LimitsBeforeLogin}
}

// Buffered tells how many bytes have come in and are yet to be read. There must be none
// when TLS begins (NO STARTTLS, USENIX 2021).
func (d *Decoder) Buffered() int { return d.src.Buffered() }

// Wait waits for the first byte of the next command.
func (d *Decoder) Wait() error {
	_, err := d.src.Peek(1)
	return err
}

// Reset forgets what has come in, and reads from src from now on.
func (d *Decoder) Reset(src io.Reader) { d.src.Reset(src) }

// Command reads the next command. After an error of this package other than ErrFlood
// the next one can be read.
func (d *Decoder) Command() (Command, error) {
	list, err := d.tokens(1 + maxArguments)
	c, wrong := command(list)
	if err == nil || wrong == ErrUnknown && (err == ErrString || err == ErrSyntax) {
		err = wrong
	}
	if err != nil {
		return Command{Verb: c.Verb}, err
	}
	return c, nil
}

// Response reads what a client answers to a challenge of AUTHENTICATE. The string "*" is
// ErrCancelled. RFC 5804 §2.1
func (d *Decoder) Response() ([]byte, error) {
	list, err := d.tokens(1)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0 || list[0].kind != text:
		return nil, ErrString
	case string(list[0].text) == "*":
		return nil, ErrCancelled
	}
	return decode64(list[0].text)
}

type kind byte

const (
	word kind = iota
	text
	number
)

// A token is a piece of a command.
type token struct {
	kind kind
	text []byte // of a string what it says
}

// maxLines is how many lines a command may have: one for each literal, and one more. More
// than its arguments, so that one with too many is read over.
const maxLines = 8

// tokens reads a command with its literals, to its end even if something is wrong with
// it: what stands in a literal must not be taken for commands.
func (d *Decoder) tokens(most int) (list []token, wrong error) {
	room, skip := d.Limits.Strings, d.Limits.Skip
	for range maxLines {
		line, err := d.line()
		if err != nil {
			return list, err
		}
		rest, size, isLiteral, err := cutMark(line)
		if err != nil {
			return list, err
		}
		if wrong == nil {
			list, wrong = scan(list, rest, most, isLiteral)
		}
		if !isLiteral {
			return list, wrong
		}
		if wrong == nil && size > int64(room) {
			wrong = ErrTooLarge
		}
		if wrong != nil {
			if skip -= size; skip < 0 {
				return list, ErrFlood
			}
			if _, err := io.CopyN(io.Discard, d.src, size); err != nil {
				return list, unexpected(err)
			}
			continue
		}
		room -= int(size)
		body, err := d.literal(int(size))
		if err != nil {
			return list, err
		}
		list = append(list, token{text, body})
	}
	return list, ErrFlood
}

// firstRoom is what a literal gets before it has come.
const firstRoom = 4 << 10

// literal reads n bytes into room that grows as they come.
func (d *Decoder) literal(n int) ([]byte, error) {
	b := make([]byte, 0, min(n, firstRoom))
	for len(b) < n {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(n, 2*cap(b))), b...)
		}
		k, err := io.ReadFull(d.src, b[len(b):cap(b)])
		if b = b[:len(b)+k]; err != nil {
			return nil, unexpected(err)
		}
	}
	return b, nil
}

// unexpected is what an end in the middle of a command is.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads a line and gives it without its CRLF or LF; it is good until the next.
func (d *Decoder) line() ([]byte, error) {
	line, err := d.src.ReadSlice('\n')
	if err == nil {
		return trim(line), nil
	}
	big := d.big[:0]
	for {
		big = append(big, line...)
		switch {
		case len(big) > MaxLine+2:
			return nil, ErrFlood
		case err == nil:
			if d.big = big; cap(big) > 4<<10 {
				d.big = nil // seldom needed again
			}
			return trim(big), nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
		line, err = d.src.ReadSlice('\n')
	}
}

func trim(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// cutMark takes the announcement of a literal off the end of a line: {n+}, or {n} as
// some clients have it; there is no asking whether it may come. A line that ends with a
// brace has no string in quotes at its end, so this is one or nothing. RFC 5804 §4
func cutMark(line []byte) (rest []byte, size int64, found bool, err error) {
	inner, ok := bytes.CutSuffix(line, []byte("}"))
	i := bytes.LastIndexByte(inner, '{')
	if !ok || i < 0 {
		return line, 0, false, nil
	}
	digits := bytes.TrimSuffix(inner[i+1:], []byte("+"))
	if len(digits) == 0 || len(bytes.TrimLeft(digits, "0123456789")) > 0 {
		return line, 0, false, nil
	}
	if size, err = strconv.ParseInt(string(digits), 10, 64); err != nil {
		return nil, 0, false, ErrFlood
	}
	return line[:i], size, true, nil
}

// scan takes the tokens of a line, which is followed by a literal or is the last of the
// command.
func scan(list []token, line []byte, most int, literal bool) ([]token, error) {
	first := len(list) == 0
	for {
		had := len(line)
		line = bytes.TrimLeft(line, " ")
		spaced := first || len(line) < had
		if len(line) == 0 && !literal {
			return list, nil
		}
		if !spaced || len(list) == most {
			return list, ErrSyntax
		}
		if len(line) == 0 { // the literal is the next
			return list, nil
		}
		first = false
		t, rest, err := next(line)
		if err != nil {
			return list, err
		}
		list, line = append(list, t), rest
	}
}

// next takes the token at the front of a line.
func next(line []byte) (t token, rest []byte, err error) {
	if line[0] == '"' {
		return quoted(line[1:])
	}
	n := bytes.IndexByte(line, ' ')
	if n < 0 {
		n = len(line)
	}
	t.text = bytes.Clone(line[:n])
	digits, letters := true, true
	for _, c := range t.text {
		digits = digits && '0' <= c && c <= '9'
		letters = letters && 'a' <= c|0x20 && c|0x20 <= 'z'
	}
	switch {
	case digits:
		t.kind = number
	case letters:
		t.kind = word
	default:
		return t, nil, ErrString
	}
	return t, line[n:], nil
}

// quoted takes a string in quotes, without the first. RFC 5804 §4
func quoted(line []byte) (t token, rest []byte, err error) {
	t = token{text, make([]byte, 0, max(0, bytes.IndexByte(line, '"')))}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			if !utf8.Valid(t.text) {
				return t, nil, ErrSyntax
			}
			return t, line[i+1:], nil
		case c == 0 || c == '\r':
			return t, nil, ErrSyntax
		case c == '\\':
			if i++; i == len(line) || line[i] != '"' && line[i] != '\\' {
				return t, nil, ErrSyntax
			}
		}
		t.text = append(t.text, line[i])
	}
	return t, nil, ErrSyntax
}

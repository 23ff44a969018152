package smtp

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
)

// A Reply is a reply as either side sees it.
type Reply struct {
	Code   int
	Status mail.Status // zero if it has none, as in 220, 334 and 354
	Text   string      // lines are separated by \n
}

// maxReplyText is what we put into a line: with code and status it stays below
// the 512 octets of RFC 5321 §4.5.3.1.5.
const maxReplyText = 480

// Append appends the reply as it goes over the wire. Nothing in Text can make
// it more than one reply: what is not printable ASCII becomes "?".
func (r Reply) Append(b []byte) []byte {
	rest := r.Text
	for more := true; more; {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		b = strconv.AppendUint(b, uint64(r.Code), 10)
		if more {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Status.Class != 0 {
			b = appendStatus(b, r.Status)
			b = append(b, ' ')
		}
		if len(line) > maxReplyText {
			line = line[:maxReplyText]
		}
		b = append(appendPrintable(b, line), '\r', '\n')
	}
	return b
}

func appendStatus(b []byte, s mail.Status) []byte {
	b = strconv.AppendUint(b, uint64(s.Class), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(s.Subject), 10)
	b = append(b, '.')
	return strconv.AppendUint(b, uint64(s.Detail), 10)
}

func appendPrintable[T string | []byte](b []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\t':
			c = ' '
		case c < ' ' || c > '~':
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// Limits of a reply that we read.
const (
	maxReplyLine  = 4096
	maxReplyLines = 100
	maxReplySize  = 2048 // of the text that is kept
)

// ErrReply is what a peer gets no further with that does not reply as RFC 5321
// §4.2 has it, or without end.
var ErrReply = errors.New("not a reply of SMTP")

// ReadReply reads a reply. The text is printable ASCII, and what is too long
// of it is cut; ErrReply and all other errors are the end of the conversation.
func ReadReply(r *Reader) (Reply, error) {
	var rep Reply
	var text []byte
	for n := 0; n < maxReplyLines; n++ {
		line, err := r.Line(maxReplyLine)
		if err != nil && !errors.Is(err, ErrBareLF) {
			if _, ok := errors.AsType[*mail.Refusal](err); ok {
				err = ErrReply
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Reply{}, err
		}
		code, more, rest, ok := parseReplyLine(line)
		if !ok || n > 0 && code != rep.Code {
			return Reply{}, ErrReply
		}
		st, tail := cutStatus(code, rest)
		if st.Class != 0 {
			rep.Status, rest = st, tail
		}
		rep.Code = code
		if n > 0 && len(text) < maxReplySize {
			text = append(text, '\n')
		}
		text = appendPrintable(text, rest[:min(len(rest), maxReplySize-min(len(text), maxReplySize))])
		if !more {
			rep.Text = string(text)
			return rep, nil
		}
	}
	return Reply{}, ErrReply
}

// parseReplyLine reads a line of a reply: three digits, then nothing, or a
// space or a hyphen and the text. RFC 5321 §4.2
func parseReplyLine(line []byte) (code int, more bool, text []byte, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, nil, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, nil, false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 {
		return code, false, nil, true
	}
	switch line[3] {
	case '-':
		more = true
	case ' ':
	default:
		return 0, false, nil, false
	}
	return code, more, line[4:], true
}

// cutStatus takes an enhanced status code that fits the code off the front of
// a text. RFC 2034 §4
func cutStatus(code int, text []byte) (mail.Status, []byte) {
	if len(text) < 5 || text[1] != '.' || int(text[0]-'0') != code/100 || code/100 == 3 {
		return mail.Status{}, text
	}
	end := 0
	for end < len(text) && end <= 9 && (text[end] == '.' || '0' <= text[end] && text[end] <= '9') {
		end++
	}
	if end < len(text) && text[end] != ' ' {
		return mail.Status{}, text
	}
	st, err := mail.ParseStatus(string(text[:end]))
	if err != nil {
		return mail.Status{}, text
	}
	if end < len(text) {
		end++
	}
	return st, text[end:]
}

// Good tells whether the reply is a yes.
func (r Reply) Good() bool { return r.Code >= 200 && r.Code < 300 }

// Outcome gives the status that the reply means: its own, or the general one
// of its class. What is neither yes nor no where one of them is due, such as
// 354 to RCPT, is a "not now".
func (r Reply) Outcome() mail.Status {
	switch class := uint16(r.Code / 100); {
	case r.Status.Class == class && class != 0:
		return r.Status
	case class == 2 || class == 4 || class == 5:
		return mail.Status{Class: class}
	}
	return mail.Status{Class: 4, Subject: 5}
}

// String gives the reply on one line, as a delivery report quotes it.
func (r Reply) String() string {
	b := strconv.AppendUint(nil, uint64(r.Code), 10)
	if r.Status.Class != 0 {
		b = appendStatus(append(b, ' '), r.Status)
	}
	if r.Text != "" {
		b = append(b, ' ')
		b = append(b, strings.ReplaceAll(r.Text, "\n", " ")...)
	}
	return string(b)
}

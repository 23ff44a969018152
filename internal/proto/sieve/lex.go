package sieve

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxScript is how many bytes a script has.
const MaxScript = 256 << 10

// An Error is what is wrong with a script, and where.
type Error struct {
	Line int // from 1
	Text string
}

// Error tells it.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

type tokenKind byte

const (
	end tokenKind = iota
	word
	tag
	number
	text
	mark // one of [ ] ( ) { } , ;
)

type token struct {
	kind tokenKind
	text string // of a word or tag in lower case, of a string what it says
	num  uint64
	line int
}

// String is how a token is called in an error.
func (t token) String() string {
	switch t.kind {
	case end:
		return "the end"
	case tag:
		return ":" + t.text
	case number:
		return fmt.Sprint(t.num)
	case text:
		return "a string"
	}
	return fmt.Sprintf("%q", t.text)
}

// A lexer divides a script into tokens. RFC 5228 §8.1
type lexer struct {
	in   string
	at   int
	line int
}

// fail is an error at the line where the lexer stands.
func (l *lexer) fail(format string, args ...any) error {
	return &Error{l.line, fmt.Sprintf(format, args...)}
}

func (l *lexer) next() (token, error) {
	if err := l.blank(); err != nil {
		return token{}, err
	}
	t := token{line: l.line}
	if l.at == len(l.in) {
		return t, nil
	}
	c := l.in[l.at]
	switch {
	case strings.IndexByte("[](){},;", c) >= 0:
		l.at++
		t.kind, t.text = mark, string(c)
		return t, nil
	case c == '"':
		s, err := l.quoted()
		t.kind, t.text = text, s
		return t, err
	case c == ':':
		l.at++
		name := l.name()
		if name == "" {
			return t, l.fail("a name must follow the colon")
		}
		t.kind, t.text = tag, name
		return t, nil
	case isDigit(c):
		n, err := l.number()
		t.kind, t.num = number, n
		return t, err
	}
	name := l.name()
	if name == "" {
		r, _ := utf8.DecodeRuneInString(l.in[l.at:])
		return t, l.fail("%q has no meaning here; text stands in quotes", r)
	}
	if name == "text" && l.at < len(l.in) && l.in[l.at] == ':' {
		l.at++
		s, err := l.lines()
		t.kind, t.text = text, s
		return t, err
	}
	t.kind, t.text = word, name
	return t, nil
}

// blank passes white space and comments.
func (l *lexer) blank() error {
	for l.at < len(l.in) {
		switch c := l.in[l.at]; {
		case c == '\n':
			l.line++
			l.at++
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '#':
			n := strings.IndexByte(l.in[l.at:], '\n')
			if n < 0 {
				n = len(l.in) - l.at
			}
			l.at += n
		case strings.HasPrefix(l.in[l.at:], "/*"):
			n := strings.Index(l.in[l.at+2:], "*/")
			if n < 0 {
				return l.fail("this comment has no end: */ is missing")
			}
			l.line += strings.Count(l.in[l.at:l.at+2+n], "\n")
			l.at += n + 4
		default:
			return nil
		}
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// name reads an identifier, in lower case; "" if there is none.
func (l *lexer) name() string {
	from := l.at
	for l.at < len(l.in) && (isLetter(l.in[l.at]) || l.at > from && isDigit(l.in[l.at])) {
		l.at++
	}
	return strings.ToLower(l.in[from:l.at])
}

func (l *lexer) number() (n uint64, err error) {
	for l.at < len(l.in) && isDigit(l.in[l.at]) {
		if n = n*10 + uint64(l.in[l.at]-'0'); n > maxNumber {
			return 0, l.fail("a number is no larger than %d", uint64(maxNumber))
		}
		l.at++
	}
	if l.at < len(l.in) {
		shift := map[byte]uint{'k': 10, 'm': 20, 'g': 30}[l.in[l.at]|0x20]
		if shift > 0 {
			l.at++
			if n > maxNumber>>shift {
				return 0, l.fail("a number is no larger than %d", uint64(maxNumber))
			}
			n <<= shift
		}
	}
	if l.at < len(l.in) && isLetter(l.in[l.at]) {
		return 0, l.fail("a number has K, M or G behind it, or nothing")
	}
	return n, nil
}

// maxNumber is the largest number. RFC 5228 §2.4.1 asks for 2^31-1 at least.
const maxNumber = 1<<40 - 1

func (l *lexer) quoted() (string, error) {
	begin := l.line
	var b strings.Builder
	for l.at++; l.at < len(l.in); l.at++ {
		switch c := l.in[l.at]; c {
		case '"':
			l.at++
			return lineEnds(b.String()), nil
		case '\\':
			l.at++
			if l.at < len(l.in) {
				if l.in[l.at] == '\n' {
					l.line++
				}
				b.WriteByte(l.in[l.at])
			}
		case '\n':
			l.line++
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return "", &Error{begin, "this string has no end: a quote is missing"}
}

// lines reads what follows "text:", up to a line that is a dot. RFC 5228 §2.4.2
func (l *lexer) lines() (string, error) {
	begin := l.line
	rest, found := strings.CutPrefix(strings.TrimLeft(l.in[l.at:], " \t"), "#")
	first, rest, whole := strings.Cut(rest, "\n")
	if !whole || !found && strings.TrimSpace(first) != "" {
		return "", l.fail("the text begins in the line after \"text:\"")
	}
	var b strings.Builder
	for l.line++; ; l.line++ {
		one, more, whole := strings.Cut(rest, "\n")
		if !whole && strings.TrimSuffix(one, "\r") != "." {
			return "", &Error{begin, "this text has no end: a line with a dot alone is missing"}
		}
		one = strings.TrimSuffix(one, "\r")
		rest = more
		if one == "." {
			l.at = len(l.in) - len(rest)
			if whole {
				l.line++
			}
			return b.String(), nil
		}
		if strings.HasPrefix(one, "..") {
			one = one[1:]
		}
		b.WriteString(one)
		b.WriteString("\r\n")
	}
}

// lineEnds makes all line ends CRLF, as in messages.
func lineEnds(s string) string {
	if !strings.Contains(s, "\n") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

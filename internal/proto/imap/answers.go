package imap

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// What a client reads a server with. RFC 9051 §7

// MaxToken is the longest atom or quoted string that a client takes of a server.
const MaxToken = 64 << 10

// ErrAnswer says that a server sent what is no answer.
var ErrAnswer = errors.New("imap: the server's answer cannot be understood")

// A TokenKind is what a Token is.
type TokenKind byte

// The kinds.
const (
	EndToken     TokenKind = iota // the line is over
	AtomToken                     // with what stands in brackets behind it
	QuotedToken                   // a quoted string
	LiteralToken                  // its bytes are to be read from Answers.Literal
	OpenToken                     // "("
	CloseToken                    // ")"
)

// A Token is a part of an answer.
type Token struct {
	Kind TokenKind
	Text string // of an atom or quoted string
	Size int64  // of a literal
}

// IsNil tells whether the token stands for nothing.
func (t Token) IsNil() bool { return t.Kind == AtomToken && strings.EqualFold(t.Text, "NIL") }

// Answers reads what a server sends, token for token: memory does not grow with
// how long an answer is, and literals are streams.
type Answers struct {
	in      *bufio.Reader
	buf     []byte
	literal int64 // bytes of a literal that nobody has taken
	inLine  bool
}

// NewAnswers reads from r.
func NewAnswers(r io.Reader) *Answers { return &Answers{in: bufio.NewReaderSize(r, 64<<10)} }

// Reset reads from r from now on, which must be at the beginning of an answer. It
// fails if there are bytes left of before: nothing that came before TLS counts
// after it.
func (a *Answers) Reset(r io.Reader) error {
	if a.in.Buffered() > 0 {
		return ErrAnswer
	}
	a.in.Reset(r)
	return nil
}

// Take gives what has come in of answers that were not begun, for who reads on in
// its place.
func (a *Answers) Take() ([]byte, error) {
	if err := a.Skip(); err != nil {
		return nil, err
	}
	b := make([]byte, a.in.Buffered())
	_, err := io.ReadFull(a.in, b)
	return b, err
}

// Next begins the next answer, and gives its tag: "*", "+", or that of the
// command that it ends. What nobody has read of the former is passed over.
func (a *Answers) Next() (tag string, err error) {
	if err := a.Skip(); err != nil {
		return "", err
	}
	if _, err := a.in.Peek(1); err != nil {
		return "", err // a clean end, if it is one
	}
	a.inLine = true
	t, err := a.Token()
	if err != nil {
		return "", err
	}
	if t.Kind != AtomToken {
		return "", ErrAnswer
	}
	return t.Text, nil
}

// Skip passes over the rest of the answer.
func (a *Answers) Skip() error {
	for a.inLine {
		if _, err := a.Token(); err != nil {
			return err
		}
	}
	return nil
}

// Rest gives the rest of the line as text, without what is behind a literal.
func (a *Answers) Rest() (string, error) {
	if !a.inLine {
		return "", nil
	}
	if err := a.passLiteral(); err != nil {
		return "", err
	}
	a.inLine = false
	a.buf = a.buf[:0]
	for {
		c, err := a.in.ReadByte()
		if err != nil {
			return "", unexpected(err)
		}
		if c == '\n' {
			return strings.TrimSpace(string(a.buf)), nil
		}
		if len(a.buf) == MaxToken {
			return "", ErrAnswer
		}
		a.buf = append(a.buf, c)
	}
}

// Token gives the next token of the answer.
func (a *Answers) Token() (Token, error) {
	if !a.inLine {
		return Token{}, nil
	}
	if err := a.passLiteral(); err != nil {
		return Token{}, err
	}
	for {
		c, err := a.in.ReadByte()
		if err != nil {
			return Token{}, unexpected(err)
		}
		switch c {
		case ' ', '\r':
			continue
		case '\n':
			a.inLine = false
			return Token{}, nil
		case '(':
			return Token{Kind: OpenToken}, nil
		case ')':
			return Token{Kind: CloseToken}, nil
		case '"':
			text, err := a.quoted()
			return Token{Kind: QuotedToken, Text: text}, err
		case '{':
			return a.literalToken()
		case '~':
			if b, err := a.in.Peek(1); err == nil && b[0] == '{' {
				a.in.Discard(1)
				return a.literalToken()
			}
		}
		text, err := a.atom(c)
		return Token{Kind: AtomToken, Text: text}, err
	}
}

func (a *Answers) passLiteral() error {
	for a.literal > 0 {
		n, err := a.in.Discard(int(min(a.literal, 1<<20)))
		if a.literal -= int64(n); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

func (a *Answers) quoted() (string, error) {
	a.buf = a.buf[:0]
	for {
		c, err := a.in.ReadByte()
		if err == nil && c == '\\' {
			if c, err = a.in.ReadByte(); err == nil && (c == '\n' || c == '\r') {
				return "", ErrAnswer
			}
		} else if err == nil && c == '"' {
			return string(a.buf), nil
		}
		if err != nil {
			return "", unexpected(err)
		}
		if c == '\n' || len(a.buf) == MaxToken {
			return "", ErrAnswer
		}
		a.buf = append(a.buf, c)
	}
}

// atom takes an atom that begins with c. A section in brackets belongs to it,
// whatever is in it: BODY[HEADER.FIELDS (SUBJECT)]<0>, [PERMANENTFLAGS (\*)].
func (a *Answers) atom(c byte) (string, error) {
	a.buf = append(a.buf[:0], c)
	bracket := c == '['
	for {
		c, err := a.in.ReadByte()
		if err != nil {
			return "", unexpected(err)
		}
		switch {
		case c == '\r' || c == '\n' || !bracket && (c == ' ' || c == '(' || c == ')'):
			a.in.UnreadByte()
			return string(a.buf), nil
		case c == '[' && isSection(a.buf):
			bracket = true
		case c == ']':
			bracket = false
		}
		if len(a.buf) == MaxToken {
			return "", ErrAnswer
		}
		a.buf = append(a.buf, c)
	}
}

func isSection(b []byte) bool {
	s := string(b)
	return strings.EqualFold(s, "BODY") || strings.EqualFold(s, "BINARY") || strings.EqualFold(s, "BINARY.SIZE")
}

// literalToken takes the rest of "{n}" and the end of its line.
func (a *Answers) literalToken() (Token, error) {
	n, digits := int64(0), 0
	for {
		c, err := a.in.ReadByte()
		if err != nil {
			return Token{}, unexpected(err)
		}
		if c == '}' {
			break
		}
		if c == '+' {
			continue
		}
		if digits++; c < '0' || c > '9' || digits > 18 {
			return Token{}, ErrAnswer
		}
		n = n*10 + int64(c-'0')
	}
	c, err := a.in.ReadByte()
	if err == nil && c == '\r' {
		c, err = a.in.ReadByte()
	}
	if err != nil {
		return Token{}, unexpected(err)
	}
	if c != '\n' || digits == 0 {
		return Token{}, ErrAnswer
	}
	a.literal = n
	return Token{Kind: LiteralToken, Size: n}, nil
}

// Literal reads the bytes of the literal that Token gave last.
func (a *Answers) Literal() io.Reader { return (*literalReader)(a) }

type literalReader Answers

// Read is as of io.Reader.
func (r *literalReader) Read(p []byte) (int, error) {
	if r.literal == 0 {
		return 0, io.EOF
	}
	n, err := r.in.Read(p[:min(int64(len(p)), r.literal)])
	r.literal -= int64(n)
	if err != nil {
		err = unexpected(err)
	}
	return n, err
}

// String gives a token that is a string of any form; a literal is read whole if
// it is no longer than MaxToken.
func (a *Answers) String(t Token) (string, error) {
	switch t.Kind {
	case AtomToken, QuotedToken:
		return t.Text, nil
	case LiteralToken:
		if t.Size <= MaxToken {
			b, err := io.ReadAll(a.Literal())
			return string(b), err
		}
	}
	return "", ErrAnswer
}

// List reads the strings of a list, of which "(" has been read, at most limit.
// Lists within it are passed over.
func (a *Answers) List(limit int) (out []string, err error) {
	for depth := 0; ; {
		t, err := a.Token()
		if err != nil {
			return nil, err
		}
		switch t.Kind {
		case EndToken:
			return nil, ErrAnswer
		case OpenToken:
			depth++
		case CloseToken:
			if depth--; depth < 0 {
				return out, nil
			}
		default:
			s, err := a.String(t)
			if err != nil || len(out) == limit {
				return nil, errors.Join(ErrAnswer, err)
			}
			if depth == 0 {
				out = append(out, s)
			}
		}
	}
}

// AtomOf gives the atom that is nearest to a text: what cannot stand in one
// becomes "_". It is good for a keyword if it is not empty.
func AtomOf(text string) string {
	b := []byte(text)
	for i, c := range b {
		if !isAtom[c] {
			b[i] = '_'
		}
	}
	return string(b)
}

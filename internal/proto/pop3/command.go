package pop3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"strconv"
)

// A Verb is the word of a command, in upper case.
type Verb string

// The verbs. RFC 1939 §5-§7, RFC 2449 §5, RFC 2595 §4, RFC 5034 §4, RFC 6856 §2,
// §3
const (
	APOP Verb = "APOP"
	AUTH Verb = "AUTH"
	CAPA Verb = "CAPA"
	DELE Verb = "DELE"
	LANG Verb = "LANG"
	LIST Verb = "LIST"
	NOOP Verb = "NOOP"
	PASS Verb = "PASS"
	QUIT Verb = "QUIT"
	RETR Verb = "RETR"
	RSET Verb = "RSET"
	STAT Verb = "STAT"
	STLS Verb = "STLS"
	TOP  Verb = "TOP"
	UIDL Verb = "UIDL"
	USER Verb = "USER"
	UTF8 Verb = "UTF8"
)

// verbs says what each verb takes, and in which state it may come.
var verbs = map[Verb]struct {
	args  arguments
	state State
}{
	APOP: {digestArgs, Authorization},
	AUTH: {authArgs, Authorization},
	CAPA: {noArgs, anyState},
	DELE: {numberArg, Transaction},
	LANG: {maybeText, anyState},
	LIST: {maybeNumber, Transaction},
	NOOP: {noArgs, Transaction},
	PASS: {textArg, Authorization},
	QUIT: {noArgs, anyState},
	RETR: {numberArg, Transaction},
	RSET: {noArgs, Transaction},
	STAT: {noArgs, Transaction},
	STLS: {noArgs, Authorization},
	TOP:  {twoNumbers, Transaction},
	UIDL: {maybeNumber, Transaction},
	USER: {textArg, Authorization},
	UTF8: {noArgs, Authorization},
}

type arguments uint8

const (
	noArgs arguments = iota
	textArg
	maybeText
	numberArg
	maybeNumber
	twoNumbers
	authArgs
	digestArgs
)

// A Command is a command that has been understood. Which fields mean something
// depends on the verb.
type Command struct {
	Verb      Verb
	Text      string // USER, PASS: all that follows, blanks included; APOP: the name; LANG: the language, if one is named
	Digest    []byte // APOP: 16 bytes
	Number    uint32 // DELE, RETR, TOP; LIST, UIDL: zero if there was none
	Lines     int    // TOP: of the body
	Mechanism string // AUTH: in upper case; empty asks what there is
	Initial   []byte // AUTH: the initial response, decoded; nil if there was none
}

// ParseCommand reads one line, without its line break. The verb is given as far
// as it was recognized, even with an error.
func ParseCommand(line []byte) (Command, error) {
	word, arg, _ := bytes.Cut(line, []byte{' '})
	var c Command
	if len(word) == 3 || len(word) == 4 {
		v := Verb(bytes.ToUpper(word))
		if _, ok := verbs[v]; ok {
			c.Verb = v
		}
	}
	if len(line) > MaxAuth || len(line) > MaxLine && c.Verb != AUTH {
		return c, ErrLineTooLong
	}
	for _, b := range line {
		if b < ' ' || b == 0x7f {
			return c, ErrControl
		}
	}
	if c.Verb == "" {
		return c, ErrUnknown
	}
	args := verbs[c.Verb].args
	if args == textArg {
		if len(arg) == 0 {
			return c, ErrSyntax
		}
		c.Text = string(arg)
		return c, nil
	}
	err := c.arguments(args, bytes.Fields(arg)) // blanks at the end harm nobody
	return c, err
}

func (c *Command) arguments(args arguments, fields [][]byte) error {
	ok := false
	switch args {
	case noArgs:
		ok = len(fields) == 0
	case numberArg:
		ok = len(fields) == 1 && c.number(fields[0])
	case maybeText:
		ok = len(fields) <= 1
		if len(fields) == 1 {
			c.Text = string(fields[0])
		}
	case maybeNumber:
		ok = len(fields) == 0 || len(fields) == 1 && c.number(fields[0])
	case twoNumbers:
		ok = len(fields) == 2 && c.number(fields[0]) && c.lines(fields[1])
	case authArgs:
		return c.auth(fields)
	case digestArgs:
		ok = len(fields) == 2 && c.digest(fields[0], fields[1])
	}
	if !ok {
		return ErrSyntax
	}
	return nil
}

// number reads the number of a message, which begins at 1.
func (c *Command) number(b []byte) bool {
	n, err := strconv.ParseUint(string(b), 10, 32)
	c.Number = uint32(n)
	return err == nil && n > 0 && b[0] != '+'
}

func (c *Command) lines(b []byte) bool {
	n, err := strconv.ParseUint(string(b), 10, 31)
	c.Lines = int(n)
	return err == nil && b[0] != '+'
}

// auth reads a mechanism and an initial response, of which "=" is the empty
// one. RFC 5034 §4
func (c *Command) auth(fields [][]byte) error {
	if len(fields) > 2 {
		return ErrSyntax
	}
	if len(fields) > 0 {
		if !isMechanism(fields[0]) {
			return ErrSyntax
		}
		c.Mechanism = string(bytes.ToUpper(fields[0]))
	}
	if len(fields) == 2 {
		if string(fields[1]) == "=" {
			c.Initial = []byte{}
			return nil
		}
		b, err := decode64(fields[1])
		if err != nil {
			return err
		}
		c.Initial = b
	}
	return nil
}

// digest reads a name, and an MD5 digest in hexadecimal. RFC 1939 §7
func (c *Command) digest(name, digest []byte) bool {
	if len(digest) != 2*md5.Size {
		return false
	}
	c.Text, c.Digest = string(name), make([]byte, md5.Size)
	_, err := hex.Decode(c.Digest, digest)
	return err == nil
}

// Stamped tells the digest that a client must give for a secret, on a connection
// whose greeting has had the stamp. RFC 1939 §7
func Stamped(stamp, secret string) []byte {
	sum := md5.Sum([]byte(stamp + secret))
	return sum[:]
}

// isMechanism tells what can be the name of one. RFC 4422 §3.1
func isMechanism(b []byte) bool {
	for _, c := range b {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 20
}

// ParseResponse reads what a client answers to a challenge of AUTH. "*" is
// ErrCancelled. RFC 5034 §4
func ParseResponse(line []byte) ([]byte, error) {
	if string(line) == "*" {
		return nil, ErrCancelled
	}
	if len(line) > MaxAuth {
		return nil, ErrLineTooLong
	}
	return decode64(line)
}

func decode64(b []byte) ([]byte, error) {
	// The decoder would go over line breaks.
	if bytes.ContainsAny(b, "\r\n") {
		return nil, ErrBase64
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(out, b)
	if err != nil {
		return nil, ErrBase64
	}
	return out[:n], nil
}

// A State is where a session stands. RFC 1939 §3
type State uint8

// The states. After QUIT there is nothing more to ask.
const (
	Authorization State = iota + 1
	Transaction

	anyState State = 0
)

// Check tells whether c may come in this state: nil or ErrState. That PASS
// follows USER, and STLS comes once, is for the session to know.
func (s State) Check(c Command) error {
	if want := verbs[c.Verb].state; want != anyState && want != s {
		return ErrState
	}
	return nil
}

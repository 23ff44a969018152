package smtp

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
)

// Limits of a line without its CRLF. RFC 5321 §4.5.3.1.4 wants 512 octets and
// the extensions add to that; RFC 4954 §4 wants 12288 for AUTH.
const (
	MaxCommand = 2048
	MaxAuth    = 12288
)

// A Command is a command that has been understood. Which fields mean something
// depends on the verb.
type Command struct {
	Verb      Verb
	Host      string       // HELO, EHLO, LHLO
	Path      mail.Address // MAIL, RCPT; a Local without Domain is <postmaster>
	NonASCII  bool         // MAIL, RCPT: the path was not written in ASCII
	Mail      MailParams   // MAIL
	Rcpt      RcptParams   // RCPT
	Size      int64        // BDAT
	Last      bool         // BDAT, BURL
	URL       string       // BURL
	Mechanism string       // AUTH, in upper case
	Initial   []byte       // AUTH: the initial response, decoded; nil if none came
	XClient   XClient      // XCLIENT
	Text      string       // NOOP, VRFY, EXPN, HELP
}

// Why a line is no command. RefusalReply knows their codes.
var (
	ErrUnknown    = mail.Refuse("5.5.2", "unknown command", "")
	ErrSyntax     = mail.Refuse("5.5.4", "syntax error in arguments", "")
	ErrNoArgument = mail.Refuse("5.5.4", "this command takes no argument", "")
	ErrControl    = mail.Refuse("5.5.2", "control character in command", "")
	ErrParameter  = mail.Refuse("5.5.4", "parameter not recognized", "")
	ErrHost       = mail.Refuse("5.5.4", "say who you are", "")
	ErrSender     = mail.Refuse("5.1.7", "bad sender address", "")
	ErrRecipient  = mail.Refuse("5.1.3", "bad recipient address", "")
	ErrChunkSize  = mail.Refuse("5.5.4", "bad chunk size", "")
	ErrBase64     = mail.Refuse("5.5.2", "not base64", "")
)

// ParseCommand reads one line, without its CRLF. Of a line that is none the
// Verb is still given as far as it was recognized; the error is a
// *mail.Refusal.
func ParseCommand(line []byte) (Command, error) {
	word, arg, _ := bytes.Cut(line, []byte{' '})
	c := Command{Verb: parseVerb(word)}
	for _, b := range line {
		if b < ' ' || b == 0x7f {
			return c, ErrControl
		}
	}
	arg = bytes.Trim(arg, " ")
	var err error
	switch c.Verb {
	case HELO, EHLO, LHLO:
		c.Host, err = parseHello(arg)
	case MAIL:
		err = c.parseMail(arg)
	case RCPT:
		err = c.parseRcpt(arg)
	case BDAT:
		err = c.parseBdat(arg)
	case BURL:
		err = c.parseBurl(arg)
	case AUTH:
		err = c.parseAuth(arg)
	case XCLIENT:
		c.XClient, err = parseXClient(string(arg))
	case DATA, RSET, QUIT, STARTTLS:
		if len(arg) > 0 {
			err = ErrNoArgument
		}
	case NOOP, VRFY, EXPN, HELP:
		if c.Text = string(arg); c.Text == "" && (c.Verb == VRFY || c.Verb == EXPN) {
			err = ErrSyntax
		}
	case Unknown, HTTP:
		err = ErrUnknown
	}
	return c, err
}

// parseHello reads what a client calls itself. It is lenient about names, as
// many clients have strange ones (RFC 5321 §4.1.4 forbids refusing mail for
// that), but takes nothing that could not stand in a Received field.
func parseHello(arg []byte) (string, error) {
	if len(arg) == 0 || len(arg) > 255 {
		return "", ErrHost
	}
	ascii := true
	for _, b := range arg {
		if b <= ' ' || strings.IndexByte(`()<>@,;\"`, b) >= 0 {
			return "", ErrHost
		}
		ascii = ascii && b < 0x80
	}
	if ascii {
		return string(arg), nil
	}
	d, err := mail.ParseDomain(string(arg))
	if err != nil {
		return "", ErrHost
	}
	return string(d), nil
}

// parseMail reads FROM:<path> and its parameters. RFC 5321 §4.1.1.2
func (c *Command) parseMail(arg []byte) error {
	arg, ok := cutFold(arg, "FROM:")
	if !ok {
		return ErrSyntax
	}
	p, rest, err := parsePath(string(bytes.TrimLeft(arg, " ")))
	if err != nil || p.Domain == "" && !p.IsZero() {
		return ErrSender
	}
	c.Path = p
	c.NonASCII = hasNonASCII(arg[:len(arg)-len(rest)])
	return c.parseMailParams(rest)
}

// parseRcpt reads TO:<path>. RFC 5321 §4.1.1.3
func (c *Command) parseRcpt(arg []byte) error {
	arg, ok := cutFold(arg, "TO:")
	if !ok {
		return ErrSyntax
	}
	p, rest, err := parsePath(string(bytes.TrimLeft(arg, " ")))
	if err != nil || p.IsZero() {
		return ErrRecipient
	}
	c.Path = p
	c.NonASCII = hasNonASCII(arg[:len(arg)-len(rest)])
	return c.parseRcptParams(rest)
}

// cutFold takes a prefix, given in upper case, off b in any case.
func cutFold(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || !bytes.EqualFold(b[:len(prefix)], []byte(prefix)) {
		return nil, false
	}
	return b[len(prefix):], true
}

func hasNonASCII[T []byte | string](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}

// parsePath takes <address> off the front of s; what follows it must be
// nothing or begin with a space. A source route is read and forgotten. Scanners and
// scripts that leave out the brackets are understood, as by most servers (decision 046).
// RFC 5321 §4.1.2, appendix C
func parsePath(s string) (a mail.Address, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		bare, rest, more := strings.Cut(s, " ")
		if more {
			rest = " " + rest
		}
		if strings.ContainsAny(bare, `<>"`) || len(bare) > maxPath {
			return a, "", ErrSyntax
		}
		a, err = mail.ParseAddress(bare)
		return a, rest, err
	}
	end := pathEnd(s)
	if end < 0 {
		return a, "", ErrSyntax
	}
	in, rest := s[1:end], s[end+1:]
	if rest != "" && rest[0] != ' ' {
		return a, "", ErrSyntax
	}
	if strings.HasPrefix(in, "@") {
		if in, err = cutRoute(in); err != nil {
			return a, "", err
		}
	}
	switch {
	case in == "":
		return a, rest, nil
	case strings.EqualFold(in, "postmaster"):
		return mail.Address{Local: "postmaster"}, rest, nil
	}
	a, err = mail.ParseAddress(in)
	if err == nil && (len(a.Local) > 64*4 || len(in) > maxPath) {
		err = ErrSyntax
	}
	return a, rest, err
}

// maxPath is how long an address may be; RFC 5321 §4.5.3.1 has 256.
const maxPath = 512

// pathEnd gives the place of the > that ends the path at the front of s,
// passing over those within quotes; -1 if there is none.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '>':
			return i
		case !quoted && c == ' ':
			return -1
		}
	}
	return -1
}

// cutRoute takes "@a,@b:" off the front of a path. RFC 5321 §4.1.1.3
func cutRoute(s string) (string, error) {
	for strings.HasPrefix(s, "@") {
		i := strings.IndexAny(s, ",:")
		if strings.HasPrefix(s, "@[") { // the colons of an IPv6 literal
			j := strings.IndexByte(s, ']')
			if j < 0 || j+1 >= len(s) {
				return "", ErrSyntax
			}
			i = j + 1
		}
		if i < 0 {
			return "", ErrSyntax
		}
		if _, err := mail.ParseDomain(s[1:i]); err != nil {
			return "", ErrSyntax
		}
		switch s[i] {
		case ':':
			if s = s[i+1:]; s == "" {
				return "", ErrSyntax
			}
			return s, nil
		case ',':
			s = s[i+1:]
		default:
			return "", ErrSyntax
		}
	}
	return "", ErrSyntax
}

// parseSize reads 1*20DIGIT; what does not fit an int64 is the largest one.
// RFC 1870 §4
func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// hexDigit gives the value of an upper-case hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// parseBdat reads the size of a chunk and LAST. After an error here nobody
// knows where the next command begins: the session must end. RFC 3030 §2
func (c *Command) parseBdat(arg []byte) error {
	size, last, more := strings.Cut(string(arg), " ")
	n, ok := parseSize(size)
	if !ok || more && !strings.EqualFold(last, "LAST") {
		return ErrChunkSize
	}
	c.Size, c.Last = n, more
	return nil
}

// parseBurl reads an URL and LAST. RFC 4468 §3
func (c *Command) parseBurl(arg []byte) error {
	url, last, more := strings.Cut(string(arg), " ")
	if url == "" || hasNonASCII(url) || more && !strings.EqualFold(last, "LAST") {
		return ErrSyntax
	}
	c.URL, c.Last = url, more
	return nil
}

// parseAuth reads the mechanism and the initial response. RFC 4954 §4
func (c *Command) parseAuth(arg []byte) error {
	mech, initial, has := bytes.Cut(arg, []byte{' '})
	if len(mech) == 0 || len(mech) > 20 {
		return ErrSyntax
	}
	c.Mechanism = strings.ToUpper(string(mech))
	if !has {
		return nil
	}
	r, err := DecodeAuth(initial)
	c.Initial = r
	return err
}

// DecodeAuth decodes a line of an AUTH exchange; "=" and the empty line are
// the empty response, which is never nil. RFC 4954 §4
func DecodeAuth(line []byte) ([]byte, error) {
	if len(line) == 0 || len(line) == 1 && line[0] == '=' {
		return []byte{}, nil
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	// Decode passes over line ends, which a line has not: but a CR may be here.
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, '\n') >= 0 {
		return nil, ErrBase64
	}
	n, err := base64.StdEncoding.Strict().Decode(b, line)
	if err != nil {
		return nil, ErrBase64
	}
	return b[:n], nil
}

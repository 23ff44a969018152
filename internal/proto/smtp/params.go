package smtp

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"posthaste/internal/base/mail"
)

// Limits of parameters, as they are written. RFC 3461 §4.2, §4.4
const (
	maxEnvelopeID = 100
	maxOriginal   = 500
)

// eachParam calls fn for each parameter in s, which is empty or begins with a
// space. fn gives a bit that stands for the parameter; none may come twice.
func eachParam(s string, fn func(key, value string, hasValue bool) (bit uint, err error)) error {
	var seen uint
	for s != "" {
		s = strings.TrimLeft(s, " ")
		var p string
		p, s, _ = strings.Cut(s, " ")
		key, value, hasValue := strings.Cut(p, "=")
		bit, err := fn(strings.ToUpper(key), value, hasValue)
		if err != nil {
			return err
		}
		if seen&(1<<bit) != 0 {
			return ErrSyntax
		}
		seen |= 1 << bit
	}
	return nil
}

// parseMailParams reads the parameters of MAIL. RFC 5321 §4.1.1.11
func (c *Command) parseMailParams(s string) error {
	m := &c.Mail
	return eachParam(s, func(key, value string, hasValue bool) (bit uint, err error) {
		switch key {
		case "SIZE":
			n, ok := parseSize(value)
			if !ok {
				return 0, ErrSyntax
			}
			m.Size = n
			return 0, nil
		case "BODY":
			m.EightBit = strings.EqualFold(value, "8BITMIME")
			m.Binary = strings.EqualFold(value, "BINARYMIME")
			if !m.EightBit && !m.Binary && !strings.EqualFold(value, "7BIT") {
				return 0, ErrParameter
			}
			return 1, nil
		case "SMTPUTF8":
			m.UTF8 = true
			if hasValue {
				return 0, ErrSyntax
			}
			return 2, nil
		case "AUTH":
			m.Auth, err = parseXtext(value)
			return 3, err
		case "RET":
			m.Return, err = parseReturn(value)
			return 4, err
		case "ENVID":
			m.EnvelopeID, err = parseEnvelopeID(value)
			return 5, err
		case "HOLDFOR":
			m.HoldFor, err = parseHoldFor(value)
			return 6, err
		case "HOLDUNTIL": // not with HOLDFOR: it counts as the same one
			if m.HoldUntil, err = time.Parse(time.RFC3339, value); err != nil {
				err = ErrSyntax
			}
			return 6, err
		case "REQUIRETLS": // RFC 8689 §2
			m.RequireTLS = true
			if hasValue {
				return 0, ErrSyntax
			}
			return 7, nil
		case "BY":
			m.By, err = parseBy(value)
			return 8, err
		case "MT-PRIORITY":
			m.Priority, err = parsePriority(value)
			return 9, err
		}
		return 0, ErrParameter
	})
}

// parseHoldFor reads seconds, nine digits at most. RFC 4865 §5
func parseHoldFor(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || len(s) > 9 {
		return 0, ErrSyntax
	}
	return time.Duration(n) * time.Second, nil
}

// parseBy reads seconds, nine digits at most, how they are meant, and whether the way
// is to be told. RFC 2852 §4
func parseBy(s string) (b By, err error) {
	digits, mode, ok := strings.Cut(s, ";")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || len(strings.TrimLeft(digits, "+-")) > 9 {
		return By{}, ErrSyntax
	}
	b = By{Asked: true, Within: time.Duration(n) * time.Second}
	switch strings.ToUpper(mode) {
	case "N":
	case "NT":
		b.Trace = true
	case "R":
		b.Return = true
	case "RT":
		b.Return, b.Trace = true, true
	default:
		return By{}, ErrSyntax
	}
	if b.Return && n <= 0 {
		return By{}, ErrSyntax
	}
	return b, nil
}

// appendBy writes what parseBy reads, for a message that is to be delivered within
// a time; the seconds are rounded down.
func appendBy(b []byte, by mail.DeliverBy, within time.Duration) []byte {
	const most = 999_999_999
	n := int64(within / time.Second)
	if within < 0 && within%time.Second != 0 {
		n--
	}
	b = append(strconv.AppendInt(b, max(min(n, most), -most), 10), ';')
	if by.Return {
		b = append(b, 'R')
	} else {
		b = append(b, 'N')
	}
	if by.Trace {
		b = append(b, 'T')
	}
	return b
}

// parsePriority reads a digit, with a minus before it or not. RFC 6710 §7
func parsePriority(s string) (int8, error) {
	digit := strings.TrimPrefix(s, "-")
	if len(digit) != 1 || digit[0] < '0' || digit[0] > '9' || s == "-0" {
		return 0, ErrSyntax
	}
	n := int8(digit[0] - '0')
	if digit != s {
		n = -n
	}
	return n, nil
}

// parseRcptParams reads the parameters of RCPT.
func (c *Command) parseRcptParams(s string) error {
	return eachParam(s, func(key, value string, _ bool) (bit uint, err error) {
		switch key {
		case "NOTIFY":
			c.Rcpt.Notify, err = parseNotify(value)
			return 0, err
		case "ORCPT":
			c.Rcpt.Original, err = parseOriginal(value)
			return 1, err
		case "RRVS":
			c.Rcpt.ValidSince, c.Rcpt.ValidOnly, err = parseValidSince(value)
			return 2, err
		}
		return 0, ErrParameter
	})
}

// parseValidSince reads a time, and what is to be done where nobody looks at it: C
// continues, as if nothing was said, R refuses. RFC 7293 §3.1
func parseValidSince(s string) (t time.Time, only bool, err error) {
	date, action, has := strings.Cut(s, ";")
	t, err = time.Parse(time.RFC3339, strings.ToUpper(date))
	only = strings.EqualFold(action, "R")
	if err != nil || t.Year() < 1970 || has && !only && !strings.EqualFold(action, "C") {
		return time.Time{}, false, ErrSyntax
	}
	return t.UTC(), only, nil
}

// parseReturn reads what RET asks for. RFC 3461 §4.3
func parseReturn(s string) (mail.Return, error) {
	switch strings.ToUpper(s) {
	case "FULL":
		return mail.ReturnFull, nil
	case "HDRS":
		return mail.ReturnHeader, nil
	}
	return 0, ErrSyntax
}

// parseEnvelopeID decodes what ENVID says. RFC 3461 §4.4
func parseEnvelopeID(s string) (string, error) {
	id, err := parseXtext(s)
	if err != nil || len(s) > maxEnvelopeID || hasNonASCII(id) {
		return "", ErrSyntax
	}
	return id, nil
}

// parseNotify reads what NOTIFY asks for. RFC 3461 §4.1
func parseNotify(s string) (n mail.Notify, err error) {
	for word := range strings.SplitSeq(s, ",") {
		var bit mail.Notify
		switch strings.ToUpper(word) {
		case "NEVER":
			bit = mail.NotifyNever
		case "SUCCESS":
			bit = mail.NotifySuccess
		case "FAILURE":
			bit = mail.NotifyFailure
		case "DELAY":
			bit = mail.NotifyDelay
		}
		if bit == 0 || n&bit != 0 {
			return 0, ErrSyntax
		}
		n |= bit
	}
	if n&mail.NotifyNever != 0 && n != mail.NotifyNever {
		return 0, ErrSyntax
	}
	return n, nil
}

// parseOriginal decodes what ORCPT says: the type of the address, which is in
// lower case then, and the address. RFC 3461 §4.2, RFC 6533 §3
func parseOriginal(s string) (string, error) {
	kind, enc, ok := strings.Cut(s, ";")
	if !ok || len(s) > maxOriginal || !isKeyword(kind) {
		return "", ErrSyntax
	}
	kind = strings.ToLower(kind)
	text, err := parseXtext(enc)
	if err == nil && kind == "utf-8" {
		text, err = parseUnicode(text)
	} else if hasNonASCII(text) {
		err = ErrSyntax
	}
	if err != nil {
		return "", err
	}
	return kind + ";" + text, nil
}

// isKeyword tells whether s can be the type of an address: letters, digits and
// hyphens.
func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-' && i > 0:
		default:
			return false
		}
	}
	return s != "" && len(s) <= 30
}

// parseUnicode decodes the \x{...} of an address of type utf-8. RFC 6533 §3
func parseUnicode(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", ErrSyntax
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, `\`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		digits, after, ok := strings.Cut(rest, "}")
		digits, hex := strings.CutPrefix(digits, "x{")
		r, err := strconv.ParseUint(digits, 16, 32)
		if !ok || !hex || err != nil || len(digits) < 2 || len(digits) > 6 || !utf8.ValidRune(rune(r)) || r < ' ' || r == 0x7f {
			return "", ErrSyntax
		}
		b.WriteRune(rune(r))
		s = after
	}
}

// appendOriginal writes what parseOriginal reads; what is not ASCII goes as it
// is if the message goes by SMTPUTF8. RFC 6533 §3
func appendOriginal(b []byte, s string, unicode bool) []byte {
	kind, text, _ := strings.Cut(s, ";")
	b = append(append(b, kind...), ';')
	if kind != "utf-8" {
		return appendXtext(b, text)
	}
	for _, r := range text {
		switch {
		case r <= ' ' || r == '+' || r == '=' || r == '\\' || r == 0x7f || r > 0x7f && !unicode:
			b = append(b, `\x{`...)
			if r < 0x10 {
				b = append(b, '0')
			}
			b = append(b, strings.ToUpper(strconv.FormatInt(int64(r), 16))...)
			b = append(b, '}')
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// appendNotify writes what parseNotify reads.
func appendNotify(b []byte, n mail.Notify) []byte {
	words := make([]string, 0, 3)
	for i, w := range [...]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"} {
		if n&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	return append(b, strings.Join(words, ",")...)
}

// parseXtext decodes xtext. RFC 3461 §4
func parseXtext(s string) (string, error) {
	if s == "" {
		return "", ErrSyntax
	}
	if strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", ErrSyntax
		}
		hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
		if hi < 0 || lo < 0 {
			return "", ErrSyntax
		}
		c := byte(hi<<4 | lo)
		if c < ' ' || c == 0x7f {
			return "", ErrSyntax
		}
		b = append(b, c)
		i += 2
	}
	return string(b), nil
}

// appendXtext writes what parseXtext reads.
func appendXtext(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			b = append(b, '+', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

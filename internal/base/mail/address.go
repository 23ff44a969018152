package mail

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// A Domain is a domain name in its one canonical form: lower case, A-labels,
// no trailing dot; or an address literal with its brackets. RFC 5321 §4.1.3,
// RFC 5890. Two Domains are the same domain exactly if they are ==.
type Domain string

var errDomain = errors.New("not a domain name")

// profile accepts what the DNS carries, underscores included, and converts
// U-labels. RFC 5891 §5
var profile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.VerifyDNSLength(true), idna.BidiRule())

// ParseDomain reads a domain name in A- or U-labels, or an address literal
// such as [192.0.2.1] or [IPv6:2001:db8::1].
func ParseDomain(s string) (Domain, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	s = strings.TrimSuffix(s, ".")
	if isPlainDomain(s) {
		return Domain(strings.ToLower(s)), nil
	}
	if s == "" || len(s) > 1000 || !utf8.ValidString(s) {
		return "", errDomain
	}
	a, err := profile.ToASCII(s)
	if err != nil || !isPlainDomain(a) {
		return "", errDomain
	}
	return Domain(strings.ToLower(a)), nil
}

// isPlainDomain tells whether s is a name in letters, digits, hyphens,
// underscores and dots whose labels and whole have legal lengths, and which
// needs no conversion.
func isPlainDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if label == 0 || s[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case c == '-':
			if label == 0 {
				return false
			}
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && s[len(s)-1] != '-'
}

func parseLiteral(s string) (Domain, error) {
	in, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", errDomain
	}
	v6, is6 := strings.CutPrefix(strings.ToLower(in), "ipv6:")
	ip, err := netip.ParseAddr(v6)
	if err != nil || ip.Is6() != is6 || ip.Zone() != "" {
		return "", errDomain
	}
	if is6 {
		return Domain("[IPv6:" + ip.String() + "]"), nil
	}
	return Domain("[" + ip.String() + "]"), nil
}

// IP gives the address of an address literal.
func (d Domain) IP() (netip.Addr, bool) {
	s, ok := strings.CutPrefix(string(d), "[")
	if !ok {
		return netip.Addr{}, false
	}
	s = strings.TrimPrefix(strings.TrimSuffix(s, "]"), "IPv6:")
	ip, err := netip.ParseAddr(s)
	return ip, err == nil
}

// String gives the domain as it goes over the wire.
func (d Domain) String() string { return string(d) }

// Unicode gives the domain for people: U-labels where there are any.
func (d Domain) Unicode() string {
	if !strings.Contains(string(d), "xn--") {
		return string(d)
	}
	u, err := profile.ToUnicode(string(d))
	if err != nil {
		return string(d)
	}
	return u
}

// An Address is user@domain. Local is the plain local part, without quotes and
// backslashes, in the case it was written in. The zero Address is the null
// path <>. RFC 5321 §4.1.2
type Address struct {
	Local  string
	Domain Domain
}

var errAddress = errors.New("not an address")

// ParseAddress reads user@domain with a local part that is a dot-string or a
// quoted string; both may hold UTF-8 (RFC 6531 §3.3). It takes no source
// routes, comments, display names or white space. RFC 5321 §4.1.2
//
// Dots where a dot-string has none, as in "a..b" and "a.", are read: Japanese
// providers have given out such addresses. They are written in quotes.
func ParseAddress(s string) (Address, error) {
	if len(s) > 1000 || !utf8.ValidString(s) {
		return Address{}, errAddress
	}
	local, rest, err := parseLocal(s)
	if err != nil {
		return Address{}, err
	}
	if !strings.HasPrefix(rest, "@") {
		return Address{}, errAddress
	}
	d, err := ParseDomain(rest[1:])
	if err != nil {
		return Address{}, errAddress
	}
	return Address{Local: local, Domain: d}, nil
}

// maxLocal is how many bytes a local part has: RFC 5321 §4.5.3.1.1 says 64
// octets, and a character outside ASCII takes up to four.
const maxLocal = 64 * 4

// parseLocal takes a local part off the front of s.
func parseLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuotedLocal(s[1:])
	}
	i, dots := 0, 0
	for i < len(s) && s[i] != '@' {
		switch {
		case s[i] == '.':
			dots++
		case !isAtext(s[i]):
			return "", "", errAddress
		}
		i++
	}
	if i == dots || i > maxLocal {
		return "", "", errAddress
	}
	return s[:i], s[i:], nil
}

func parseQuotedLocal(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if b.Len() == 0 || b.Len() > maxLocal {
				return "", "", errAddress
			}
			return b.String(), s[i+1:], nil
		case c == '\\':
			if i++; i >= len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", errAddress
			}
			b.WriteByte(s[i])
		case c < ' ' || c == 0x7f:
			return "", "", errAddress
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errAddress
}

// isAtext tells whether c may stand in an atom; bytes of UTF-8 may.
// RFC 5322 §3.2.3, RFC 6532 §3.2
func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// IsZero tells whether a is the null path.
func (a Address) IsZero() bool { return a == Address{} }

// IsASCII tells whether a can go where SMTPUTF8 is unknown.
func (a Address) IsASCII() bool {
	for i := 0; i < len(a.Local); i++ {
		if a.Local[i] >= 0x80 {
			return false
		}
	}
	return true
}

// String gives the address as it goes over the wire, with the local part
// quoted where it must be; "" for the null path.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	if a.Domain == "" {
		return quoteLocal(a.Local)
	}
	return quoteLocal(a.Local) + "@" + string(a.Domain)
}

// Unicode gives the address for people: with U-labels where there are any.
func (a Address) Unicode() string {
	if a.Domain == "" {
		return a.String()
	}
	return quoteLocal(a.Local) + "@" + a.Domain.Unicode()
}

// Path gives the address in angle brackets, as MAIL, RCPT and Return-Path
// want it; "<>" for the null path.
func (a Address) Path() string { return "<" + a.String() + ">" }

func quoteLocal(s string) string {
	plain := s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..")
	for i := 0; plain && i < len(s); i++ {
		plain = isAtext(s[i]) || s[i] == '.'
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

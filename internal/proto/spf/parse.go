package spf

import (
	"net/netip"
	"strconv"
	"strings"
)

// A record is parsed. RFC 7208 §4.6, §12
type record struct {
	mechanisms []mechanism
	redirect   spec // nil: none
	exp        spec
}

// A mechanism says what it means if it matches.
type mechanism struct {
	text         string
	result       Result
	kind         string // in lower case
	spec         spec   // nil: the domain itself
	network      netip.Prefix
	bits4, bits6 int
}

func parse(txt string) (*record, error) {
	for i := 0; i < len(txt); i++ {
		if txt[i] < ' ' || txt[i] > '~' {
			return nil, perm("the record has characters that it must not have")
		}
	}
	rec := &record{}
	for i, term := range strings.Split(txt, " ") {
		if i == 0 || term == "" {
			continue
		}
		name, value, ok := modifier(term)
		if !ok {
			m, err := parseMechanism(term)
			if err != nil {
				return nil, err
			}
			rec.mechanisms = append(rec.mechanisms, m)
			continue
		}
		switch name {
		case "redirect":
			s, err := parseSpec(value)
			if err != nil {
				return nil, err
			}
			if rec.redirect != nil {
				return nil, perm("redirect= comes twice")
			}
			rec.redirect = s
		case "exp":
			s, err := parseSpec(value)
			if err != nil {
				return nil, err
			}
			if rec.exp != nil {
				return nil, perm("exp= comes twice")
			}
			rec.exp = s
		default:
			if _, err := parseMacros(value, recordLetters); err != nil {
				return nil, err
			}
		}
	}
	return rec, nil
}

// modifier tells modifiers from mechanisms: a name and "=".
func modifier(term string) (name, value string, ok bool) {
	for i := 0; i < len(term); i++ {
		c := term[i]
		switch {
		case c == '=' && i > 0:
			return strings.ToLower(term[:i]), term[i+1:], true
		case isAlpha(c), i > 0 && (isDigit(c) || c == '-' || c == '_' || c == '.'):
		default:
			return "", "", false
		}
	}
	return "", "", false
}

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

var qualifiers = map[byte]Result{'+': Pass, '-': Fail, '~': SoftFail, '?': Neutral}

func parseMechanism(term string) (mechanism, error) {
	m := mechanism{text: term, result: Pass, bits4: 32, bits6: 128}
	if r, ok := qualifiers[term[0]]; ok {
		m.result, term = r, term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	m.kind = strings.ToLower(term[:end])
	rest := term[end:]
	var err error
	switch m.kind {
	case "all":
		if rest != "" {
			return m, perm("%q has more than it can have", term)
		}
	case "include", "exists":
		if !strings.HasPrefix(rest, ":") {
			return m, perm("%q names no domain", term)
		}
		m.spec, err = parseSpec(rest[1:])
	case "ptr":
		if rest != "" {
			if rest[0] != ':' {
				return m, perm("%q is no mechanism", term)
			}
			m.spec, err = parseSpec(rest[1:])
		}
	case "a", "mx":
		if rest, err = m.cidrs(rest); err == nil && rest != "" {
			m.spec, err = parseSpec(rest[1:])
		}
	case "ip4", "ip6":
		err = m.address(rest)
	default:
		return m, perm("%q is no mechanism", term)
	}
	return m, err
}

// cidrs takes the lengths off the end of an a or mx mechanism.
func (m *mechanism) cidrs(rest string) (string, error) {
	if i := strings.LastIndex(rest, "//"); i >= 0 && allDigits(rest[i+2:]) {
		n, err := bits(rest[i+2:], 128)
		if err != nil {
			return "", err
		}
		m.bits6, rest = n, rest[:i]
	}
	if i := strings.LastIndexByte(rest, '/'); i >= 0 && allDigits(rest[i+1:]) {
		n, err := bits(rest[i+1:], 32)
		if err != nil {
			return "", err
		}
		m.bits4, rest = n, rest[:i]
	}
	if rest != "" && rest[0] != ':' {
		return "", perm("%q is no mechanism", m.text)
	}
	return rest, nil
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// bits reads the length of a prefix, without zeros in front.
func bits(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n > most || len(s) > 1 && s[0] == '0' {
		return 0, perm("%q is no length of a prefix", s)
	}
	return n, nil
}

func (m *mechanism) address(rest string) error {
	if !strings.HasPrefix(rest, ":") {
		return perm("%q names no address", m.text)
	}
	text, length, has := strings.Cut(rest[1:], "/")
	ip, err := netip.ParseAddr(text)
	six := m.kind == "ip6"
	if err != nil || ip.Zone() != "" || strings.Contains(text, ":") != six {
		return perm("%q names no address", m.text)
	}
	n := ip.BitLen()
	if has {
		if length == "" || !allDigits(length) {
			return perm("%q is no length of a prefix", length)
		}
		if n, err = bits(length, n); err != nil {
			return err
		}
	}
	m.network, err = ip.Prefix(n)
	if err != nil {
		return perm("%q names no network", m.text)
	}
	if six && ip.Is4In6() && n >= 96 {
		// The peer's address is compared without this coat.
		m.network = netip.PrefixFrom(ip.Unmap(), n-96).Masked()
	}
	return nil
}

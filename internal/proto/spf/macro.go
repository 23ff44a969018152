package spf

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A spec is a domain-spec or a macro-string: literals and macros. RFC 7208 §7.1
type spec []piece

type piece struct {
	literal string
	letter  byte // in lower case; 0: a literal
	escape  bool // the letter was upper case: escape as in URLs
	keep    int  // labels from the right; 0: all
	reverse bool
	delims  string
}

// The letters of macros: in records, and those that are for explanations too.
const (
	recordLetters      = "slodiphv"
	explanationLetters = recordLetters + "crt"
)

// parseMacros reads a macro-string with macros of these letters.
func parseMacros(s, letters string) (spec, error) {
	out := spec{}
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return append(out, piece{literal: s}), nil
		}
		if i > 0 {
			out = append(out, piece{literal: s[:i]})
			s = s[i:]
		}
		if len(s) < 2 {
			return nil, perm("a lone %% in the record")
		}
		switch s[1] {
		case '%':
			out, s = append(out, piece{literal: "%"}), s[2:]
		case '_':
			out, s = append(out, piece{literal: " "}), s[2:]
		case '-':
			out, s = append(out, piece{literal: "%20"}), s[2:]
		case '{':
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return nil, perm("a macro without its end")
			}
			p, err := parseMacro(s[2:end], letters)
			if err != nil {
				return nil, err
			}
			out, s = append(out, p), s[end+1:]
		default:
			return nil, perm("%q is no macro", s[:2])
		}
	}
	return out, nil
}

func parseMacro(s, letters string) (piece, error) {
	bad := perm("%q is no macro", "%{"+s+"}")
	if s == "" {
		return piece{}, bad
	}
	p := piece{letter: s[0] | 0x20, escape: s[0] < 'a', delims: "."}
	if strings.IndexByte(letters, p.letter) < 0 || !isAlpha(s[0]) {
		return piece{}, bad
	}
	s = s[1:]
	digits := 0
	for digits < len(s) && isDigit(s[digits]) {
		p.keep = min(p.keep*10+int(s[digits]-'0'), 1000)
		digits++
	}
	if digits > 0 && p.keep == 0 {
		return piece{}, bad
	}
	s = s[digits:]
	if s != "" && s[0]|0x20 == 'r' {
		p.reverse, s = true, s[1:]
	}
	for i := 0; i < len(s); i++ {
		if !strings.ContainsRune(".-+,/_=", rune(s[i])) {
			return piece{}, bad
		}
	}
	if s != "" {
		p.delims = s
	}
	return p, nil
}

// parseSpec reads a domain-spec: a macro-string that ends in a macro or in a
// label that can be a top-level domain.
func parseSpec(s string) (spec, error) {
	out, err := parseMacros(s, recordLetters)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, perm("a domain is missing")
	}
	last := out[len(out)-1]
	if last.letter != 0 {
		return out, nil
	}
	name := strings.TrimSuffix(last.literal, ".")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !isTop(name[dot+1:]) {
		return nil, perm("%q is no domain", s)
	}
	return out, nil
}

// isTop tells whether a label can be a top-level domain.
func isTop(s string) bool {
	letters := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isAlpha(c):
			letters = true
		case c == '-':
			letters = true
		case !isDigit(c):
			return false
		}
	}
	return letters && s[0] != '-' && s[len(s)-1] != '-'
}

// expand makes a domain of a spec. RFC 7208 §7.3
func (c *check) expand(s spec, domain string) (string, error) {
	out := strings.TrimSuffix(c.text(s, domain), ".")
	for len(out) > 253 {
		_, rest, ok := strings.Cut(out, ".")
		if !ok {
			return "", perm("a domain is too long")
		}
		out = rest
	}
	return out, nil
}

// text makes a text of a spec.
func (c *check) text(s spec, domain string) string {
	var b strings.Builder
	for _, p := range s {
		if p.letter == 0 {
			b.WriteString(p.literal)
			continue
		}
		b.WriteString(p.apply(c.value(p.letter, domain)))
	}
	return b.String()
}

func (c *check) value(letter byte, domain string) string {
	switch letter {
	case 'c':
		return c.q.IP.String()
	case 'r':
		return cmp.Or(c.q.Receiver, "unknown")
	case 't':
		return strconv.FormatInt(c.q.Now.Unix(), 10)
	case 's':
		return c.q.Local + "@" + c.q.Sender
	case 'l':
		return c.q.Local
	case 'o':
		return c.q.Sender
	case 'd':
		return domain
	case 'i':
		return dotted(c.q.IP)
	case 'h':
		return c.q.Helo
	case 'v':
		if c.q.IP.Is4() {
			return "in-addr"
		}
		return "ip6"
	}
	return c.name(domain)
}

// name gives the %{p} of the peer: a confirmed name, in the domain if there is
// one.
func (c *check) name(domain string) string {
	names := c.names()
	for _, n := range names {
		if strings.EqualFold(strings.TrimSuffix(n, "."), domain) {
			return strings.TrimSuffix(n, ".")
		}
	}
	for _, n := range names {
		if inDomain(n, domain) {
			return strings.TrimSuffix(n, ".")
		}
	}
	if len(names) > 0 {
		return strings.TrimSuffix(names[0], ".")
	}
	return "unknown"
}

func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	var parts []string
	for _, b := range ip.As16() {
		parts = append(parts, fmt.Sprintf("%x.%x", b>>4, b&15))
	}
	return strings.Join(parts, ".")
}

// apply reverses and cuts a value, and escapes it.
func (p piece) apply(v string) string {
	if p.keep > 0 || p.reverse || p.delims != "." {
		parts := strings.FieldsFunc(strings.Map(func(r rune) rune {
			if strings.ContainsRune(p.delims, r) {
				return 0
			}
			return r
		}, v), func(r rune) bool { return r == 0 })
		if p.reverse {
			slices.Reverse(parts)
		}
		if p.keep > 0 && p.keep < len(parts) {
			parts = parts[len(parts)-p.keep:]
		}
		v = strings.Join(parts, ".")
	}
	if !p.escape {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if c := v[i]; isAlpha(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

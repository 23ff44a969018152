package sieve

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of variables. RFC 5229 §6 asks for 128 variables of 4000 characters.
const (
	maxVariables = 256
	maxVariable  = 8 << 10 // bytes
	// maxText is about how long a string with variables in it gets.
	maxText = 128 << 10
)

// A value is a string of a script, perhaps with variables in it.
type value struct {
	lit    string
	pieces []piece // nil: lit is all
}

// A piece is text, or a variable.
type piece struct {
	lit  string
	name string // in lower case; "" if it is text, or a number
	num  int    // of what a pattern has matched; -1
}

// text makes a string that the script has. encoded-character comes first. RFC 5228
// §2.4.2.4, RFC 5229 §3
func (c *compiler) text(line int, s string) value {
	if c.has["encoded-character"] {
		s = c.encoded(line, s)
	}
	if !c.has["variables"] || !strings.Contains(s, "${") {
		return value{lit: s}
	}
	var v value
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			break
		}
		name := strings.ToLower(s[i+2 : i+j])
		p, ok := variable(name)
		if !ok {
			if space, rest, dotted := strings.Cut(name, "."); dotted && isName(space) && isName(rest) {
				c.fail(line, "there is no namespace %q for variables", space)
			}
			v.pieces = append(v.pieces, piece{lit: s[:i+2], num: -1})
			s = s[i+2:]
			continue
		}
		if p.name != "" && strings.HasPrefix(p.name, "global.") {
			c.needs(line, "${global.…}", "include")
		}
		if i > 0 {
			v.pieces = append(v.pieces, piece{lit: s[:i], num: -1})
		}
		v.pieces = append(v.pieces, p)
		s = s[i+j+1:]
	}
	if v.pieces == nil {
		return value{lit: s}
	}
	if s != "" {
		v.pieces = append(v.pieces, piece{lit: s, num: -1})
	}
	return v
}

// variable reads what stands between braces, in lower case.
func variable(name string) (piece, bool) {
	if name != "" && strings.Trim(name, "0123456789") == "" {
		n, err := strconv.Atoi(name)
		if err != nil {
			n = 1 << 20 // there is nothing so far out
		}
		return piece{num: n}, true
	}
	if isName(name) || strings.HasPrefix(name, "global.") && isName(name[len("global."):]) {
		return piece{name: name, num: -1}, true
	}
	return piece{}, false
}

func isName(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != ""
}

// encoded reads ${hex:40 41} and ${unicode:2191}.
func (c *compiler) encoded(line int, s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		j := strings.IndexByte(s, '}')
		kind, codes, ok := strings.Cut(s[2:max(j, 2)], ":")
		text := ""
		if ok = ok && j > 0; ok {
			text, ok = c.codes(line, strings.ToLower(kind), codes)
		}
		if !ok {
			b.WriteString("${")
			s = s[2:]
			continue
		}
		b.WriteString(text)
		s = s[j+1:]
	}
}

func (c *compiler) codes(line int, kind, codes string) (string, bool) {
	var b strings.Builder
	list := strings.Fields(codes)
	if len(list) == 0 || kind != "hex" && kind != "unicode" {
		return "", false
	}
	for _, x := range list {
		n, err := strconv.ParseUint(x, 16, 64)
		if kind == "hex" {
			if err != nil || len(x) > 2 {
				return "", false
			}
			b.WriteByte(byte(n))
			continue
		}
		if err != nil && strings.Trim(strings.ToLower(x), "0123456789abcdef") != "" {
			return "", false
		}
		if err != nil || n > utf8.MaxRune || n >= 0xd800 && n < 0xe000 {
			c.fail(line, "%q is no character of Unicode", x)
			return "", true
		}
		b.WriteRune(rune(n))
	}
	return b.String(), true
}

// texts makes a list.
func (c *compiler) texts(a argument) []value {
	out := make([]value, len(a.list))
	for i, s := range a.list {
		out[i] = c.text(a.line, s)
	}
	return out
}

// one makes the string of an argument.
func (c *compiler) value(a argument) value { return c.text(a.line, a.list[0]) }

// constant tells what a string always is.
func (v value) constant() (string, bool) { return v.lit, v.pieces == nil }

// of gives what a string says now.
func (v value) of(m *machine) string {
	if v.pieces == nil {
		return v.lit
	}
	var b strings.Builder
	for _, p := range v.pieces {
		if b.Len() > maxText {
			break
		}
		switch {
		case p.num >= 0:
			if p.num < len(m.matched) {
				b.WriteString(m.matched[p.num])
			}
		case p.name != "":
			b.WriteString(m.variable(p.name))
		default:
			b.WriteString(p.lit)
		}
	}
	return b.String()
}

func all(m *machine, list []value) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.of(m)
	}
	return out
}

// cut shortens a variable's value, at the border of a character.
func cut(s string) string {
	if len(s) <= maxVariable {
		return s
	}
	n := maxVariable
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

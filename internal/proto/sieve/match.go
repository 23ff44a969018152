package sieve

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// A comparator is how strings are compared. RFC 4790
type comparator byte

const (
	asciiCasemap   comparator = iota // RFC 4790 §9.2
	octet                            // RFC 4790 §9.3
	asciiNumeric                     // RFC 4790 §9.1
	unicodeCasemap                   // RFC 5051
)

var comparators = map[string]comparator{
	"i;ascii-casemap": asciiCasemap, "i;octet": octet, "i;ascii-numeric": asciiNumeric, "i;unicode-casemap": unicodeCasemap,
}

// key gives a string so that those are equal that are equal to the comparator.
func (c comparator) key(s string) string {
	switch c {
	case asciiCasemap:
		return upper(s)
	case unicodeCasemap:
		return norm.NFKD.String(cases.Fold().String(s))
	}
	return s
}

// upper makes the letters of ASCII capital ones.
func upper(s string) string {
	for i := range len(s) {
		if 'a' <= s[i] && s[i] <= 'z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'a' <= b[i] && b[i] <= 'z' {
					b[i] -= 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// number gives what a string is to i;ascii-numeric: the digits that it begins with,
// without zeros before them; false is what is no number, and above all. RFC 4790 §9.1.1
func numeric(s string) (string, bool) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 {
		return "", false
	}
	return strings.TrimLeft(s[:n], "0"), true
}

// order compares two strings.
func (c comparator) order(a, b string) int {
	if c != asciiNumeric {
		return strings.Compare(c.key(a), c.key(b))
	}
	x, isX := numeric(a)
	y, isY := numeric(b)
	switch {
	case !isX && !isY:
		return 0
	case !isX:
		return 1
	case !isY:
		return -1
	case len(x) != len(y):
		return cmp.Compare(len(x), len(y))
	}
	return strings.Compare(x, y)
}

type matchType byte

const (
	is matchType = iota
	contains
	matches
	count
	byValue
	byRegex
)

var matchTags = map[string]argKind{
	"is": none, "contains": none, "matches": none, "comparator": argText, "count": argText, "value": argText, "regex": none,
}

// A matcher compares values with keys, as a test says.
type matcher struct {
	line int
	kind matchType
	cmp  comparator
	rel  string // of count and byValue
	keys []value
	// Of keys that are always the same: as they are compared, and as patterns.
	folded   []string
	patterns []*pattern
	regexps  []*expression
	sets     bool // what a pattern matches is remembered: there are variables
}

// matcher makes one of the tags of a test and its keys.
func (c *compiler) matcher(t *taken, keys argument) matcher {
	m := matcher{line: t.line, keys: c.texts(keys), sets: c.has["variables"]}
	switch found := c.only(t, "is", "contains", "matches", "count", "value", "regex"); found {
	case "contains":
		m.kind = contains
	case "matches":
		m.kind = matches
	case "count", "value":
		c.needs(t.line, ":"+found, "relational")
		m.kind = map[string]matchType{"count": count, "value": byValue}[found]
		m.rel = strings.ToLower(t.tags[found].list[0])
		if _, ok := relations[m.rel]; !ok {
			c.fail(t.line, ":%s wants \"gt\", \"ge\", \"lt\", \"le\", \"eq\" or \"ne\", not %q", found, m.rel)
		}
	case "regex":
		c.needs(t.line, ":regex", "regex")
		m.kind = byRegex
	}
	if a, ok := t.tags["comparator"]; ok {
		name := strings.ToLower(a.list[0])
		known := false
		m.cmp, known = comparators[name]
		switch {
		case !known:
			c.fail(a.line, "there is no comparator %q%s", a.list[0], like(name, func(yield func(string) bool) {
				for k := range comparators {
					if !yield(k) {
						return
					}
				}
			}))
		case m.cmp == asciiNumeric:
			c.needs(a.line, fmt.Sprintf(":comparator %q", name), "comparator-"+name)
		}
		if m.cmp == asciiNumeric && (m.kind == contains || m.kind == matches || m.kind == byRegex) {
			c.fail(a.line, "i;ascii-numeric compares numbers: it knows no parts and patterns of them")
		}
	}
	m.prepare(c)
	return m
}

// prepare makes what a comparison needs of the keys that are always the same.
func (m *matcher) prepare(c *compiler) {
	m.folded, m.patterns, m.regexps = make([]string, len(m.keys)), make([]*pattern, len(m.keys)), make([]*expression, len(m.keys))
	for i, k := range m.keys {
		s, ok := k.constant()
		if !ok {
			continue
		}
		switch m.kind {
		case is, contains:
			m.folded[i] = m.cmp.key(s)
		case matches:
			m.patterns[i] = m.pattern(s)
		case byRegex:
			m.regexps[i] = c.regexp(m, s)
		}
	}
}

// regexp makes a regular expression, unless the script has too many; nil if it is wrong.
func (c *compiler) regexp(m *matcher, s string) *expression {
	if c.steps > maxAllSteps {
		c.fail(m.line, "the regular expressions of this script are too much together")
		return nil
	}
	re, err := m.regexp(s)
	if err != nil {
		c.fail(m.line, "%v", err)
		c.steps += maxSteps // it may have been as much work as one that is right
		return nil
	}
	c.steps += re.steps
	return re
}

// withKeys gives a matcher with other keys.
func (m *matcher) withKeys(keys []value) *matcher {
	out := *m
	out.keys = keys
	out.prepare(&compiler{})
	return &out
}

// maxRegexp is how many bytes a regular expression has, and maxSteps how many steps it is
// made of, once its repetitions are written out; maxAllSteps is how many those of a script
// have together, which are kept with it.
const (
	maxRegexp   = 1000
	maxSteps    = 4000
	maxAllSteps = 100_000
)

// An expression is a regular one. To match it takes time by the product of its steps and
// of the length of a text at most.
type expression struct {
	*regexp.Regexp
	steps int
}

func (m *matcher) regexp(s string) (*expression, error) {
	if len(s) > maxRegexp {
		return nil, fmt.Errorf("a regular expression has %d bytes at most", maxRegexp)
	}
	if m.cmp != octet {
		s = "(?i)" + s
	}
	tree, err := syntax.Parse("(?s)"+s, syntax.Perl)
	if err != nil {
		text := err.Error()
		if e, ok := err.(*syntax.Error); ok { //nolint:errorlint // regexp gives it so
			text = e.Code.String() + ": " + e.Expr
		}
		return nil, fmt.Errorf("this is no regular expression: %s", text)
	}
	n := steps(tree)
	if n > maxSteps {
		return nil, errors.New("this regular expression is too large")
	}
	re, err := regexp.Compile("(?s)" + s)
	if err != nil {
		return nil, fmt.Errorf("this is no regular expression: %w", err)
	}
	re.Longest()
	return &expression{re, n}, nil
}

// steps tells of how many steps a regular expression is made, before they are: repetitions
// of repetitions would be millions of them. What is above maxSteps is not counted further.
func steps(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/8
	for _, sub := range re.Sub {
		if n += steps(sub); n > maxSteps {
			break
		}
	}
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min, re.Max)
	}
	return min(n, maxSteps+1)
}

// relations tell what the order of two strings must be. RFC 5231 §3
var relations = map[string]func(int) bool{
	"gt": func(n int) bool { return n > 0 }, "ge": func(n int) bool { return n >= 0 },
	"lt": func(n int) bool { return n < 0 }, "le": func(n int) bool { return n <= 0 },
	"eq": func(n int) bool { return n == 0 }, "ne": func(n int) bool { return n != 0 },
}

// match tells whether one of the values matches one of the keys.
func (x *matcher) match(m *machine, values []string) (bool, error) {
	if x.kind == count {
		return x.counts(m, len(values))
	}
	for _, v := range values {
		if err := m.charge(1 + len(v)>>10); err != nil {
			return false, err
		}
		yes, err := x.one(m, v)
		if yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

// counts compares a number of things. RFC 5231 §4.2
func (x *matcher) counts(m *machine, n int) (bool, error) {
	for _, k := range x.keys {
		if relations[x.rel](x.cmp.order(strconv.Itoa(n), k.of(m))) {
			return true, nil
		}
	}
	return false, nil
}

func (x *matcher) one(m *machine, v string) (bool, error) {
	folded := v
	var text *units
	switch x.kind {
	case is, contains:
		folded = x.cmp.key(v)
	case matches:
		text = x.units(v)
	}
	for i, k := range x.keys {
		key := k.of(m)
		if err := m.charge(1); err != nil {
			return false, err
		}
		yes := false
		switch x.kind {
		case is:
			yes = x.cmp == asciiNumeric && x.cmp.order(v, key) == 0 || x.cmp != asciiNumeric && folded == x.key(i, key)
		case contains:
			yes = strings.Contains(folded, x.key(i, key))
		case byValue:
			yes = relations[x.rel](x.cmp.order(v, key))
		case matches:
			var parts []string
			var err error
			p := x.patterns[i]
			if p == nil {
				p = x.pattern(key)
			}
			if parts, yes, err = p.glob(m, text); err != nil {
				return false, err
			}
			x.remember(m, yes, parts)
		case byRegex:
			re := x.regexps[i]
			if re == nil {
				var err error
				if re, err = x.regexp(key); err != nil {
					return false, &Error{x.line, err.Error()}
				}
				if err := m.charge(re.steps >> 3); err != nil {
					return false, err
				}
			}
			if err := m.charge(len(v) * re.steps >> 9); err != nil {
				return false, err
			}
			parts := re.FindStringSubmatch(v)
			yes = parts != nil
			x.remember(m, yes, parts)
		}
		if yes {
			return true, nil
		}
	}
	return false, nil
}

// key gives the key of that number as it is compared.
func (x *matcher) key(i int, key string) string {
	if x.keys[i].pieces == nil {
		return x.folded[i]
	}
	return x.cmp.key(key)
}

// remember keeps what a pattern has matched for the script. RFC 5229 §3.2
func (x *matcher) remember(m *machine, yes bool, parts []string) {
	if !yes || !x.sets {
		return
	}
	for i := range parts {
		parts[i] = cut(parts[i])
	}
	m.matched = parts
}

// glob matches a pattern with * and ?, of which \ takes the meaning, and gives the whole
// and what each of them stands for: of a * as little as will do. RFC 5228 §2.7.1
func (p *pattern) glob(m *machine, text *units) (parts []string, ok bool, err error) {
	parts = []string{text.text}
	pos := 0
	for i, seg := range p.segments {
		last := i == len(p.segments)-1
		from := pos
		switch {
		case i == 0: // no star before it
			if !seg.at(text, 0) {
				return nil, false, nil
			}
		case last:
			if from = len(text.key) - len(seg); from < pos || !seg.at(text, from) {
				return nil, false, nil
			}
		default:
			for ; from+len(seg) <= len(text.key) && !seg.at(text, from); from++ {
			}
			if err := m.charge((from - pos) * (1 + len(seg)) >> 8); err != nil {
				return nil, false, err
			}
			if from+len(seg) > len(text.key) {
				return nil, false, nil
			}
		}
		if i > 0 {
			parts = append(parts, text.span(pos, from))
		}
		for j, u := range seg {
			if u.any {
				parts = append(parts, text.span(from+j, from+j+1))
			}
		}
		pos = from + len(seg)
	}
	if len(p.segments) == 1 && pos != len(text.key) {
		return nil, false, nil
	}
	return parts, true, nil
}

// units are what ? stands for one of: characters, to i;octet bytes.
type units struct {
	text string
	key  []string // of each, as it is compared
	at   []int    // where each begins, and the end
}

func (u *units) span(from, to int) string { return u.text[u.at[from]:u.at[to]] }

func (x *matcher) units(s string) *units {
	u := &units{text: s, key: make([]string, 0, len(s)), at: make([]int, 0, len(s)+1)}
	for i := 0; i < len(s); {
		n := 1
		if x.cmp != octet {
			_, n = utf8.DecodeRuneInString(s[i:])
		}
		u.key, u.at = append(u.key, x.cmp.key(s[i:i+n])), append(u.at, i)
		i += n
	}
	u.at = append(u.at, len(s))
	return u
}

// A unit of a pattern is a character, or any.
type unit struct {
	key string
	any bool
}

type segment []unit

func (s segment) at(u *units, from int) bool {
	if from+len(s) > len(u.key) {
		return false
	}
	for i, x := range s {
		if !x.any && x.key != u.key[from+i] {
			return false
		}
	}
	return true
}

// A pattern is divided by its stars.
type pattern struct{ segments []segment }

func (x *matcher) pattern(s string) *pattern {
	p := &pattern{segments: []segment{nil}}
	add := func(u unit) {
		i := len(p.segments) - 1
		p.segments[i] = append(p.segments[i], u)
	}
	for i := 0; i < len(s); {
		n := 1
		if x.cmp != octet {
			_, n = utf8.DecodeRuneInString(s[i:])
		}
		switch {
		case s[i] == '*':
			p.segments = append(p.segments, nil)
		case s[i] == '?':
			add(unit{any: true})
		case s[i] == '\\' && i+1 < len(s):
			i++
			n = 1
			if x.cmp != octet {
				_, n = utf8.DecodeRuneInString(s[i:])
			}
			add(unit{key: x.cmp.key(s[i : i+n])})
		default:
			add(unit{key: x.cmp.key(s[i : i+n])})
		}
		i += n
	}
	return p
}

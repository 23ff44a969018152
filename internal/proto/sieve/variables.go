package sieve

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// variableName gives the name of a variable that a script sets.
func (c *compiler) variableName(line int, s string) string {
	name := strings.ToLower(s)
	switch space, rest, dotted := strings.Cut(name, "."); {
	case isName(name):
	case dotted && space == "global" && isName(rest):
		c.needs(line, "global."+rest, "include")
	case dotted && isName(space):
		c.fail(line, "there is no namespace %q for variables", space)
	default:
		c.fail(line, "%q is no name of a variable: it has letters, digits and _, and does not begin with a digit", s)
	}
	return name
}

// variable gives what a variable says; "" if nobody has set it.
func (m *machine) variable(name string) string {
	if rest, is := strings.CutPrefix(name, "global."); is {
		return m.globals[rest]
	}
	if m.shared[name] {
		return m.globals[name]
	}
	return m.vars[name]
}

func (m *machine) setVariable(line int, name, s string) error {
	in := m.vars
	if rest, is := strings.CutPrefix(name, "global."); is {
		in, name = m.globals, rest
	} else if m.shared[name] {
		in = m.globals
	}
	if _, there := in[name]; !there && len(in) >= maxVariables {
		return &Error{line, fmt.Sprintf("a script has %d variables at most", maxVariables)}
	}
	in[name] = cut(s)
	return nil
}

// modifiers change what is set, those with a higher number first. RFC 5229 §4.1
var modifiers = map[string]int{
	"lower": 40, "upper": 40, "lowerfirst": 30, "upperfirst": 30, "quotewildcard": 20, "quoteregex": 20, "length": 10,
}

// set. RFC 5229 §4
func (c *compiler) set(n *node) command {
	tags := map[string]argKind{}
	for name := range modifiers {
		tags[name] = none
	}
	t := c.take(n, tags, argText, argText)
	if t == nil {
		return nil
	}
	if _, ok := c.text(n.line, t.pos[0].list[0]).constant(); !ok {
		c.fail(n.line, "the name of a variable has no variables in it")
		return nil
	}
	name, to := c.variableName(n.line, t.pos[0].list[0]), c.value(t.pos[1])
	order := c.modifiers(n, t)
	return commandFunc(func(m *machine) error {
		s := to.of(m)
		for _, tag := range order {
			s = modify(tag, s)
		}
		m.say(n.line, "set %s to %q", name, s)
		return m.setVariable(n.line, name, s)
	})
}

// modifiers gives those that stand there, in the order in which they are done.
func (c *compiler) modifiers(n *node, t *taken) (order []string) {
	for tag := range t.tags {
		if modifiers[tag] == 0 {
			continue
		}
		if tag == "quoteregex" {
			c.needs(n.line, ":quoteregex", "regex")
		}
		order = append(order, tag)
	}
	slices.SortFunc(order, func(a, b string) int { return modifiers[b] - modifiers[a] })
	for i := range order[:max(len(order)-1, 0)] {
		if modifiers[order[i]] == modifiers[order[i+1]] {
			c.fail(n.line, ":%s and :%s exclude each other", order[i], order[i+1])
		}
	}
	return order
}

func modify(tag, s string) string {
	switch tag {
	case "lower":
		return strings.ToLower(s)
	case "upper":
		return strings.ToUpper(s)
	case "lowerfirst", "upperfirst":
		r, n := utf8.DecodeRuneInString(s)
		if n == 0 || r == utf8.RuneError {
			return s
		}
		if tag == "lowerfirst" {
			return string(unicode.ToLower(r)) + s[n:]
		}
		return string(unicode.ToUpper(r)) + s[n:]
	case "quotewildcard":
		return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `\`, `\\`).Replace(s)
	case "quoteregex":
		var b strings.Builder
		for _, r := range s {
			if strings.ContainsRune(`\.*+?()[]{}|^$`, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	return strconv.Itoa(utf8.RuneCountInString(s))
}

// stringTest. RFC 5229 §5
func (c *compiler) stringTest(n *node) test {
	t := c.take(n, matchTags, argList, argList)
	if t == nil {
		return nil
	}
	source, x := c.texts(t.pos[0]), c.matcher(t, t.pos[1])
	return testFunc(func(m *machine) (bool, error) {
		list := all(m, source)
		if x.kind == count { // those that are not empty. RFC 5229 §5
			n := 0
			for _, s := range list {
				if s != "" {
					n++
				}
			}
			return x.counts(m, n)
		}
		return x.match(m, list)
	})
}

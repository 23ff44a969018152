package sieve

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"posthaste/internal/base/mail"
)

// include. RFC 6609 §3.2
func (c *compiler) include(n *node) command {
	t := c.take(n, map[string]argKind{"personal": none, "global": none, "once": none, "optional": none}, argText)
	if t == nil {
		return nil
	}
	location := c.only(t, "personal", "global")
	if location == "" {
		location = "personal"
	}
	name, ok := c.value(t.pos[0]).constant()
	if !ok {
		c.fail(n.line, "the name of a script that is included has no variables in it")
		return nil
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 }) {
		c.fail(n.line, "%q cannot be the name of a script", name)
	}
	return commandFunc(func(m *machine) error {
		key := location + " " + name
		if t.is("once") && m.once[key] {
			return nil
		}
		if m.depth++; m.depth > maxIncludes {
			return &Error{n.line, fmt.Sprintf("scripts include each other, %d deep", maxIncludes)}
		}
		defer func() { m.depth-- }()
		if m.included++; m.included > maxIncluded {
			return &Error{n.line, fmt.Sprintf("more than %d scripts are included", maxIncluded)}
		}
		s, err := m.in.World.Script(m.ctx, location, name)
		switch {
		case errors.Is(err, mail.ErrNotFound) && t.is("optional"):
			m.say(n.line, "there is no script %q to include", name)
			return nil
		case errors.Is(err, mail.ErrNotFound):
			return &Error{n.line, fmt.Sprintf("there is no script %q to include", name)}
		case err != nil:
			if _, is := errors.AsType[*Error](err); is {
				return &Error{n.line, fmt.Sprintf("the script %q: %v", name, err)}
			}
			return &runError{n.line, err}
		}
		m.mark(key)
		m.say(n.line, "include %q", name)
		return m.inside(s)
	})
}

// mark remembers that a script was included.
func (m *machine) mark(key string) {
	if m.once == nil {
		m.once = map[string]bool{}
	}
	m.once[key] = true
}

// inside runs a script in a frame of its own. The flags of imap4flags are common to all.
func (m *machine) inside(s *Script) error {
	outer := m.frame
	m.frame = &frame{vars: map[string]string{}, flags: outer.flags, depth: outer.depth}
	err := m.block(s.block)
	outer.flags = m.flags
	m.frame = outer
	if sig, ok := err.(*signal); ok && sig.kind == returned { //nolint:errorlint // it is never wrapped
		return nil
	}
	return err
}

// giveBack is return. RFC 6609 §3.3
func (c *compiler) giveBack(n *node) command {
	if c.take(n, nil) == nil {
		return nil
	}
	return commandFunc(func(*machine) error { return &signal{kind: returned} })
}

// global makes names stand for variables that scripts share. RFC 6609 §3.4.1
func (c *compiler) global(n *node) command {
	t := c.take(n, nil, argList)
	if t == nil {
		return nil
	}
	c.needs(n.line, "global", "variables")
	names := make([]string, len(t.pos[0].list))
	for i, s := range t.pos[0].list {
		names[i] = c.variableName(n.line, s)
	}
	return commandFunc(func(m *machine) error {
		if m.shared == nil {
			m.shared = map[string]bool{}
		}
		for _, name := range names {
			if _, own := m.vars[name]; own {
				return &Error{n.line, fmt.Sprintf("the variable %s is used before it is global", name)}
			}
			m.shared[name] = true
		}
		return nil
	})
}

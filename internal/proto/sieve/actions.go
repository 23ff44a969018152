package sieve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// How long marks are good for.
const (
	defaultDuplicate = 7 * 24 * time.Hour
	maxDuplicate     = 90 * 24 * time.Hour
)

// seconds gives so many, but no more than most.
func seconds(n uint64, most time.Duration) time.Duration {
	return time.Duration(min(n, uint64(most/time.Second))) * time.Second
}

func (c *compiler) stop(n *node) command {
	if c.take(n, nil) == nil {
		return nil
	}
	return commandFunc(func(m *machine) error {
		m.say(n.line, "stop")
		return &signal{kind: stopped}
	})
}

var (
	flagTags = map[string]argKind{"flags": argList}
	copyTags = map[string]argKind{"copy": none}
	boxTags  = map[string]argKind{"create": none, "specialuse": argText, "mailboxid": argText}
)

// flagsOf gives what :flags says, or nil if it is not there. RFC 5232 §5
func (c *compiler) flagsOf(t *taken) []value {
	a, ok := t.tags["flags"]
	if !ok {
		return nil
	}
	c.needs(t.line, ":flags", "imap4flags")
	return append([]value{}, c.texts(a)...)
}

func (m *machine) flagsNow(list []value) []string {
	if list == nil {
		return slices.Clone(m.flags)
	}
	return split(all(m, list))
}

// keep. RFC 5228 §4.3
func (c *compiler) keep(n *node) command {
	t := c.take(n, flagTags)
	if t == nil {
		return nil
	}
	flags := c.flagsOf(t)
	return commandFunc(func(m *machine) error {
		m.keep = false
		m.say(n.line, "keep")
		return m.do(Action{Kind: Keep, Line: n.line, Flags: m.flagsNow(flags)})
	})
}

// discard. RFC 5228 §4.4
func (c *compiler) discard(n *node) command {
	if c.take(n, nil) == nil {
		return nil
	}
	return commandFunc(func(m *machine) error {
		m.keep = false
		m.say(n.line, "discard")
		return nil
	})
}

// copies tells whether :copy is there. RFC 3894
func (c *compiler) copies(t *taken) bool {
	if t.is("copy") {
		c.needs(t.line, ":copy", "copy")
	}
	return t.is("copy")
}

// A where is the mailbox of fileinto or :fcc, as it is written.
type where struct {
	name, use, id value
	create        bool
}

func (c *compiler) where(t *taken, name argument) (w where) {
	w.name = c.value(name)
	if s, ok := w.name.constant(); ok && s == "" {
		c.fail(t.line, "a mailbox has a name")
	}
	if w.create = t.is("create"); w.create {
		c.needs(t.line, ":create", "mailbox")
	}
	if a, ok := t.tags["specialuse"]; ok {
		c.needs(t.line, ":specialuse", "special-use")
		w.use = c.value(a)
	}
	if a, ok := t.tags["mailboxid"]; ok {
		c.needs(t.line, ":mailboxid", "mailboxid")
		w.id = c.value(a)
	}
	return w
}

func (w where) of(m *machine) Place {
	return Place{Name: w.name.of(m), Use: w.use.of(m), ID: w.id.of(m), Create: w.create}
}

// fileinto. RFC 5228 §4.1
func (c *compiler) fileinto(n *node) command {
	t := c.take(n, with(copyTags, flagTags, boxTags), argText)
	if t == nil {
		return nil
	}
	w, flags, copies := c.where(t, t.pos[0]), c.flagsOf(t), c.copies(t)
	return commandFunc(func(m *machine) error {
		place := w.of(m)
		m.keep = m.keep && copies
		m.say(n.line, "put into the mailbox %q", place.Name)
		return m.do(Action{Kind: FileInto, Line: n.line, Place: place, Flags: m.flagsNow(flags)})
	})
}

// redirect. RFC 5228 §4.2
func (c *compiler) redirect(n *node) command {
	t := c.take(n, copyTags, argText)
	if t == nil {
		return nil
	}
	to, copies := c.value(t.pos[0]), c.copies(t)
	if s, ok := to.constant(); ok {
		if _, ok := oneAddress(s); !ok {
			c.fail(n.line, "%q is no address: write name@domain", s)
		}
	}
	return commandFunc(func(m *machine) error {
		a, ok := oneAddress(to.of(m))
		if !ok {
			return &Error{n.line, fmt.Sprintf("%q is no address", to.of(m))}
		}
		m.keep = m.keep && copies
		m.say(n.line, "send on to %s", a)
		return m.do(Action{Kind: Redirect, Line: n.line, Address: a})
	})
}

// oneAddress reads one address, with or without a name. RFC 5228 §2.4.2.3
func oneAddress(s string) (mail.Address, bool) {
	list := message.ParseAddresses(s)
	if len(list) != 1 || list[0].Address.IsZero() || list[0].Group != "" {
		return mail.Address{}, false
	}
	return list[0].Address, true
}

// maxReason is how many bytes the text of a refusal or an answer has.
const maxReason = 64 << 10

// reject is reject and ereject: here both refuse while the other server can still be told.
// RFC 5429
func (c *compiler) reject(n *node) command {
	t := c.take(n, nil, argText)
	if t == nil {
		return nil
	}
	text := c.value(t.pos[0])
	return commandFunc(func(m *machine) error {
		m.keep = false
		m.say(n.line, "refuse")
		return m.do(Action{Kind: Reject, Line: n.line, Text: text.of(m)})
	})
}

// The system flags that a script may set.
var systemFlags = []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// split gives flags one by one, each once and as it should be written; what is none is
// left out. RFC 5232 §2
func split(list []string) (out []string) {
	for _, s := range list {
		for f := range strings.FieldsSeq(s) {
			if f[0] == '\\' {
				i := slices.IndexFunc(systemFlags, func(x string) bool { return strings.EqualFold(x, f) })
				if i < 0 {
					continue
				}
				f = systemFlags[i]
			} else if !isKeyword(f) {
				continue
			}
			if !hasFold(out, f) && len(out) < 100 {
				out = append(out, f)
			}
		}
	}
	return out
}

func hasFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}

func isKeyword(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(`(){%*"\]`, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// flags is setflag, addflag and removeflag. RFC 5232 §3
func (c *compiler) flags(n *node) command {
	name, list := c.flagArguments(n)
	if list == nil {
		return nil
	}
	return commandFunc(func(m *machine) error {
		now := m.flags
		if name != "" {
			now = split([]string{m.variable(name)})
		}
		given := split(all(m, list))
		switch n.name {
		case "setflag":
			now = given
		case "addflag":
			now = split(append(slices.Clone(now), given...))
		case "removeflag":
			now = slices.DeleteFunc(slices.Clone(now), func(f string) bool { return hasFold(given, f) })
		}
		if name == "" {
			m.flags = now
			return nil
		}
		return m.setVariable(n.line, name, strings.Join(now, " "))
	})
}

// flagArguments reads the name of a variable, which may be left out, and a list of flags.
func (c *compiler) flagArguments(n *node) (name string, list []value) {
	kinds := []argKind{argText, argList}
	if places(n, nil) < 2 {
		kinds = kinds[1:]
	}
	t := c.take(n, nil, kinds...)
	if t == nil {
		return "", nil
	}
	if len(kinds) == 2 {
		c.needs(n.line, "a variable of flags", "variables")
		name = c.variableName(n.line, t.pos[0].list[0])
	}
	return name, c.texts(t.pos[len(kinds)-1])
}

// places counts the arguments that are neither tags nor what they want.
func places(n *node, tags map[string]argKind) (count int) {
	for i := 0; i < len(n.args); i++ {
		if n.args[i].kind != argTag {
			count++
		} else if tags[n.args[i].tag] != none {
			i++
		}
	}
	return count
}

// hasFlag. RFC 5232 §4
func (c *compiler) hasFlag(n *node) test {
	kinds := []argKind{argList, argList}
	if places(n, matchTags) < 2 {
		kinds = kinds[1:]
	}
	t := c.take(n, matchTags, kinds...)
	if t == nil {
		return nil
	}
	var names []string
	if len(t.pos) == 2 {
		c.needs(n.line, "a variable of flags", "variables")
		for _, s := range t.pos[0].list {
			names = append(names, c.variableName(n.line, s))
		}
	}
	x := c.matcher(t, t.pos[len(t.pos)-1])
	return testFunc(func(m *machine) (bool, error) {
		x := &x
		if x.kind == is || x.kind == contains || x.kind == matches { // each key may be several. RFC 5232 §4
			x = x.withKeys(words(all(m, x.keys)))
		}
		have := m.flags
		if names != nil {
			have = nil
			for _, name := range names {
				have = append(have, split([]string{m.variable(name)})...)
			}
		}
		return x.match(m, have)
	})
}

// words gives the words of strings, one by one.
func words(list []string) (out []value) {
	for _, s := range list {
		for w := range strings.FieldsSeq(s) {
			out = append(out, value{lit: w})
		}
	}
	return out
}

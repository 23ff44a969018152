package sieve

import (
	"fmt"
	"io"
	"strings"

	"posthaste/internal/proto/message"
)

// maxBody is how many bytes of parts a run looks at.
const maxBody = 8 << 20

var mimeTags = map[string]argKind{"mime": none, "anychild": none, "type": none, "subtype": none, "contenttype": none, "param": argList}

// A mimed says of which parts, and of which piece of a field, a test speaks. RFC 5703 §4
type mimed struct {
	mime, children bool
	want           string // "", type, subtype, contenttype or param
	params         []value
}

func (c *compiler) mime(t *taken) (x mimed) {
	x.mime, x.children = t.is("mime"), t.is("anychild")
	x.want = c.only(t, "type", "subtype", "contenttype", "param")
	if x.mime {
		c.needs(t.line, ":mime", "mime")
	} else if x.children || x.want != "" {
		c.fail(t.line, ":anychild, :type, :subtype, :contenttype and :param want :mime")
	}
	if a, ok := t.tags["param"]; ok {
		x.params = c.texts(a)
	}
	return x
}

// raw gives the values of a field as they stand there.
func (x mimed) raw(m *machine, name string) (out []string, err error) {
	if !x.mime {
		return m.rawOf(name)
	}
	root := m.part
	if root == nil {
		if root, _, err = m.body(); err != nil {
			return nil, err
		}
		if !x.children {
			return m.rawOf(name)
		}
	}
	if !x.children {
		header, err := m.headerOf(root)
		if err != nil {
			return nil, err
		}
		return m.rawIn(header, name)
	}
	for p := range root.All() {
		if m.part == nil && p == root {
			out, err = m.rawOf(name)
			if err != nil {
				return nil, err
			}
			continue
		}
		header, err := m.headerOf(p)
		if err != nil {
			return nil, err
		}
		list, err := m.rawIn(header, name)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// values gives what a test compares: the values of fields, or pieces of them.
func (x mimed) values(m *machine, names []string, idx index) (out []string, err error) {
	for _, name := range names {
		list, err := x.raw(m, name)
		if err != nil {
			return nil, err
		}
		for _, s := range idx.of(list) {
			if x.want == "" {
				out = append(out, message.DecodeWords(s))
				continue
			}
			out = append(out, x.pieces(m, name, s)...)
		}
	}
	return out, nil
}

// pieces gives what is wanted of Content-Type or Content-Disposition. RFC 5703 §4.2
func (x mimed) pieces(m *machine, name, field string) []string {
	p := message.ParseBytes([]byte(name + ": " + field + "\r\n\r\n"))
	typ, params := p.Type, p.Params
	disposition := strings.EqualFold(name, "content-disposition")
	switch {
	case disposition:
		typ, params = p.Disposition, p.DispositionParams
	case !strings.EqualFold(name, "content-type"):
		return nil
	}
	switch x.want {
	case "type":
		return []string{typ}
	case "subtype":
		if disposition {
			return []string{""}
		}
		return []string{p.Subtype}
	case "contenttype":
		if disposition {
			return []string{typ}
		}
		return []string{typ + "/" + p.Subtype}
	}
	var out []string
	for _, n := range all(m, x.params) {
		if v, ok := message.DecodeParam(params, strings.ToLower(n)); ok {
			out = append(out, v)
		}
	}
	return out
}

// headerOf reads the header of a part.
func (m *machine) headerOf(p *message.Part) ([]byte, error) {
	root, r, err := m.body()
	if err != nil {
		return nil, err
	}
	if p == root {
		return m.in.Header, nil
	}
	if err := m.charge(1 + int(p.HeaderSize>>10)); err != nil {
		return nil, err
	}
	b := make([]byte, min(p.HeaderSize, message.MaxHeaderBytes))
	n, err := r.ReadAt(b, p.Offset)
	if n < len(b) && err != nil {
		return nil, fmt.Errorf("sieve: the message: %w", err)
	}
	return b, nil
}

// everyPart is foreverypart. RFC 5703 §3
func (c *compiler) everyPart(n *node) command {
	t := c.take(n, map[string]argKind{"name": argText})
	if t == nil {
		return nil
	}
	if !n.hasBlock {
		c.fail(n.line, "foreverypart wants a block in braces")
		return nil
	}
	name := ""
	if a, ok := t.tags["name"]; ok {
		name = a.list[0]
	}
	if len(c.loops) >= maxLoops {
		c.fail(n.line, "no more than %d foreverypart stand in each other", maxLoops)
	}
	c.loops = append(c.loops, name)
	block := c.commands(n.block, false)
	c.loops = c.loops[:len(c.loops)-1]
	return commandFunc(func(m *machine) error {
		root, _, err := m.body()
		if err != nil {
			return err
		}
		outer := m.part
		defer func() { m.part = outer }()
		if outer != nil {
			root = outer
		}
		for p := range root.All() {
			if p == outer {
				continue
			}
			m.part = p
			err := m.block(block)
			if s, ok := err.(*signal); ok && s.kind == broke && (s.loop == "" || s.loop == name) { //nolint:errorlint // it is never wrapped
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// maxLoops is how many foreverypart stand in each other. RFC 5703 §3 asks for 4.
const maxLoops = 4

// leave is break. RFC 5703 §3.2
func (c *compiler) leave(n *node) command {
	t := c.take(n, map[string]argKind{"name": argText})
	if t == nil {
		return nil
	}
	name := ""
	if a, ok := t.tags["name"]; ok {
		name = a.list[0]
	}
	found := name == "" && len(c.loops) > 0
	for _, l := range c.loops {
		found = found || name != "" && l == name
	}
	if !found {
		c.fail(n.line, "there is no such foreverypart around this break")
	}
	return commandFunc(func(*machine) error { return &signal{broke, name} })
}

// extract is extracttext. RFC 5703 §7
func (c *compiler) extract(n *node) command {
	tags := map[string]argKind{"first": argNumber}
	for name := range modifiers {
		tags[name] = none
	}
	t := c.take(n, tags, argText)
	if t == nil {
		return nil
	}
	c.needs(n.line, "extracttext", "variables")
	if len(c.loops) == 0 {
		c.fail(n.line, "extracttext stands in a foreverypart")
	}
	name, most := c.variableName(n.line, t.pos[0].list[0]), maxVariable
	if a, ok := t.tags["first"]; ok {
		most = int(min(a.num, maxVariable))
	}
	order := c.modifiers(n, t)
	return commandFunc(func(m *machine) error {
		s := ""
		if m.part != nil && (strings.EqualFold(m.part.Type, "text") || isMarkup(m.part)) {
			var err error
			if s, err = m.readable(m.part, maxVariable*16); err != nil {
				return err
			}
			if r := []rune(s); len(r) > most {
				s = string(r[:most])
			}
		}
		for _, tag := range order {
			s = modify(tag, s)
		}
		return m.setVariable(n.line, name, s)
	})
}

// readable reads a part as people do: HTML without what is not text. RFC 5703 §7
func (m *machine) readable(p *message.Part, most int64) (string, error) {
	s, err := m.read(p, true, most)
	if err == nil && isMarkup(p) {
		s = message.StripTags(s)
	}
	return s, err
}

func isMarkup(p *message.Part) bool {
	return strings.EqualFold(p.Type, "text") && strings.EqualFold(p.Subtype, "html") || strings.EqualFold(p.Type, "application") && strings.EqualFold(p.Subtype, "xhtml+xml")
}

// read reads a part without its encoding, as text in UTF-8 if it is to be.
func (m *machine) read(p *message.Part, text bool, most int64) (string, error) {
	_, r, err := m.body()
	if err != nil {
		return "", err
	}
	in := message.NewBodyReader(p, r)
	if text {
		in = message.NewTextReader(p, r)
	}
	b, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return "", fmt.Errorf("sieve: the message: %w", err)
	}
	return string(b), m.charge(1 + len(b)>>10)
}

package sieve

import (
	"fmt"
	"io"
	"strings"

	"posthaste/internal/proto/message"
)

// bodyTest. RFC 5173
func (c *compiler) bodyTest(n *node) test {
	t := c.take(n, with(matchTags, map[string]argKind{"raw": none, "content": argList, "text": none}), argList)
	if t == nil {
		return nil
	}
	kind := c.only(t, "raw", "content", "text")
	var types []value
	if kind == "content" {
		types = c.texts(t.tags["content"])
	}
	x := c.matcher(t, t.pos[0])
	x.sets = false // RFC 5173 §6
	return testFunc(func(m *machine) (bool, error) {
		root, r, err := m.body()
		if err != nil {
			return false, err
		}
		if kind == "raw" {
			b, err := io.ReadAll(io.LimitReader(io.NewSectionReader(r, root.BodyOffset(), root.BodySize), maxBody))
			if err != nil {
				return false, fmt.Errorf("sieve: the message: %w", err)
			}
			if err := m.charge(len(b) >> 10); err != nil {
				return false, err
			}
			return x.match(m, []string{string(b)})
		}
		wanted := []string{"text"}
		if kind == "content" {
			wanted = all(m, types)
		}
		return x.matchParts(m, root, wanted)
	})
}

// matchParts compares the parts of some types, one after another. RFC 5173 §5.2
func (x *matcher) matchParts(m *machine, root *message.Part, types []string) (bool, error) {
	left, found := int64(maxBody), 0
	for p := range root.All() {
		if !ofType(p, types) {
			continue
		}
		found++
		if x.kind == count {
			continue
		}
		s, err := m.content(p, left)
		if err != nil {
			return false, err
		}
		if left -= int64(len(s)); left <= 0 {
			return false, nil
		}
		yes, err := x.match(m, []string{s})
		if yes || err != nil {
			return yes, err
		}
	}
	if x.kind == count {
		return x.counts(m, found)
	}
	return false, nil
}

// content gives what a part says: of a multipart what stands around its parts, of a
// message in a message its header. RFC 5173 §5.2
func (m *machine) content(p *message.Part, most int64) (string, error) {
	switch {
	case len(p.Children) > 0:
		return m.around(p)
	case p.Message != nil:
		b, err := m.headerOf(p.Message)
		return string(b), err
	}
	return m.read(p, strings.EqualFold(p.Type, "text"), most)
}

// around gives what stands before the first and behind the last part of a multipart.
func (m *machine) around(p *message.Part) (string, error) {
	_, r, err := m.body()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, span := range [][2]int64{{p.BodyOffset(), p.Children[0].Offset}, {p.Children[len(p.Children)-1].End(), p.End()}} {
		_, err := io.Copy(&b, io.LimitReader(io.NewSectionReader(r, span[0], span[1]-span[0]), 1<<16))
		if err != nil {
			return "", fmt.Errorf("sieve: the message: %w", err)
		}
	}
	return b.String(), m.charge(1 + b.Len()>>10)
}

func ofType(p *message.Part, types []string) bool {
	for _, t := range types {
		typ, sub, whole := strings.Cut(t, "/")
		switch {
		case t == "": // all of them
			return true
		case whole && typ != "" && sub != "":
			if strings.EqualFold(p.Type, typ) && strings.EqualFold(p.Subtype, sub) {
				return true
			}
		case !whole && strings.EqualFold(p.Type, typ):
			return true
		}
	}
	return false
}

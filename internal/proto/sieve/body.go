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
		there, err := hasBody(root, r)
		switch {
		case err != nil:
			return false, err
		case !there:
			return x.match(m, nil)
		case kind == "raw":
			b, err := io.ReadAll(io.LimitReader(io.NewSectionReader(r, root.BodyOffset(), root.BodySize), maxBody))
			if err != nil {
				return false, fmt.Errorf("sieve: the message: %w", err)
			}
			if err := m.charge(len(b) >> 10); err != nil {
				return false, err
			}
			return x.match(m, []string{string(b)})
		case kind == "content":
			types := all(m, types)
			return x.matchParts(m, root, func(p *message.Part) bool { return ofType(p, types) }, m.content)
		}
		return x.matchParts(m, root, isText, func(p *message.Part, most int64) ([]string, error) {
			s, err := m.readable(p, most)
			return []string{s}, err
		})
	})
}

// hasBody tells whether there is anything behind the header, if only an empty line.
// RFC 5173 §4
func hasBody(root *message.Part, r io.ReaderAt) (bool, error) {
	if root.BodySize > 0 {
		return true, nil
	}
	b := make([]byte, min(root.HeaderSize, 4))
	if n, err := r.ReadAt(b, root.Offset+root.HeaderSize-int64(len(b))); n < len(b) && err != nil {
		return false, fmt.Errorf("sieve: the message: %w", err)
	}
	s := string(b)
	return strings.HasSuffix(s, "\n\r\n") || strings.HasSuffix(s, "\n\n") || s == "\r\n" || s == "\n", nil
}

// isText tells whether a part is text that people read.
func isText(p *message.Part) bool {
	return strings.EqualFold(p.Type, "text") && !strings.Contains(p.Subtype, "/") || isMarkup(p)
}

// matchParts compares the parts that are wanted, one after another. RFC 5173 §5.2
func (x *matcher) matchParts(m *machine, root *message.Part, wanted func(*message.Part) bool, read func(*message.Part, int64) ([]string, error)) (bool, error) {
	left, found := int64(maxBody), 0
	for p := range root.All() {
		if !wanted(p) {
			continue
		}
		found++
		if x.kind == count {
			continue
		}
		list, err := read(p, left)
		if err != nil {
			return false, err
		}
		for _, s := range list {
			left -= int64(len(s))
		}
		if left <= 0 {
			return false, nil
		}
		yes, err := x.match(m, list)
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
func (m *machine) content(p *message.Part, most int64) ([]string, error) {
	switch {
	case len(p.Children) > 0:
		return m.around(p)
	case p.Message != nil:
		b, err := m.headerOf(p.Message)
		s := string(b)
		if strings.HasSuffix(s, "\n\r\n") || strings.HasSuffix(s, "\n\n") {
			s = s[:strings.LastIndexByte(s[:len(s)-1], '\n')+1]
		}
		return []string{s}, err
	}
	s, err := m.read(p, strings.EqualFold(p.Type, "text"), most)
	return []string{s}, err
}

// around gives what stands before the first and behind the last part of a multipart,
// without the lines of the boundary.
func (m *machine) around(p *message.Part) ([]string, error) {
	_, r, err := m.body()
	if err != nil {
		return nil, err
	}
	read := func(from, to int64) string {
		b, rerr := io.ReadAll(io.LimitReader(io.NewSectionReader(r, from, max(to-from, 0)), 1<<16))
		if rerr != nil {
			err = fmt.Errorf("sieve: the message: %w", rerr)
		}
		return string(b)
	}
	before := strings.TrimRight(read(p.BodyOffset(), p.Children[0].Offset), "\r\n")
	before = before[:strings.LastIndexByte(before, '\n')+1]
	_, after, _ := strings.Cut(strings.TrimLeft(read(p.Children[len(p.Children)-1].End(), p.End()), "\r\n"), "\n")
	if err != nil {
		return nil, err
	}
	return []string{before, after}, m.charge(1 + (len(before)+len(after))>>10)
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
		case !whole && strings.EqualFold(p.Type, typ) && !strings.Contains(p.Subtype, "/"):
			return true
		}
	}
	return false
}

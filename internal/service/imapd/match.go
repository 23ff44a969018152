package imapd

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

// A verdict is whether a message matches, as far as can be told.
type verdict uint8

const (
	never verdict = iota
	maybe         // more of the message has to be looked at
	yes
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return never
}

// A candidate is a message and as much of it as has been looked at.
type candidate struct {
	row    *mailbox.Row
	record *mailbox.Record // nil in the first step
	body   *body.Reader    // nil before the last
	tree   *message.Part
	header []byte
	folded []byte // all of the header, decoded, for TEXT
	err    error  // of reading

	scratch *scratch
}

type matchFunc func(*candidate) verdict

// read opens the message for the last step.
func (c *candidate) read(ctx context.Context, m *mailbox.Message, match matchFunc) (verdict, error) {
	var err error
	if c.tree, err = message.DecodePart(c.record.Tree); err != nil {
		return never, err
	}
	if c.body, err = m.Open(ctx); err != nil {
		return never, err
	}
	defer func() {
		c.body.Close()
		c.body, c.tree, c.header, c.folded = nil, nil, nil, nil
	}()
	c.header = make([]byte, c.tree.HeaderSize)
	if _, err := c.body.ReadAt(c.header, 0); err != nil && err != io.EOF {
		return never, err
	}
	v := match(c)
	return v, c.err
}

// compile makes a function of a key.
func (m *search) compile(k imap.Key) (matchFunc, error) {
	switch k := k.(type) {
	case imap.All:
		return func(*candidate) verdict { return yes }, nil
	case imap.And:
		return m.all(k.Keys)
	case imap.Or:
		return m.either(k)
	case imap.Not:
		f, err := m.compile(k.Key)
		return func(c *candidate) verdict { return yes - f(c) }, err
	case imap.Messages:
		uids, err := m.messages(k.Set)
		return func(c *candidate) verdict { return verdictOf(uids.Contains(c.row.UID)) }, err
	case imap.HasFlag:
		return m.flag(k.Flag), nil
	case imap.Larger:
		return func(c *candidate) verdict { return verdictOf(uint64(c.row.Size) > k.Size) }, nil
	case imap.Smaller:
		return func(c *candidate) verdict { return verdictOf(uint64(c.row.Size) < k.Size) }, nil
	case imap.ChangedSince:
		m.modSeq = true
		return func(c *candidate) verdict { return verdictOf(c.row.ModSeq >= k.ModSeq) }, nil
	case imap.Arrived:
		return func(c *candidate) verdict { return verdictOf(dateIs(c.row.Date(), k.When, k.Day)) }, nil
	case imap.Sent:
		return func(c *candidate) verdict {
			if c.record == nil {
				return maybe
			}
			return verdictOf(!c.record.Sent.IsZero() && dateIs(c.record.Sent, k.When, k.Day))
		}, nil
	case imap.HeaderHas:
		return m.headerHas(k)
	case imap.BodyHas:
		return m.textHas(k.Text, inBody)
	case imap.TextHas:
		return m.textHas(k.Text, inMessage)
	}
	return nil, bad("", "this search key is not supported")
}

func (m *search) all(keys []imap.Key) (matchFunc, error) {
	fs := make([]matchFunc, len(keys))
	for i, k := range keys {
		var err error
		if fs[i], err = m.compile(k); err != nil {
			return nil, err
		}
	}
	return func(c *candidate) verdict {
		v := yes
		for _, f := range fs {
			if v = min(v, f(c)); v == never {
				break
			}
		}
		return v
	}, nil
}

func (m *search) either(k imap.Or) (matchFunc, error) {
	a, err := m.compile(k.A)
	if err != nil {
		return nil, err
	}
	b, err := m.compile(k.B)
	return func(c *candidate) verdict {
		v := a(c)
		if v != yes {
			v = max(v, b(c))
		}
		return v
	}, err
}

// messages gives the UIDs of a set. In a SEARCH a number that no message has is
// no error: it matches nothing.
func (m *search) messages(set imap.Set) (mail.UIDSet, error) {
	highest := m.s.box.view.Len()
	if set.UID || set.Saved {
		return m.s.resolve(set)
	}
	there := imap.Set{}
	for _, r := range set.Ranges {
		switch {
		case r.Last == imap.Star && r.First > highest:
			r.First = imap.Star // "9:*" of three messages is "3:9"
		case r.Last != imap.Star && r.First > highest:
			continue
		case r.Last > highest:
			r.Last = highest
		}
		there.Ranges = append(there.Ranges, r)
	}
	if highest == 0 {
		return mail.UIDSet{}, nil
	}
	return m.s.resolve(there)
}

// flag matches messages with a flag or keyword.
func (m *search) flag(name string) matchFunc {
	for _, f := range systemFlags {
		if f.name == name {
			return func(c *candidate) verdict { return verdictOf(c.row.Flags&f.bit != 0) }
		}
	}
	bit := m.snap.Keyword(name)
	return func(c *candidate) verdict { return verdictOf(c.row.Flags&bit != 0) }
}

// dateIs compares dates without regard to time and zone.
func dateIs(t time.Time, when imap.When, day time.Time) bool {
	y, mon, d := t.Date()
	t = time.Date(y, mon, d, 0, 0, 0, 0, time.UTC)
	switch when {
	case imap.Before:
		return t.Before(day)
	case imap.On:
		return t.Equal(day)
	}
	return !t.Before(day)
}

// headerHas matches a field of the header.
func (m *search) headerHas(k imap.HeaderHas) (matchFunc, error) {
	if err := validUTF8(k.Text); err != nil {
		return nil, err
	}
	name := strings.ToLower(k.Field)
	text := fold(nil, []byte(k.Text))
	has := func(fields []byte) verdict {
		var buf []byte
		for f := range message.Fields(fields) {
			if !f.Is(name) {
				continue
			}
			if len(text) == 0 {
				return yes
			}
			buf = fold(buf[:0], []byte(message.DecodeWords(f.Text())))
			if bytes.Contains(buf, text) {
				return yes
			}
		}
		return never
	}
	return func(c *candidate) verdict {
		switch {
		case c.body != nil:
			return has(c.header)
		case c.record == nil:
			return maybe
		}
		fields, ok := c.record.Fields(nil, name)
		if !ok {
			return maybe
		}
		return has(fields)
	}, nil
}

// A scope is where a text is looked for.
type scope uint8

const (
	inBody scope = iota
	inMessage
)

// textHas matches a text in the body, or in the header and the body.
func (m *search) textHas(text string, where scope) (matchFunc, error) {
	if err := validUTF8(text); err != nil {
		return nil, err
	}
	needle := fold(nil, []byte(text))
	return func(c *candidate) verdict {
		if len(needle) == 0 {
			return yes
		}
		if c.body == nil {
			return maybe
		}
		if where == inMessage && bytes.Contains(c.foldedHeader(), needle) {
			return yes
		}
		return verdictOf(c.bodyHas(needle))
	}, nil
}

// foldedHeader gives the header decoded and folded, made once.
func (c *candidate) foldedHeader() []byte {
	if c.folded == nil {
		c.folded = []byte{}
		for f := range message.Fields(c.header) {
			c.folded = fold(c.folded, f.Name)
			c.folded = append(c.folded, ": "...)
			c.folded = fold(c.folded, []byte(message.DecodeWords(f.Text())))
			c.folded = append(c.folded, '\n')
		}
	}
	return c.folded
}

// bodyHas looks for a folded text in all parts that are text.
func (c *candidate) bodyHas(needle []byte) bool {
	whole := c.body.Bytes()
	for p := range c.tree.All() {
		if !p.IsType("text") {
			continue
		}
		var r io.Reader
		switch {
		case !isUTF8(p):
			r = message.NewTextReader(p, c.body)
		case whole == nil || !unencoded(p) || p.End() > int64(len(whole)):
			r = message.NewBodyReader(p, c.body)
		default:
			if c.scratch.has(whole[p.BodyOffset():p.End()], needle) {
				return true
			}
			continue
		}
		ok, err := c.scratch.contains(r, needle)
		if err != nil {
			c.err = err
			return false
		}
		if ok {
			return true
		}
	}
	return false
}

// unencoded tells whether the bytes of a part are its content.
func unencoded(p *message.Part) bool {
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// isUTF8 tells whether the content of a part needs no conversion. Without a
// charset that is not known.
func isUTF8(p *message.Part) bool {
	switch strings.ToLower(p.Param("charset")) {
	case "utf-8", "us-ascii", "ascii":
		return true
	}
	return false
}

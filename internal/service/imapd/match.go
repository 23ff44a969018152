package imapd

import (
	"bytes"
	"context"
	"encoding/binary"
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
	noted  bool // what the store has noted of it can be asked for, at number at of the page
	at     int
	record *mailbox.Record // nil before the last step
	whole  []byte          // the message, if it is in memory
	body   *body.Reader    // nil before the last step
	tree   *message.Part   // nil until it is needed
	header []byte
	folded []byte // all of the header, decoded, for TEXT; room for more behind it
	err    error  // of reading

	*search
	*desk // nil before the last step
}

type matchFunc func(*candidate) verdict

// A column is something noted of every message, made of its record.
type column struct {
	name   string
	make   func(dst []byte, r *mailbox.Record) []byte
	values [][]byte // of the messages of a page
}

// column gives the number of a column, which is made ready for every page.
func (m *search) column(name string, make func([]byte, *mailbox.Record) []byte) int {
	for i := range m.columns {
		if m.columns[i].name == name {
			return i
		}
	}
	m.columns = append(m.columns, column{name: name, make: make})
	return len(m.columns) - 1
}

// value gives what a column has of the candidate.
func (c *candidate) value(col int) []byte { return c.columns[col].values[c.at] }

// read opens the message for the last step.
func (c *candidate) read(ctx context.Context, r *mailbox.Record, m *mailbox.Message, match matchFunc) (verdict, error) {
	var err error
	if c.body, err = m.OpenIn(ctx, c.room); err != nil {
		return never, err
	}
	c.record, c.whole = r, c.body.Bytes()
	if c.whole != nil {
		c.room = c.whole[:0]
	}
	v := match(c)
	c.body.Close()
	return v, c.err
}

// parts gives the structure of the message.
func (c *candidate) parts() *message.Part {
	if c.tree == nil {
		if c.tree, c.err = message.DecodePart(c.record.Tree); c.err != nil {
			c.tree = &message.Part{}
		}
	}
	return c.tree
}

// head gives the header.
func (c *candidate) head() []byte {
	if c.header == nil {
		c.header = c.bytes(0, c.parts().HeaderSize)
	}
	return c.header
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
		return m.sent(k), nil
	case imap.Saved:
		return func(c *candidate) verdict { return verdictOf(dateIs(c.row.Saved(), k.When, k.Day)) }, nil
	case imap.Within:
		limit := time.Now().Add(-time.Duration(k.Seconds) * time.Second)
		return func(c *candidate) verdict { return verdictOf(k.Older == !c.row.Date().After(limit)) }, nil
	case imap.HasEmailID, imap.HasThreadID:
		return object(k), nil
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
	highest := m.box.view.Len()
	if set.UID || set.Saved {
		return m.box.resolve(set)
	}
	if m.s.has(uidOnly) {
		return mail.UIDSet{}, errUIDRequired
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
	return m.box.resolve(there)
}

// flag matches messages with a flag or keyword.
func (m *search) flag(name string) matchFunc {
	for _, f := range systemFlags {
		if f.name == name {
			return func(c *candidate) verdict { return verdictOf(c.row.Flags&f.bit != 0) }
		}
	}
	if name == imap.FlagRecent {
		recent := m.box.recent
		return func(c *candidate) verdict { return verdictOf(recent.Contains(c.row.UID)) }
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

// sent matches the day that the Date field names, in its own zone.
func (m *search) sent(k imap.Sent) matchFunc {
	col := m.column("sent day", noteSentDay)
	day := k.Day.Unix() / daySeconds
	return func(c *candidate) verdict {
		if !c.noted {
			return maybe
		}
		v := c.value(col)
		if len(v) == 0 {
			return never
		}
		sent := int64(binary.BigEndian.Uint64(v))
		switch k.When {
		case imap.Before:
			return verdictOf(sent < day)
		case imap.On:
			return verdictOf(sent == day)
		}
		return verdictOf(sent >= day)
	}
}

const daySeconds = 24 * 60 * 60

// noteSentDay notes the day of the Date field; nothing if that is unreadable.
func noteSentDay(dst []byte, r *mailbox.Record) []byte {
	fields, _ := r.Fields(nil, "date")
	for f := range message.Fields(fields) {
		if t, err := message.ParseDate(f.Text()); err == nil {
			y, mon, d := t.Date()
			return binary.BigEndian.AppendUint64(dst, uint64(time.Date(y, mon, d, 0, 0, 0, 0, time.UTC).Unix()/daySeconds))
		}
	}
	return dst
}

// headerHas matches a field of the header: of those that the store notes, with
// what it has noted, of others by reading the message.
func (m *search) headerHas(k imap.HeaderHas) (matchFunc, error) {
	wanted, err := m.text(k.Text)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(k.Field)
	by := m.compare
	text := by.fold(nil, []byte(wanted))
	has := func(v []byte) verdict { return verdictOf(len(v) > 0 && bytes.Contains(v, text)) }
	var probe mailbox.Record
	if _, ok := probe.Fields(nil, name); ok {
		col := m.column(by.column("field "+name), func(dst []byte, r *mailbox.Record) []byte {
			fields, _ := r.Fields(nil, name)
			return by.noteField(dst, fields, name)
		})
		return func(c *candidate) verdict {
			if !c.noted {
				return maybe
			}
			return has(c.value(col))
		}, nil
	}
	return func(c *candidate) verdict {
		if c.body == nil {
			return maybe
		}
		c.note = by.noteField(c.note[:0], c.head(), name)
		return has(c.note)
	}, nil
}

// noteField appends the text of all fields with a name, decoded and folded, each
// with a line end behind it; addresses also in their plain form.
func (by comparator) noteField(dst, fields []byte, name string) []byte {
	for f := range message.Fields(fields) {
		if !f.Is(name) {
			continue
		}
		text := f.Text()
		dst = append(by.fold(dst, []byte(message.DecodeWords(text))), '\n')
		switch name {
		case "from", "sender", "reply-to", "to", "cc", "bcc":
			for _, a := range message.ParseAddressList(text) {
				if plain := a.Local + "@" + a.Domain; a.Domain != "" && !strings.Contains(text, plain) {
					dst = append(by.fold(dst, []byte(plain)), '\n')
				}
			}
		}
	}
	return dst
}

// A scope is where a text is looked for.
type scope uint8

const (
	inBody scope = iota
	inMessage
)

// textHas matches a text in the body, or in the header and the body.
func (m *search) textHas(text string, where scope) (matchFunc, error) {
	text, err := m.text(text)
	if err != nil {
		return nil, err
	}
	needle := m.compare.fold(nil, []byte(text))
	col := m.column("text parts", noteTextParts)
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
		parts := c.value(col)
		var kind byte
		if len(parts) > 0 {
			kind, parts = parts[0], parts[1:]
		}
		if c.whole != nil && kind&textEncoded == 0 {
			if c.plainHas(parts, needle) {
				return yes
			}
		} else if c.bodyHas(needle) {
			return yes
		}
		return verdictOf(where == inMessage && kind&textFields != 0 && c.fieldsHave(needle))
	}, nil
}

// The first byte of what is noted of the text parts of a message, in bits.
const (
	textEncoded = 1 << iota // their bytes are not their text; otherwise their places follow
	textFields              // there are parts with headers of their own
)

// noteTextParts notes where the text parts of a message are.
func noteTextParts(dst []byte, r *mailbox.Record) []byte {
	tree, err := message.DecodePart(r.Tree)
	if err != nil {
		return append(dst, textEncoded)
	}
	start, kind := len(dst), byte(0)
	if len(tree.Children) > 0 || tree.Message != nil {
		kind = textFields
	}
	dst = append(dst, kind)
	for p := range tree.All() {
		if !p.IsType("text") {
			continue
		}
		if !isUTF8(p) || !unencoded(p) {
			return append(dst[:start], kind|textEncoded)
		}
		dst = binary.AppendUvarint(dst, uint64(p.BodyOffset()))
		dst = binary.AppendUvarint(dst, uint64(p.End()))
	}
	return dst
}

// plainHas looks for a folded text in the parts of a message that are text.
func (c *candidate) plainHas(parts, needle []byte) bool {
	for len(parts) > 0 {
		from, n := binary.Uvarint(parts)
		to, m := binary.Uvarint(parts[n:])
		parts = parts[n+m:]
		if from <= to && to <= uint64(len(c.whole)) && c.has(c.whole[from:to], needle) {
			return true
		}
	}
	return false
}

// foldedHeader gives the header decoded and folded, made once.
func (c *candidate) foldedHeader() []byte {
	if c.folded == nil {
		c.folded = c.foldFields(append(c.folds[:0], '\n'), c.head())
		c.folds = c.folded
	}
	return c.folded
}

// foldFields appends the fields of a header decoded and folded, each with a line
// break.
func (c *candidate) foldFields(dst, header []byte) []byte {
	for f := range message.Fields(header) {
		dst = c.compare.fold(dst, f.Name)
		dst = append(dst, ": "...)
		dst = c.compare.fold(dst, []byte(message.DecodeWords(f.Text())))
		dst = append(dst, '\n')
	}
	return dst
}

// fieldsHave looks for a folded text in the headers of parts and of messages within
// the message: names of files, above all. RFC 9051 §6.4.4, TEXT
func (c *candidate) fieldsHave(needle []byte) bool {
	at := len(c.foldedHeader())
	defer func() { c.folded = c.folded[:at] }()
	root := c.parts()
	for p := range root.All() {
		if p == root {
			continue
		}
		c.folded = c.foldFields(append(c.folded[:at], '\n'), c.bytes(p.Offset, p.HeaderSize))
		c.foldParam(p.DispositionParams, "filename")
		c.foldParam(p.Params, "name")
		if c.folds = c.folded; bytes.Contains(c.folded[at:], needle) {
			return true
		}
	}
	return false
}

// foldParam appends a parameter to what is folded: in the field it may be encoded as
// RFC 2231 has it.
func (c *candidate) foldParam(params []message.Param, name string) {
	if v, ok := message.DecodeParam(params, name); ok {
		c.folded = append(c.compare.fold(c.folded, []byte(v)), '\n')
	}
}

// bytes gives n bytes of the message, or what there is of them.
func (c *candidate) bytes(at, n int64) []byte {
	if c.whole != nil {
		end := int64(len(c.whole))
		return c.whole[min(at, end):min(at+n, end)]
	}
	b := make([]byte, n)
	got, err := c.body.ReadAt(b, at)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return b[:got]
}

// bodyHas looks for a folded text in all parts that are text.
func (c *candidate) bodyHas(needle []byte) bool {
	for p := range c.parts().All() {
		if !p.IsType("text") {
			continue
		}
		var r io.Reader
		switch {
		case !isUTF8(p):
			r = message.NewTextReader(p, c.body)
		case c.whole == nil || !unencoded(p) || p.End() > int64(len(c.whole)):
			r = message.NewBodyReader(p, c.body)
		default:
			if c.has(c.whole[p.BodyOffset():p.End()], needle) {
				return true
			}
			continue
		}
		ok, err := c.contains(r, needle)
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

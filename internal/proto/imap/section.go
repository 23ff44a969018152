package imap

import (
	"io"
	"strconv"
	"strings"

	"posthaste/internal/proto/message"
)

// A Section is a piece of a message. RFC 9051 §6.4.5.1
type Section struct {
	Path   []uint32 // part numbers; empty is the message itself
	Text   SectionText
	Fields []string // for TextFields and TextFieldsNot, as the client wrote them
}

// SectionText is what of a part.
type SectionText uint8

// What of a part. TextAll of a part is its body, of the message all of it.
const (
	TextAll       SectionText = iota
	TextHeader                // HEADER
	TextFields                // HEADER.FIELDS
	TextFieldsNot             // HEADER.FIELDS.NOT
	TextText                  // TEXT
	TextMIME                  // MIME
)

var sectionTexts = map[string]SectionText{
	"HEADER":            TextHeader,
	"HEADER.FIELDS":     TextFields,
	"HEADER.FIELDS.NOT": TextFieldsNot,
	"TEXT":              TextText,
	"MIME":              TextMIME,
}

const (
	maxPath   = 100  // numbers of a section
	maxFields = 1000 // names of header fields
)

// section takes what stands in brackets behind BODY.
func (d *Decoder) section(s *Section) {
	d.expect('[')
	d.path(s)
	if d.ok() && d.peek() != ']' {
		var known bool
		if s.Text, known = sectionTexts[d.keyword()]; !known {
			d.fail("unknown section")
		}
		if s.Text == TextMIME && len(s.Path) == 0 {
			d.fail("MIME needs a part")
		}
		if s.Text == TextFields || s.Text == TextFieldsNot {
			d.sp()
			d.list(func() {
				if s.Fields = append(s.Fields, d.fieldName()); len(s.Fields) > maxFields {
					d.fail("too many header fields")
				}
			})
		}
	}
	d.expect(']')
}

// binarySection takes what stands in brackets behind BINARY: numbers only.
func (d *Decoder) binarySection(s *Section) {
	d.expect('[')
	d.path(s)
	d.expect(']')
}

// path takes part numbers, and the dot behind them if something follows it.
func (d *Decoder) path(s *Section) {
	for d.ok() && isDigit[d.peek()] {
		if s.Path = append(s.Path, d.nz32()); len(s.Path) > maxPath {
			d.fail("too deep a section")
		}
		if !d.take('.') {
			return
		}
		if d.peek() == ']' {
			d.fail("a section ends in a dot")
		}
	}
}

// fieldName takes the name of a header field. RFC 5322 §2.2 leaves it anything
// printable but the colon; what could end a line cannot be a name.
func (d *Decoder) fieldName() string {
	name := d.astring()
	if strings.ContainsAny(name, "\r\n") {
		d.fail("this is no name for a header field")
	}
	return name
}

// Append appends the section with its brackets as a FETCH response names it:
// field names in the client's own words.
func (s *Section) Append(dst []byte) []byte {
	dst = append(dst, '[')
	for i, n := range s.Path {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, uint64(n), 10)
	}
	if len(s.Path) > 0 && s.Text != TextAll {
		dst = append(dst, '.')
	}
	switch s.Text {
	case TextHeader:
		dst = append(dst, "HEADER"...)
	case TextFields:
		dst = append(dst, "HEADER.FIELDS"...)
	case TextFieldsNot:
		dst = append(dst, "HEADER.FIELDS.NOT"...)
	case TextText:
		dst = append(dst, "TEXT"...)
	case TextMIME:
		dst = append(dst, "MIME"...)
	}
	if len(s.Fields) > 0 {
		dst = append(dst, " ("...)
		for i, f := range s.Fields {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = AppendAstring(dst, f)
		}
		dst = append(dst, ')')
	}
	return append(dst, ']')
}

// Find gives where the section lies in a message of size bytes; false if there is no
// such part. For sections of header fields it is the whole header. RFC 9051 §6.4.5.1
func (sec *Section) Find(root *message.Part, size int64) (off, n int64, ok bool) {
	if len(sec.Path) == 0 && sec.Text == TextAll {
		return 0, size, true
	}
	p := root.At(sec.Path...)
	if p == nil {
		return 0, 0, false
	}
	if len(sec.Path) > 0 {
		switch sec.Text {
		case TextAll:
			return p.BodyOffset(), p.BodySize, true
		case TextMIME:
			return p.Offset, p.HeaderSize, true
		}
		// The others are of the message in that part.
		if p = p.Message; p == nil {
			return 0, 0, false
		}
	}
	if sec.Text == TextText {
		return p.BodyOffset(), p.BodySize, true
	}
	return p.Offset, p.HeaderSize, true
}

// Select gives the fields that the section names, or does not name, of the header at
// a place of the message in r.
func (sec *Section) Select(r io.ReaderAt, set *message.FieldSet, off, size int64) []byte {
	header := make([]byte, size)
	n, _ := r.ReadAt(header, off)
	header = header[:n]
	var out []byte
	if sec.Text == TextFields {
		out = set.AppendSelected(nil, header)
	} else {
		out = set.AppendOthers(nil, header)
	}
	return append(out, "\r\n"...)
}

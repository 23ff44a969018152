package message

import (
	"bytes"
	"iter"
)

// A Field is one field of a header, in the bytes it was found in.
type Field struct {
	// Name as written, without white space before the colon; empty if the line
	// is no field at all (no colon, or a name with what no name can have).
	Name []byte
	// Value is all after the colon up to the last line break, still folded;
	// for what is no field, the whole line.
	Value []byte
	// Raw is all of the field with its line breaks.
	Raw []byte
	// Offset is where Raw begins in the header.
	Offset int
}

// Is tells whether the field has this name, which must be in lower case.
func (f *Field) Is(name string) bool { return equalFold(f.Name, name) }

// Text gives the value unfolded and without white space around it.
func (f *Field) Text() string { return Unfold(f.Value) }

// Fields gives the fields of a header in their order, up to the empty line or
// the end. RFC 5322 §2.2
func Fields(header []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for off := 0; ; {
			f, next := nextField(header, off)
			if next == off || !yield(f) {
				return
			}
			off = next
		}
	}
}

// nextField reads the field at off; next is off at the end of the header.
func nextField(h []byte, off int) (f Field, next int) {
	rest := h[off:]
	if len(rest) == 0 || rest[0] == '\n' || rest[0] == '\r' && len(rest) > 1 && rest[1] == '\n' {
		return Field{}, off
	}
	n := fieldLen(rest)
	raw := rest[:n:n]
	f = Field{Raw: raw, Offset: off}
	end := n
	if raw[end-1] == '\n' {
		end--
		if end > 0 && raw[end-1] == '\r' {
			end--
		}
	}
	f.Value = raw[:end]
	if i := nameLen(raw[:end]); i > 0 {
		f.Name = raw[:i]
		for raw[i] != ':' {
			i++
		}
		f.Value = raw[i+1 : end]
	}
	return f, off + n
}

// fieldLen gives the length of the line at the front of b and of those that
// continue it.
func fieldLen(b []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return len(b)
		}
		n += i + 1
		if n == len(b) || b[n] != ' ' && b[n] != '\t' {
			return n
		}
	}
}

// nameLen gives the length of the field name at the front of b; zero if there
// is none with a colon behind it. White space between them is obsolete but
// allowed. RFC 5322 §4.5.8
func nameLen(b []byte) int {
	for i, c := range b {
		switch {
		case c == ':':
			return i
		case c == ' ' || c == '\t':
			for _, d := range b[i:] {
				if d == ':' {
					return i
				}
				if d != ' ' && d != '\t' {
					return 0
				}
			}
			return 0
		case c < '!' || c >= 0x7f:
			return 0
		}
	}
	return 0
}

// Find gives the first field with this name, which must be in lower case.
func Find(header []byte, name string) (Field, bool) {
	for off := 0; ; {
		f, next := nextField(header, off)
		if next == off {
			return Field{}, false
		}
		if f.Is(name) {
			return f, true
		}
		off = next
	}
}

// Unfold takes the line breaks out of a field's value (RFC 5322 §2.2.3), NULs
// too, and white space at both ends.
func Unfold(value []byte) string {
	value = bytes.Trim(value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 && bytes.IndexByte(value, 0) < 0 {
		return string(value)
	}
	out := make([]byte, 0, len(value))
	for _, c := range value {
		if c != '\r' && c != '\n' && c != 0 {
			out = append(out, c)
		}
	}
	return string(out)
}

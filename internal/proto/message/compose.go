package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Builder writes a message: fields one after another, then Body. What it
// writes has CRLF only, and lines that fit (RFC 5322 §2.1.1). It makes nothing
// up: dates, ids and boundaries come from the caller, so the same calls give
// the same bytes. The first error stays, and Bytes tells it.
type Builder struct {
	// UTF8 leaves what is not ASCII in fields as it is, for messages that go
	// by SMTPUTF8 only. RFC 6532
	UTF8 bool

	buf  []byte
	err  error
	body bool
}

// ErrCompose is wrapped in all errors of a Builder: a value that cannot stand
// in a message, such as one with a line break.
var ErrCompose = errors.New("cannot be written as a message")

func (b *Builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("message: %w: %s", ErrCompose, fmt.Sprintf(format, args...))
	}
}

// Bytes gives the message, or the header if there was no Body yet; the header
// is then without the empty line.
func (b *Builder) Bytes() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.buf, nil
}

// Field adds a field as it is, folded at its white space.
func (b *Builder) Field(name, value string) {
	if !isFieldName(name) {
		b.fail("field name %q", name)
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		b.fail("value of %s: %q", name, value)
	}
	if !b.UTF8 && !isPlainASCII(value) {
		b.fail("value of %s is not ASCII: %q", name, value)
	}
	if b.body {
		b.fail("field %s after the body", name)
	}
	start := len(b.buf)
	b.buf = appendFolded(b.buf, name, value)
	if !isLines(b.buf[start:], true) {
		b.fail("a word of %s is longer than a line may be", name)
	}
}

// Text adds an unstructured field, such as Subject.
func (b *Builder) Text(name, text string) {
	if strings.ContainsAny(text, "\r\n\x00") {
		b.fail("value of %s: %q", name, text)
	}
	b.Field(name, b.words(text))
}

func (b *Builder) words(text string) string {
	if b.UTF8 {
		return latinText(text)
	}
	return string(AppendWords(nil, text))
}

// Addresses adds an address field. Groups are written as such if their members
// follow one another. It adds nothing for an empty list.
func (b *Builder) Addresses(name string, list ...Contact) {
	if len(list) == 0 {
		return
	}
	var v []byte
	group := ""
	for i, c := range list {
		if group != "" && c.Group != group {
			v = append(v, ';')
		}
		if i > 0 {
			v = append(v, ", "...)
		}
		if c.Group != "" && c.Group != group {
			v = append(append(v, b.phrase(c.Group)...), ": "...)
		}
		group = c.Group
		if strings.ContainsAny(c.Name+c.Group, "\r\n\x00") {
			b.fail("name in %s: %q", name, c.Name)
		}
		if c.Address.IsZero() || c.Address.Domain == "" {
			b.fail("no address in %s: %q", name, c.Name)
		}
		if c.Name == "" {
			v = append(v, c.Address.String()...)
			continue
		}
		v = append(append(v, b.phrase(c.Name)...), " <"...)
		v = append(append(v, c.Address.String()...), '>')
	}
	if group != "" {
		v = append(v, ';')
	}
	b.Field(name, string(v))
}

// phrase gives a display name as it can stand before an address.
func (b *Builder) phrase(name string) string {
	if !b.UTF8 && (!isPlainASCII(name) || strings.Contains(name, "=?")) {
		return string(AppendWords(nil, name))
	}
	name = latinText(name)
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != ' ' && !isAtomByte(c) || c == ' ' && i > 0 && name[i-1] == ' ' {
			return quote(name)
		}
	}
	if name == "" || name[0] == ' ' || name[len(name)-1] == ' ' {
		return quote(name)
	}
	return name
}

// isAtomByte tells what an atom may hold. RFC 5322 §3.2.3, RFC 6532 §3.2
func isAtomByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c >= 0x80 ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func quote(s string) string {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(append(out, '"'))
}

// Date adds a date field. RFC 5322 §3.3
func (b *Builder) Date(name string, t time.Time) {
	b.Field(name, string(AppendDate(nil, t)))
}

// AppendDate writes a time as RFC 5322 §3.3 has it.
func AppendDate(dst []byte, t time.Time) []byte {
	return t.AppendFormat(dst, "Mon, 2 Jan 2006 15:04:05 -0700")
}

// IDs adds a field of message ids, which must have their brackets. It adds
// nothing for an empty list.
func (b *Builder) IDs(name string, ids ...string) {
	for _, id := range ids {
		if len(id) < 3 || id[0] != '<' || id[len(id)-1] != '>' || strings.ContainsAny(id, " \t") {
			b.fail("message id %q in %s", id, name)
		}
	}
	if len(ids) > 0 {
		b.Field(name, strings.Join(ids, " "))
	}
}

func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= 76
}

// foldAt is the length that lines should have at most, and hardLimit the one
// that they must not exceed. RFC 5322 §2.1.1
const (
	foldAt    = 78
	hardLimit = 998
)

// appendFolded writes a field, with line breaks before white space where lines
// get long.
func appendFolded(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ':')
	col := len(name) + 1
	value = " " + strings.Trim(value, " \t")
	for len(value) > 0 {
		// white space, and the word behind it
		n := len(value) - len(strings.TrimLeft(value, " \t"))
		if i := strings.IndexAny(value[n:], " \t"); i >= 0 {
			n += i
		} else {
			n = len(value)
		}
		word := value[:n]
		value = value[n:]
		if col+len(word) > foldAt && col > len(name)+1 {
			dst = append(dst, "\r\n"...)
			col = 0
		}
		dst = append(dst, word...)
		col += len(word)
	}
	return append(dst, "\r\n"...)
}

// Content is a part to be written: data, or parts within.
type Content struct {
	Type        string  // "text/plain"; with charset UTF-8 if it is text and nothing else is said
	Params      []Param // of the type; values in UTF-8
	Disposition string  // "attachment", "inline", or none
	Filename    string
	ID          string // with brackets
	Description string

	// Encoding is 7bit, 8bit, base64 or quoted-printable; if it is empty,
	// 7bit if that will do, else what gets shorter of the last two.
	Encoding string
	Data     []byte // text with any line breaks, or bytes

	// Parts are the parts of a multipart, and Boundary is between them.
	Parts    []Content
	Boundary string
}

// Body ends the header and writes the rest of the message.
func (b *Builder) Body(c Content) {
	b.Field("MIME-Version", "1.0")
	b.content(c, 0)
	b.body = true
}

func (b *Builder) content(c Content, depth int) {
	if depth > MaxDepth {
		b.fail("parts nested too deep")
		return
	}
	data, encoding := b.encode(&c)
	b.typeField(&c)
	if encoding != "" && encoding != "7bit" {
		b.Field("Content-Transfer-Encoding", encoding)
	}
	if c.Disposition != "" || c.Filename != "" {
		d := c.Disposition
		if d == "" {
			d = "attachment"
		}
		var params []Param
		if c.Filename != "" {
			params = []Param{{"filename", c.Filename}}
		}
		b.paramField("Content-Disposition", d, params)
	}
	if c.ID != "" {
		b.IDs("Content-ID", c.ID)
	}
	if c.Description != "" {
		b.Text("Content-Description", c.Description)
	}
	b.buf = append(b.buf, "\r\n"...)
	b.buf = append(b.buf, data...)
	if len(c.Parts) == 0 {
		return
	}
	for _, p := range c.Parts {
		b.buf = append(append(append(b.buf, "--"...), c.Boundary...), "\r\n"...)
		start := len(b.buf)
		b.content(p, depth+1)
		if bytes.Contains(b.buf[start:], []byte("--"+c.Boundary)) {
			b.fail("boundary %q is in the data", c.Boundary)
		}
		b.buf = append(b.buf, "\r\n"...)
	}
	b.buf = append(append(append(b.buf, "--"...), c.Boundary...), "--\r\n"...)
}

func (b *Builder) typeField(c *Content) {
	typ, subtype, rest, ok := parseType(c.Type)
	if !ok || rest != "" || c.Type != typ+"/"+subtype {
		b.fail("type %q", c.Type)
		return
	}
	params := c.Params
	switch {
	case equalFold(typ, "multipart"):
		if len(c.Parts) == 0 || !isBoundary(c.Boundary) {
			b.fail("multipart without parts or boundary")
		}
		params = append(params[:len(params):len(params)], Param{"boundary", c.Boundary})
	case len(c.Parts) > 0:
		b.fail("parts in a %s", c.Type)
	case equalFold(typ, "text") && findParam(params, "charset") == "":
		params = append([]Param{{"charset", "utf-8"}}, params...)
	}
	b.paramField("Content-Type", c.Type, params)
}

// isBoundary tells what may be between parts. RFC 2046 §5.1.1
func isBoundary(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("'()+_,-./:=? ", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 70 && s[len(s)-1] != ' '
}

// paramField writes a value with parameters; those that need it by RFC 2231.
func (b *Builder) paramField(name, value string, params []Param) {
	v := []byte(value)
	for _, p := range params {
		if !isPlainToken(p.Name) {
			b.fail("parameter %q of %s", p.Name, name)
		}
		if strings.ContainsAny(p.Value, "\r\n\x00") {
			b.fail("parameter %s of %s: %q", p.Name, name, p.Value)
		}
		v = append(v, "; "...)
		v = b.param(v, p)
	}
	b.Field(name, string(v))
}

// maxParamLine is how long the encoded value of one continuation gets.
const maxParamLine = 56

func (b *Builder) param(v []byte, p Param) []byte {
	if isPlainToken(p.Value) {
		return append(append(append(v, p.Name...), '='), p.Value...)
	}
	if isPlainASCII(p.Value) && len(p.Value) <= 200 || b.UTF8 && len(p.Value) <= 200 {
		return append(append(append(v, p.Name...), '='), quote(latinText(p.Value))...)
	}
	enc := []byte("utf-8''")
	for _, c := range []byte(latinText(p.Value)) {
		if isToken(c) && strings.IndexByte("*'%", c) < 0 {
			enc = append(enc, c)
		} else {
			enc = fmt.Appendf(enc, "%%%02X", c)
		}
	}
	if len(enc) <= maxParamLine {
		return append(append(append(v, p.Name...), "*="...), enc...)
	}
	for i := 0; len(enc) > 0; i++ {
		n := min(maxParamLine, len(enc))
		if n < len(enc) { // no escape in two pieces
			if enc[n-1] == '%' {
				n--
			} else if enc[n-2] == '%' {
				n -= 2
			}
		}
		if i > 0 {
			v = append(v, "; "...)
		}
		v = fmt.Appendf(v, "%s*%d*=%s", p.Name, i, enc[:n])
		enc = enc[n:]
	}
	return v
}

func isPlainToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isToken(s[i]) {
			return false
		}
	}
	return s != ""
}

// encode gives the data as it is to be written, and how it is encoded.
func (b *Builder) encode(c *Content) (data []byte, encoding string) {
	if len(c.Parts) > 0 {
		if len(c.Data) > 0 {
			b.fail("parts and data")
		}
		if slices.ContainsFunc(c.Parts, has8Bit) {
			return nil, "8bit" // RFC 2045 §6.4
		}
		return nil, ""
	}
	text := strings.HasPrefix(c.Type, "text/") || strings.HasPrefix(c.Type, "message/")
	data = c.Data
	if text {
		data = appendCRLF(nil, data)
	}
	encoding = c.Encoding
	if encoding == "" {
		encoding = chooseEncoding(data, text)
		if encoding != "7bit" && isMessage(c.Type) {
			encoding = "8bit" // RFC 2046 §5.2.1
		}
	}
	switch encoding {
	case "7bit", "8bit":
		if !isLines(data, encoding == "8bit") {
			b.fail("data is not %s", encoding)
		}
		return data, encoding
	case "base64":
		return appendBase64Lines(nil, data), encoding
	case "quoted-printable":
		return appendQuotedPrintable(nil, data), encoding
	}
	b.fail("encoding %q", encoding)
	return nil, ""
}

// has8Bit tells whether a part will be written as 8bit, or one in it.
func has8Bit(c Content) bool {
	switch {
	case len(c.Parts) > 0:
		return slices.ContainsFunc(c.Parts, has8Bit)
	case c.Encoding != "":
		return c.Encoding == "8bit"
	}
	return isMessage(c.Type) && !isLines(appendCRLF(nil, c.Data), false)
}

// isMessage tells what must not be encoded, or nobody will look into it.
func isMessage(typ string) bool { return typ == "message/rfc822" || typ == "message/global" }

// appendBase64Lines writes base64 in lines of 76. RFC 2045 §6.8
func appendBase64Lines(dst, data []byte) []byte {
	for len(data) > 0 {
		n := min(57, len(data))
		dst = base64.StdEncoding.AppendEncode(dst, data[:n])
		dst = append(dst, "\r\n"...)
		data = data[n:]
	}
	return dst
}

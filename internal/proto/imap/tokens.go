package imap

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// What the Decoder reads a command with. After the first that fails the others
// do nothing and give the zero value, so a parser need not look in between,
// except where it loops.

const (
	maxNest = 50  // parentheses within each other
	maxTag  = 255 // bytes of a tag
)

// fail ends the parsing with an answer for the client.
func (d *Decoder) fail(text string) {
	if d.err == nil {
		d.err = parseError(text)
	}
}

func (d *Decoder) ok() bool { return d.err == nil }

// peek gives the next byte, zero at the end of the line.
func (d *Decoder) peek() byte {
	if d.pos < len(d.line) {
		return d.line[d.pos]
	}
	return 0
}

// take takes c if it comes next.
func (d *Decoder) take(c byte) bool {
	if d.err != nil || d.pos >= len(d.line) || d.line[d.pos] != c {
		return false
	}
	d.pos++
	return true
}

func (d *Decoder) expect(c byte) {
	if !d.take(c) {
		d.fail("expected " + string(rune(c)))
	}
}

// sp takes a space. The syntax has one wherever it has any; clients also send more,
// and some where none belongs: in front of the end, and inside of parentheses. No
// command means something else for them (decision 046).
func (d *Decoder) sp() {
	if !d.spaces() {
		d.fail("expected a space")
	}
}

// spaces takes those that come next, if any.
func (d *Decoder) spaces() bool {
	start := d.pos
	for d.take(' ') {
	}
	return d.pos > start
}

// end tells that nothing more may come.
func (d *Decoder) end() {
	if d.spaces(); d.err == nil && d.pos < len(d.line) {
		d.fail("too much, or not understood, behind the arguments")
	}
}

// atEnd tells whether nothing more comes.
func (d *Decoder) atEnd() bool {
	return d.ok() && len(bytes.TrimLeft(d.line[d.pos:], " ")) == 0
}

// more tells whether there is an argument to come, and takes the space before.
func (d *Decoder) more() bool {
	return d.spaces() && d.pos < len(d.line) && d.line[d.pos] != ')'
}

// openList takes the parenthesis in front of a list.
func (d *Decoder) openList() {
	d.expect('(')
	d.spaces()
}

// closeList takes the parenthesis behind one.
func (d *Decoder) closeList() {
	d.spaces()
	d.expect(')')
}

// optionalList tells whether a list comes next, which may stand behind an argument
// or not, and takes the space before it.
func (d *Decoder) optionalList() bool {
	start := d.pos
	if d.spaces() && d.peek() == '(' {
		return true
	}
	d.pos = start
	return false
}

// enter and leave stand around whatever nests.
func (d *Decoder) enter() {
	if d.nest++; d.nest > maxNest {
		d.fail("too deeply nested")
	}
}

func (d *Decoder) leave() { d.nest-- }

// A class is a set of bytes.
type class [256]bool

// Classes of RFC 9051 §9. isAtom also holds for a part of a flag or keyword.
var (
	isAtom    = classOf(func(c byte) bool { return !strings.ContainsRune("(){ %*\"\\]", rune(c)) })
	isAstring = classOf(func(c byte) bool { return isAtom[c] || c == ']' })
	isList    = classOf(func(c byte) bool { return isAstring[c] || c == '%' || c == '*' })
	isTag     = classOf(func(c byte) bool { return isAstring[c] && c != '+' })
	isDigit   = classOf(func(c byte) bool { return '0' <= c && c <= '9' })
	isItem    = classOf(func(c byte) bool { return isAtom[c] && c != '[' && c != '<' })
)

func classOf(in func(byte) bool) *class {
	var t class
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = in(c)
	}
	return &t
}

// span takes bytes of a class; at least one must come.
func (d *Decoder) span(t *class, what string) []byte {
	if d.err != nil {
		return nil
	}
	start := d.pos
	for d.pos < len(d.line) && t[d.line[d.pos]] {
		d.pos++
	}
	if d.pos == start {
		d.fail("expected " + what)
	}
	return d.line[start:d.pos]
}

func (d *Decoder) tag() string {
	tag := d.span(isTag, "a tag")
	if len(tag) > maxTag {
		d.fail("the tag is too long")
	}
	return string(tag)
}

func (d *Decoder) atom() string { return string(d.span(isAtom, "a word")) }

// keyword takes a word of the protocol, in upper case.
func (d *Decoder) keyword() string { return upper(d.span(isItem, "a word")) }

// word takes s if it comes next, in any case, and is all of its word.
func (d *Decoder) word(s string) bool {
	if d.err != nil || len(d.line)-d.pos < len(s) || !strings.EqualFold(string(d.line[d.pos:d.pos+len(s)]), s) {
		return false
	}
	if end := d.pos + len(s); end < len(d.line) && isItem[d.line[end]] {
		return false
	}
	d.pos += len(s)
	return true
}

// upper gives b in upper case; with bytes outside of ASCII as they are.
func upper(b []byte) string {
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			u := make([]byte, len(b))
			for i, c := range b {
				if 'a' <= c && c <= 'z' {
					c -= 'a' - 'A'
				}
				u[i] = c
			}
			return string(u)
		}
	}
	return string(b)
}

// number takes a number of at most limit.
func (d *Decoder) number(limit uint64) uint64 {
	n := uint64(0)
	for _, c := range d.span(isDigit, "a number") {
		if n > (limit-uint64(c-'0'))/10 {
			d.fail("the number is too large")
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

const (
	max32 = 1<<32 - 1
	max63 = 1<<63 - 1
)

func (d *Decoder) number32() uint32 { return uint32(d.number(max32)) }
func (d *Decoder) number63() uint64 { return d.number(max63) }

// nz32 takes a number above zero.
func (d *Decoder) nz32() uint32 {
	n := d.number32()
	if d.err == nil && n == 0 {
		d.fail("zero is not allowed here")
	}
	return n
}

// list takes parentheses with one item or more between them.
func (d *Decoder) list(item func()) {
	d.openList()
	d.enter()
	for d.ok() {
		item()
		if !d.more() {
			break
		}
	}
	d.expect(')')
	d.leave()
}

// listOrNothing is list, where nothing may stand between the parentheses.
func (d *Decoder) listOrNothing(item func()) {
	start := d.pos
	if d.take('(') {
		if d.spaces(); d.take(')') {
			return
		}
		d.pos = start
	}
	d.list(item)
}

// str takes a quoted string or a literal.
func (d *Decoder) str() string {
	switch d.peek() {
	case '"':
		return d.quoted()
	case '{':
		return d.literal()
	}
	d.fail("expected a string")
	return ""
}

// astring takes a string or an atom. RFC 9051 §9
func (d *Decoder) astring() string { return d.stringOr(isAstring) }

// searched takes a text to search for: a string in any charset, or an atom.
func (d *Decoder) searched() string {
	if d.peek() == '"' {
		return d.quotedIn(true)
	}
	return d.astring()
}

// listMailbox takes a pattern of LIST or LSUB.
func (d *Decoder) listMailbox() string { return d.name7(d.stringOr(isList)) }

// stringOr takes a string, or bytes of a class and, as some clients send names without
// quotes, of UTF-8.
func (d *Decoder) stringOr(t *class) string {
	if c := d.peek(); c == '"' || c == '{' {
		return d.str()
	}
	start, ascii := d.pos, true
	for d.ok() && d.pos < len(d.line) && (t[d.line[d.pos]] || d.line[d.pos] >= utf8.RuneSelf) {
		ascii = ascii && d.line[d.pos] < utf8.RuneSelf
		d.pos++
	}
	if d.pos == start {
		d.fail("expected a string")
	}
	s := d.line[start:d.pos]
	if !ascii && !utf8.Valid(s) {
		d.fail("the string is not UTF-8")
		return ""
	}
	return string(s)
}

// mailbox takes a mailbox name and gives it in UTF-8, with INBOX in upper case.
func (d *Decoder) mailbox() string {
	name, _ := d.mailboxAs()
	return name
}

// mailboxAs is mailbox that also gives the name as it came if INBOX was not in upper
// case, else "".
func (d *Decoder) mailboxAs() (name, given string) {
	given = d.name7(d.astring())
	name = CanonicalName(given)
	if d.ok() && !validName(name) {
		d.fail("this is no name for a mailbox")
	}
	if name == given {
		given = ""
	}
	return name, given
}

// noName stands before what the client sent for a name in a wrong encoding:
// what is not UTF-8 is the name of no mailbox, so commands fail as they do for
// mailboxes that do not exist.
const noName = "\xff"

// IsBadName tells whether a mailbox name came in a wrong encoding.
func IsBadName(name string) bool { return strings.HasPrefix(name, noName) }

// name7 undoes modified UTF-7 unless the client speaks UTF-8. A name with bytes
// outside of ASCII is taken to be UTF-8 in either case; it may be none.
func (d *Decoder) name7(name string) string {
	if d.err != nil {
		return ""
	}
	if d.UTF8 || !isASCII(name) {
		return name
	}
	out, err := DecodeUTF7(name)
	if err != nil {
		return noName + name
	}
	return out
}

// quoted takes a quoted string; UTF-8 may be in it. RFC 9051 §9, RFC 6855 §3
func (d *Decoder) quoted() string { return d.quotedIn(false) }

// quotedIn takes a quoted string, of any charset or UTF-8.
func (d *Decoder) quotedIn(anyCharset bool) string {
	d.expect('"')
	if d.err != nil {
		return ""
	}
	start, plain, ascii := d.pos, true, true
	for d.pos < len(d.line) {
		switch c := d.line[d.pos]; {
		case c == '"':
			s := d.line[start:d.pos]
			d.pos++
			if !ascii && !anyCharset && !utf8.Valid(s) {
				d.fail("the string is not UTF-8")
				return ""
			}
			if plain {
				return string(s)
			}
			return unescape(s)
		case c == '\\':
			plain = false
			if d.pos++; d.peek() != '"' && d.peek() != '\\' {
				d.fail("bad use of \\ in a string")
				return ""
			}
		case c == 0 || c == '\r':
			d.fail("a control character in a string")
			return ""
		case c >= 0x80:
			ascii = false
		}
		d.pos++
	}
	d.fail("a string without end")
	return ""
}

func unescape(s []byte) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

// literal takes a literal whole, without NUL in it.
func (d *Decoder) literal() string {
	b := d.literal8()
	for _, c := range b {
		if c == 0 {
			d.fail("NUL in a literal")
			return ""
		}
	}
	return string(b)
}

// literal8 takes a literal, or what came as ~{n}; the bytes are good until the
// line grows.
func (d *Decoder) literal8() []byte {
	m, ok := d.takeMark()
	if !ok {
		return nil
	}
	if m.size < 0 || m.size > int64(min(d.Limits.Literal, d.Limits.Command-m.at)) {
		d.mark = m // settle skips it, or not
		d.err = errTooBig
		return nil
	}
	if m.sync {
		if err := d.ask(); err != nil {
			d.err = err
			return nil
		}
	}
	start := m.at
	end := start + int(m.size)
	for len(d.line) < end {
		n := len(d.line)
		k := min(end-n, largeBuffer)
		d.line = append(d.line, make([]byte, k)...)
		if err := d.in.block(d.line[n : n+k]); err != nil {
			d.err = err
			return nil
		}
	}
	if err := d.readLine(); err != nil {
		if d.err = err; err == errLineRoom {
			d.err = parseError("the command is too long")
		}
		return nil
	}
	d.pos = end
	return d.line[start:end]
}

// takeMark takes the announcement of a literal off the line.
func (d *Decoder) takeMark() (mark, bool) {
	if d.err != nil {
		return mark{}, false
	}
	if d.mark.at != d.pos {
		d.fail("expected a literal")
		return mark{}, false
	}
	m := d.mark
	d.mark = mark{at: -1}
	d.line = d.line[:m.at]
	return m, true
}

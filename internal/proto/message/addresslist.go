package message

import "strings"

// ParseAddressList reads the value of an address field. It takes obsolete and
// broken forms as people would: routes, comments as names, lists without
// commas, angles without an end. At most MaxAddresses entries are read.
// RFC 5322 §3.4, §4.4; RFC 6532 §3.2
func ParseAddressList(value string) []Address {
	return appendAddresses(nil, value, MaxAddresses)
}

func appendAddresses(dst []Address, value string, limit int) []Address {
	if strings.ContainsAny(value, "\r\n\x00") {
		value = Unfold([]byte(value))
	}
	if dst == nil && value != "" {
		dst = make([]Address, 0, min(1+strings.Count(value, ","), 64, limit))
	}
	p := addressParser{s: value, out: dst, limit: len(dst) + limit}
	p.list()
	return p.out
}

// An addressParser goes through a list once, from left to right.
type addressParser struct {
	s       string
	i       int
	out     []Address
	limit   int
	group   bool
	comment string // the last comment of the entry
	words   words  // those of the entry
}

func (p *addressParser) emit(a Address) {
	if len(p.out) >= p.limit {
		p.i = len(p.s) // enough
		return
	}
	p.out = append(p.out, a)
}

func (p *addressParser) list() {
	begin := -1 // of the entry
	for {
		p.space(&p.words)
		if p.i >= len(p.s) {
			break
		}
		if begin < 0 {
			begin = p.i
		}
		switch c := p.s[p.i]; c {
		case ',':
			p.i++
			p.bare()
		case ';':
			p.i++
			p.bare()
			if p.group {
				p.group = false
				p.emit(Address{Kind: GroupEnd})
			}
		case ':':
			p.i++
			if !p.group && len(p.out) < p.limit {
				p.group = true
				p.emit(Address{Kind: GroupStart, Name: p.words.String()})
			}
			p.next()
		case '<':
			p.i++
			p.angle(p.words.String())
		case '@':
			p.i++
			p.spec(begin)
		case '>':
			p.i++
			continue
		default:
			p.word(&p.words)
			continue
		}
		begin = -1
	}
	p.bare()
	if p.group {
		p.out = append(p.out, Address{Kind: GroupEnd})
	}
}

// next forgets what belongs to one entry.
func (p *addressParser) next() {
	p.words.reset()
	p.comment = ""
}

// bare ends an entry that was words only.
func (p *addressParser) bare() {
	if p.words.any && (p.words.len() > 0 || p.comment != "") {
		p.emit(Address{Name: p.comment, Local: p.words.String()})
	}
	p.next()
}

// spec reads the domain of an address without angles and ends the entry,
// unless it turns out to have been the display name of another.
func (p *addressParser) spec(begin int) {
	name, local := p.words.local()
	p.comment = ""
	domain := p.domain()
	var ats []byte
	for p.i < len(p.s) && p.s[p.i] == '@' {
		p.i++
		ats, domain = appendAt(ats, local, domain), p.domain()
	}
	if ats != nil {
		local = string(ats)
	}
	end := p.i
	p.space(nil)
	if p.i < len(p.s) && p.s[p.i] == '<' {
		p.i++
		p.angle(strings.TrimRight(p.s[begin:end], " \t"))
		return
	}
	if name == "" {
		name = p.comment
	}
	p.emit(Address{Name: name, Local: local, Domain: domain})
	p.next()
}

// angle reads what is between < and >, and ends the entry.
func (p *addressParser) angle(name string) {
	p.words.reset()
	p.space(nil)
	route := ""
	if p.i < len(p.s) && p.s[p.i] == '@' { // RFC 5322 §4.4
		if j := strings.IndexAny(p.s[p.i:], ":<>"); j >= 0 && p.s[p.i+j] == ':' {
			route = strings.TrimSpace(p.s[p.i : p.i+j])
			p.i += j + 1
		}
	}
	local, domain, at := "", "", false
	var ats []byte
loop:
	for {
		p.space(&p.words)
		if p.i >= len(p.s) {
			break
		}
		switch p.s[p.i] {
		case '>':
			p.i++
			break loop
		case ',', ';', '<':
			break loop
		case '@':
			p.i++
			if at {
				ats = appendAt(ats, local, domain)
			} else {
				local = p.words.solid()
			}
			domain, at = p.domain(), true
			p.words.reset()
		case ':':
			p.words.add(p.s, p.i, p.i+1)
			p.i++
		default:
			p.word(&p.words)
		}
	}
	if !at {
		local = p.words.solid()
	} else if ats != nil {
		local = string(ats)
	}
	if name == "" {
		name = p.comment
	}
	if local != "" || domain != "" || name != "" {
		p.emit(Address{Name: name, Local: local, Domain: domain, Route: route})
	}
	p.next()
}

// appendAt makes what stood around an @ into a local part, since another @
// follows: the last counts.
func appendAt(ats []byte, local, domain string) []byte {
	if ats == nil {
		ats = append(ats, local...)
	}
	ats = append(ats, '@')
	return append(ats, domain...)
}

// domain reads a domain or an address literal, with white space and comments
// around its dots.
func (p *addressParser) domain() string {
	var w words
	p.space(nil)
	if p.i < len(p.s) && p.s[p.i] == '[' {
		j := strings.IndexAny(p.s[p.i:], "]>,")
		start := p.i
		if j < 0 {
			p.i = len(p.s)
			return p.s[start:]
		}
		p.i += j
		if p.s[p.i] == ']' {
			p.i++
		}
		return p.s[start:p.i]
	}
	for p.i < len(p.s) && isWordByte(p.s[p.i]) {
		start := p.i
		for p.i < len(p.s) && isWordByte(p.s[p.i]) {
			p.i++
		}
		w.add(p.s, start, p.i)
		w.spaced = false
		end := p.i
		p.space(nil)
		if p.i == end || p.i < len(p.s) && p.s[end-1] != '.' && p.s[p.i] != '.' {
			break
		}
	}
	return strings.TrimRight(w.String(), ".")
}

// word reads an atom or a quoted string; something is read in any case.
func (p *addressParser) word(w *words) {
	if p.s[p.i] == '"' {
		p.quoted(w)
		return
	}
	start := p.i
	for p.i < len(p.s) && isWordByte(p.s[p.i]) {
		p.i++
	}
	if p.i == start {
		p.i++ // a control character
	}
	w.add(p.s, start, p.i)
}

func (p *addressParser) quoted(w *words) {
	p.i++
	start := p.i
	defer func() { w.quoted = true }()
	for ; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '"':
			w.add(p.s, start, p.i)
			p.i++
			return
		case '\\':
			p.escaped(w, start)
			return
		}
	}
	w.add(p.s, start, p.i)
}

// escaped reads the rest of a quoted string that has backslashes.
func (p *addressParser) escaped(w *words, start int) {
	buf := append([]byte(nil), p.s[start:p.i]...)
	for ; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
		if p.s[p.i] == '\\' && p.i+1 < len(p.s) {
			p.i++
		}
		buf = append(buf, p.s[p.i])
	}
	p.i = min(p.i+1, len(p.s))
	if w.any {
		w.own()
	}
	w.add(string(buf), 0, len(buf))
	w.own()
}

// space skips white space and comments, and tells w of it.
func (p *addressParser) space(w *words) {
	start := p.i
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t':
			p.i++
			continue
		case '(':
			end := skipComment(p.s, p.i)
			p.comment = strings.TrimSpace(strings.TrimSuffix(p.s[p.i+1:end], ")"))
			p.i = end
			continue
		}
		break
	}
	if w != nil && p.i > start {
		w.spaced = true
	}
}

// skipComment gives the end of the comment that begins at i, with all that are
// in it. RFC 5322 §3.2.2
func skipComment(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// isWordByte tells what belongs to a word when people write without quotes:
// more than an atom may hold. RFC 5322 §3.2.3
func isWordByte(c byte) bool {
	switch c {
	case '(', ')', ',', ':', ';', '<', '>', '@', '"':
		return false
	}
	return c > ' ' && c != 0x7f
}

// words is a run of atoms and quoted strings. It is a slice of its source for
// as long as it can be, and bytes of its own from then on.
type words struct {
	src        string
	start, end int
	buf        []byte
	owned      bool // buf counts
	quoted     bool // some of it was in quotes: its white space stays
	any        bool // there was a word, be it ""
	spaced     bool // white space has come since the last word
}

// add adds src[start:end].
func (w *words) add(src string, start, end int) {
	switch {
	case !w.any:
		w.src, w.start, w.end = src, start, end
	case !w.owned && !w.spaced && start == w.end,
		!w.owned && w.spaced && start == w.end+1 && src[w.end] == ' ':
		w.end = end
	default:
		w.own()
		if w.spaced {
			w.buf = append(w.buf, ' ')
		}
		w.buf = append(w.buf, src[start:end]...)
	}
	w.any, w.spaced = true, false
}

func (w *words) own() {
	if !w.owned {
		w.buf = append(w.buf[:0], w.src[w.start:w.end]...)
		w.owned = true
	}
}

func (w *words) reset() { *w = words{buf: w.buf[:0]} }

func (w *words) len() int {
	if w.owned {
		return len(w.buf)
	}
	return w.end - w.start
}

func (w *words) String() string {
	if w.owned {
		return string(w.buf)
	}
	return w.src[w.start:w.end]
}

// solid is the local part that the words are, without white space around its
// dots. RFC 5322 §4.4 (obs-local-part)
func (w *words) solid() string {
	s := w.String()
	if w.owned || w.quoted || !strings.Contains(s, " .") && !strings.Contains(s, ". ") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, " .", "."), ". ", ".")
}

// local splits words that stand before an @ without angles: the last is the
// local part, those before it can only be a name.
func (w *words) local() (name, local string) {
	s := w.solid()
	if !w.owned && !w.quoted {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			return s[:i], s[i+1:]
		}
	}
	return "", s
}

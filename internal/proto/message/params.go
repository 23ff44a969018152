package message

import (
	"slices"
	"strconv"
	"strings"
)

// parseParams reads "; name=value; name=value" as written in Content-Type and
// Content-Disposition, and appends at most limit of them. The first semicolon
// may be missing, and values need not be quoted where they should be: they go
// up to the next semicolon or comment.
// RFC 2045 §5.1
func parseParams(dst []Param, s string, limit int) []Param {
	for i := 0; i < len(s) && limit > 0; {
		switch c := s[i]; c {
		case ' ', '\t', ';':
			i++
			continue
		case '(':
			i = skipComment(s, i)
			continue
		}
		n := strings.IndexAny(s[i:], "=;")
		if n < 0 {
			break
		}
		name := strings.TrimRight(s[i:i+n], " \t")
		i += n
		if s[i] == ';' {
			continue // a word without a value says nothing
		}
		var value string
		value, i = paramValue(s, i+1)
		if name != "" {
			dst = append(dst, Param{name, value})
			limit--
		}
	}
	return dst
}

// paramValue reads a value; end is behind it and before the next semicolon.
func paramValue(s string, i int) (value string, end int) {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	if i < len(s) && s[i] == '"' {
		value, i = quotedString(s, i)
		if n := strings.IndexByte(s[i:], ';'); n >= 0 {
			return value, i + n
		}
		return value, len(s)
	}
	start := i
	for i < len(s) && s[i] != ';' {
		if s[i] == '(' && i > start && (s[i-1] == ' ' || s[i-1] == '\t') {
			return strings.TrimRight(s[start:i], " \t"), skipComment(s, i)
		}
		i++
	}
	return strings.TrimRight(s[start:i], " \t"), i
}

// quotedString reads the quoted string at i, and what is inside it without
// backslashes. One without an end goes to the end.
func quotedString(s string, i int) (value string, end int) {
	i++
	start := i
	for ; i < len(s) && s[i] != '\\'; i++ {
		if s[i] == '"' {
			return s[start:i], i + 1
		}
	}
	buf := append([]byte(nil), s[start:i]...)
	for ; i < len(s); i++ {
		if s[i] == '"' {
			return string(buf), i + 1
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		buf = append(buf, s[i])
	}
	return string(buf), i
}

// parseType reads the front of a Content-Type; rest is the parameters. A
// "text" or "multipart" without a subtype is understood.
func parseType(s string) (typ, subtype, rest string, ok bool) {
	i := skipSpace(s, 0)
	start := i
	for i < len(s) && isToken(s[i]) {
		i++
	}
	typ = s[start:i]
	i = skipSpace(s, i)
	if i < len(s) && s[i] == '/' {
		i = skipSpace(s, i+1)
		start = i
		for i < len(s) && isToken(s[i]) {
			i++
		}
		subtype = s[start:i]
	} else if equalFold(typ, "text") {
		subtype = "plain"
	} else if equalFold(typ, "multipart") {
		subtype = "mixed"
	}
	if typ == "" || subtype == "" {
		return "", "", "", false
	}
	return typ, subtype, s[i:], true
}

// skipSpace goes over white space and comments.
func skipSpace(s string, i int) int {
	for i < len(s) {
		switch s[i] {
		case ' ', '\t':
			i++
		case '(':
			i = skipComment(s, i)
		default:
			return i
		}
	}
	return i
}

// isToken tells what may stand in a token. RFC 2045 §5.1
func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// maxContinuations is how many pieces one RFC 2231 parameter may come in.
const maxContinuations = 200

// DecodeParam gives the value of a parameter, name in lower case, in UTF-8:
// plain, with a charset, or in continuations (RFC 2231 §3, §4); encoded words
// are understood though they should not be there. An extended value comes
// before a plain one of the same name (RFC 6266 §4.3 says it best).
func DecodeParam(params []Param, name string) (value string, ok bool) {
	var pieces []piece
	plain := -1
	for i := range params {
		n := params[i].Name
		if len(n) < len(name) || !equalFold(n[:len(name)], name) {
			continue
		}
		if len(n) == len(name) {
			if plain < 0 {
				plain = i
			}
			continue
		}
		if p, is := parsePiece(n[len(name):], params[i].Value); is {
			pieces = append(pieces, p)
		}
	}
	if v, is := joinPieces(pieces); is {
		return v, true
	}
	if plain < 0 {
		return "", false
	}
	return DecodeWords(params[plain].Value), true
}

// A piece is one of the parameters that make up another. RFC 2231 §3
type piece struct {
	number  int // -1 if it is all there is
	encoded bool
	value   string
}

// parsePiece reads what follows the name: "*", "*3" or "*3*".
func parsePiece(suffix, value string) (piece, bool) {
	if suffix == "*" {
		return piece{-1, true, value}, true
	}
	digits, isPiece := strings.CutPrefix(suffix, "*")
	if !isPiece {
		return piece{}, false
	}
	digits, encoded := strings.CutSuffix(digits, "*")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n >= maxContinuations || digits[0] == '+' {
		return piece{}, false
	}
	return piece{int(n), encoded, value}, true
}

func joinPieces(pieces []piece) (string, bool) {
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.number - b.number })
	if len(pieces) == 0 || pieces[0].number > 0 {
		return "", false
	}
	var raw []byte
	charset, next := "", 0
	for i, p := range pieces {
		if p.number >= 0 && p.number != next {
			if p.number < next {
				continue // a second one with this number
			}
			break // one is missing
		}
		v := p.value
		if i == 0 && p.encoded {
			charset, v = cutCharset(v)
		}
		if p.encoded {
			raw = appendPercent(raw, v)
		} else {
			raw = append(raw, v...)
		}
		if p.number < 0 {
			break
		}
		next++
	}
	if charset == "" && !pieces[0].encoded {
		return DecodeWords(string(raw)), true
	}
	return plainText(string(appendUTF8(nil, raw, charset))), true
}

// cutCharset takes "charset'language'" off the front.
func cutCharset(v string) (charset, rest string) {
	charset, after, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	if _, rest, ok = strings.Cut(after, "'"); !ok {
		return "", v
	}
	return charset, rest
}

func appendPercent(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}

// Filename gives the name under which the part wants to be kept, decoded, and
// without any folder; "" if it has none. RFC 2183 §2.3
func Filename(p *Part) string {
	name, ok := DecodeParam(p.DispositionParams, "filename")
	if !ok || name == "" {
		name, _ = DecodeParam(p.Params, "name")
	}
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	return strings.TrimSpace(name)
}

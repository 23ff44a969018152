package message

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// DecodeWords decodes the encoded words in s to UTF-8. Words of one charset
// that follow one another are decoded together, so that a character may be
// split between them. What is no encoded word stays as it is, except that
// bytes which are no UTF-8 are taken for Windows-1252, and line breaks and NUL
// are never in the result. RFC 2047
func DecodeWords(s string) string {
	i := strings.Index(s, "=?")
	if i < 0 {
		return plainText(s)
	}
	d := wordDecoder{out: make([]byte, 0, len(s))}
	for {
		w, end, ok := scanWord(s, i)
		if ok {
			d.plain(s[:i])
			d.word(w)
			s, i = s[end:], 0
		} else {
			i += 2
		}
		next := strings.Index(s[i:], "=?")
		if next < 0 {
			break
		}
		i += next
	}
	d.plain(s)
	d.flush()
	return plainText(string(d.out))
}

// plainText gives s without what must not come out of a decoder.
func plainText(s string) string {
	if strings.ContainsAny(s, "\r\n\x00") {
		s = strings.Map(func(r rune) rune {
			switch r {
			case '\r', '\n', 0:
				return -1
			}
			return r
		}, latinText(s))
	}
	return latinText(s)
}

// latinText gives s with all that is no UTF-8 taken for Windows-1252.
func latinText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string(appendLenient(make([]byte, 0, len(s)+len(s)/2), []byte(s)))
}

// An encodedWord is one "=?charset?encoding?text?=" of RFC 2047 §2.
type encodedWord struct {
	charset  string
	encoding byte // 'b' or 'q'
	text     string
}

// scanWord reads the encoded word at s[i:], which begins with "=?". Its work
// is in proportion to the distance to the fourth question mark, and the next
// word can begin no earlier than at the third.
func scanWord(s string, i int) (w encodedWord, end int, ok bool) {
	j := strings.IndexByte(s[i+2:], '?')
	if j <= 0 {
		return w, 0, false
	}
	w.charset = s[i+2 : i+2+j]
	k := i + 2 + j + 1
	if k+2 > len(s) || s[k+1] != '?' {
		return w, 0, false
	}
	w.encoding = s[k] | 0x20
	if w.encoding != 'b' && w.encoding != 'q' {
		return w, 0, false
	}
	text := k + 2
	n := strings.IndexByte(s[text:], '?')
	if n < 0 || text+n+1 >= len(s) || s[text+n+1] != '=' {
		return w, 0, false
	}
	w.charset, _, _ = strings.Cut(w.charset, "*") // a language. RFC 2231 §5
	w.text = s[text : text+n]
	return w, text + n + 2, true
}

type wordDecoder struct {
	out     []byte
	raw     []byte // decoded, but still in charset
	charset string
	pending bool // the last thing was an encoded word
}

// plain takes what stands between encoded words.
func (d *wordDecoder) plain(s string) {
	if d.pending && strings.Trim(s, " \t\r\n") == "" {
		return // RFC 2047 §6.2
	}
	d.flush()
	d.out = append(d.out, s...)
	d.pending = false
}

func (d *wordDecoder) word(w encodedWord) {
	if !strings.EqualFold(w.charset, d.charset) {
		d.flush()
		d.charset = w.charset
	}
	if w.encoding == 'b' {
		d.raw = appendBase64(d.raw, w.text)
	} else {
		d.raw = appendQ(d.raw, w.text)
	}
	d.pending = true
}

func (d *wordDecoder) flush() {
	if len(d.raw) > 0 {
		d.out = appendUTF8(d.out, d.raw, d.charset)
		d.raw = d.raw[:0]
	}
}

// appendQ decodes the Q encoding; what is no escape stays as it is.
// RFC 2047 §4.2
func appendQ(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '_':
			c = ' '
		case c == '=' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}

// appendBase64 decodes base64 and goes over all that is none.
func appendBase64(dst []byte, s string) []byte {
	var b base64Bits
	for i := 0; i < len(s); i++ {
		dst = b.add(dst, s[i])
	}
	return b.end(dst)
}

// base64Bits collects base64 digits. Padding ends a run of them, and another
// may follow: some programs encode line by line.
type base64Bits struct {
	bits uint32
	n    int // digits in bits
}

// base64Value has the value of each digit, and 0xff for what is none.
var base64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	return t
}()

func (b *base64Bits) add(dst []byte, c byte) []byte {
	v := base64Value[c]
	if v == 0xff {
		if c == '=' {
			return b.end(dst)
		}
		return dst
	}
	b.bits = b.bits<<6 | uint32(v)
	if b.n++; b.n == 4 {
		dst = append(dst, byte(b.bits>>16), byte(b.bits>>8), byte(b.bits))
		b.n, b.bits = 0, 0
	}
	return dst
}

// end gives the whole bytes of a run that is not complete.
func (b *base64Bits) end(dst []byte) []byte {
	switch b.n {
	case 2:
		dst = append(dst, byte(b.bits>>4))
	case 3:
		dst = append(dst, byte(b.bits>>10), byte(b.bits>>2))
	}
	b.n, b.bits = 0, 0
	return dst
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// AppendWords writes text for an unstructured field or a display name: as it
// is if it is ASCII, else as encoded words in UTF-8, each whole and of at most
// 75 bytes. Line breaks and NUL are left out. RFC 2047 §5
func AppendWords(dst []byte, text string) []byte {
	text = plainText(text)
	if isPlainASCII(text) && !strings.Contains(text, "=?") {
		return append(dst, text...)
	}
	const room = 75 - len("=?UTF-8?B?") - len("?=")
	const chunk = room / 4 * 3
	for first := true; len(text) > 0; first = false {
		n := min(chunk, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		if !first {
			dst = append(dst, ' ')
		}
		dst = append(dst, "=?UTF-8?B?"...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(text[:n]))
		dst = append(dst, "?="...)
		text = text[n:]
	}
	return dst
}

func isPlainASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if (s[i] < ' ' && s[i] != '\t') || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

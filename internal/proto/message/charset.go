package message

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// toUTF8 gives what turns bytes of a charset into UTF-8. It never fails: a
// charset that nobody knows is read as UTF-8, and what is no UTF-8 there as
// Windows-1252; in a known one, bytes that mean nothing become U+FFFD.
func toUTF8(charset string) transform.Transformer {
	name := strings.ToLower(strings.Trim(charset, " \t\"'"))
	switch name {
	case "", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "8bit", "7bit", "default":
		return lenient{}
	case "utf-8", "utf8":
		return unicode.UTF8.NewDecoder()
	case "utf-7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7":
		return &utf7{}
	case "utf-16": // RFC 2781 §4.3
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewDecoder()
	}
	if enc := findEncoding(name); enc != nil {
		return enc.NewDecoder()
	}
	return lenient{}
}

// findEncoding looks among the names that the web uses first: they mean what
// mail means in practice (iso-8859-1 is Windows-1252, gb2312 is GBK). The web
// maps some that are dangerous to browsers to "replacement"; mail wants them.
func findEncoding(name string) encoding.Encoding {
	if len(name) > 64 {
		return nil
	}
	if enc, err := htmlindex.Get(name); err == nil && enc != encoding.Replacement {
		return enc
	}
	if enc, err := ianaindex.MIME.Encoding(name); err == nil && enc != nil {
		return enc
	}
	switch {
	case strings.HasPrefix(name, "cp"), strings.HasPrefix(name, "ms"):
		if enc, err := htmlindex.Get("windows-" + strings.TrimLeft(name[2:], "-_")); err == nil {
			return enc
		}
	case strings.HasPrefix(name, "iso8859"):
		if enc, err := htmlindex.Get("iso-8859-" + strings.TrimLeft(name[7:], "-_")); err == nil {
			return enc
		}
	}
	return nil
}

// TextIn gives text that is in a charset as UTF-8; false if nobody knows the
// charset.
func TextIn(charset, text string) (string, bool) {
	name := strings.ToLower(charset)
	switch name {
	case "us-ascii", "utf-8", "utf-7", "utf-16":
	default:
		if findEncoding(name) == nil {
			return "", false
		}
	}
	return string(appendUTF8(nil, []byte(text), name)), true
}

// appendUTF8 appends raw, which is in charset, as UTF-8.
func appendUTF8(dst, raw []byte, charset string) []byte {
	if equalFold(charset, "utf-8") && utf8.Valid(raw) {
		return append(dst, raw...)
	}
	out, n, err := transform.Append(toUTF8(charset), dst, raw)
	if err != nil {
		return appendLenient(out, raw[n:])
	}
	return out
}

// appendLenient appends raw as UTF-8, with what is none taken for Windows-1252.
func appendLenient(dst, raw []byte) []byte {
	for len(raw) > 0 {
		r, n := decodeLenient(raw)
		dst = utf8.AppendRune(dst, r)
		raw = raw[n:]
	}
	return dst
}

func decodeLenient(b []byte) (rune, int) {
	if b[0] < utf8.RuneSelf {
		return rune(b[0]), 1
	}
	if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
		return r, n
	}
	return charmap.Windows1252.DecodeByte(b[0]), 1
}

// lenient is appendLenient for streams.
type lenient struct{ transform.NopResetter }

func (lenient) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, n := decodeLenient(src[nSrc:])
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// utf7 decodes UTF-7. RFC 2152
type utf7 struct {
	base64 bool   // between + and its end
	empty  bool   // nothing since the +
	bits   uint32 // not yet a whole unit of UTF-16
	n      int    // how many bits
	high   uint16 // the first half of a surrogate pair
}

func (u *utf7) Reset() { *u = utf7{} }

func (u *utf7) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+2*utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += u.step(dst[nDst:], src[nSrc])
		nSrc++
	}
	if atEOF && u.high != 0 {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += u.lone(dst[nDst:])
	}
	return nDst, nSrc, nil
}

// step takes one byte; it writes at most two runes.
func (u *utf7) step(dst []byte, c byte) int {
	switch v := base64Value[c]; {
	case !u.base64 && c == '+':
		u.base64, u.empty, u.bits, u.n = true, true, 0, 0
		return 0
	case !u.base64:
		return utf8.EncodeRune(dst, rawRune(c))
	case v != 0xff:
		u.empty = false
		u.bits = u.bits<<6 | uint32(v)
		if u.n += 6; u.n < 16 {
			return 0
		}
		u.n -= 16
		unit := uint16(u.bits >> u.n)
		u.bits &= 1<<u.n - 1
		return u.unit(dst, unit)
	}
	u.base64 = false
	n := u.lone(dst)
	switch {
	case c == '-' && u.empty:
		return n + utf8.EncodeRune(dst[n:], '+')
	case c == '-':
		return n
	}
	return n + utf8.EncodeRune(dst[n:], rawRune(c))
}

func rawRune(c byte) rune {
	if c >= utf8.RuneSelf {
		return charmap.Windows1252.DecodeByte(c)
	}
	return rune(c)
}

// unit takes a unit of UTF-16.
func (u *utf7) unit(dst []byte, unit uint16) int {
	switch {
	case u.high != 0:
		r := utf16.DecodeRune(rune(u.high), rune(unit))
		if r != utf8.RuneError {
			u.high = 0
			return utf8.EncodeRune(dst, r)
		}
		n := u.lone(dst)
		return n + u.unit(dst[n:], unit)
	case utf16.IsSurrogate(rune(unit)) && unit < 0xdc00:
		u.high = unit
		return 0
	}
	return utf8.EncodeRune(dst, rune(unit))
}

// lone writes a first half without a second.
func (u *utf7) lone(dst []byte) int {
	if u.high == 0 {
		return 0
	}
	u.high = 0
	return utf8.EncodeRune(dst, utf8.RuneError)
}

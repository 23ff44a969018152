package message

import "bytes"

// appendCRLF writes text with all its line breaks as CRLF, be they CRLF, LF or
// CR.
func appendCRLF(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				i++
			}
			dst = append(dst, "\r\n"...)
		case '\n':
			dst = append(dst, "\r\n"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// isLines tells whether data can stand in a message as it is: lines of at most
// 998 bytes that end with CRLF, and nothing that is not ASCII unless high.
// RFC 2045 §2.7, §2.8
func isLines(data []byte, high bool) bool {
	line := 0
	for i, c := range data {
		switch {
		case c == '\r':
			if i+1 == len(data) || data[i+1] != '\n' {
				return false
			}
			line = -1
		case c == '\n':
			if i == 0 || data[i-1] != '\r' {
				return false
			}
			line = 0
			continue
		case c == 0, c >= 0x80 && !high:
			return false
		}
		if line++; line > hardLimit {
			return false
		}
	}
	return true
}

// CanCarry tells whether text can be a part of type message/rfc822, which must
// not be encoded: no line is too long, and there is no NUL.
func CanCarry(text []byte) bool { return isLines(appendCRLF(nil, text), true) }

// chooseEncoding takes 7bit if it can, and otherwise what gets shorter; only
// text can be quoted-printable.
func chooseEncoding(data []byte, text bool) string {
	if text && isLines(data, false) {
		return "7bit"
	}
	escapes := 0
	for _, c := range data {
		if c >= 0x7f || c < ' ' && c != '\r' && c != '\n' && c != '\t' || c == '=' {
			escapes++
		}
	}
	if text && escapes*6 < len(data) {
		return "quoted-printable"
	}
	return "base64"
}

const upperHex = "0123456789ABCDEF"

// appendQuotedPrintable writes text whose lines end with CRLF. Fields and dots
// at the front of lines need no care, and "From " gets it. RFC 2045 §6.7
func appendQuotedPrintable(dst, text []byte) []byte {
	for len(text) > 0 {
		line, rest, broken := bytes.Cut(text, []byte("\r\n"))
		text = rest
		col := 0
		for i, c := range line {
			last := i == len(line)-1
			plain := c > ' ' && c < 0x7f && c != '=' || (c == ' ' || c == '\t') && !last
			if col == 0 && c == 'F' && bytes.HasPrefix(line[i:], []byte("From ")) {
				plain = false
			}
			n := 3
			if plain {
				n = 1
			}
			if limit := 75; col+n > limit && !(last && col+n <= 76) {
				dst = append(dst, "=\r\n"...)
				col = 0
			}
			if plain {
				dst = append(dst, c)
			} else {
				dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
			}
			col += n
		}
		if broken {
			dst = append(dst, "\r\n"...)
		}
	}
	return dst
}

package imap

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// Modified UTF-7 is how mailbox names go over the wire to clients that have not
// asked for better. RFC 3501 §5.1.3

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

var errUTF7 = errors.New("imap: not modified UTF-7")

// AppendUTF7 appends name in modified UTF-7. What is not UTF-8 in it comes out
// as U+FFFD.
func AppendUTF7(dst []byte, name string) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if ' ' <= c && c <= '~' {
			if dst = append(dst, c); c == '&' {
				dst = append(dst, '-')
			}
			i++
			continue
		}
		dst = append(dst, '&')
		acc, bits := uint32(0), 0
		put := func(unit uint16) {
			acc, bits = acc<<16|uint32(unit), bits+16
			for bits >= 6 {
				bits -= 6
				dst = append(dst, base64Digits[acc>>bits&63])
			}
		}
		for i < len(name) && (name[i] < ' ' || name[i] > '~') {
			r, n := utf8.DecodeRuneInString(name[i:])
			i += n
			if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
				put(uint16(r1))
				put(uint16(r2))
			} else {
				put(uint16(r))
			}
		}
		if bits > 0 {
			dst = append(dst, base64Digits[acc<<(6-bits)&63])
		}
		dst = append(dst, '-')
	}
	return dst
}

// DecodeUTF7 undoes AppendUTF7. It takes nothing that AppendUTF7 would not have
// written: two texts for one name would be two names for one mailbox.
func DecodeUTF7(text string) (string, error) {
	plain := true
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return "", errUTF7
		}
		plain = plain && text[i] != '&'
	}
	if plain {
		return text, nil
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != '&' {
			out = append(out, text[i])
			i++
			continue
		}
		end := i + 1
		for end < len(text) && text[end] != '-' {
			end++
		}
		if end == len(text) {
			return "", errUTF7
		}
		if end == i+1 {
			out = append(out, '&')
		} else {
			var err error
			if out, err = appendShifted(out, text[i+1:end]); err != nil {
				return "", err
			}
			// A second shift behind the first would have been part of it, unless it
			// stands for "&".
			if end+2 < len(text) && text[end+1] == '&' && text[end+2] != '-' {
				return "", errUTF7
			}
		}
		i = end + 1
	}
	return string(out), nil
}

// appendShifted appends what stands between & and -.
func appendShifted(out []byte, digits string) ([]byte, error) {
	acc, bits, high := uint32(0), 0, rune(0)
	for i := 0; i < len(digits); i++ {
		v := digit64(digits[i])
		if v < 0 {
			return nil, errUTF7
		}
		acc, bits = acc<<6|uint32(v), bits+6
		if bits < 16 {
			continue
		}
		bits -= 16
		r := rune(acc >> bits & 0xffff)
		switch {
		case high != 0:
			if r = utf16.DecodeRune(high, r); r == utf8.RuneError {
				return nil, errUTF7
			}
			high = 0
		case 0xd800 <= r && r < 0xdc00:
			high = r
			continue
		case 0xdc00 <= r && r < 0xe000 || ' ' <= r && r <= '~':
			return nil, errUTF7
		}
		out = utf8.AppendRune(out, r)
	}
	if high != 0 || bits >= 6 || acc&(1<<bits-1) != 0 {
		return nil, errUTF7
	}
	return out, nil
}

func digit64(c byte) int {
	switch {
	case 'A' <= c && c <= 'Z':
		return int(c - 'A')
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 26
	case '0' <= c && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == ',':
		return 63
	}
	return -1
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

package pop3

import (
	"encoding/base64"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// A Code is a response code, without its brackets; empty if there is none.
type Code string

// The codes. RFC 2449 §8, RFC 3206
const (
	InUse      Code = "IN-USE"
	LoginDelay Code = "LOGIN-DELAY"
	Auth       Code = "AUTH"     // wrong name or password
	Temporary  Code = "SYS/TEMP" // it may work later
	Permanent  Code = "SYS/PERM" // it will not
)

// maxText is how many bytes of text a reply has. RFC 2449 §4 gives lines 512 octets.
const maxText = 400

// AppendOK appends a positive answer, or the first line of a longer one.
func AppendOK(dst []byte, text string) []byte {
	dst = append(dst, "+OK"...)
	return appendText(dst, text)
}

// AppendErr appends a negative answer.
func AppendErr(dst []byte, code Code, text string) []byte {
	dst = append(dst, "-ERR"...)
	if code != "" {
		dst = append(append(append(dst, " ["...), code...), ']')
	}
	return appendText(dst, text)
}

// appendText ends a line; what cannot stand in it becomes a question mark. Outside of
// ASCII is what a language needs that the client has asked for. RFC 6856 §3.2
func appendText(dst []byte, text string) []byte {
	if text != "" {
		dst = append(dst, ' ')
	}
	end := len(dst) + maxText
	for _, c := range text {
		if c == utf8.RuneError || unicode.IsControl(c) {
			c = '?'
		}
		if len(dst)+utf8.RuneLen(c) > end {
			break
		}
		dst = utf8.AppendRune(dst, c)
	}
	return append(dst, "\r\n"...)
}

// AppendChallenge appends a challenge of AUTH; an empty one keeps its blank,
// without which some clients hang. RFC 5034 §4
func AppendChallenge(dst, challenge []byte) []byte {
	dst = append(dst, "+ "...)
	dst = base64.StdEncoding.AppendEncode(dst, challenge)
	return append(dst, "\r\n"...)
}

// AppendStat appends the answer to STAT. RFC 1939 §5
func AppendStat(dst []byte, count int, size int64) []byte {
	dst = append(dst, "+OK "...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, size, 10)
	return append(dst, "\r\n"...)
}

// AppendScan appends a line of LIST; after "+OK " it is the answer for one.
func AppendScan(dst []byte, number uint32, size int64) []byte {
	dst = strconv.AppendUint(dst, uint64(number), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, size, 10)
	return append(dst, "\r\n"...)
}

// AppendUnique appends a line of UIDL. id must have 1 to 70 visible characters.
func AppendUnique(dst []byte, number uint32, id string) []byte {
	dst = strconv.AppendUint(dst, uint64(number), 10)
	dst = append(append(dst, ' '), id...)
	return append(dst, "\r\n"...)
}

// AppendEnd appends the line that ends an answer of many lines.
func AppendEnd(dst []byte) []byte { return append(dst, ".\r\n"...) }

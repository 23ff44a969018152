package managesieve

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Code is a response code, without its parentheses; empty if there is none.
type Code string

// The codes. RFC 5804 §1.3
const (
	Active          Code = "ACTIVE"
	AlreadyExists   Code = "ALREADYEXISTS"
	EncryptNeeded   Code = "ENCRYPT-NEEDED"
	NonExistent     Code = "NONEXISTENT"
	Quota           Code = "QUOTA"
	QuotaMaxScripts Code = "QUOTA/MAXSCRIPTS"
	QuotaMaxSize    Code = "QUOTA/MAXSIZE"
	TryLater        Code = "TRYLATER"
	Warnings        Code = "WARNINGS"
)

// Tag is the code that gives a NOOP its string back.
func Tag(s string) Code { return Code(AppendString([]byte("TAG "), s)) }

// SASL is the code with the last that a server has to say in AUTHENTICATE.
func SASL(b []byte) Code {
	return Code(AppendString([]byte("SASL "), base64.StdEncoding.EncodeToString(b)))
}

// maxQuoted is how long a string in quotes may be. RFC 5804 §4
const maxQuoted = 1024

// AppendString appends a string: in quotes if it can be, else as a literal.
func AppendString(dst []byte, s string) []byte {
	if len(s) > maxQuoted || strings.ContainsAny(s, "\r\n\x00") || !utf8.ValidString(s) {
		return appendLiteral(dst, s)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func appendLiteral[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	return append(append(dst, "}\r\n"...), s...)
}

// AppendOK appends a positive answer, with no words in it: sieveshell of Cyrus takes none
// where it knows of no code. RFC 5804 §1.2
func AppendOK(dst []byte, code Code) []byte { return appendReply(dst, "OK", code, "") }

// AppendWarnings appends a positive answer to a script in which something can hardly be
// meant. Its text may have several lines.
func AppendWarnings(dst []byte, text string) []byte { return appendReply(dst, "OK", Warnings, text) }

// AppendNo appends a negative answer. Its text may have several lines.
func AppendNo(dst []byte, code Code, text string) []byte { return appendReply(dst, "NO", code, text) }

// AppendBye appends the last answer of a session that the server ends.
func AppendBye(dst []byte, code Code, text string) []byte { return appendReply(dst, "BYE", code, text) }

// appendReply appends an answer; what cannot stand in a text becomes a question mark.
func appendReply(dst []byte, word string, code Code, text string) []byte {
	dst = append(dst, word...)
	if code != "" {
		dst = append(append(append(dst, " ("...), code...), ')')
	}
	if text != "" {
		text = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\r' && r != '\n' || r == 0x7f || r == utf8.RuneError {
				return '?'
			}
			return r
		}, text)
		dst = AppendString(append(dst, ' '), text)
	}
	return append(dst, "\r\n"...)
}

// AppendCapability appends one that is there or not. RFC 5804 §1.7
func AppendCapability(dst []byte, name string) []byte {
	return append(AppendString(dst, name), "\r\n"...)
}

// AppendValue appends a capability with a value.
func AppendValue(dst []byte, name, value string) []byte {
	dst = append(AppendString(dst, name), ' ')
	return append(AppendString(dst, value), "\r\n"...)
}

// AppendChallenge appends a challenge of AUTHENTICATE.
func AppendChallenge(dst, challenge []byte) []byte {
	return append(AppendString(dst, base64.StdEncoding.EncodeToString(challenge)), "\r\n"...)
}

// AppendListed appends the line of a script in the answer to LISTSCRIPTS.
func AppendListed(dst []byte, name string, active bool) []byte {
	dst = AppendString(dst, name)
	if active {
		dst = append(dst, " ACTIVE"...)
	}
	return append(dst, "\r\n"...)
}

// AppendScript appends a script in the answer to GETSCRIPT.
func AppendScript(dst, script []byte) []byte {
	return append(appendLiteral(dst, script), "\r\n"...)
}

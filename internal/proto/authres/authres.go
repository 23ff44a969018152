// Package authres writes Authentication-Results fields, and tells whose those of
// others are: RFC 8601.
package authres

import (
	"strings"
)

// A Result is what one method found.
type Result struct {
	Method string // "spf", "dkim", "dmarc", "iprev"
	Result string // "pass", "fail", …
	Reason string // in words; may be empty
	Props  []Prop
}

// A Prop is what a method looked at: "smtp.mailfrom" and its value.
type Prop struct{ Name, Value string }

// Append appends the field for a host, with its line end.
func Append(dst []byte, host string, results []Result) []byte {
	dst = append(dst, "Authentication-Results: "...)
	return append(appendValue(dst, host, results), "\r\n"...)
}

// Value gives what stands in the field: who says it, and the results.
func Value(host string, results []Result) string { return string(appendValue(nil, host, results)) }

func appendValue(dst []byte, host string, results []Result) []byte {
	dst = append(dst, token(host)...)
	if len(results) == 0 {
		return append(dst, "; none"...)
	}
	for _, r := range results {
		dst = append(dst, ";\r\n\t"...)
		dst = append(dst, token(r.Method)...)
		dst = append(dst, '=')
		dst = append(dst, token(r.Result)...)
		if r.Reason != "" {
			dst = append(dst, " reason="...)
			dst = quote(dst, r.Reason)
		}
		for _, p := range r.Props {
			dst = append(dst, "\r\n\t\t"...)
			dst = append(dst, token(p.Name)...)
			dst = append(dst, '=')
			dst = value(dst, p.Value)
		}
	}
	return dst
}

// token leaves out what could end a word of the field.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>,;:\"[]?=`, r) {
			return -1
		}
		return r
	}, s)
}

const maxValue = 250

// value writes a value as it is if it can stand so, an address among them.
func value(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c == 0x7f || strings.IndexByte(`()<>,;:\"[]?=`, c) >= 0 {
			return quote(dst, s)
		}
	}
	if s == "" || len(s) > maxValue {
		return quote(dst, s)
	}
	return append(dst, s...)
}

func quote(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s) && i < maxValue; i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			dst = append(dst, ' ')
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// Host gives who says that it wrote a field with this value, in lower case; ""
// if the field says nothing that can be understood. RFC 8601 §2.2
func Host(value string) string {
	value = skip(value)
	if strings.HasPrefix(value, `"`) {
		end := strings.IndexByte(value[1:], '"')
		if end < 0 {
			return ""
		}
		return strings.ToLower(value[1 : 1+end])
	}
	end := strings.IndexAny(value, " \t\r\n;(")
	if end < 0 {
		end = len(value)
	}
	return strings.ToLower(value[:end])
}

// skip leaves out white space and comments at the front.
func skip(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if !strings.HasPrefix(s, "(") {
			return s
		}
		depth := 0
		i := 0
		for ; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				break
			}
		}
		if i >= len(s) {
			return ""
		}
		s = s[i+1:]
	}
}

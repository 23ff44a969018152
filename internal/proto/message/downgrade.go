package message

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// NeedsUTF8 tells whether a header has UTF-8 in it that is not ASCII, so that
// who does not know RFC 6532 cannot read it. Bytes that are no UTF-8 are the old
// disorder, which all programs have their own way with, and are not meant.
func NeedsUTF8(header []byte) bool {
	for _, c := range header {
		if c >= 0x80 {
			return utf8.Valid(header)
		}
	}
	return false
}

// Downgrade appends a header that is ASCII only in place of one that NeedsUTF8:
// text and names become encoded words, parameters are written as RFC 2231 has
// it, an address that cannot be written in ASCII becomes an empty group that
// tells of it, and fields that have no such form are left out. What is ASCII
// stays byte by byte. The header may end with the empty line or before it.
// RFC 6858 §2, RFC 6857 §3
func Downgrade(dst, header []byte) []byte {
	end := 0
	for f := range Fields(header) {
		end = f.Offset + len(f.Raw)
		if isASCII(f.Raw) {
			dst = append(dst, f.Raw...)
			continue
		}
		dst = appendDowngraded(dst, f)
	}
	return append(dst, header[end:]...)
}

func isASCII(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 })
}

// The fields of which the value is not free text.
var (
	addressFields = map[string]bool{
		"from": true, "sender": true, "reply-to": true, "to": true, "cc": true, "bcc": true, "disposition-notification-to": true, "errors-to": true,
		"resent-from": true, "resent-sender": true, "resent-to": true, "resent-cc": true, "resent-bcc": true, "resent-reply-to": true,
	}
	// structuredFields have no form for what is not ASCII. RFC 6858 §2.4
	structuredFields = map[string]bool{
		"": true, "arc-authentication-results": true, "arc-message-signature": true, "arc-seal": true, "authentication-results": true,
		"auto-submitted": true, "content-id": true, "content-language": true, "content-location": true, "content-transfer-encoding": true,
		"date": true, "dkim-signature": true, "in-reply-to": true, "list-archive": true, "list-help": true, "list-owner": true, "list-post": true,
		"list-subscribe": true, "list-unsubscribe": true, "list-unsubscribe-post": true, "message-id": true, "mime-version": true, "received": true,
		"received-spf": true, "references": true, "resent-date": true, "resent-message-id": true, "return-path": true,
	}
)

func appendDowngraded(dst []byte, f Field) []byte {
	name := strings.ToLower(string(f.Name))
	value := ""
	switch {
	case structuredFields[name]:
		return dst
	case addressFields[name]:
		value = asciiAddresses(f.Text())
	case name == "content-type" || name == "content-disposition":
		return appendASCIIParams(dst, string(f.Name), f.Text())
	default:
		value = string(AppendWords(nil, DecodeWords(f.Text())))
	}
	if value == "" {
		return dst
	}
	return appendFolded(dst, string(f.Name), value)
}

// asciiAddresses writes an address list anew. RFC 6858 §2.1
func asciiAddresses(value string) string {
	var b Builder
	var out []byte
	group, first := false, true
	for _, a := range ParseAddressList(value) {
		if a.Kind == GroupEnd {
			out = append(out, ';')
			group, first = false, false
			continue
		}
		entry := ""
		switch c := a.Contact(); {
		case a.Kind == GroupStart:
			entry = b.phrase(DecodeWords(a.Name)) + ":"
		case !c.Address.IsZero() && c.Address.IsASCII() && c.Name == "":
			entry = c.Address.String()
		case !c.Address.IsZero() && c.Address.IsASCII():
			entry = b.phrase(c.Name) + " <" + c.Address.String() + ">"
		case group:
			continue // a group cannot stand in one
		default:
			entry = b.phrase(strings.TrimSpace(c.Name+" Internationalized Address "+c.Raw+" Removed")) + " :;"
		}
		switch {
		case group && first:
			out = append(out, ' ')
		case !first:
			out = append(out, ", "...)
		}
		out = append(out, entry...)
		group, first = group || a.Kind == GroupStart, a.Kind == GroupStart
	}
	return string(out)
}

// appendASCIIParams writes Content-Type or Content-Disposition anew. RFC 6858
// §2.2
func appendASCIIParams(dst []byte, name, value string) []byte {
	head, params, _ := strings.Cut(value, ";")
	if head = strings.TrimSpace(head); !isASCII([]byte(head)) {
		return dst
	}
	var b Builder
	var keep []Param
	for _, p := range parseParams(nil, params, MaxParams) {
		if isPlainToken(strings.TrimSuffix(p.Name, "*")) {
			p.Value = DecodeWords(p.Value)
			keep = append(keep, p)
		}
	}
	b.paramField(name, head, keep)
	if b.err != nil || !isASCII(b.buf) {
		return dst
	}
	return append(dst, b.buf...)
}

// Lined is how long text is once all its lines end in CRLF, the last one too.
func Lined(text []byte) int {
	n := len(text) + bytes.Count(text, []byte("\n")) - bytes.Count(text, []byte("\r\n"))
	switch {
	case len(text) == 0 || text[len(text)-1] == '\n':
		return n
	case text[len(text)-1] == '\r':
		return n + 1
	}
	return n + 2
}

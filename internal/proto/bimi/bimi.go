// Package bimi reads what a domain says about its logo: the assertion records of
// Brand Indicators for Message Identification (draft-brand-indicators-for-message-
// identification), and the header field that names one of several. It fetches
// nothing: neither the logo nor the evidence that it is the domain's.
package bimi

import (
	"errors"
	"net/url"
	"strings"
)

// A Record is what a domain says.
type Record struct {
	Location string // l=: where the logo is; empty: the domain has none to show
	Evidence string // a=: where the evidence is; empty: there is none
}

// Declined tells that the domain wants no logo shown.
func (r Record) Declined() bool { return r.Location == "" && r.Evidence == "" }

// DefaultSelector is the one of a message that names none.
const DefaultSelector = "default"

// Errors of Parse.
var (
	ErrNotBIMI = errors.New("bimi: not such a record") // to be passed over
	ErrRecord  = errors.New("bimi: the record is wrong")
)

const maxURI = 1000

// Parse reads a TXT record. Tags that are not known are passed over.
func Parse(txt string) (Record, error) {
	tags, err := tags(txt)
	if err != nil || len(tags) == 0 || tags[0] != [2]string{"v", "BIMI1"} {
		return Record{}, ErrNotBIMI
	}
	var r Record
	location := false
	for _, t := range tags[1:] {
		switch t[0] {
		case "l":
			r.Location, location = t[1], true
		case "a":
			r.Evidence = t[1]
		}
	}
	if !location || !isURI(r.Location) || !isURI(r.Evidence) {
		return Record{}, ErrRecord
	}
	return r, nil
}

// isURI tells whether s is empty, or where something can be fetched safely.
func isURI(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxURI && strings.EqualFold(u.Scheme, "https") && u.Host != "" && u.User == nil
}

// Selector reads the value of a BIMI-Selector field; false if it is none.
func Selector(value string) (string, bool) {
	tags, err := tags(value)
	if err != nil || len(tags) == 0 || tags[0] != [2]string{"v", "BIMI1"} {
		return "", false
	}
	for _, t := range tags[1:] {
		if t[0] == "s" {
			s := strings.ToLower(t[1])
			return s, isSelector(s)
		}
	}
	return "", false
}

// isSelector tells whether s is a label, or several with dots.
func isSelector(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 150
}

// tags reads "name=value; name=value": names in lower case.
func tags(s string) (out [][2]string, err error) {
	for part := range strings.SplitSeq(s, ";") {
		part = strings.Trim(part, " \t\r\n")
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t\r\n"))
		if !ok || name == "" || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' || r > '~' }) {
			return nil, ErrRecord
		}
		out = append(out, [2]string{name, strings.TrimLeft(value, " \t\r\n")})
	}
	return out, nil
}

package dkim

import (
	"fmt"
	"strings"
)

// A tag of a tag list, with its place in the text. RFC 6376 §3.2
type tag struct {
	name, value string
	from, to    int // of the value, with white space around it
}

// parseTags reads a tag list. A tag that comes twice makes it unreadable.
func parseTags(s string) ([]tag, error) {
	var out []tag
	seen := map[string]bool{}
	for at := 0; at < len(s); {
		end := strings.IndexByte(s[at:], ';')
		if end < 0 {
			end = len(s)
		} else {
			end += at
		}
		part := s[at:end]
		eq := strings.IndexByte(part, '=')
		switch {
		case eq < 0 && strings.TrimFunc(part, isSpace) == "":
			// the end, or nothing between two semicolons
		case eq < 0:
			return nil, fmt.Errorf("%q is no tag", cut(part))
		default:
			name := strings.TrimFunc(part[:eq], isSpace)
			if !isTagName(name) {
				return nil, fmt.Errorf("%q is no tag", cut(name))
			}
			if seen[name] {
				return nil, fmt.Errorf("the tag %s= comes twice", name)
			}
			seen[name] = true
			out = append(out, tag{name: name, value: strings.TrimFunc(part[eq+1:], isSpace), from: at + eq + 1, to: end})
		}
		at = end + 1
	}
	return out, nil
}

func isTagName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '_')) {
			return false
		}
	}
	return s != ""
}

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// value gives the value of a tag.
func value(tags []tag, name string) (string, bool) {
	for _, t := range tags {
		if t.name == name {
			return t.value, true
		}
	}
	return "", false
}

// list splits a value at colons, without white space.
func list(s string) []string {
	var out []string
	for f := range strings.SplitSeq(s, ":") {
		out = append(out, strings.TrimFunc(f, isSpace))
	}
	return out
}

// unspaced takes all white space out, as base64 may have it anywhere.
func unspaced(s string) string {
	return strings.Map(func(r rune) rune {
		if isSpace(r) {
			return -1
		}
		return r
	}, s)
}

func cut(s string) string { return s[:min(len(s), 60)] }

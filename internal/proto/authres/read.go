package authres

import (
	"errors"
	"strings"
)

// maxResults is how many results of a field are read.
const maxResults = 100

var errField = errors.New("authres: not a list of results")

// Parse reads the value of a field: who wrote it, and the results. Comments are
// left out. RFC 8601 §2.2
func Parse(value string) (host string, results []Result, err error) {
	host = Host(value)
	if host == "" {
		return "", nil, errField
	}
	s := scanner{rest: value}
	s.word() // the host, which may have a version behind it
	for !s.at(';') {
		if s.done() {
			return host, nil, nil
		}
		if s.word() == "" {
			return "", nil, errField
		}
	}
	for s.at(';') {
		s.rest = s.rest[1:]
		if s.done() {
			break
		}
		r, none, err := s.result()
		if err != nil {
			return "", nil, err
		}
		if !none && len(results) < maxResults {
			results = append(results, r)
		}
	}
	if !s.done() {
		return "", nil, errField
	}
	return host, results, nil
}

// A scanner reads words.
type scanner struct{ rest string }

func (s *scanner) done() bool {
	s.rest = skip(s.rest)
	return s.rest == ""
}

func (s *scanner) at(c byte) bool {
	s.rest = skip(s.rest)
	return s.rest != "" && s.rest[0] == c
}

// word reads a token, or a quoted string; "" if there is neither.
func (s *scanner) word() string {
	s.rest = skip(s.rest)
	if !strings.HasPrefix(s.rest, `"`) {
		n := strings.IndexAny(s.rest, " \t\r\n;=()\"")
		if n < 0 {
			n = len(s.rest)
		}
		w := s.rest[:n]
		s.rest = s.rest[n:]
		return w
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	s.rest = ""
	return ""
}

// result reads "method=result" and what belongs to it, or "none".
func (s *scanner) result() (r Result, none bool, err error) {
	r.Method = strings.ToLower(s.word())
	if r.Method == "none" && !s.at('=') {
		return r, true, nil
	}
	if method, _, versioned := strings.Cut(r.Method, "/"); versioned {
		r.Method = method
	}
	if r.Method == "" || !s.at('=') {
		return r, false, errField
	}
	s.rest = s.rest[1:]
	if r.Result = strings.ToLower(s.word()); r.Result == "" {
		return r, false, errField
	}
	for !s.done() && !s.at(';') {
		name := strings.ToLower(s.word())
		if name == "" || !s.at('=') {
			return r, false, errField
		}
		s.rest = s.rest[1:]
		v := s.word()
		if name == "reason" {
			r.Reason = v
		} else {
			r.Props = append(r.Props, Prop{Name: name, Value: v})
		}
	}
	return r, false, nil
}

// Prop gives the value of what a method looked at; "" if it does not say.
func (r Result) Prop(name string) string {
	for _, p := range r.Props {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

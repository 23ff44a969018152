package pop3d

import (
	"context"

	"posthaste/internal/base/tongue"
	"posthaste/internal/proto/pop3"
)

// languages are those that there are beside English.
var languages = []*tongue.Language{&german}

// names are what languages are called in themselves.
var names = [...][2]string{{tongue.IDefault, "the language for everybody: English"}, {tongue.English, "English"}, {german.Tag, "Deutsch"}}

// lang is LANG: it lists the languages, or chooses one. RFC 6856 §3
func (s *session) lang(_ context.Context, c pop3.Command) error {
	if c.Text == "" {
		var lines []string
		for _, l := range names {
			lines = append(lines, l[0]+" "+l[1])
		}
		return s.lines("these languages", lines)
	}
	tag, l, ok := tongue.IDefault, (*tongue.Language)(nil), true
	if c.Text != "*" {
		tag, l, ok = tongue.Find(c.Text, languages)
	}
	if !ok {
		return no("", "I do not speak this language")
	}
	s.tongue = l
	return s.ok(tag + " is what I speak now")
}

// appendOK appends a positive answer in the language of the session, or the first line of
// a longer one.
func (s *session) appendOK(text string) []byte { return pop3.AppendOK(s.begin(), s.tongue.Say(text)) }

// appendErr appends a negative answer likewise.
func (s *session) appendErr(code pop3.Code, text string) []byte {
	return pop3.AppendErr(s.begin(), code, s.tongue.Say(text))
}

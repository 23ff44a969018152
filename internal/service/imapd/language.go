package imapd

import (
	"context"
	"strings"

	"posthaste/internal/proto/imap"
)

// A language is one that texts for people are in beside English.
type language struct {
	tag   string            // RFC 5646
	words map[string]string // texts as they are in English, and in this language
	// shapes are texts in which % stands for something: with numbers and names in
	// it, or with other texts.
	shapes [][2]string
}

// languages are those that there are beside English.
var languages = [...]*language{&german}

// The tags of English: as such, and as the language for who has said nothing.
// RFC 5255 §3.1
const (
	english  = "en"
	iDefault = "i-default"
)

// language is LANGUAGE. RFC 5255 §3.2
func (s *session) language(_ context.Context, c *imap.Command) error {
	ranges := c.Args.(*imap.Language).Ranges
	if len(ranges) == 0 {
		s.enc.Raw("* LANGUAGE (" + iDefault + " " + english)
		for _, l := range languages {
			s.enc.Raw(" " + l.tag)
		}
		s.enc.Raw(")").CRLF()
		return nil
	}
	for _, r := range ranges {
		tag, tongue, ok := speaks(r)
		if !ok {
			continue
		}
		s.tongue, s.enc.Words = tongue, nil
		if tongue != nil {
			s.enc.Words = tongue.say
		}
		s.enc.Raw("* LANGUAGE (" + tag + ")").CRLF()
		if s.peer.Account != 0 {
			s.tellNamespace()
		}
		return nil
	}
	return no("", "this language is not spoken here")
}

// speaks finds the language that a range means, by leaving out what stands at its
// end until it fits; nil is English. "default" is what the house likes best.
// RFC 4647 §3.4
func speaks(r string) (tag string, l *language, ok bool) {
	for r = strings.ToLower(r); ; {
		switch r {
		case english, iDefault:
			return r, nil, true
		case "default", "*":
			return english, nil, true
		}
		for _, l := range languages {
			if r == l.tag {
				return l.tag, l, true
			}
		}
		i := strings.LastIndexByte(r, '-')
		if i < 0 {
			return "", nil, false
		}
		r = r[:i]
	}
}

// say gives a text in the language. One that is not known stays as it is.
func (l *language) say(text string) string {
	if t, ok := l.words[text]; ok {
		return t
	}
	for _, sh := range l.shapes {
		before, after, _ := strings.Cut(sh[0], "%")
		if len(text) < len(before)+len(after) || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) {
			continue
		}
		some := text[len(before) : len(text)-len(after)]
		if t, ok := l.words[some]; ok {
			some = t
		}
		return strings.Replace(sh[1], "%", some, 1)
	}
	return text
}

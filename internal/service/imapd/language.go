package imapd

import (
	"context"
	"strings"

	"posthaste/internal/base/tongue"
	"posthaste/internal/proto/imap"
)

// languages are those that there are beside English.
var languages = []*tongue.Language{&german}

// language is LANGUAGE. RFC 5255 §3.2
func (s *session) language(_ context.Context, c *imap.Command) error {
	ranges := c.Args.(*imap.Language).Ranges
	if len(ranges) == 0 {
		s.enc.Raw("* LANGUAGE (" + tongue.IDefault + " " + tongue.English)
		for _, l := range languages {
			s.enc.Raw(" " + l.Tag)
		}
		s.enc.Raw(")").CRLF()
		return nil
	}
	for _, r := range ranges {
		tag, l, ok := speaks(r)
		if !ok {
			continue
		}
		s.tongue, s.enc.Words = l, nil
		if l != nil {
			s.enc.Words = l.Say
		}
		s.enc.Raw("* LANGUAGE (" + tag + ")").CRLF()
		if s.peer.Account != 0 {
			s.tellNamespace()
		}
		return nil
	}
	return no("", "this language is not spoken here")
}

// speaks finds the language that a range means; nil is English. "default" is what the
// house likes best.
func speaks(r string) (tag string, l *tongue.Language, ok bool) {
	if r == "*" || strings.EqualFold(r, "default") {
		return tongue.English, nil, true
	}
	return tongue.Find(r, languages)
}

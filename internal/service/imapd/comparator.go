package imapd

import (
	"context"
	"slices"
	"strings"

	"posthaste/internal/proto/imap"
)

// A comparator is how SEARCH, SORT and THREAD compare texts. Whichever it is, it
// gets them decoded, in UTF-8 and unfolded, with white space as one space.
type comparator uint8

const (
	unicodeCasemap comparator = iota // without regard to case and to how letters are composed; RFC 5051
	asciiCasemap                     // without regard to the case of ASCII letters; RFC 4790 §9.2
	octet                            // as they are; RFC 4790 §9.3
)

var comparators = [...]string{unicodeCasemap: "i;unicode-casemap", asciiCasemap: "i;ascii-casemap", octet: "i;octet"}

// comparator is COMPARATOR. RFC 5255 §4.7
func (s *session) comparator(_ context.Context, c *imap.Command) error {
	var fit []string
	for _, p := range c.Args.(*imap.Comparator).Patterns {
		if strings.EqualFold(p, "default") {
			p = comparators[unicodeCasemap]
		}
		for _, name := range comparators {
			if !slices.Contains(fit, name) && fits(strings.ToLower(p), name) {
				fit = append(fit, name)
			}
		}
	}
	if len(fit) > 0 {
		s.compare = comparator(slices.Index(comparators[:], fit[0]))
	} else if len(c.Args.(*imap.Comparator).Patterns) > 0 {
		return no(imap.CodeBadComparator, "no such comparator")
	}
	s.enc.Raw("* COMPARATOR ").String(comparators[s.compare])
	if len(fit) > 1 { // RFC 5255 §4.8
		before := " ("
		for _, name := range fit {
			s.enc.Raw(before).String(name)
			before = " "
		}
		s.enc.Raw(")")
	}
	s.enc.CRLF()
	return nil
}

// fits tells whether a name is one that a pattern means, in which * stands for
// any text. RFC 4790 §3.2
func fits(pattern, name string) bool {
	before, after, starred := strings.Cut(pattern, "*")
	if !starred {
		return pattern == name
	}
	return strings.HasPrefix(name, before) && starFits(after, name[len(before):])
}

// starFits matches what stands behind a star with the rest of a name.
func starFits(after, rest string) bool {
	word, more, starred := strings.Cut(after, "*")
	if !starred {
		return strings.HasSuffix(rest, after)
	}
	at := strings.Index(rest, word)
	return at >= 0 && starFits(more, rest[at+len(word):])
}

// column names what is noted of messages for a comparator.
func (by comparator) column(name string) string {
	if by == unicodeCasemap {
		return name
	}
	return name + " " + comparators[by]
}

// fold appends text in the form in which it is compared.
func (by comparator) fold(dst, text []byte) []byte {
	if by == unicodeCasemap {
		return fold(dst, text)
	}
	for _, c := range text {
		switch {
		case 'A' <= c && c <= 'Z' && by == asciiCasemap:
			c += 'a' - 'A'
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			if n := len(dst); n > 0 && dst[n-1] == ' ' {
				continue
			}
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

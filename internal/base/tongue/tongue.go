// Package tongue has what sessions need to speak other languages than English: a table
// of texts, and how the one is found that somebody asks for.
package tongue

import "strings"

// A Language is one that texts for people are in beside English.
type Language struct {
	Tag   string            // RFC 5646
	Words map[string]string // texts as they are in English, and in this language
	// Shapes are texts in which % stands for something: with numbers and names in it,
	// or with other texts.
	Shapes [][2]string
}

// The tags of English: as such, and as the language for who has said nothing.
// RFC 5255 §3.1, RFC 6856 §3.2
const (
	English  = "en"
	IDefault = "i-default"
)

// Find finds the language that a range means, by leaving out what stands at its end until
// it fits; nil is English. RFC 4647 §3.4
func Find(r string, list []*Language) (tag string, l *Language, ok bool) {
	for r = strings.ToLower(r); ; {
		if r == English || r == IDefault {
			return r, nil, true
		}
		for _, l := range list {
			if r == l.Tag {
				return l.Tag, l, true
			}
		}
		i := strings.LastIndexByte(r, '-')
		if i < 0 {
			return "", nil, false
		}
		r = r[:i]
	}
}

// Say gives a text in the language. One that is not known stays as it is; so do all if
// the language is nil.
func (l *Language) Say(text string) string {
	if l == nil {
		return text
	}
	if t, ok := l.Words[text]; ok {
		return t
	}
	for _, sh := range l.Shapes {
		before, after, _ := strings.Cut(sh[0], "%")
		if len(text) < len(before)+len(after) || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) {
			continue
		}
		some := text[len(before) : len(text)-len(after)]
		if t, ok := l.Words[some]; ok {
			some = t
		}
		return strings.Replace(sh[1], "%", some, 1)
	}
	return text
}

package message

import (
	"html"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPreview is how many characters a preview has at most. RFC 8970 §3.1
const MaxPreview = 256

// previewBytes is how much text is looked at for a preview.
const previewBytes = 16 << 10

// Preview gives the beginning of what there is to read in the message: of the
// first plain text, else of the first HTML without its tags, on one line.
// What cannot be read gives "". RFC 8970
func Preview(root *Part, r io.ReaderAt) string {
	plain, markup := textParts(root)
	for _, p := range []*Part{plain, markup} {
		if p == nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(NewTextReader(p, r), previewBytes))
		if err != nil {
			return ""
		}
		text := strings.ToValidUTF8(string(b), "")
		if p == markup {
			text = StripTags(text)
		}
		if line := oneLine(text); line != "" {
			return line
		}
	}
	return ""
}

// textParts finds the first plain text and the first HTML that are no
// attachments, not looking into messages within.
func textParts(p *Part) (plain, markup *Part) {
	if p.IsMultipart() {
		for _, c := range p.Children {
			a, b := textParts(c)
			if plain == nil {
				plain = a
			}
			if markup == nil {
				markup = b
			}
			if plain != nil {
				return plain, markup
			}
		}
		return plain, markup
	}
	switch {
	case p.IsAttachment():
	case p.Is("text", "plain"):
		return p, nil
	case p.Is("text", "html"):
		return nil, p
	}
	return nil, nil
}

// oneLine collapses white space, leaves out what cannot be seen, and cuts.
func oneLine(s string) string {
	var b strings.Builder
	n, space := 0, false
	for _, c := range s {
		if unicode.IsSpace(c) {
			space = n > 0
			continue
		}
		if !unicode.IsGraphic(c) || unicode.Is(unicode.Cf, c) {
			continue
		}
		if space {
			if n+2 > MaxPreview {
				break
			}
			b.WriteByte(' ')
			n, space = n+1, false
		}
		if n++; n > MaxPreview {
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}

// StripTags gives the text of HTML: without tags and comments, and without
// what is in elements that are not text.
func StripTags(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(html.UnescapeString(s))
			return b.String()
		}
		b.WriteString(html.UnescapeString(s[:i]))
		s = s[i:]
		if strings.HasPrefix(s, "<!--") {
			_, s, _ = strings.Cut(s[4:], "-->")
			continue
		}
		if c, _ := utf8.DecodeRuneInString(s[1:]); c != '/' && c != '!' && c != '?' && !unicode.IsLetter(c) {
			b.WriteByte('<')
			s = s[1:]
			continue
		}
		name := tagName(s[1:])
		_, s, _ = strings.Cut(s, ">")
		switch name {
		case "style", "script", "head", "title", "template", "noscript", "svg":
			s = afterElement(s, name)
		case "b", "i", "u", "a", "em", "strong", "span", "font", "/b", "/i", "/u", "/a", "/em", "/strong", "/span", "/font":
		default:
			b.WriteByte(' ')
		}
	}
}

func tagName(s string) string {
	n := 0
	for n < len(s) && n < 16 && (s[n] == '/' && n == 0 || '0' <= s[n] && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return strings.ToLower(s[:n])
}

// afterElement gives what follows the end tag; nothing if there is none.
func afterElement(s, name string) string {
	for {
		i := strings.Index(s, "</")
		if i < 0 {
			return ""
		}
		s = s[i+2:]
		if tagName(s) == name {
			_, s, _ = strings.Cut(s, ">")
			return s
		}
	}
}

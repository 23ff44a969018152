package imapd

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// fold appends text in the form in which texts are compared: as
// i;unicode-casemap has it (RFC 5051), but with ASCII in lower case; and line
// breaks and runs of white space as one space, since a mail program may have
// broken the line anywhere.
func fold(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case c == ' ' || c == '\t' || c == '\r' || c == '\n':
				if n := len(dst); n > 0 && dst[n-1] == ' ' {
					continue
				}
				c = ' '
			}
			dst = append(dst, c)
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		dst = foldRune(dst, r)
	}
	return dst
}

// foldRune appends a letter outside of ASCII: its title case, taken apart into
// what it is composed of.
func foldRune(dst []byte, r rune) []byte {
	var buf [utf8.UTFMax]byte
	title := utf8.AppendRune(buf[:0], unicode.ToTitle(r))
	start := len(dst)
	if parts := norm.NFKD.Properties(title).Decomposition(); parts != nil {
		dst = append(dst, parts...)
	} else if 0xac00 <= r && r <= 0xd7a3 { // Hangul, which has no table
		return norm.NFKD.Append(dst, title...)
	} else {
		dst = append(dst, title...)
	}
	end := start
	for _, c := range dst[start:] {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == ' ' && end > 0 && dst[end-1] == ' ':
			continue
		}
		dst[end] = c
		end++
	}
	return dst[:end]
}

// A scratch is memory for looking for texts, used again for each message.
type scratch struct {
	compare comparator
	in      []byte
	folded  []byte
}

// piece is how much text is folded at once.
const piece = 16 << 10

// has looks for a folded text in one that is not folded.
func (s *scratch) has(text, needle []byte) bool {
	if s.compare != octet && lacks(text, needle) {
		return false
	}
	held := s.folded[:0]
	for len(text) > 0 {
		n := len(text)
		if n > piece {
			n = wholeRunes(text[:piece])
		}
		held = s.compare.fold(held, text[:n])
		text = text[n:]
		if bytes.Contains(held, needle) {
			s.folded = held
			return true
		}
		held = append(held[:0], held[max(0, len(held)-len(needle)):]...)
	}
	s.folded = held
	return false
}

// contains looks for a folded text in what r gives, with bounded memory.
func (s *scratch) contains(r io.Reader, needle []byte) (bool, error) {
	if s.in == nil {
		s.in = make([]byte, piece)
	}
	in, held := s.in, s.folded[:0]
	defer func() { s.folded = held }()
	kept := 0 // bytes in in that are not yet a whole character
	for {
		n, err := r.Read(in[kept:])
		n += kept
		whole := n
		if err == nil {
			whole = wholeRunes(in[:n])
		}
		held = s.compare.fold(held, in[:whole])
		if bytes.Contains(held, needle) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(in, in[whole:n])
		held = append(held[:0], held[max(0, len(held)-len(needle)):]...)
	}
}

// lacks tells quickly that a folded text is surely not in one that is not
// folded: both must be ASCII, and then the rarest letter of the needle is where
// to look first.
func lacks(text, needle []byte) bool {
	if !ascii(text) {
		return false
	}
	at := -1
	for i, c := range needle {
		if c >= utf8.RuneSelf {
			return true
		}
		if c != ' ' && (at < 0 || rarity(c) > rarity(needle[at])) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	// The word around the rarest letter, since white space may differ.
	first, last := at, at+1
	for first > 0 && needle[first-1] != ' ' {
		first--
	}
	for last < len(needle) && needle[last] != ' ' {
		last++
	}
	word, at := needle[first:last], at-first
	c := word[at]
	if lacksAt(text, word, at, c) {
		return c < 'a' || c > 'z' || lacksAt(text, word, at, c-'a'+'A')
	}
	return false
}

// lacksAt tells that word, folded, stands nowhere in text with c at its place.
func lacksAt(text, word []byte, at int, c byte) bool {
	for off := 0; ; off++ {
		i := bytes.IndexByte(text[off:], c)
		if i < 0 {
			return true
		}
		off += i
		if start := off - at; start >= 0 && start+len(word) <= len(text) && equalFold(text[start:start+len(word)], word) {
			return false
		}
	}
}

// equalFold tells whether ASCII text is the same as a folded one.
func equalFold(text, folded []byte) bool {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}

// rarity orders ASCII by how rarely it stands in text.
func rarity(c byte) int {
	const common = " etaoinsrhldcumfpgwybvkxjqz"
	if i := strings.IndexByte(common, c); i >= 0 {
		return i
	}
	return 10 // digits and marks
}

func ascii(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// wholeRunes gives how many bytes of b are whole characters.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}

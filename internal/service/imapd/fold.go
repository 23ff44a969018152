package imapd

import (
	"bytes"
	"io"
	"unicode"
	"unicode/utf8"
)

// fold appends text in the form in which texts are compared: lower case, and
// line breaks and runs of white space as one space, since a mail program may
// have broken the line anywhere.
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
		// Upper first: then letters with several lower forms come out as one.
		dst = utf8.AppendRune(dst, unicode.ToLower(unicode.ToUpper(r)))
	}
	return dst
}

// contains looks for a folded text in what r gives, with bounded memory.
func contains(r io.Reader, needle []byte) (bool, error) {
	in := make([]byte, 16<<10)
	var held []byte // the end of what was folded so far
	kept := 0       // bytes in in that are not yet a whole character
	for {
		n, err := r.Read(in[kept:])
		n += kept
		whole := n
		if err == nil {
			whole = wholeRunes(in[:n])
		}
		held = fold(held, in[:whole])
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

package carrier

import (
	"fmt"
	"strconv"
	"strings"
)

// A UIDLFormat says which unique ids POP3 clients saw at the old server, in
// Dovecot's words (pop3_uidl_format): %v is the folder's UIDVALIDITY, %u the UID,
// %f the name of a Maildir file, %g Dovecot's own name of the message; a number
// before the letter is the width, a zero before it fills up with zeros, and X makes
// it hexadecimal. Dovecot's default is %08Xu%08Xv, UW's way %08Xv%08Xu. The zero UIDLFormat gives none.
type UIDLFormat string

// Check says what is wrong with a format: also that it gives all messages the same.
func (f UIDLFormat) Check() error {
	if one := f.Of(1, 1, "f"); f != "" && (one == "" || one == f.Of(2, 1, "g")) {
		return fmt.Errorf("%q is no format of unique ids: write it as Dovecot's pop3_uidl_format, with %%u, %%v, %%f and %%g; its default is %%08Xu%%08Xv", string(f))
	}
	return nil
}

// Of gives the unique id of a message; "" if there is none.
func (f UIDLFormat) Of(uid, validity uint32, file string) string {
	var b strings.Builder
	for s := string(f); s != ""; {
		c := s[0]
		s = s[1:]
		if c != '%' {
			b.WriteByte(c)
			continue
		}
		i := 0
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		width, _ := strconv.Atoi(s[:i])
		zero := i > 0 && s[0] == '0'
		hex := i < len(s) && s[i] == 'X'
		if hex {
			i++
		}
		if i >= len(s) || width > 70 {
			return ""
		}
		var n uint32
		switch s[i] {
		case 'u':
			n = uid
		case 'v':
			n = validity
		case 'f', 'g': // in a Maildir they are the same
			if file == "" {
				return "" // it is not known
			}
			b.WriteString(file)
			s = s[i+1:]
			continue
		case '%':
			b.WriteByte('%')
			s = s[i+1:]
			continue
		default:
			return ""
		}
		if n == 0 {
			return "" // it is not known
		}
		s = s[i+1:]
		base := 10
		if hex {
			base = 16
		}
		text := strconv.FormatUint(uint64(n), base)
		if zero {
			text = strings.Repeat("0", max(0, width-len(text))) + text
		}
		b.WriteString(text)
	}
	return b.String()
}

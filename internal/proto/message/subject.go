package message

import "strings"

// BaseSubject gives what is left of a subject without what answering and
// forwarding puts around it, decoded and with white space collapsed; and
// whether there was any of that. Threads compare it. RFC 5256 §2.1
func BaseSubject(subject string) (base string, reply bool) {
	s := strings.Join(strings.FieldsFunc(DecodeWords(subject), isBlank), " ")
	for {
		for { // step 2
			t := strings.TrimRight(s, " ")
			if n := len(t) - len("(fwd)"); n >= 0 && equalFold(t[n:], "(fwd)") {
				t, reply = t[:n], true
			} else if len(t) == len(s) {
				break
			}
			s = t
		}
		for { // steps 3 to 5
			t, was := cutLeader(s)
			if len(t) == len(s) {
				break
			}
			s, reply = t, reply || was
		}
		// step 6
		if !strings.HasSuffix(s, "]") || len(s) < len("[fwd:]") || !equalFold(s[:len("[fwd:")], "[fwd:") {
			return s, reply
		}
		s, reply = s[len("[fwd:"):len(s)-1], true
	}
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// cutLeader takes from the front of s white space, all list tags, and one "Re:"
// or "Fwd:" behind them. If there is none, list tags go only as long as
// something is left. Every byte is looked at once over all calls.
func cutLeader(s string) (rest string, reply bool) {
	s = strings.TrimLeft(s, " ")
	rest = s
	for {
		n := tagLen(rest)
		if n == 0 {
			break
		}
		if n == len(rest) {
			return rest, false // nothing but tags: the last one stays
		}
		rest = rest[n:]
	}
	n := 0
	switch {
	case len(rest) >= 3 && equalFold(rest[:3], "fwd"):
		n = 3
	case len(rest) >= 2 && (equalFold(rest[:2], "fw") || equalFold(rest[:2], "re")):
		n = 2
	default:
		return rest, false
	}
	after := strings.TrimLeft(rest[n:], " ")
	after = strings.TrimLeft(after[tagLen(after):], " ")
	if strings.HasPrefix(after, ":") {
		return after[1:], true
	}
	return rest, false
}

// tagLen gives the length of the list tag at the front of s, such as "[list] ",
// with the white space behind it. It stops at a second [.
func tagLen(s string) int {
	if s == "" || s[0] != '[' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '[':
			return 0
		case ']':
			for i++; i < len(s) && s[i] == ' '; i++ {
			}
			return i
		}
	}
	return 0
}

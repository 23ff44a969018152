package imap

import "strings"

// Separator stands between the levels of a mailbox name.
const Separator = '/'

// Inbox is the one mailbox that every account has. RFC 9051 §5.1
const Inbox = "INBOX"

// CanonicalName gives name with INBOX in upper case, alone or as the first
// level: it is the same mailbox in any case.
func CanonicalName(name string) string {
	if isInbox(name) && name[:len(Inbox)] != Inbox {
		return Inbox + name[len(Inbox):]
	}
	return name
}

// isInbox tells whether the first level of name is INBOX in any case.
func isInbox(name string) bool {
	n := len(Inbox)
	return len(name) >= n && strings.EqualFold(name[:n], Inbox) && isASCII(name[:n]) && (len(name) == n || name[n] == Separator)
}

// validName tells whether name can go into an answer: without control
// characters. What else a name must be, the store decides.
func validName(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] < ' ' || name[i] == 0x7f {
			return false
		}
	}
	return len(name) <= 4096
}

// A ListMatcher tells which mailbox names a pattern of LIST stands for: "*" is
// anything, "%" anything without a Separator. RFC 9051 §6.3.9
type ListMatcher struct{ pattern string }

// NewListMatcher makes a matcher for a pattern with its reference, which is
// put before it.
func NewListMatcher(reference, pattern string) ListMatcher {
	full := CanonicalName(reference + pattern)
	out := make([]byte, 0, len(full))
	for i := 0; i < len(full); i++ {
		c := full[i]
		if n := len(out); n > 0 && (c == '*' || c == '%') {
			// Wildcards in a row are as one, the stronger.
			if out[n-1] == '*' || out[n-1] == '%' && c == '%' {
				continue
			}
			if out[n-1] == '%' {
				out[n-1] = '*'
				continue
			}
		}
		out = append(out, c)
	}
	return ListMatcher{string(out)}
}

// Match tells whether the pattern stands for name, which must be canonical. It
// takes at most len(name)·len(pattern) steps.
func (m ListMatcher) Match(name string) bool {
	switch m.pattern {
	case "*":
		return true
	case "%":
		return strings.IndexByte(name, Separator) < 0
	}
	fold := 0 // so many bytes of name are equal in any case
	if isInbox(name) {
		fold = len(Inbox)
	}
	// at[i] tells that name so far can be what stands before pattern[i].
	var room [128]bool
	var at []bool
	if n := len(m.pattern) + 1; n <= len(room) {
		at = room[:n]
	} else {
		at = make([]bool, n)
	}
	at[0] = true
	m.skipWildcards(at)
	for i := 0; i < len(name); i++ {
		if !m.step(at, name[i], i < fold) {
			return false
		}
	}
	return at[len(m.pattern)]
}

// step moves on over one byte of the name; it tells whether anything can still
// match.
func (m ListMatcher) step(at []bool, c byte, fold bool) bool {
	any, before := false, false
	for i := range at {
		was := at[i]
		at[i] = before // by the literal byte before
		before = false
		if i == len(m.pattern) {
			any = any || at[i]
			break
		}
		if was {
			switch p := m.pattern[i]; {
			case p == '*' || p == '%' && c != Separator:
				at[i] = true
			case p != '%' && (p == c || fold && p|0x20 == c|0x20 && isLetter(p)):
				before = true
			}
		}
		any = any || at[i] || before
	}
	m.skipWildcards(at)
	return any
}

// skipWildcards lets wildcards stand for nothing.
func (m ListMatcher) skipWildcards(at []bool) {
	for i := 0; i < len(m.pattern); i++ {
		if at[i] && (m.pattern[i] == '*' || m.pattern[i] == '%') {
			at[i+1] = true
		}
	}
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

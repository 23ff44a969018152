package mbox

import (
	"strconv"
	"strings"
)

// Numbers are the UIDs of a file's messages, as UW imapd and Dovecot keep them:
// X-IMAPbase in the first message has UIDVALIDITY and the last UID that was given,
// X-UID each message's own. UW may put a message of its own first, with X-IMAP in
// place of X-IMAPbase. The zero Numbers is ready for the first message of a file.
type Numbers struct {
	Validity uint32
	last     uint32 // that was given
	top      uint32 // of those seen
	begun    bool
}

// Of takes the kept fields of the next message. It gives its UID; 0 if it has none,
// or one that cannot be: UIDs rise, and come from this file and no other. internal
// says that it is no message but the program's own.
func (n *Numbers) Of(fields map[string]string) (uid uint32, internal bool) {
	if !n.begun {
		n.begun = true
		base, ok := fields["x-imap"]
		internal = ok
		if !ok {
			base = fields["x-imapbase"]
		}
		if w := strings.Fields(base); len(w) >= 2 {
			n.Validity, n.last = number(w[0]), number(w[1])
		}
		if internal {
			return 0, true
		}
	}
	uid = number(strings.TrimSpace(fields["x-uid"]))
	if n.Validity == 0 || uid <= n.top || uid > n.last {
		return 0, false
	}
	n.top = uid
	return uid, false
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

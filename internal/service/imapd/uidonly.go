package imapd

import (
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// needsUIDs refuses commands with sequence numbers from a client that has
// forsworn them. RFC 9586 §3
func (s *session) needsUIDs(c *imap.Command) error {
	if !s.has(uidOnly) {
		return nil
	}
	switch c.Name {
	case "FETCH", "STORE", "SEARCH", "COPY", "MOVE", "SORT", "THREAD", "REPLACE":
		return errUIDRequired
	case "SELECT", "EXAMINE":
		if r := c.Args.(*imap.Select).Resync; r != nil && len(r.MatchSeq.Ranges) > 0 {
			return errUIDRequired
		}
	}
	return nil
}

var errUIDRequired = bad(imap.CodeUIDRequired, "after ENABLE UIDONLY there are no sequence numbers")

// beginFetch writes what a FETCH response begins with, up to and with the UID if
// that is to be told; for clients without sequence numbers it is UIDFETCH.
// RFC 9586 §3.2
func (s *session) beginFetch(seq uint32, uid mail.UID) *imap.Encoder {
	if s.has(uidOnly) {
		return s.enc.Raw("* ").Num(uint64(uid)).Raw(" UIDFETCH (")
	}
	return s.enc.Raw("* ").Num(uint64(seq)).Raw(" FETCH (UID ").Num(uint64(uid)).Raw(" ")
}

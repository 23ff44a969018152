package imapd

import (
	"strconv"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// The ids of things, which never change and are never given again: a letter for
// what it is and its number. RFC 8474
func emailID(id mail.EmailID) string   { return "M" + strconv.FormatUint(uint64(id), 10) }
func threadID(id mail.ThreadID) string { return "T" + strconv.FormatUint(uint64(id), 10) }

// object matches messages by an id.
func object(k imap.Key) matchFunc {
	switch k := k.(type) {
	case imap.HasEmailID:
		return func(c *candidate) verdict { return verdictOf(emailID(c.row.Email) == k.ID) }
	case imap.HasThreadID:
		return func(c *candidate) verdict { return verdictOf(threadID(c.row.Thread) == k.ID) }
	}
	return func(*candidate) verdict { return never }
}

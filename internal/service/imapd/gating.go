package imapd

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// # What is withheld
//
// A session is not offered what an administrator has switched off for its
// account, nor what its client has misused before:
//
//	capability   misuse                                  seen of
//	UIDONLY      sequence numbers after ENABLE UIDONLY   Office 365's cloud client
//	UTF8=ACCEPT  searches for what is not UTF-8          Jakarta Mail
//	UTF8=ACCEPT  messages as quoted strings              Horde, if they are small
//
// The session in which that happens is answered as the standard wants it; what is not
// UTF-8 is taken for Latin-1, which is as much as that client lets through. The next ones of the same client (as ID names it) and account are not offered the
// capability, until the server starts anew.

// maxMisused is how many clients are remembered; when there are more, all are
// forgotten.
const maxMisused = 10_000

// misused remembers which clients get which capability wrong.
type misused struct {
	mu   sync.Mutex
	seen map[misuse]bool
}

type misuse struct {
	account    mail.AccountID
	client     string
	capability string
}

func (m *misused) note(u misuse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil || len(m.seen) >= maxMisused {
		m.seen = map[misuse]bool{}
	}
	m.seen[u] = true
}

func (m *misused) has(u misuse) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[u]
}

// misuses notes that the client has got a capability wrong.
func (s *session) misuses(capability string) {
	s.srv.misused.note(misuse{s.peer.Account, s.client, capability})
}

// misread notes what a command that could not be read tells about the client.
func (s *session) misread(err error) {
	if e, ok := errors.AsType[*imap.SyntaxError](err); ok && e.Quoted && s.has(utf8Accept) {
		s.misuses("UTF8=ACCEPT")
	}
}

// withheld tells whether a capability is not for this session.
func (s *session) withheld(capability string) bool {
	if s.peer.Account == 0 {
		return false
	}
	family, _, _ := strings.Cut(capability, "=")
	if slices.Contains(s.without, strings.ToUpper(capability)) || slices.Contains(s.without, strings.ToUpper(family)) {
		return true
	}
	return slices.Contains(canMisuse, capability) && s.srv.misused.has(misuse{s.peer.Account, s.client, capability})
}

// canMisuse are the capabilities of the table above.
var canMisuse = []string{"UIDONLY", "UTF8=ACCEPT"}

// CanWithhold tells whether a name is that of a capability that sessions are offered, or
// of a family of such, and can be withheld.
func CanWithhold(name string) bool {
	name = strings.ToUpper(name)
	return name != "IMAP4REV1" && slices.ContainsFunc(strings.Fields(always+sometimes+afterLogin), func(w string) bool {
		family, _, _ := strings.Cut(w, "=")
		return strings.ToUpper(w) == name || strings.ToUpper(family) == name
	})
}

// gated tells whether anything is withheld.
func (s *session) gated() bool {
	return len(s.without) > 0 || slices.ContainsFunc(canMisuse, s.withheld)
}

// offered leaves out of a list of capabilities what is withheld. What every
// client may count on stays.
func (s *session) offered(list string) string {
	words := strings.Fields(list)
	words = slices.DeleteFunc(words, func(w string) bool { return s.withheld(w) && w != "IMAP4rev1" })
	return strings.Join(words, " ")
}

// knows tells whether a command exists in this session.
func (s *session) knows(c *imap.Command) bool {
	capability := brings[strings.TrimPrefix(c.Name, "UID ")]
	if c.Name == "UID EXPUNGE" {
		capability = "UIDPLUS"
	}
	return capability == "" || !s.withheld(capability)
}

// brings has which capability brings a command that is not of IMAP4rev1; with
// UID it is the same one.
var brings = map[string]string{
	"COMPARATOR":     "I18NLEVEL",
	"COMPRESS":       "COMPRESS=DEFLATE",
	"DELETEACL":      "ACL",
	"ENABLE":         "ENABLE",
	"ESEARCH":        "MULTISEARCH",
	"GENURLAUTH":     "URLAUTH",
	"GETACL":         "ACL",
	"GETMETADATA":    "METADATA",
	"GETQUOTA":       "QUOTA",
	"GETQUOTAROOT":   "QUOTA",
	"ID":             "ID",
	"IDLE":           "IDLE",
	"LISTRIGHTS":     "ACL",
	"MOVE":           "MOVE",
	"MYRIGHTS":       "ACL",
	"NAMESPACE":      "NAMESPACE",
	"NOTIFY":         "NOTIFY",
	"REPLACE":        "REPLACE",
	"RESETKEY":       "URLAUTH",
	"SETACL":         "ACL",
	"SETMETADATA":    "METADATA",
	"SETQUOTA":       "QUOTASET",
	"SORT":           "SORT",
	"THREAD":         "THREAD",
	"UIDBATCHES":     "UIDBATCHES",
	"UNAUTHENTICATE": "UNAUTHENTICATE",
	"UNSELECT":       "UNSELECT",
	"URLFETCH":       "URLAUTH",
}

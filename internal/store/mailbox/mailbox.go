package mailbox

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"posthaste/internal/base/mail"
)

// Inbox is the mailbox that every account has.
const Inbox mail.MailboxID = 1

// InboxName is the one way to write its name. RFC 9051 §5.1
const InboxName = "INBOX"

// Separator divides the levels of a mailbox name.
const Separator = '/'

// Limits of an account; reaching one is mail.ErrLimit.
const (
	MaxName      = 1000  // bytes of a mailbox name
	MaxDepth     = 50    // levels of a mailbox name
	MaxMailboxes = 20000 // mailboxes of an account
	MaxKeywords  = 59    // different keywords in a mailbox
	MaxKeyword   = 100   // bytes of a keyword
)

// A Role is what a mailbox is for. RFC 6154 §2, RFC 8621 §2
type Role byte

// The roles.
const (
	NoRole Role = iota
	InboxRole
	SentRole
	DraftsRole
	TrashRole
	JunkRole
	ArchiveRole
)

// firstMailboxes are made with the account, and subscribed: many programs show
// subscribed mailboxes only, and look for these by role.
var firstMailboxes = [...]struct {
	name string
	role Role
}{{InboxName, InboxRole}, {"Drafts", DraftsRole}, {"Sent", SentRole}, {"Archive", ArchiveRole}, {"Junk", JunkRole}, {"Trash", TrashRole}}

// A Mailbox is a folder, as its row tells.
type Mailbox struct {
	ID          mail.MailboxID
	Name        string // whole, levels divided by Separator
	Role        Role
	Placeholder bool // only a level of other names: holds no messages, cannot be selected
	UIDValidity uint32
	UIDNext     mail.UID
	Total       uint32
	Unseen      uint32      // without \Seen
	Deleted     uint32      // with \Deleted
	Size        int64       // bytes of all messages
	ModSeq      mail.ModSeq // of the last change to a message in it (HIGHESTMODSEQ)
	Created     mail.ModSeq
	folded      mail.ModSeq // flags in rows 02 are right up to here
	vanished    mail.ModSeq // of the last expunge
	recent      mail.UID    // from here on no session has been told, see ClaimRecent
	ACL         ACL         // who may do what beside the owner; it must not be changed
	own         mail.ModSeq // since when \Seen is each reader's own; 0: it is common
	chosen      bool        // somebody has said which of the two it is to be
}

// Flags are the system flags (bits 0 to 4) and a mailbox's keywords (bits 5 to
// 63, named by Snapshot.Keywords).
type Flags uint64

// The system flags. RFC 9051 §2.3.2
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft

	systemFlags  = Seen | Answered | Flagged | Deleted | Draft
	firstKeyword = 5
)

// System gives the system flags alone.
func (f Flags) System() Flags { return f & systemFlags }

// ParseName brings the name of a mailbox to its one form: NFC, INBOX in capital
// letters. It refuses what cannot be a name with a sentence for the user.
func ParseName(s string) (string, error) {
	if s == "" || len(s) > MaxName {
		return "", fmt.Errorf("a mailbox name has 1 to %d bytes", MaxName)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("a mailbox name must be valid UTF-8")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return "", fmt.Errorf("a mailbox name has no control characters")
		}
	}
	s = norm.NFC.String(s)
	levels := strings.Split(s, string(Separator))
	if len(levels) > MaxDepth {
		return "", fmt.Errorf("a mailbox name has at most %d levels", MaxDepth)
	}
	for _, l := range levels {
		if l == "" {
			return "", fmt.Errorf("a mailbox name has no empty levels")
		}
	}
	if strings.EqualFold(levels[0], InboxName) {
		s = InboxName + s[len(InboxName):]
	}
	return s, nil
}

// parents gives the names above name, highest first.
func parents(name string) []string {
	var out []string
	for i, c := range name {
		if c == Separator {
			out = append(out, name[:i])
		}
	}
	return out
}

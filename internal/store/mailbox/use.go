package mailbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// UseEntry is the name of a private entry that each mailbox has for its owner: what
// it is for, as LIST tells it. It is written with SetMetadata and takes effect by
// that. RFC 6154 §4
const UseEntry = "/specialuse"

// Errors of SetMetadata about UseEntry.
var (
	ErrNoUse    = errors.New("mailbox: this use is not supported")
	ErrUseTaken = errors.New("mailbox: another mailbox has this use")
)

// uses has the attributes that tell what a mailbox is for. RFC 6154 §2
var uses = [...]string{SentRole: `\Sent`, DraftsRole: `\Drafts`, TrashRole: `\Trash`, JunkRole: `\Junk`, ArchiveRole: `\Archive`}

// Use gives the attribute that tells the role in LIST, empty if it has none.
func (r Role) Use() string {
	if int(r) < len(uses) {
		return uses[r]
	}
	return ""
}

// ParseUse gives the role that an attribute stands for, in any case; false if there
// is none that a mailbox can be given.
func ParseUse(attribute string) (Role, bool) {
	for r, use := range uses {
		if use != "" && strings.EqualFold(use, attribute) {
			return Role(r), true
		}
	}
	return NoRole, false
}

// isUse tells whether an annotation is UseEntry of a mailbox.
func (n *Annotation) isUse(b Box) bool {
	return n.Reader == b.Account && n.Name == UseEntry && b.Mailbox != NoMailbox
}

// withUse adds UseEntry where it is asked for and the mailbox has a use.
func withUse(r kv.Reader, b Box, of []Annotation, found [][]Annotation, levels Levels) error {
	for i := range of {
		asked := of[i].Name == UseEntry || of[i].Name == "" && levels != ThisEntry
		if !asked || of[i].Reader != b.Account || b.Mailbox == NoMailbox {
			continue
		}
		// What was noted under this name before it had a meaning has none now.
		found[i] = slices.DeleteFunc(found[i], func(n Annotation) bool { return n.Name == UseEntry })
		m, err := readMailbox(r, b.Account, b.Mailbox)
		if err != nil {
			return err
		}
		if use := m.Role.Use(); use != "" {
			found[i] = slices.Insert(found[i], 0, Annotation{Reader: b.Account, Name: UseEntry, Value: []byte(use)})
		}
	}
	return nil
}

// setUse gives the mailbox the use that UseEntry is to have: none for nil or an empty
// value. ErrNoUse if there is no such use or the mailbox is INBOX, ErrUseTaken if
// another mailbox has it.
func (e *Edit) setUse(b Box, value []byte) (changed bool, err error) {
	box, err := e.messages(b.Mailbox)
	if err != nil {
		return false, err
	}
	role := NoRole
	if len(value) > 0 {
		ok := false
		if role, ok = ParseUse(string(value)); !ok {
			return false, ErrNoUse
		}
	}
	if box.Role == role || role == NoRole && box.Role == InboxRole {
		return false, nil
	}
	if box.Role == InboxRole {
		return false, ErrNoUse
	}
	if role != NoRole {
		other, err := e.HasRole(role)
		if err != nil {
			return false, err
		}
		if other != 0 {
			return false, fmt.Errorf("%w: %d", ErrUseTaken, other)
		}
	}
	box.Role, box.dirty = role, true
	e.note(op{kind: opMailbox, box: b.Mailbox})
	return true, nil
}

// HasRole gives the mailbox with a role, 0 if there is none.
func (e *Edit) HasRole(role Role) (mail.MailboxID, error) {
	p := key(e.acct, kindMailbox)
	for row, err := range e.tx.Scan(kv.Prefix(p)) {
		if err != nil {
			return 0, err
		}
		id := mail.MailboxID(binary.BigEndian.Uint64(row.Key[len(p):]))
		var m Mailbox
		if b := e.boxes[id]; b == nil {
			if m, err = decodeMailbox(id, row.Value); err != nil {
				return 0, err
			}
		} else if !b.gone {
			m = b.Mailbox
		}
		if m.Role == role && !m.Placeholder {
			return id, nil
		}
	}
	return 0, nil
}

package imapd

import (
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// systemFlags has the flags of IMAP and their bits in the store.
var systemFlags = [...]struct {
	name string
	bit  mailbox.Flags
}{
	{imap.FlagAnswered, mailbox.Answered},
	{imap.FlagFlagged, mailbox.Flagged},
	{imap.FlagDeleted, mailbox.Deleted},
	{imap.FlagSeen, mailbox.Seen},
	{imap.FlagDraft, mailbox.Draft},
}

// maxKeywords is how many keywords one command may set.
const maxKeywords = 100

// splitFlags divides flags as the client wrote them.
func splitFlags(names []string) (bits mailbox.Flags, keywords []string, err error) {
next:
	for _, n := range names {
		for _, f := range systemFlags {
			if f.name == n {
				bits |= f.bit
				continue next
			}
		}
		if keywords = append(keywords, n); len(keywords) > maxKeywords {
			return 0, nil, no(imap.CodeLimit, "too many keywords")
		}
	}
	return bits, keywords, nil
}

// flagNames gives the names of all flags in f.
func flagNames(snap *mailbox.Snapshot, f mailbox.Flags) []string {
	var names []string
	for _, s := range systemFlags {
		if f&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	return append(names, snap.Names(f)...)
}

// flagTexts makes the text of flags once for all messages that have the same.
type flagTexts struct {
	snap  *mailbox.Snapshot
	texts map[mailbox.Flags][]byte
}

func (t *flagTexts) text(f mailbox.Flags) []byte {
	if b, ok := t.texts[f]; ok {
		return b
	}
	if t.texts == nil {
		t.texts = map[mailbox.Flags][]byte{}
	}
	b := imap.AppendFlags([]byte("FLAGS "), flagNames(t.snap, f))
	t.texts[f] = b
	return b
}

// tellFlags tells which flags and keywords the mailbox knows. That all flags
// can be changed for good is not so in a mailbox that is only looked at.
func (s *session) tellFlags(snap *mailbox.Snapshot) {
	all := flagNames(snap, ^mailbox.Flags(0))
	s.enc.Raw("* FLAGS ").Flags(all).CRLF()
	permanent := append(all, `\*`)
	if s.box.readOnly {
		permanent = nil
	}
	s.enc.Status("*", imap.OK, imap.CodePermanentFlags(permanent), "flags that can be changed")
	s.box.keywords = len(snap.Keywords)
}

package imapd

import (
	"posthaste/internal/base/mail"
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
	snap   *mailbox.Snapshot
	recent mail.UIDSet
	texts  map[flagText][]byte
}

type flagText struct {
	flags  mailbox.Flags
	recent bool
}

// texts makes flagTexts for what the session shows of a mailbox.
func (s *session) texts(snap *mailbox.Snapshot) flagTexts {
	t := flagTexts{snap: snap}
	if !s.has(rev2) {
		t.recent = s.box.recent
	}
	return t
}

func (t *flagTexts) text(r *mailbox.Row) []byte {
	k := flagText{r.Flags, !t.recent.IsEmpty() && t.recent.Contains(r.UID)}
	if b, ok := t.texts[k]; ok {
		return b
	}
	if t.texts == nil {
		t.texts = map[flagText][]byte{}
	}
	names := flagNames(t.snap, r.Flags)
	if k.recent {
		names = append(names, imap.FlagRecent)
	}
	b := imap.AppendFlags([]byte("FLAGS "), names)
	t.texts[k] = b
	return b
}

// claim notes which messages of the mailbox are recent in this session, from UID
// first on: those that no other has been told of. Who looks into somebody else's
// mailbox takes nothing from its owner. RFC 3501 §2.3.2
func (s *session) claim(snap *mailbox.Snapshot, first mail.UID) {
	store, m := s.srv.Mail, &snap.Mailbox
	if s.box.readOnly || s.box.Account != s.peer.Account {
		first = max(first, store.FirstRecent(s.box.Account, m))
	} else {
		first = max(first, store.ClaimRecent(s.box.Account, snap))
	}
	if first < m.UIDNext {
		s.box.recent.AddRange(first, m.UIDNext-1)
	}
}

// tellRecent tells how many messages are recent. RFC 3501 §7.3.2
func (s *session) tellRecent() {
	n := s.box.view.Known(s.box.recent).Len()
	if n == s.box.recents || s.has(rev2) {
		return
	}
	s.box.recents = n
	s.enc.Raw("* ").Num(uint64(n)).Raw(" RECENT").CRLF()
}

// tellFlags tells which flags and keywords the mailbox knows. That all flags
// can be changed for good is not so in a mailbox that is only looked at.
func (s *session) tellFlags(snap *mailbox.Snapshot) {
	all := flagNames(snap, ^mailbox.Flags(0))
	s.enc.Raw("* FLAGS ").Flags(all).CRLF()
	var permanent []string
	if !s.box.readOnly {
		permanent = flagNames(snap, s.box.rights.Flags())
		if s.box.rights&mailbox.RightWrite != 0 {
			permanent = append(permanent, `\*`)
		}
	}
	s.enc.Status("*", imap.OK, imap.CodePermanentFlags(permanent), "flags that can be changed")
	s.box.keywords, s.box.told = len(snap.Keywords), s.box.rights
}

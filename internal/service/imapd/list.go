package imapd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// A listed is a name that LIST may show: a mailbox, or only a subscription, or a
// level above others.
type listed struct {
	place
	text       string // the name as the client has it
	exists     bool
	level      bool // no mailbox, but the way to one that somebody shares
	subscribed bool
	children   bool // there are mailboxes below it
	selected   bool // the selection options want it
	below      bool // they want something below it that no pattern shows

	old string // name that it had, if that is to be told; RFC 5465 §5.4
}

// A listing is all names that a session can see, in order, INBOX first.
type listing struct {
	all []listed
	at  map[string]int
}

// names gives all names that the person can see.
func (s *session) names(ctx context.Context) ([]listed, error) {
	boxes, _, err := s.srv.Mail.Mailboxes(ctx, s.peer.Account)
	if err != nil {
		return nil, err
	}
	subs, err := s.srv.Mail.Subscriptions(ctx, s.peer.Account)
	if err != nil {
		return nil, err
	}
	l := listing{make([]listed, 0, len(boxes)+4), make(map[string]int, len(boxes))}
	for _, m := range boxes {
		l.add(listed{place: *s.own(&m), text: m.Name, exists: true})
	}
	if err := s.shared(ctx, &l); err != nil {
		return nil, err
	}
	for _, n := range subs {
		i := l.find(n)
		l.all[i].subscribed = true
		for p := parent(n); p != ""; p = parent(p) {
			l.find(p)
		}
	}
	for i := range l.all {
		if j, ok := l.at[parent(l.all[i].text)]; ok && l.all[i].exists {
			l.all[j].children = true
		}
	}
	slices.SortFunc(l.all, func(a, b listed) int {
		if a.text == mailbox.InboxName || b.text == mailbox.InboxName {
			return cmp.Compare(b2i(b.text == mailbox.InboxName), b2i(a.text == mailbox.InboxName))
		}
		return cmp.Compare(a.text, b.text)
	})
	return l.all, nil
}

func (l *listing) add(n listed) {
	l.at[n.text] = len(l.all)
	l.all = append(l.all, n)
}

// find gives the number of a name, which is added if it is not there.
func (l *listing) find(text string) int {
	i, ok := l.at[text]
	if !ok {
		i = len(l.all)
		l.add(listed{text: text})
	}
	return i
}

// shared adds what others share with the person, and the levels above it. A
// mailbox that may not be seen is a level like one that does not exist.
// RFC 4314 §4, LIST
func (s *session) shared(ctx context.Context, l *listing) error {
	if s.srv.People == nil {
		return nil
	}
	list, err := s.srv.Mail.SharedWith(ctx, s.peer.Account)
	if err != nil {
		return err
	}
	prefixes := map[mail.AccountID]string{}
	for i := range list {
		m := &list[i]
		rights := m.RightsOf(s.peer.Account, m.Owner)
		if rights&mailbox.RightLookup == 0 {
			continue
		}
		prefix, ok := prefixes[m.Owner]
		if !ok {
			a, err := s.srv.People.Account(ctx, m.Owner)
			if errors.Is(err, mail.ErrNotFound) {
				continue // it is being removed
			}
			if err != nil {
				return err
			}
			prefix = PrefixOf(&a)
			prefixes[m.Owner] = prefix
		}
		if below := strings.HasPrefix(m.Name+string(mailbox.Separator), mailbox.InboxName+string(mailbox.Separator)); !below && strings.HasPrefix(prefix, sharedPrefix) {
			continue
		}
		p := place{spot{m.Owner, m.Name, prefix}, m.Mailbox, rights}
		p.Role = mailbox.NoRole // where the owner's programs file, not the person's
		l.add(listed{place: p, text: p.full(), exists: true})
	}
	for i := range l.all {
		if l.all[i].prefix == "" {
			continue
		}
		for p := parent(l.all[i].text); p != ""; p = parent(p) {
			if j := l.find(p); !l.all[j].exists {
				l.all[j].exists, l.all[j].level, l.all[j].Placeholder = true, true, true
			}
		}
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// parent gives the name one level above, "" if there is none.
func parent(n string) string {
	if i := strings.LastIndexByte(n, mailbox.Separator); i >= 0 {
		return n[:i]
	}
	return ""
}

// list is LIST. RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154
func (s *session) list(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.List)
	if !a.Extended && a.Patterns[0] == "" {
		s.enc.Raw(`* LIST (\Noselect) "/" ""`).CRLF()
		return nil
	}
	all, err := s.names(ctx)
	if err != nil {
		return err
	}
	matches := matcher(a.Reference, a.Patterns)
	levels := matcher(a.Reference, slices.DeleteFunc(slices.Clone(a.Patterns), func(p string) bool { return strings.Contains(p, "*") }))
	shown := make([]bool, len(all))
	for i := range all {
		l := &all[i]
		l.selected = selects(a.Select, l)
		shown[i] = matches(l.text) && (!l.level || levels(l.text))
	}
	if a.Select&imap.SelectRecursiveMatch != 0 {
		markBelow(all, shown)
	}
	for i := range all {
		l := &all[i]
		if !shown[i] || !l.selected && !l.below {
			continue
		}
		s.tellListed(a, l)
		if a.Return&imap.ReturnMetadata != 0 && l.exists && !l.Placeholder && l.rights&useRights != 0 {
			if _, err := s.tellMetadata(ctx, &l.place, a.Entries, imap.MetadataOptions{}); err != nil { // RFC 9590 §3
				return err
			}
		}
		if a.Return&imap.ReturnMyRights != 0 && l.exists && !l.Placeholder && l.rights&anyRight != 0 {
			s.tellRights(&l.place) // RFC 8440 §3
		}
		if a.Status&imap.StatusHighestModSeq != 0 {
			s.condStore()
		}
		if a.Return&imap.ReturnStatus != 0 && l.exists && !l.Placeholder && l.selected && l.rights&mailbox.RightRead != 0 {
			if err := s.tellStatus(ctx, &l.place, a.Status); err != nil && !errors.Is(err, mail.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// matcher gives whether a name is what one of the patterns stands for.
func matcher(reference string, patterns []string) func(string) bool {
	ms := make([]imap.ListMatcher, len(patterns))
	for i, p := range patterns {
		ms[i] = imap.NewListMatcher(reference, p)
	}
	return func(name string) bool {
		return slices.ContainsFunc(ms, func(m imap.ListMatcher) bool { return m.Match(name) })
	}
}

// selects tells whether the selection options want a name.
func selects(o imap.ListSelect, l *listed) bool {
	if o&imap.SelectSubscribed != 0 && !l.subscribed || o&imap.SelectSpecialUse != 0 && l.Role.Use() == "" {
		return false
	}
	return l.exists || o&imap.SelectSubscribed != 0
}

// markBelow marks the names above those that are wanted and that no pattern
// shows. RFC 9051 §6.3.9.1, RECURSIVEMATCH
func markBelow(all []listed, shown []bool) {
	at := make(map[string]int, len(all))
	for i := range all {
		at[all[i].text] = i
	}
	for i := range all {
		if !all[i].selected || shown[i] {
			continue
		}
		for p := parent(all[i].text); p != ""; p = parent(p) {
			if j, ok := at[p]; ok {
				all[j].below = true
			}
		}
	}
}

// tellListed writes one LIST response. RFC 9051 §7.3.1
func (s *session) tellListed(a *imap.List, l *listed) {
	attrs := make([]string, 0, 5)
	switch {
	case !l.exists:
		attrs = append(attrs, `\NonExistent`)
	case l.Placeholder, l.rights&mailbox.RightRead == 0: // a program that takes all would try in vain
		attrs = append(attrs, `\Noselect`)
	}
	if l.subscribed && (a.Select&imap.SelectSubscribed != 0 || a.Return&imap.ReturnSubscribed != 0) {
		attrs = append(attrs, `\Subscribed`)
	}
	if l.children {
		attrs = append(attrs, `\HasChildren`)
	} else if l.exists || a.Return&imap.ReturnChildren != 0 {
		attrs = append(attrs, `\HasNoChildren`)
	}
	if use := l.Role.Use(); use != "" {
		attrs = append(attrs, use)
	}
	s.enc.Raw("* LIST ").Flags(attrs).Raw(` "/" `).Mailbox(l.text)
	if l.below {
		s.enc.Raw(` ("CHILDINFO" (`)
		sep := ""
		if a.Select&imap.SelectSubscribed != 0 {
			s.enc.Raw(`"SUBSCRIBED"`)
			sep = " "
		}
		if a.Select&imap.SelectSpecialUse != 0 {
			s.enc.Raw(sep).Raw(`"SPECIAL-USE"`)
		}
		s.enc.Raw("))")
	}
	if l.old != "" {
		s.enc.Raw(` ("OLDNAME" (`).Mailbox(l.old).Raw("))")
	}
	s.enc.CRLF()
}

// lsub is LSUB. A name that "%" shows only because something below it is
// subscribed comes with \Noselect. RFC 3501 §6.3.9
func (s *session) lsub(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Lsub)
	subs, err := s.srv.Mail.Subscriptions(ctx, s.peer.Account)
	if err != nil {
		return err
	}
	m := imap.NewListMatcher(a.Reference, a.Pattern)
	subscribed := make(map[string]bool, len(subs))
	for _, n := range subs {
		subscribed[n] = true
	}
	var above []string
	for _, n := range subs {
		if m.Match(n) {
			s.enc.Raw(`* LSUB () "/" `).Mailbox(n).CRLF()
			continue
		}
		for p := parent(n); p != ""; p = parent(p) {
			if !subscribed[p] && m.Match(p) {
				above = append(above, p)
			}
		}
	}
	slices.Sort(above)
	for _, p := range slices.Compact(above) {
		s.enc.Raw(`* LSUB (\Noselect) "/" `).Mailbox(p).CRLF()
	}
	return nil
}

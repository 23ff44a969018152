package imapd

import (
	"context"
	"maps"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// supportedEvents are what NOTIFY can tell.
const supportedEvents = imap.MessageNew | imap.MessageExpunge | imap.FlagChange | imap.MailboxName | imap.SubscriptionChange |
	imap.MailboxMetadataChange | imap.ServerMetadataChange

// A watch is what a client has asked to hear of, and how much of the mailboxes
// that are not selected it has been told. RFC 5465
type watch struct {
	groups   []imap.NotifyGroup // but for that of the selected mailbox
	selected imap.NotifyGroup   // no events if there is none
	seq      mail.ModSeq        // of the account: told up to here
	own      []mail.ModSeq      // later commits of this session, that it need not be told
	names    *names             // nil if nobody asks for them
}

// names are the names of an account as a client knows them.
type names struct {
	boxes      map[mail.MailboxID]string
	subscribed map[string]bool
}

// maxTouched is how many mailboxes may change at once before the client is told
// no more.
const maxTouched = 2000

// setNotify is NOTIFY. RFC 5465 §3.1
func (s *session) setNotify(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Notify)
	if a.Has(^supportedEvents) {
		return no(imap.CodeBadEvent(supportedEvents), "this is not supported")
	}
	w := &watch{}
	if len(a.Groups) == 0 {
		s.notify = w
		s.attend()
		return nil
	}
	for _, g := range a.Groups {
		if g.Filter == imap.FilterSelected || g.Filter == imap.FilterSelectedDelayed {
			w.selected = g
		} else {
			w.groups = append(w.groups, g)
		}
	}
	if s.box != nil { // what has gathered is told, whatever comes now
		s.notify = nil
		s.box.seq = 0
		if err := s.update(ctx, tellAll); err != nil {
			return err
		}
	}
	s.listen() // before looking how all is now
	defer s.attend()
	all, seq, err := s.namesAt(ctx)
	if err != nil {
		return err
	}
	w.seq = seq
	subscribed := slices.ContainsFunc(w.groups, func(g imap.NotifyGroup) bool { return g.Filter == imap.FilterSubscribed })
	if a.Has(imap.MailboxName|imap.SubscriptionChange) || subscribed {
		w.names = namesOf(all)
	}
	s.notify = w
	if !a.Status {
		return nil
	}
	for i := range all {
		l := &all[i]
		if !l.exists || l.Placeholder || l.prefix != "" || s.box != nil && s.box.Box == l.box() {
			continue
		}
		if items := firstStatus(w.events(l.text, l.subscribed)); items != 0 {
			if err := s.tellStatus(ctx, &l.place, items); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesAt is names, and the account's sequence before them.
func (s *session) namesAt(ctx context.Context) ([]listed, mail.ModSeq, error) {
	seq, err := s.srv.Mail.ModSeq(ctx, s.peer.Account)
	if err != nil {
		return nil, 0, err
	}
	all, err := s.names(ctx)
	return all, seq, err
}

func namesOf(all []listed) *names {
	n := &names{boxes: make(map[mail.MailboxID]string, len(all)), subscribed: map[string]bool{}}
	for i := range all {
		if l := &all[i]; l.exists && l.prefix == "" && !l.level {
			n.boxes[l.ID] = l.text
		}
		if all[i].subscribed {
			n.subscribed[all[i].text] = true
		}
	}
	return n
}

// firstStatus gives what STATUS tells of a mailbox that is watched from now on.
// RFC 5465 §3.1
func firstStatus(e imap.NotifyEvents) (items imap.StatusItems) {
	if e&imap.MessageNew != 0 {
		items |= imap.StatusMessages | imap.StatusUIDNext | imap.StatusUIDValidity
	}
	if e&imap.FlagChange != 0 {
		items |= imap.StatusUIDValidity | imap.StatusHighestModSeq
	}
	return items
}

// events gives what the client wants to hear of a mailbox that is not selected.
func (w *watch) events(name string, subscribed bool) (e imap.NotifyEvents) {
	for i := range w.groups {
		if covers(w.groups[i].Filter, w.groups[i].Mailboxes, name, subscribed) {
			e |= w.groups[i].Events
		}
	}
	return e
}

// covers tells whether a filter means a mailbox. Mail may be delivered to any
// mailbox, so "inboxes" are all of them. RFC 5465 §6, RFC 7377 §2.2
func covers(f imap.MailboxFilter, of []string, name string, subscribed bool) bool {
	switch f {
	case imap.FilterInboxes, imap.FilterPersonal:
		return true
	case imap.FilterSubscribed:
		return subscribed
	}
	for _, m := range of {
		n, err := mailbox.ParseName(strings.TrimSuffix(m, string(mailbox.Separator)))
		if err != nil {
			continue
		}
		rest, below := strings.CutPrefix(name, n)
		switch {
		case below && rest == "":
			return true
		case below && rest[0] == mailbox.Separator && f == imap.FilterSubtree:
			return true
		case below && rest[0] == mailbox.Separator && f == imap.FilterSubtreeOne:
			if strings.IndexByte(rest[1:], mailbox.Separator) < 0 {
				return true
			}
		}
	}
	return false
}

// wants gives the events of the selected mailbox that the client wants to hear.
func (s *session) wants() imap.NotifyEvents {
	if s.notify == nil {
		return imap.MessageEvents
	}
	return s.notify.selected.Events
}

// made notes that the session itself has put messages into a mailbox, which it
// need not be told then. RFC 5465 §5, §5.2
func (s *session) made(box mailbox.Box, uids mail.UIDSet, seq mail.ModSeq) {
	if s.box != nil && s.box.Box == box {
		s.box.made = s.box.made.Union(uids)
	} else if box.Account == s.peer.Account && s.notify != nil && len(s.notify.groups) > 0 {
		s.notify.own = append(s.notify.own, seq)
	}
}

// tellElsewhere tells what has happened outside of the selected mailbox.
func (s *session) tellElsewhere(ctx context.Context) error {
	w := s.notify
	if w == nil || len(w.groups) == 0 {
		return nil
	}
	list, seq, ok, err := s.srv.Mail.Touched(ctx, s.peer.Account, s.peer.Account, w.seq, func(n mail.ModSeq) bool { return slices.Contains(w.own, n) })
	if err != nil {
		return err
	}
	if !ok || len(list) > maxTouched {
		s.notify = &watch{}
		s.attend()
		s.enc.Status("*", imap.OK, imap.CodeNotificationOverflow, "too much has happened")
		return nil
	}
	since := w.seq
	w.seq, w.own = seq, nil
	if w.names != nil && slices.ContainsFunc(list, func(t mailbox.Touched) bool { return t.Renamed }) {
		if err := s.tellNames(ctx); err != nil {
			return err
		}
	}
	for i := range list {
		t := &list[i]
		if t.ID == mailbox.NoMailbox && slices.ContainsFunc(w.groups, func(g imap.NotifyGroup) bool { return g.Events&imap.ServerMetadataChange != 0 }) {
			s.tellNoted("", t)
		}
		if t.Box == nil {
			continue
		}
		subscribed := w.names != nil && w.names.subscribed[t.Box.Name]
		if w.events(t.Box.Name, subscribed)&imap.MailboxMetadataChange != 0 {
			s.tellNoted(t.Box.Name, t)
		}
		if t.Box.Placeholder || s.box != nil && s.box.Box == (mailbox.Box{Account: s.peer.Account, Mailbox: t.ID}) {
			continue
		}
		if items := s.laterStatus(w.events(t.Box.Name, subscribed), t, since); items != 0 {
			if err := s.tellStatus(ctx, s.own(t.Box), items); err != nil {
				return err
			}
		}
	}
	return nil
}

// laterStatus gives what STATUS tells of a mailbox after something has happened.
// RFC 5465 §5
func (s *session) laterStatus(e imap.NotifyEvents, t *mailbox.Touched, since mail.ModSeq) (items imap.StatusItems) {
	made := t.Renamed && t.Box.Created > since
	if e&imap.MessageNew != 0 && (t.Appended || t.Expunged) {
		items |= imap.StatusMessages | imap.StatusUIDNext
		if e&imap.FlagChange != 0 {
			items |= imap.StatusUnseen
		}
	}
	if e&imap.FlagChange != 0 && (t.Flags || made) {
		items |= imap.StatusUIDValidity | imap.StatusUnseen
	}
	if items != 0 && s.has(condStore) {
		items |= imap.StatusHighestModSeq
	}
	return items
}

// tellNames tells which names are new, gone or renamed, and what is subscribed.
// RFC 5465 §5.4, §5.5
func (s *session) tellNames(ctx context.Context) error {
	all, err := s.names(ctx)
	if err != nil {
		return err
	}
	w := s.notify
	old, now := w.names, namesOf(all)
	w.names = now
	affected, was := affected(old, now)
	at := make(map[string]*listed, len(all))
	for i := range all {
		at[all[i].text] = &all[i]
	}
	for _, n := range slices.Sorted(maps.Keys(affected)) {
		if w.events(n, old.subscribed[n] || now.subscribed[n])&affected[n] == 0 {
			continue
		}
		l := at[n]
		if l == nil {
			l = &listed{text: n}
		}
		l.old = was[n]
		s.tellListed(&imap.List{Return: imap.ReturnSubscribed}, l)
	}
	return nil
}

// affected gives the names of which something is to be told, each with the
// events that concern it, and the old names of those that were renamed.
func affected(old, now *names) (events map[string]imap.NotifyEvents, was map[string]string) {
	events = map[string]imap.NotifyEvents{}
	family := func(name string) { // with its parent, whose children have changed
		events[name] |= imap.MailboxName
		if p := parent(name); p != "" {
			events[p] |= imap.MailboxName
		}
	}
	was, to := map[string]string{}, map[string]string{}
	for id, n := range now.boxes {
		switch o, known := old.boxes[id]; {
		case !known:
			family(n)
		case o != n:
			was[n], to[o] = o, n
		}
	}
	for id, o := range old.boxes {
		if _, there := now.boxes[id]; !there {
			family(o)
		}
	}
	for n := range now.subscribed {
		if o, ok := was[n]; !old.subscribed[n] && !(ok && old.subscribed[o]) {
			events[n] |= imap.SubscriptionChange
		}
	}
	for n, subscribed := range old.subscribed {
		if _, ok := to[n]; !ok && subscribed && !now.subscribed[n] {
			events[n] |= imap.SubscriptionChange
		}
	}
	for n, o := range was {
		// What is below goes along, and is not told.
		if p, ok := to[parent(o)]; !ok || p != parent(n) {
			events[n] |= imap.MailboxName
		}
	}
	return events, was
}

// knowName brings what the client knows of names up to date with what it has
// done itself, which it need not be told.
func (s *session) knowName(owner mail.AccountID, fn func(*names)) {
	if owner == s.peer.Account && s.notify != nil && s.notify.names != nil {
		fn(s.notify.names)
	}
}

// rename gives a name, and those below it, another name.
func (n *names) rename(from, to string) {
	moved := func(name string) (string, bool) {
		rest, ok := strings.CutPrefix(name, from)
		return to + rest, ok && (rest == "" || rest[0] == mailbox.Separator)
	}
	for id, name := range n.boxes {
		if name, ok := moved(name); ok {
			n.boxes[id] = name
		}
	}
	for _, old := range slices.Collect(maps.Keys(n.subscribed)) {
		if name, ok := moved(old); ok {
			n.subscribed[name] = n.subscribed[old]
			delete(n.subscribed, old)
		}
	}
}

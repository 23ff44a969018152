package imapd

import (
	"context"
	"errors"
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
	wide     bool               // a group may be about mailboxes of others
	heard    map[mail.AccountID]*heard
	names    *names // nil if nobody asks for them
}

// names are the names of mailboxes as a client knows them.
type names struct {
	boxes      map[mailbox.Box]string
	subscribed map[string]bool
	foreign    map[string]bool // of mailboxes of others, and the levels above
}

func (n *names) add(b mailbox.Box, name string, foreign bool) {
	n.boxes[b] = name
	for ; foreign && name != ""; name = parent(name) {
		n.foreign[name] = true
	}
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
	if len(a.Groups) == 0 {
		s.notify = &watch{}
		s.attend()
		return nil
	}
	w := newWatch(a.Groups)
	if s.box != nil { // what has gathered is told, whatever comes now
		s.notify = nil
		s.box.seq = 0
		if err := s.update(ctx, tellAll); err != nil {
			return err
		}
	}
	if err := s.begin(ctx, a, w); err != nil {
		s.notify = nil
		s.attend()
		return err
	}
	s.attend()
	return nil
}

// newWatch makes a watch that has heard nothing yet.
func newWatch(groups []imap.NotifyGroup) *watch {
	w := &watch{heard: map[mail.AccountID]*heard{}}
	for _, g := range groups {
		if g.Filter == imap.FilterSelected || g.Filter == imap.FilterSelectedDelayed {
			w.selected = g
			continue
		}
		w.groups = append(w.groups, g)
		w.wide = w.wide || !personal(g.Filter)
	}
	return w
}

// begin begins to watch, and tells how all is now if the client wants that.
func (s *session) begin(ctx context.Context, a *imap.Notify, w *watch) error {
	s.notify = w
	s.listen() // before looking how all is now
	if _, err := s.meet(ctx); err != nil {
		return err
	}
	all, seq, err := s.namesAt(ctx)
	if err != nil {
		return err
	}
	if len(w.groups) > 0 {
		w.heard[s.peer.Account] = &heard{seq: seq}
	}
	subscribed := slices.ContainsFunc(w.groups, func(g imap.NotifyGroup) bool { return g.Filter == imap.FilterSubscribed })
	if a.Has(imap.MailboxName|imap.SubscriptionChange) || subscribed {
		w.names = namesOf(all)
	}
	if !a.Status {
		return nil
	}
	for i := range all {
		l := &all[i]
		if !l.exists || l.Placeholder || l.rights&mailbox.RightRead == 0 || s.box != nil && s.box.Box == l.box() {
			continue
		}
		if items := firstStatus(w.events(l.text, l.subscribed, l.prefix == "")); items != 0 {
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
	n := &names{boxes: make(map[mailbox.Box]string, len(all)), subscribed: map[string]bool{}, foreign: map[string]bool{}}
	for i := range all {
		if l := &all[i]; l.exists && !l.level {
			n.add(l.box(), l.text, l.prefix != "")
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

// personal tells whether a filter is about the person's own mailboxes only.
func personal(f imap.MailboxFilter) bool { return f == imap.FilterInboxes || f == imap.FilterPersonal }

// events gives what the client wants to hear of a mailbox that is not selected;
// mine tells whether it is the person's own.
func (w *watch) events(name string, subscribed, mine bool) (e imap.NotifyEvents) {
	for i := range w.groups {
		if !mine && personal(w.groups[i].Filter) {
			continue
		}
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
	} else {
		s.notify.done(box.Account, seq)
	}
}

// tellElsewhere tells what has happened outside of the selected mailbox.
func (s *session) tellElsewhere(ctx context.Context) error {
	w := s.notify
	if w == nil || len(w.groups) == 0 {
		return nil
	}
	changed, err := s.meet(ctx)
	var list []elsewhere
	if err == nil {
		list, err = s.touched(ctx)
	}
	if errors.Is(err, errMuch) {
		s.notify = &watch{}
		s.attend()
		s.enc.Status("*", imap.OK, imap.CodeNotificationOverflow, "too much has happened")
		return nil
	}
	if err != nil {
		return err
	}
	if w.names != nil && (changed || slices.ContainsFunc(list, func(e elsewhere) bool { return e.Renamed })) {
		if err := s.tellNames(ctx); err != nil {
			return err
		}
	}
	for i := range list {
		if err := s.tellTouched(ctx, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// tellTouched tells what has happened to a mailbox.
func (s *session) tellTouched(ctx context.Context, e *elsewhere) error {
	w, mine := s.notify, e.owner == s.peer.Account
	if mine && e.ID == mailbox.NoMailbox && slices.ContainsFunc(w.groups, func(g imap.NotifyGroup) bool { return g.Events&imap.ServerMetadataChange != 0 }) {
		s.tellNoted("", &e.Touched)
	}
	if e.Box == nil {
		return nil
	}
	p, ok := s.placeOf(e)
	if !ok {
		return nil
	}
	name := p.full()
	wants := w.events(name, w.names != nil && w.names.subscribed[name], mine)
	if wants&imap.MailboxMetadataChange != 0 && p.rights&useRights != 0 {
		s.tellNoted(name, &e.Touched)
	}
	if e.Box.Placeholder || p.rights&mailbox.RightRead == 0 || s.box != nil && s.box.Box == p.box() {
		return nil
	}
	if items := s.laterStatus(wants, &e.Touched, e.since); items != 0 {
		return s.tellStatus(ctx, p, items)
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
		if w.events(n, old.subscribed[n] || now.subscribed[n], !old.foreign[n] && !now.foreign[n])&affected[n] == 0 {
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
func (s *session) knowName(fn func(*names)) {
	if s.notify != nil && s.notify.names != nil {
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
			n.add(id, name, n.foreign[n.boxes[id]])
		}
	}
	for _, old := range slices.Collect(maps.Keys(n.subscribed)) {
		if name, ok := moved(old); ok {
			n.subscribed[name] = n.subscribed[old]
			delete(n.subscribed, old)
		}
	}
}

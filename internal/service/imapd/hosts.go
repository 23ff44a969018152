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

// maxHosts is how many people's mailboxes a session listens to.
const maxHosts = 200

// Ears hear of what happens to several accounts: for each of them, what ceases to listen
// to it. The zero value hears nothing.
type ears map[mail.AccountID]func()

// set listens to these accounts and no others. It tells whether one is new.
func (e *ears) set(want []mail.AccountID, listen func(mail.AccountID) (end func())) (fresh bool) {
	for a, end := range *e {
		if !slices.Contains(want, a) {
			end()
			delete(*e, a)
		}
	}
	for _, a := range want {
		if (*e)[a] != nil {
			continue
		}
		if *e == nil {
			*e = ears{}
		}
		(*e)[a] = listen(a)
		fresh = true
	}
	return fresh
}

// hosts gives who else's accounts the session wants to hear of: the owner of the
// selected mailbox, and those whose mailboxes it has asked for.
func (s *session) hosts() (list []mail.AccountID) {
	if s.notify != nil {
		list = slices.Collect(maps.Keys(s.notify.heard))
	}
	if s.box != nil {
		list = append(list, s.box.Account)
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(a mail.AccountID) bool { return a == s.peer.Account })
}

// heard is how much of an account the client has been told, and later commits of
// this session, that it need not be told.
type heard struct {
	prefix string // before the names of its mailboxes
	seq    mail.ModSeq
	own    []mail.ModSeq
}

// done notes a commit of the session.
func (w *watch) done(a mail.AccountID, seq mail.ModSeq) {
	if w != nil && w.heard[a] != nil {
		w.heard[a].own = append(w.heard[a].own, seq)
	}
}

// errMuch says that there is more to hear than a session is told.
var errMuch = no(imap.CodeNotificationOverflow, "too many people share mailboxes with you to hear of all")

// meet begins to listen to those who share mailboxes by now, and ceases to listen
// to those who share none any more. It tells whether there are such.
func (s *session) meet(ctx context.Context) (changed bool, err error) {
	w := s.notify
	if !w.wide || s.srv.People == nil {
		return false, nil
	}
	list, err := s.srv.Mail.SharedWith(ctx, s.peer.Account)
	if err != nil {
		return false, err
	}
	var owners, fresh []mail.AccountID
	for i := range list {
		if m := &list[i]; m.RightsOf(s.peer.Account, m.Owner)&mailbox.RightLookup != 0 && !slices.Contains(owners, m.Owner) {
			owners = append(owners, m.Owner)
		}
	}
	if len(owners) > maxHosts {
		return false, errMuch
	}
	for a := range w.heard {
		if a != s.peer.Account && !slices.Contains(owners, a) {
			delete(w.heard, a)
			changed = true
		}
	}
	for _, o := range owners {
		if w.heard[o] != nil {
			continue
		}
		a, err := s.srv.People.Account(ctx, o)
		if errors.Is(err, mail.ErrNotFound) {
			continue // it is being removed
		}
		if err != nil {
			return false, err
		}
		w.heard[o] = &heard{prefix: PrefixOf(&a)}
		fresh = append(fresh, o)
	}
	if !changed && len(fresh) == 0 {
		return false, nil
	}
	s.listen() // before looking how all is now
	for _, o := range fresh {
		if w.heard[o].seq, err = s.srv.Mail.ModSeq(ctx, o); err != nil && !errors.Is(err, mail.ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

// An elsewhere is a mailbox to which something has happened since a client was
// told of its account.
type elsewhere struct {
	mailbox.Touched
	owner mail.AccountID
	since mail.ModSeq
}

// touched gives what has happened in all accounts that the session listens to;
// errMuch if that is more than it can be told.
func (s *session) touched(ctx context.Context) (list []elsewhere, err error) {
	w := s.notify
	for _, a := range slices.Sorted(maps.Keys(w.heard)) {
		h := w.heard[a]
		some, seq, ok, err := s.srv.Mail.Touched(ctx, a, s.peer.Account, h.seq, func(n mail.ModSeq) bool { return slices.Contains(h.own, n) })
		if errors.Is(err, mail.ErrNotFound) && a != s.peer.Account {
			continue // it is being removed
		}
		if err != nil {
			return nil, err
		}
		if !ok || len(list)+len(some) > maxTouched {
			return nil, errMuch
		}
		for _, t := range some {
			list = append(list, elsewhere{t, a, h.seq})
		}
		h.seq, h.own = seq, nil
	}
	return list, nil
}

// placeOf gives the place of a mailbox to which something has happened; false if
// the person cannot see it.
func (s *session) placeOf(e *elsewhere) (*place, bool) {
	if e.owner == s.peer.Account {
		return s.own(e.Box), true
	}
	p := &place{spot{e.owner, e.Box.Name, s.notify.heard[e.owner].prefix}, *e.Box, e.Box.RightsOf(s.peer.Account, e.owner)}
	below := strings.HasPrefix(p.name+string(mailbox.Separator), mailbox.InboxName+string(mailbox.Separator))
	return p, p.rights&mailbox.RightLookup != 0 && (below || !strings.HasPrefix(p.prefix, sharedPrefix))
}

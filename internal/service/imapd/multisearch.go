package imapd

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// multiSearch is ESEARCH: it searches several mailboxes, and is silent about
// those where nothing is found. RFC 7377
func (s *session) multiSearch(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.MultiSearch)
	if len(a.Sources) == 0 {
		a.Sources = []imap.MailboxSource{{Filter: imap.FilterSelected}}
	}
	own := func(src imap.MailboxSource) bool { return src.Filter == imap.FilterSelected }
	others := slices.ContainsFunc(a.Sources, func(src imap.MailboxSource) bool { return !own(src) })
	switch {
	case s.box == nil && (slices.ContainsFunc(a.Sources, own) || a.Return&imap.ReturnUpdate != 0):
		return bad(imap.CodeClientBug, "no mailbox is selected")
	case others && a.Return&imap.ReturnSave != 0:
		return bad(imap.CodeClientBug, "SAVE is for the selected mailbox only")
	case s.box != nil && s.keeps(c.Tag, &a.Search):
		return errTagReuse
	}
	all, err := s.names(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if l := &all[i]; l.exists && !l.Placeholder && l.rights&mailbox.RightRead != 0 && s.isSource(a, l) {
			err := s.searchOne(ctx, c.Tag, a, l)
			if err != nil && !errors.Is(err, mail.ErrNotFound) { // it may have gone meanwhile
				return s.unsaved(&a.Search, err)
			}
		}
	}
	return nil
}

// isSource tells whether a mailbox is to be searched.
func (s *session) isSource(a *imap.MultiSearch, l *listed) bool {
	return slices.ContainsFunc(a.Sources, func(src imap.MailboxSource) bool {
		if src.Filter == imap.FilterSelected {
			return s.box.Box == l.box()
		}
		return (l.prefix == "" || src.Filter >= imap.FilterSubscribed) && covers(src.Filter, src.Mailboxes, l.text, l.subscribed)
	})
}

// searchOne searches one mailbox. Of the selected one the client's view counts.
func (s *session) searchOne(ctx context.Context, tag string, a *imap.MultiSearch, l *listed) error {
	snap, err := s.srv.Mail.OpenAs(ctx, l.box(), s.peer.Account)
	if err != nil {
		return err
	}
	box := s.box
	if box == nil || box.Box != l.box() {
		box = &selected{Box: l.box(), view: imap.NewView(snap.UIDs())}
	}
	m, found, err := s.findIn(ctx, tag, &a.Search, box, snap)
	if err != nil {
		return err
	}
	if a.Return&imap.ReturnSave != 0 {
		s.box.saved = saved(found, a.Return, a.Partial)
	}
	h := s.correlatorOf(tag, &l.place)
	if box == s.box && a.Return&imap.ReturnUpdate != 0 {
		defer s.keep(&searchContext{tag: tag, head: h, uid: true, items: a.Fetch, key: a.Key, search: m, found: found})
	}
	if !found.IsEmpty() && a.Return != imap.ReturnSave {
		s.tellESearch(m, h, &a.Search, a.Return, found)
	}
	return nil
}

// correlatorOf is correlator for a response that names its mailbox.
func (s *session) correlatorOf(tag string, p *place) []byte {
	var b bytes.Buffer
	e := imap.NewEncoder(&b)
	e.UTF8 = s.enc.UTF8
	e.Raw("* ESEARCH (TAG ").String(tag).Raw(" MAILBOX ").Mailbox(p.full()).Raw(" UIDVALIDITY ").Num(uint64(p.UIDValidity)).Raw(") UID").Flush()
	return b.Bytes()
}

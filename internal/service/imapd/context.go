package imapd

import (
	"context"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// A searchContext is a SEARCH whose results are kept up to date: when messages
// begin or cease to match, the client is told. RFC 5267 §4.3
type searchContext struct {
	tag      string
	uid      bool
	items    []imap.FetchItem // to tell of new messages that match; RFC 5465 §7
	key      imap.Key
	search   *search
	keywords int // that the mailbox had when the key was compiled
	found    mail.UIDSet
}

// maxContexts is how many searches are kept up to date in a session.
const maxContexts = 8

// keep begins to keep a search up to date, and tells if it cannot.
func (s *session) keep(tag string, a *imap.Search, m *search, found mail.UIDSet) {
	if len(s.box.contexts) >= maxContexts || slices.ContainsFunc(s.box.contexts, func(c *searchContext) bool { return c.tag == tag }) {
		s.enc.Status("*", imap.NO, imap.CodeNoUpdate(tag), "too many searches")
		return
	}
	m.rest()
	if len(s.box.contexts) == 0 {
		s.box.searched = m.snap.Mailbox.ModSeq
	}
	s.box.contexts = append(s.box.contexts, &searchContext{
		tag: tag, uid: a.UID, items: a.Fetch, key: a.Key, search: m, keywords: len(m.snap.Keywords), found: found,
	})
}

// rest gives back what memory a search needs only while it runs.
func (m *search) rest() {
	m.ids, m.records, m.room, m.note, m.folds, m.scratch = nil, nil, nil, nil, nil, scratch{}
	for i := range m.columns {
		m.columns[i].values = nil
	}
}

// cancelUpdate is CANCELUPDATE. RFC 5267 §4.4
func (s *session) cancelUpdate(_ context.Context, c *imap.Command) error {
	tags := c.Args.(*imap.CancelUpdate).Tags
	s.box.contexts = slices.DeleteFunc(s.box.contexts, func(c *searchContext) bool { return slices.Contains(tags, c.tag) })
	return nil
}

// forget takes messages out of the results before the client hears that they
// are gone.
func (s *session) forget(gone mail.UIDSet) {
	for _, c := range s.box.contexts {
		s.tellContext(c, " REMOVEFROM (0 ", c.found.Intersect(gone))
		c.found = c.found.Subtract(gone)
	}
}

// refresh looks which of the messages that have changed match now. Of those that
// were added it tells what the searches ask for, and gives which these are.
// RFC 5465 §7
func (s *session) refresh(ctx context.Context, snap *mailbox.Snapshot, changed, added mail.UIDSet) (told mail.UIDSet, err error) {
	changed = s.box.view.Known(changed)
	matching := make(map[*searchContext]mail.UIDSet, len(s.box.contexts))
	var items []imap.FetchItem
	s.box.contexts = slices.DeleteFunc(s.box.contexts, func(c *searchContext) bool {
		now, err := c.run(ctx, snap, changed)
		if err != nil {
			s.log.Error("keep a search up to date", "error", err)
			s.enc.Status("*", imap.NO, imap.CodeNoUpdate(c.tag), "local error")
			return true
		}
		matching[c] = now
		if matched := now.Intersect(added); len(c.items) > 0 && !matched.IsEmpty() {
			told, items = told.Union(matched), append(items, c.items...)
		}
		return false
	})
	if s.notify != nil && !told.IsEmpty() {
		items = append(items, s.notify.selected.Fetch...)
	}
	if err := s.tellItems(ctx, snap, told, items); err != nil {
		return told, err
	}
	for _, c := range s.box.contexts {
		now, was := matching[c], c.found.Intersect(changed)
		s.tellContext(c, " REMOVEFROM (0 ", was.Subtract(now))
		s.tellContext(c, " ADDTO (0 ", now.Subtract(was))
		c.found = c.found.Subtract(was).Union(now)
	}
	return told, nil
}

// run gives those of the messages that match now. A keyword that was not known
// before may be by now.
func (c *searchContext) run(ctx context.Context, snap *mailbox.Snapshot, among mail.UIDSet) (mail.UIDSet, error) {
	m := c.search
	defer m.rest()
	if len(snap.Keywords) != c.keywords {
		m.snap, m.columns = snap, nil
		match, err := m.compile(c.key)
		if err != nil {
			return mail.UIDSet{}, err
		}
		m.match, c.keywords = match, len(snap.Keywords)
	}
	return m.run(ctx, snap, among)
}

// tellContext tells a change of results. They are in no order of their own, so
// their place is 0.
func (s *session) tellContext(c *searchContext, what string, uids mail.UIDSet) {
	if uids.IsEmpty() {
		return
	}
	s.enc.Raw("* ESEARCH (TAG ").String(c.tag).Raw(")")
	if c.uid {
		s.enc.Raw(" UID")
	}
	s.enc.Raw(what).UIDs(s.numbers(uids, c.uid)).Raw(")").CRLF()
}

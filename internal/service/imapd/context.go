package imapd

import (
	"context"
	"slices"
	"sort"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// A searchContext is a SEARCH or SORT whose results are kept up to date: when
// messages begin or cease to match, the client is told. RFC 5267 §4.3
type searchContext struct {
	tag      string
	head     []byte // what its responses begin with
	uid      bool
	items    []imap.FetchItem // to tell of new messages that match; RFC 5465 §7
	key      imap.Key
	search   *search
	keywords int // that the mailbox had when the key was compiled
	found    mail.UIDSet
	by       []imap.SortBy // of SORT
	order    []mail.UID    // of SORT: the messages found, in their order
}

// maxContexts is how many searches are kept up to date in a session.
const maxContexts = 8

var errTagReuse = bad(imap.CodeClientBug, "a search with this tag is kept up to date") // RFC 5267 §4.3

// keeps tells whether a search that wants to be kept up to date has the tag of
// one that is.
func (s *session) keeps(tag string, a *imap.Search) bool {
	return a.Return&imap.ReturnUpdate != 0 && slices.ContainsFunc(s.box.contexts, func(c *searchContext) bool { return c.tag == tag })
}

// keep begins to keep a search up to date, and tells if it cannot.
func (s *session) keep(c *searchContext) {
	if len(s.box.contexts) >= maxContexts {
		s.enc.Status("*", imap.NO, imap.CodeNoUpdate(c.tag), "too many searches")
		return
	}
	c.keywords = len(c.search.snap.Keywords)
	c.search.rest()
	if len(s.box.contexts) == 0 {
		s.box.searched = c.search.snap.Mailbox.ModSeq
	}
	s.box.contexts = append(s.box.contexts, c)
}

// rest gives back what memory a search needs only while it runs.
func (m *search) rest() {
	m.ids, m.records, m.desks = nil, nil, nil
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
		s.remove(c, c.found.Intersect(gone))
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
		s.remove(c, was.Subtract(now))
		if err := s.add(ctx, c, snap, now.Subtract(was)); err != nil {
			return told, err
		}
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

// remove takes messages out of the results, and tells. Those of SEARCH are in no
// order of their own, so their place is 0. RFC 5267 §4.3.4
func (s *session) remove(c *searchContext, uids mail.UIDSet) {
	if uids.IsEmpty() {
		return
	}
	c.found = c.found.Subtract(uids)
	s.enc.Bytes(c.head).Raw(" REMOVEFROM (")
	if c.by == nil {
		s.enc.Raw("0 ").UIDs(s.numbers(uids, c.uid)).Raw(")").CRLF()
		return
	}
	// From the end, so that the places before stay what they are.
	left := len(c.order)
	sep := ""
	for i := len(c.order); i > 0; {
		if !uids.Contains(c.order[i-1]) {
			i, left = i-1, left-1
			c.order[left] = c.order[i]
			continue
		}
		end := i
		for i > 0 && uids.Contains(c.order[i-1]) {
			i--
		}
		s.enc.Raw(sep).Num(uint64(i + 1)).Raw(" ").Bytes(s.appendSorted(nil, c.order[i:end], c.uid))
		sep = " "
	}
	c.order = slices.Delete(c.order, 0, left)
	s.enc.Raw(")").CRLF()
}

// add puts messages into the results, and tells. RFC 5267 §4.3.3
func (s *session) add(ctx context.Context, c *searchContext, snap *mailbox.Snapshot, uids mail.UIDSet) error {
	if uids.IsEmpty() {
		return nil
	}
	c.found = c.found.Union(uids)
	if c.by == nil {
		s.enc.Bytes(c.head).Raw(" ADDTO (0 ").UIDs(s.numbers(uids, c.uid)).Raw(")").CRLF()
		return nil
	}
	order, err := s.inOrder(ctx, c, snap, uids)
	if err != nil {
		return err
	}
	c.order = order
	s.enc.Bytes(c.head).Raw(" ADDTO (")
	sep := ""
	for i := 0; i < len(order); i++ {
		start := i
		for i < len(order) && uids.Contains(order[i]) {
			i++
		}
		if i > start {
			s.enc.Raw(sep).Num(uint64(start + 1)).Raw(" ").Bytes(s.appendSorted(nil, order[start:i], c.uid))
			sep = " "
		}
	}
	s.enc.Raw(")").CRLF()
	return nil
}

// fewAdded is how many messages are put into sorted results one by one.
const fewAdded = 100

// inOrder gives the sorted results with messages added.
func (s *session) inOrder(ctx context.Context, c *searchContext, snap *mailbox.Snapshot, added mail.UIDSet) ([]mail.UID, error) {
	o := &ordering{s: s, box: s.box, compare: c.search.compare}
	if added.Len() > fewAdded {
		o.rows = rowsOf(snap, c.found)
		return o.sorted(ctx, c.by)
	}
	order := c.order
	for u := range added.All() {
		var failed error
		at := sort.Search(len(order), func(i int) bool {
			// What has gone meanwhile without being told cannot be compared.
			pair := &ordering{s: s, box: s.box, compare: c.search.compare, rows: rowsOf(snap, mail.UIDSetOf([]mail.UIDRange{{First: u, Last: u}, {First: order[i], Last: order[i]}}))}
			if len(pair.rows) < 2 {
				return order[i] > u
			}
			both, err := pair.sorted(ctx, c.by)
			if err != nil {
				failed = err
				return true
			}
			return both[0] == u
		})
		if failed != nil {
			return nil, failed
		}
		order = slices.Insert(order, at, u)
	}
	return order, nil
}

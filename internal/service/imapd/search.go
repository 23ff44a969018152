package imapd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/mailbox"
)

// search is SEARCH and UID SEARCH. RFC 9051 §6.4.4, RFC 4731, RFC 5182
func (s *session) search(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Search)
	if s.keeps(c.Tag, a) {
		return errTagReuse
	}
	m, found, err := s.find(ctx, c.Tag, a)
	if err != nil {
		return s.unsaved(a, err)
	}
	snap := m.snap
	ret := a.Return
	if ret == 0 && s.has(rev2) {
		ret = imap.ReturnAll
	}
	if ret&imap.ReturnSave != 0 {
		s.box.saved = saved(found, ret, a.Partial)
	}
	h := correlator(c.Tag, a.UID)
	if ret&imap.ReturnUpdate != 0 {
		defer s.keep(&searchContext{tag: c.Tag, head: h, uid: a.UID, items: a.Fetch, key: a.Key, search: m, found: found})
	}
	if ret == 0 {
		s.tellSearch(snap, a, found, m.modSeq)
	} else if ret != imap.ReturnSave {
		s.tellESearch(m, h, a, ret, found)
	}
	return nil
}

// find gives the messages that a SEARCH, SORT or THREAD asks for.
func (s *session) find(ctx context.Context, tag string, a *imap.Search) (*search, mail.UIDSet, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, mail.UIDSet{}, err
	}
	return s.findIn(ctx, tag, a, s.box, snap)
}

// findIn is find in any mailbox.
func (s *session) findIn(ctx context.Context, tag string, a *imap.Search, box *selected, snap *mailbox.Snapshot) (*search, mail.UIDSet, error) {
	if _, known := message.TextIn(a.Charset, ""); !known && a.Charset != "" {
		return nil, mail.UIDSet{}, no(imap.CodeBadCharset, "nobody knows this charset")
	}
	if a.Charset != "" && s.has(utf8Accept|rev2) && a.Charset != "UTF-8" && a.Charset != "US-ASCII" {
		return nil, mail.UIDSet{}, bad(imap.CodeBadCharset, "you have enabled UTF-8") // RFC 6855 §3
	}
	m := &search{s: s, box: box, snap: snap, charset: a.Charset, compare: s.compare, progress: progress{tag: tag, box: box, next: time.Now().Add(progressEvery)}}
	f := filters{s: s}
	key, err := f.expand(ctx, a.Key, 0)
	if err != nil {
		return nil, mail.UIDSet{}, err
	}
	if f.used > 0 && a.Charset != "" && a.Charset != "UTF-8" && a.Charset != "US-ASCII" {
		return nil, mail.UIDSet{}, bad(imap.CodeBadCharset, "filters are in UTF-8") // RFC 5466 §3.1
	}
	a.Key = key
	match, err := m.compile(a.Key)
	if err != nil {
		return nil, mail.UIDSet{}, err
	}
	if m.modSeq {
		s.condStore()
	}
	m.match = match
	among := box.view.UIDs()
	if s.srv.limits.Messages > 0 && box == s.box {
		if among, err = m.among(a.Key, among); err != nil {
			return nil, mail.UIDSet{}, err
		}
		among = s.limited(among)
	}
	found, err := m.run(ctx, snap, among)
	return m, found, err
}

// unsaved empties "$" when a SEARCH that should have filled it fails.
// RFC 9051 §6.4.4.1
func (s *session) unsaved(a *imap.Search, err error) error {
	if a.Return&imap.ReturnSave != 0 {
		s.box.saved = mail.UIDSet{}
	}
	return err
}

// saved gives what SAVE keeps: all, or if only the ends were asked for, those.
// RFC 5182 §2.4
func saved(found mail.UIDSet, ret imap.SearchReturn, w imap.Window) mail.UIDSet {
	if ret&imap.ReturnPartial != 0 {
		from, to := w.In(found.Len())
		return slice(found, from, to)
	}
	if ret&(imap.ReturnAll|imap.ReturnCount) != 0 || ret&(imap.ReturnMin|imap.ReturnMax) == 0 {
		return found
	}
	var out mail.UIDSet
	if ret&imap.ReturnMin != 0 && !found.IsEmpty() {
		out.Add(found.Min())
	}
	if ret&imap.ReturnMax != 0 && !found.IsEmpty() {
		out.Add(found.Max())
	}
	return out
}

// tellSearch writes the answer that RFC 3501 has.
func (s *session) tellSearch(snap *mailbox.Snapshot, a *imap.Search, found mail.UIDSet, modSeq bool) {
	s.enc.Raw("* SEARCH")
	for n := range s.numbers(found, a.UID).All() {
		s.enc.Raw(" ").Num(uint64(n))
	}
	if modSeq && !found.IsEmpty() {
		s.enc.Raw(" (MODSEQ ").Num(uint64(highest(snap, found))).Raw(")")
	}
	s.enc.CRLF()
}

// correlator gives what an ESEARCH response begins with.
func correlator(tag string, uid bool) []byte {
	b := append(imap.AppendString([]byte("* ESEARCH (TAG "), tag), ')')
	if uid {
		b = append(b, " UID"...)
	}
	return b
}

// tellESearch writes the answer that RFC 9051 §7.3.4 has.
func (s *session) tellESearch(m *search, head []byte, a *imap.Search, ret imap.SearchReturn, found mail.UIDSet) {
	s.enc.Bytes(head)
	nums := s.numbers(found, a.UID)
	told := found
	if !nums.IsEmpty() {
		if ret&imap.ReturnMin != 0 {
			s.enc.Raw(" MIN ").Num(uint64(nums.Min()))
		}
		if ret&imap.ReturnMax != 0 {
			s.enc.Raw(" MAX ").Num(uint64(nums.Max()))
		}
		if ret&imap.ReturnAll != 0 {
			s.enc.Raw(" ALL ").UIDs(nums)
		}
		if ret&(imap.ReturnAll|imap.ReturnCount) == 0 {
			told = saved(found, ret, a.Partial)
		}
	}
	if ret&imap.ReturnPartial != 0 {
		from, to := a.Partial.In(nums.Len())
		s.tellPartial(a.Partial, slice(nums, from, to).Append(nil))
		told = slice(found, from, to)
	}
	if ret&imap.ReturnCount != 0 {
		s.enc.Raw(" COUNT ").Num(uint64(nums.Len()))
	}
	if m.modSeq && !told.IsEmpty() {
		s.enc.Raw(" MODSEQ ").Num(uint64(highest(m.snap, told)))
	}
	s.enc.CRLF()
}

// tellPartial writes the results in a window, which are text. RFC 9394 §3.1
func (s *session) tellPartial(w imap.Window, results []byte) {
	s.enc.Raw(" PARTIAL (").Bytes(w.Append(nil)).Raw(" ")
	if len(results) == 0 {
		s.enc.Raw("NIL")
	}
	s.enc.Bytes(results).Raw(")")
}

// slice gives the numbers of a set from index from up to to.
func slice(set mail.UIDSet, from, to int) mail.UIDSet {
	var out mail.UIDSet
	for _, r := range set.Ranges() {
		n := int(r.Last-r.First) + 1
		if low, high := max(from, 0), min(to, n); low < high {
			out.AddRange(r.First+mail.UID(low), r.First+mail.UID(high-1))
		}
		from, to = from-n, to-n
	}
	return out
}

// highest gives the highest mod-sequence among the messages found.
func highest(snap *mailbox.Snapshot, uids mail.UIDSet) (seq mail.ModSeq) {
	for _, row := range snap.In(uids) {
		seq = max(seq, row.ModSeq)
	}
	return seq
}

// A search finds messages in three steps, each dearer than the one before: by
// what the snapshot has of them; for those that this cannot decide, by what the
// store has noted of each message; and for the rest by reading them.
type search struct {
	s       *session
	box     *selected // which the client need not have selected
	snap    *mailbox.Snapshot
	modSeq  bool   // a key asks for mod-sequences
	charset string // of the texts to look for; empty is UTF-8
	match   matchFunc
	columns []column
	compare comparator
	progress

	// Memory that is used again for every page.
	ids     []mail.EmailID
	records []mailbox.Record
	desks   []desk
}

// A desk is the memory of one who reads messages, used again for each.
type desk struct {
	scratch
	room  []byte // for a body
	note  []byte // for a field of a header
	folds []byte // for a folded header
}

const (
	// maxDesks is how many messages a search reads at a time.
	maxDesks = 4
	// worthDesk is how many messages there must be to read for one desk more.
	worthDesk = 16
)

// run gives those of the messages that match.
func (m *search) run(ctx context.Context, snap *mailbox.Snapshot, among mail.UIDSet) (mail.UIDSet, error) {
	match := m.match
	var found mail.UIDSet
	page := make([]*mailbox.Row, 0, pageSize)
	var c candidate
	for _, row := range snap.In(among) {
		c.row = row
		switch match(&c) {
		case yes:
			found.Add(row.UID)
			continue
		case never:
			continue
		}
		if page = append(page, row); len(page) == pageSize {
			if err := m.page(ctx, page, match, &found); err != nil {
				return found, err
			}
			page = page[:0]
		}
	}
	return found, m.page(ctx, page, match, &found)
}

// page decides about candidates by what the store has noted of them, and reads
// those for which that is not enough.
func (m *search) page(ctx context.Context, page []*mailbox.Row, match matchFunc, found *mail.UIDSet) error {
	if len(page) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := m.s.tellProgress(&m.progress, page[0].UID); err != nil {
		return err
	}
	m.ids = m.ids[:0]
	for _, row := range page {
		m.ids = append(m.ids, row.Email)
	}
	if err := m.fill(ctx); err != nil {
		return err
	}
	var unsure []int
	for i, row := range page {
		c := candidate{row: row, noted: true, at: i, search: m} // has no desk: it reads nothing
		switch match(&c) {
		case yes:
			found.Add(row.UID)
		case maybe:
			unsure = append(unsure, i)
		}
	}
	return m.readAll(ctx, page, unsure, match, found)
}

// fill makes the columns ready for a page.
func (m *search) fill(ctx context.Context) (err error) {
	for i := range m.columns {
		col := &m.columns[i]
		col.values, err = m.s.srv.Mail.AppendDerived(ctx, col.values[:0], m.box.Account, m.ids, col.name, col.make)
		if err != nil {
			return err
		}
	}
	return nil
}

// readAll decides about candidates that have to be read, several at a time.
func (m *search) readAll(ctx context.Context, page []*mailbox.Row, unsure []int, match matchFunc, found *mail.UIDSet) error {
	if len(unsure) == 0 {
		return nil
	}
	ids := make([]mail.EmailID, len(unsure))
	for i, at := range unsure {
		ids[i] = m.ids[at]
	}
	var err error
	if m.records, err = m.s.srv.Mail.AppendRecords(ctx, m.records[:0], m.box.Account, ids); err != nil {
		return err
	}
	messages, err := m.s.srv.Mail.Messages(ctx, m.box.Account, ids)
	if err != nil {
		return err
	}
	verdicts := make([]verdict, len(unsure))
	err = m.share(len(unsure), func(d *desk, i int) error {
		if m.records[i].Envelope == nil {
			return nil // gone
		}
		c := candidate{row: page[unsure[i]], noted: true, at: unsure[i], search: m, desk: d}
		v, err := c.read(ctx, &m.records[i], &messages[i], match)
		if errors.Is(err, mail.ErrNotFound) {
			return nil
		}
		verdicts[i] = v
		return err
	})
	for i, v := range verdicts {
		if v == yes {
			found.Add(page[unsure[i]].UID)
		}
	}
	return err
}

// share has fn called for all numbers below n, at as many desks as are worth it.
func (m *search) share(n int, fn func(d *desk, i int) error) error {
	desks := max(1, min(maxDesks, runtime.GOMAXPROCS(0), n/worthDesk))
	for len(m.desks) < desks {
		m.desks = append(m.desks, desk{scratch: scratch{compare: m.compare}})
	}
	errs := make([]error, desks)
	panics := make([]any, desks)
	work := func(k int) {
		for i := n * k / desks; i < n*(k+1)/desks && errs[k] == nil; i++ {
			errs[k] = fn(&m.desks[k], i)
		}
	}
	var wg sync.WaitGroup
	for k := 1; k < desks; k++ {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics[k] = fmt.Sprintf("%v\n%s", p, debug.Stack())
				}
			}()
			work(k)
		})
	}
	func() {
		defer wg.Wait() // also if this one panics
		work(0)
	}()
	for _, p := range panics {
		if p != nil {
			panic(p) // where it ends this session only
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// text gives a text to search for in UTF-8. A client that has enabled UTF-8, and then
// sends something else, means Latin-1.
func (m *search) text(text string) (string, error) {
	switch {
	case m.charset != "" && m.charset != "UTF-8":
		text, _ = message.TextIn(m.charset, text)
	case m.s.has(utf8Accept) && !utf8.ValidString(text):
		m.s.misuses("UTF8=ACCEPT")
		text, _ = message.TextIn("ISO-8859-1", text)
	}
	if !utf8.ValidString(text) {
		return "", bad(imap.CodeBadCharset, "the text to search for is not in the charset")
	}
	return text, nil
}

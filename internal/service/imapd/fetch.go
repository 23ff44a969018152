package imapd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

// pageSize is how many messages are read from the store at once. Nothing of the
// store is held while they are written to the client.
const pageSize = 256

// A fetcher carries out one FETCH.
type fetcher struct {
	s     *session
	items []item
	uid   bool // UID FETCH
	down  bool // the newest first
	texts flagTexts

	records bool  // an item asks for what the store knows of the message
	bodies  bool  // an item asks for its bytes
	seen    bool  // an item marks it as seen
	flags   bool  // FLAGS is among the items
	tree    bool  // an item asks for a part of them
	heads   bool  // an item asks for a piece that begins or ends with the header
	failed  error // the last message that could not be read

	// Memory that is used again for every message or page.
	fields []byte
	body   []byte
	ids    []mail.EmailID
	known  []mailbox.Record
	sizes  [][]byte // of headers, as noteHeaderSize notes them
	root   message.Part
	one    fetched
}

// An item is a FetchItem made ready.
type item struct {
	imap.FetchItem
	label  string // how the answer names it
	fields *message.FieldSet
	cached []string // the fields' names in lower case; nil if the record has no fields to offer
}

// fetch is FETCH and UID FETCH. RFC 9051 §6.4.5
func (s *session) fetch(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Fetch)
	uids, err := s.resolve(a.Set)
	if err != nil {
		return err
	}
	if a.Vanished && (!a.Changed || !a.Set.UID || !s.has(qresync)) {
		return bad(imap.CodeClientBug, "VANISHED needs UID FETCH, CHANGEDSINCE, and ENABLE QRESYNC")
	}
	f := &fetcher{s: s, uid: a.Set.UID}
	f.prepare(a)
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	if len(snap.Keywords) != s.box.keywords {
		s.tellFlags(snap)
	}
	f.texts = s.texts(snap)
	if a.Vanished {
		if err := s.tellEarlier(ctx, snap, a); err != nil {
			return err
		}
	}
	if a.Window != (imap.Window{}) {
		if n := s.srv.limits.Messages; n > 0 && a.Window.Len() > int64(n) {
			return no(imap.CodeMessageLimit(n, 0), "the range is too long")
		}
		present := uids.Intersect(snap.UIDs())
		from, to := a.Window.In(present.Len())
		uids = slice(present, from, to)
	}
	some := s.limited(uids)
	f.down = s.lowest != 0
	there, err := f.pages(ctx, snap, some, a)
	if err != nil {
		return err
	}
	if f.failed != nil {
		return f.failed
	}
	if there < some.Len() && !a.Set.UID {
		s.code = imap.CodeExpungeIssued // those that are there have been told: RFC 2180 §4.1.3
	}
	return nil
}

// pages writes the answers for the messages that are there, and gives how many
// that are.
func (f *fetcher) pages(ctx context.Context, snap *mailbox.Snapshot, uids mail.UIDSet, a *imap.Fetch) (there int, err error) {
	if f.down { // from the newest down: RFC 9738 §3.1
		return f.downward(ctx, snap, uids, a)
	}
	page := make([]*mailbox.Row, 0, min(pageSize, snap.Len()))
	for _, row := range snap.In(uids) {
		there++
		if a.Changed && row.ModSeq <= a.Since {
			continue
		}
		if page = append(page, row); len(page) == pageSize {
			if err := f.page(ctx, page); err != nil {
				return there, err
			}
			page = page[:0]
		}
	}
	return there, f.page(ctx, page)
}

// downward is pages in the order of falling UIDs.
func (f *fetcher) downward(ctx context.Context, snap *mailbox.Snapshot, uids mail.UIDSet, a *imap.Fetch) (there int, err error) {
	var rows []*mailbox.Row
	for _, row := range snap.In(uids) {
		if there++; !a.Changed || row.ModSeq > a.Since {
			rows = append(rows, row)
		}
	}
	slices.Reverse(rows)
	for page := range slices.Chunk(rows, pageSize) {
		if err := f.page(ctx, page); err != nil {
			return there, err
		}
	}
	return there, nil
}

// tellItems writes FETCH responses that no FETCH has asked for. A message that
// cannot be read is left out. RFC 5465 §5.2
func (s *session) tellItems(ctx context.Context, snap *mailbox.Snapshot, uids mail.UIDSet, items []imap.FetchItem) error {
	if uids.IsEmpty() {
		return nil
	}
	a := &imap.Fetch{Set: imap.Set{UID: true}}
	labels := []string{label(&imap.FetchItem{Kind: imap.ItemUID})} // comes first anyway
	for i := range items {
		if l := label(&items[i]); !slices.Contains(labels, l) {
			labels, a.Items = append(labels, l), append(a.Items, items[i])
		}
	}
	if len(a.Items) == 0 {
		a.Items = []imap.FetchItem{{Kind: imap.ItemUID}}
	}
	f := &fetcher{s: s, uid: true}
	f.prepare(a)
	f.texts = s.texts(snap)
	_, err := f.pages(ctx, snap, uids, a)
	return err
}

// prepare looks what the items need.
func (f *fetcher) prepare(a *imap.Fetch) {
	items := a.Items
	// With QRESYNC every FETCH response has the UID: RFC 7162 §3.2.3.
	if (a.Set.UID || f.s.has(qresync)) && !a.Has(imap.ItemUID) && !f.s.has(uidOnly) {
		items = append([]imap.FetchItem{{Kind: imap.ItemUID}}, items...)
	}
	if a.Changed && !a.Has(imap.ItemModSeq) {
		items = append(items[:len(items):len(items)], imap.FetchItem{Kind: imap.ItemModSeq})
	}
	for i := range items {
		it := item{FetchItem: items[i], label: label(&items[i])}
		switch it.Kind {
		case imap.ItemFlags:
			f.flags = true
		case imap.ItemModSeq:
			f.s.condStore()
		case imap.ItemEnvelope, imap.ItemBody, imap.ItemBodyStructure:
			f.records = true
		case imap.ItemPreview:
			f.records, f.bodies, f.tree = true, true, true
		case imap.ItemBodySection, imap.ItemBinary, imap.ItemBinarySize, imap.ItemRFC822, imap.ItemRFC822Header, imap.ItemRFC822Text:
			f.needs(&it)
		}
		f.seen = f.seen || it.SetsSeen() && !f.s.box.readOnly && f.s.box.rights&mailbox.RightSeen != 0
		f.items = append(f.items, it)
	}
}

// needs looks what a section needs: only those of cached fields can do without
// the bytes, and only a whole message without its structure.
func (f *fetcher) needs(it *item) {
	sec := &it.Section
	switch it.Kind {
	case imap.ItemRFC822Header:
		sec.Text = imap.TextHeader
	case imap.ItemRFC822Text:
		sec.Text = imap.TextText
	}
	switch {
	case len(sec.Path) > 0:
		f.records, f.tree = true, true
	case sec.Text != imap.TextAll:
		f.heads = true
	}
	if sec.Text != imap.TextFields && sec.Text != imap.TextFieldsNot {
		f.bodies = true
		return
	}
	it.fields = message.NewFieldSet(sec.Fields...)
	var probe mailbox.Record
	names := make([]string, len(sec.Fields))
	for i, n := range sec.Fields {
		names[i] = strings.ToLower(n)
	}
	if _, ok := probe.Fields(nil, names...); ok && sec.Text == imap.TextFields && len(sec.Path) == 0 {
		slices.Sort(names)
		it.cached = slices.Compact(names)
		f.records = true
	} else {
		f.bodies = true
	}
}

// label gives the name of an item in the answer.
func label(it *imap.FetchItem) string {
	b := []byte(itemNames[it.Kind])
	switch it.Kind {
	case imap.ItemBodySection, imap.ItemBinary, imap.ItemBinarySize:
		b = it.Section.Append(b)
	}
	if it.Partial {
		b = fmt.Appendf(b, "<%d>", it.Offset)
	}
	return string(append(b, ' '))
}

var itemNames = [...]string{
	imap.ItemFlags:         "FLAGS",
	imap.ItemUID:           "UID",
	imap.ItemInternalDate:  "INTERNALDATE",
	imap.ItemSize:          "RFC822.SIZE",
	imap.ItemEnvelope:      "ENVELOPE",
	imap.ItemBody:          "BODY",
	imap.ItemBodyStructure: "BODYSTRUCTURE",
	imap.ItemBodySection:   "BODY",
	imap.ItemBinary:        "BINARY",
	imap.ItemBinarySize:    "BINARY.SIZE",
	imap.ItemModSeq:        "MODSEQ",
	imap.ItemRFC822:        "RFC822",
	imap.ItemRFC822Header:  "RFC822.HEADER",
	imap.ItemRFC822Text:    "RFC822.TEXT",
	imap.ItemEmailID:       "EMAILID",
	imap.ItemThreadID:      "THREADID",
	imap.ItemSaveDate:      "SAVEDATE",
	imap.ItemPreview:       "PREVIEW",
}

// page writes the answers for some messages.
func (f *fetcher) page(ctx context.Context, rows []*mailbox.Row) error {
	if len(rows) == 0 {
		return nil
	}
	s := f.s
	f.ids = f.ids[:0]
	for _, r := range rows {
		f.ids = append(f.ids, r.Email)
	}
	var messages []mailbox.Message
	var err error
	if f.records {
		if f.known, err = s.srv.Mail.AppendRecords(ctx, f.known[:0], s.box.Account, f.ids); err != nil {
			return err
		}
	}
	if f.heads && !f.tree {
		if f.sizes, err = s.srv.Mail.AppendDerived(ctx, f.sizes[:0], s.box.Account, f.ids, "header size", noteHeaderSize); err != nil {
			return err
		}
	}
	if f.bodies {
		if messages, err = s.srv.Mail.Messages(ctx, s.box.Account, f.ids); err != nil {
			return err
		}
	}
	now, err := f.markSeen(ctx, rows)
	if err != nil {
		return err
	}
	for i, r := range rows {
		m := &f.one
		*m = fetched{row: r}
		if now != f.texts.snap {
			if n := now.Find(r.UID); n != nil {
				m.row, m.marked = n, n.Flags != r.Flags
			}
		}
		if m.seq = s.box.view.Seq(r.UID); m.seq == 0 {
			continue
		}
		if f.records {
			m.record = &f.known[i]
		}
		if f.bodies {
			m.message = &messages[i]
			if f.heads && !f.tree {
				if m.size = f.sizes[i]; m.size == nil {
					continue // forgotten by the store, since it was expunged long ago
				}
			}
		}
		f.message(ctx, m)
		if s.enc.Err() != nil || ctx.Err() != nil {
			return &ending{imap.CodeUnavailable, "connection lost"}
		}
	}
	return nil
}

// markSeen sets \Seen on the messages whose text is about to be fetched, and
// gives the mailbox as it is after that.
func (f *fetcher) markSeen(ctx context.Context, rows []*mailbox.Row) (*mailbox.Snapshot, error) {
	var unseen mail.UIDSet
	for _, r := range rows {
		if f.seen && r.Flags&mailbox.Seen == 0 {
			unseen.Add(r.UID)
		}
	}
	if unseen.IsEmpty() {
		return f.texts.snap, nil
	}
	s := f.s
	done, err := s.srv.Mail.StoreFlags(ctx, s.box.Account, s.box.Mailbox, unseen, mailbox.FlagChange{Mode: mailbox.AddFlags, Flags: mailbox.Seen, By: s.peer.Account})
	if err != nil {
		return nil, err
	}
	s.box.known(done.ModSeq, done.Changed)
	return s.snapshot(ctx)
}

// A fetched message is one whose answer is being written.
type fetched struct {
	seq     uint32
	row     *mailbox.Row
	marked  bool // its flags have just been changed
	record  *mailbox.Record
	message *mailbox.Message
	size    []byte // of the header, if that is all that is needed of the structure
	tree    *message.Part
	body    *body.Reader
}

// message writes the answer for one message. One that cannot be read is left
// out, and makes the command fail at its end.
func (f *fetcher) message(ctx context.Context, m *fetched) {
	if m.record != nil && m.record.Envelope == nil {
		return // forgotten by the store, since it was expunged long ago
	}
	if err := f.open(ctx, m); err != nil {
		if errors.Is(err, mail.ErrNotFound) {
			err = no(imap.CodeExpungeIssued, "some of the messages are gone")
		}
		f.failed = err
		return
	}
	if m.body != nil {
		defer f.close(m)
	}
	if err := f.measure(m); err != nil {
		f.failed = err
		return
	}
	e := f.s.enc
	if f.s.has(uidOnly) {
		f.s.beginFetch(m.seq, m.row.UID)
	} else {
		e.Raw("* ").Num(uint64(m.seq)).Raw(" FETCH (")
	}
	for i := range f.items {
		if i > 0 {
			e.Raw(" ")
		}
		f.item(m, &f.items[i])
	}
	if m.marked && !f.flags {
		e.Raw(" ").Bytes(f.texts.text(m.row))
	}
	e.Raw(")").CRLF()
}

// open makes ready what the items of one message need.
func (f *fetcher) open(ctx context.Context, m *fetched) (err error) {
	if m.message == nil {
		return nil
	}
	if f.tree {
		if m.tree, err = message.DecodePart(m.record.Tree); err != nil {
			return fmt.Errorf("imapd: structure of email %d: %w", m.row.Email, err)
		}
	}
	if m.body, err = m.message.OpenIn(ctx, f.body); err != nil {
		return err
	}
	if m.size != nil {
		n, _ := binary.Uvarint(m.size)
		f.root = message.Part{HeaderSize: int64(n), BodySize: m.body.Size() - int64(n)}
		m.tree = &f.root
	}
	return nil
}

// noteHeaderSize notes the size of the header.
func noteHeaderSize(dst []byte, r *mailbox.Record) []byte {
	tree, err := message.DecodePart(r.Tree)
	if err != nil {
		return dst
	}
	return binary.AppendUvarint(dst, uint64(tree.HeaderSize))
}

// close lets go of what open has made ready.
func (f *fetcher) close(m *fetched) {
	if b := m.body.Bytes(); b != nil {
		f.body = b[:0]
	}
	m.body.Close()
}

// item writes one item.
func (f *fetcher) item(m *fetched, it *item) {
	e := f.s.enc
	switch it.Kind {
	case imap.ItemFlags:
		e.Bytes(f.texts.text(m.row))
	case imap.ItemUID:
		e.Raw(it.label).Num(uint64(m.row.UID))
	case imap.ItemInternalDate:
		e.Raw(it.label).Date(m.row.Date())
	case imap.ItemSize:
		e.Raw(it.label).Num(uint64(m.row.Size))
	case imap.ItemModSeq:
		e.Raw(it.label).Raw("(").Num(uint64(m.row.ModSeq)).Raw(")")
	case imap.ItemEmailID:
		e.Raw(it.label).Raw("(").Raw(emailID(m.row.Email)).Raw(")")
	case imap.ItemThreadID:
		e.Raw(it.label).Raw("(").Raw(threadID(m.row.Thread)).Raw(")")
	case imap.ItemSaveDate:
		e.Raw(it.label).Date(m.row.Saved())
	case imap.ItemPreview:
		e.Raw(it.label).String(message.Preview(m.tree, m.body))
	case imap.ItemEnvelope:
		e.Raw(it.label).Bytes(m.record.Envelope)
	case imap.ItemBodyStructure:
		e.Raw(it.label).Bytes(m.record.Structure)
	case imap.ItemBody:
		e.Raw(it.label).Bytes(basicStructure(m))
	case imap.ItemBinary, imap.ItemBinarySize:
		f.writeBinary(m, it)
	default:
		f.writeSection(m, it)
	}
}

// basicStructure makes the answer to BODY, which the store does not keep.
func basicStructure(m *fetched) []byte {
	tree := m.tree
	if tree == nil {
		var err error
		if tree, err = message.DecodePart(m.record.Tree); err != nil {
			return m.record.Structure // with extensions, which every client can skip
		}
	}
	return imap.AppendBodyStructure(nil, tree, imap.Basic)
}

package imapd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/mailbox"
)

// sort is SORT and UID SORT. RFC 5256 §3, RFC 5267 §3, RFC 5957
func (s *session) sort(ctx context.Context, c *imap.Command) error {
	a := c.Args.(*imap.Sort)
	if s.keeps(c.Tag, &a.Search) {
		return errTagReuse
	}
	m, found, err := s.find(ctx, c.Tag, &a.Search)
	if err == nil {
		err = s.unlimited()
	}
	if err != nil {
		return s.unsaved(&a.Search, err)
	}
	o := &ordering{s: s, box: s.box, compare: m.compare, rows: rowsOf(m.snap, found)}
	uids, err := o.sorted(ctx, a.By)
	if err != nil {
		return s.unsaved(&a.Search, err)
	}
	if a.Return&imap.ReturnSave != 0 {
		s.box.saved = savedSorted(uids, a)
	}
	s.tellSorted(c.Tag, a, m, found, uids)
	if a.Return&imap.ReturnUpdate != 0 {
		s.keep(&searchContext{
			tag: c.Tag, head: correlator(c.Tag, a.UID), uid: a.UID, items: a.Fetch, key: a.Key, search: m, found: found, by: a.By, order: uids,
		})
	}
	return nil
}

// savedSorted gives what SAVE keeps of sorted results. RFC 5182 §2.4
func savedSorted(uids []mail.UID, a *imap.Sort) mail.UIDSet {
	switch ends := a.Return & (imap.ReturnMin | imap.ReturnMax); {
	case a.Return&imap.ReturnPartial != 0:
		from, to := a.Partial.In(len(uids))
		uids = uids[from:to]
	case a.Return&(imap.ReturnAll|imap.ReturnCount) != 0 || ends == 0 || len(uids) == 0:
	case ends == imap.ReturnMin:
		uids = uids[:1]
	case ends == imap.ReturnMax:
		uids = uids[len(uids)-1:]
	default:
		uids = []mail.UID{uids[0], uids[len(uids)-1]}
	}
	sorted := slices.Sorted(slices.Values(uids))
	var out mail.UIDSet
	for _, u := range sorted {
		out.Add(u)
	}
	return out
}

// number gives a UID as the client wants it.
func (s *session) number(u mail.UID, asUID bool) uint32 {
	if asUID {
		return uint32(u)
	}
	return s.box.view.Seq(u)
}

// tellSorted writes the answer to SORT: that of RFC 5256, or with RETURN that of
// RFC 5267.
func (s *session) tellSorted(tag string, a *imap.Sort, m *search, found mail.UIDSet, uids []mail.UID) {
	if a.Return == 0 {
		s.enc.Raw("* SORT")
		for _, u := range uids {
			s.enc.Raw(" ").Num(uint64(s.number(u, a.UID)))
		}
		if m.modSeq && len(uids) > 0 {
			s.enc.Raw(" (MODSEQ ").Num(uint64(highest(m.snap, found))).Raw(")")
		}
		s.enc.CRLF()
		return
	}
	if a.Return == imap.ReturnSave {
		return
	}
	s.enc.Bytes(correlator(tag, a.UID))
	if len(uids) > 0 {
		if a.Return&imap.ReturnMin != 0 {
			s.enc.Raw(" MIN ").Num(uint64(s.number(uids[0], a.UID)))
		}
		if a.Return&imap.ReturnMax != 0 {
			s.enc.Raw(" MAX ").Num(uint64(s.number(uids[len(uids)-1], a.UID)))
		}
		if a.Return&imap.ReturnAll != 0 {
			s.enc.Raw(" ALL ").Bytes(s.appendSorted(nil, uids, a.UID))
		}
	}
	if a.Return&imap.ReturnPartial != 0 {
		from, to := a.Partial.In(len(uids))
		s.tellPartial(a.Partial, s.appendSorted(nil, uids[from:to], a.UID))
	}
	if a.Return&imap.ReturnCount != 0 {
		s.enc.Raw(" COUNT ").Num(uint64(len(uids)))
	}
	if m.modSeq && len(uids) > 0 {
		s.enc.Raw(" MODSEQ ").Num(uint64(highest(m.snap, found)))
	}
	s.enc.CRLF()
}

// appendSorted appends numbers as a set that keeps their order.
func (s *session) appendSorted(dst []byte, uids []mail.UID, asUID bool) []byte {
	for i := 0; i < len(uids); {
		first := s.number(uids[i], asUID)
		last := first
		for i++; i < len(uids) && s.number(uids[i], asUID) == last+1; i++ {
			last++
		}
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = mail.UIDSpan(mail.UID(first), mail.UID(last)).Append(dst)
	}
	return dst
}

func rowsOf(snap *mailbox.Snapshot, set mail.UIDSet) []*mailbox.Row {
	rows := make([]*mailbox.Row, 0, set.Len())
	for _, r := range snap.In(set) {
		rows = append(rows, r)
	}
	return rows
}

// An ordering is messages and what they are to be ordered by.
type ordering struct {
	compare comparator
	s       *session
	box     *selected // where they are
	rows    []*mailbox.Row
	by      []criterion
}

// sorted gives the UIDs in order.
func (o *ordering) sorted(ctx context.Context, by []imap.SortBy) ([]mail.UID, error) {
	if err := o.prepare(ctx, by); err != nil {
		return nil, err
	}
	order := o.order()
	uids := make([]mail.UID, len(order))
	for i, at := range order {
		uids[i] = o.rows[at].UID
	}
	return uids, nil
}

// A criterion has a value for each message: numbers or texts.
type criterion struct {
	numbers []int64
	texts   [][]byte
	reverse bool
}

func (o *ordering) prepare(ctx context.Context, by []imap.SortBy) error {
	for _, b := range by {
		c := criterion{reverse: b.Reverse}
		var err error
		switch b.Key {
		case imap.SortArrival:
			c.numbers = o.number(func(r *mailbox.Row) int64 { return r.Date().Unix() })
		case imap.SortSize:
			c.numbers = o.number(func(r *mailbox.Row) int64 { return r.Size })
		case imap.SortDate:
			c.numbers, err = o.sent(ctx)
		default:
			t := textKeys[b.Key]
			c.texts, err = o.derived(ctx, o.compare.column(t.name), t.make(o.compare))
		}
		if err != nil {
			return err
		}
		o.by = append(o.by, c)
	}
	return nil
}

func (o *ordering) number(of func(*mailbox.Row) int64) []int64 {
	out := make([]int64, len(o.rows))
	for i, r := range o.rows {
		out[i] = of(r)
	}
	return out
}

// derived gives for every message what make makes of its record.
func (o *ordering) derived(ctx context.Context, name string, note func([]byte, *mailbox.Record) []byte) (out [][]byte, err error) {
	ids := make([]mail.EmailID, 0, pageSize)
	for rows := range slices.Chunk(o.rows, pageSize) {
		ids = ids[:0]
		for _, r := range rows {
			ids = append(ids, r.Email)
		}
		if out, err = o.s.srv.Mail.AppendDerived(ctx, out, o.box.Account, ids, name, note); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return out, nil
}

// sent gives when the messages were sent; if they do not say, when they came.
// RFC 5256 §2.2
func (o *ordering) sent(ctx context.Context) ([]int64, error) {
	noted, err := o.derived(ctx, "sent", func(dst []byte, r *mailbox.Record) []byte {
		if r.Sent.IsZero() {
			return dst
		}
		return binary.BigEndian.AppendUint64(dst, uint64(r.Sent.Unix()))
	})
	out := make([]int64, len(noted))
	for i, b := range noted {
		if len(b) == 8 {
			out[i] = int64(binary.BigEndian.Uint64(b))
		} else {
			out[i] = o.rows[i].Date().Unix()
		}
	}
	return out, err
}

// A ranked message has a part of one of its values as a number, which is compared
// without a look at the value, wherever that lies.
type ranked struct {
	rank uint64
	at   int
}

// chunk is how many bytes of a text make a rank.
const chunk = 8

// rank gives a number that orders as the value does, or as the next bytes of a text do
// from off on.
func (c *criterion) rank(at, off int) uint64 {
	var n uint64
	if c.numbers != nil {
		n = uint64(c.numbers[at]) ^ 1<<63
	} else if t := c.texts[at][off:]; len(t) >= chunk {
		n = binary.BigEndian.Uint64(t)
	} else {
		var first [chunk]byte
		copy(first[:], t)
		n = binary.BigEndian.Uint64(first[:])
	}
	if c.reverse {
		n = ^n
	}
	return n
}

// common gives how long the texts of the list are equal; they are so in front of off.
func (c *criterion) common(list []ranked, off int) int {
	first := c.texts[list[0].at]
	n := len(first)
	for _, r := range list[1:] {
		t := c.texts[r.at]
		n = min(n, len(t))
		if bytes.Equal(first[off:n], t[off:n]) {
			continue
		}
		for n = off; t[n] == first[n]; n++ {
		}
		if n == off {
			break
		}
	}
	return n
}

// rest tells of messages of equal rank at off whether their texts go on behind it, and
// if they do not, whether they are equal: where a text ends, its rank is as if it had
// zeros, which another may have.
func (c *criterion) rest(list []ranked, off int) (longer, equal bool) {
	if c.numbers != nil {
		return false, true
	}
	n := len(c.texts[list[0].at])
	longer, equal = true, true
	for _, r := range list {
		l := len(c.texts[r.at])
		longer, equal = longer && l >= off+chunk, equal && l == n
	}
	return longer, equal
}

func (c *criterion) compare(a, b int) int {
	d := bytes.Compare(c.texts[a], c.texts[b])
	if c.reverse {
		return -d
	}
	return d
}

// order gives the indices of the messages in order. What is equal stays in the
// order of the mailbox, even if all criteria are reversed. RFC 5256 §3
func (o *ordering) order() []int {
	list := make([]ranked, len(o.rows))
	for i := range list {
		list[i].at = i
	}
	o.settle(list, o.by, 0)
	at := make([]int, len(list))
	for i, r := range list {
		at[i] = r.at
	}
	return at
}

// settle orders messages by the criteria; the texts of the first are equal in front of
// off. Most values differ early, and those that do not, because they begin alike or are
// the same, are not compared over and over.
func (o *ordering) settle(list []ranked, by []criterion, off int) {
	if len(by) == 0 {
		slices.SortFunc(list, func(a, b ranked) int { return cmp.Compare(a.at, b.at) })
		return
	}
	c := &by[0]
	if c.texts != nil && len(list) > 0 {
		off = c.common(list, off)
	}
	for i := range list {
		list[i].rank = c.rank(list[i].at, off)
	}
	slices.SortFunc(list, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].rank == list[0].rank {
			n++
		}
		run := list[:n]
		list = list[n:]
		if n == 1 {
			continue
		}
		switch longer, equal := c.rest(run, off); {
		case longer:
			o.settle(run, by, off+chunk)
		case equal:
			o.settle(run, by[1:], 0)
		default:
			slices.SortFunc(run, func(a, b ranked) int { return c.compare(a.at, b.at) })
			o.ties(run, c, by[1:])
		}
	}
}

// ties orders what c, by which the list is ordered, leaves equal.
func (o *ordering) ties(list []ranked, c *criterion, by []criterion) {
	for len(list) > 0 {
		n := 1
		for n < len(list) && c.compare(list[n].at, list[0].at) == 0 {
			n++
		}
		o.settle(list[:n], by, 0)
		list = list[n:]
	}
}

// textKeys has how the texts are made that messages are ordered by.
var textKeys = map[imap.SortKey]struct {
	name string
	make func(comparator) func([]byte, *mailbox.Record) []byte
}{
	imap.SortFrom:        {"sort from", mailboxKey("from")},
	imap.SortTo:          {"sort to", mailboxKey("to")},
	imap.SortCc:          {"sort cc", mailboxKey("cc")},
	imap.SortDisplayFrom: {"sort displayfrom", displayKey("from")},
	imap.SortDisplayTo:   {"sort displayto", displayKey("to")},
	imap.SortSubject:     {"sort subject", noteSubject},
}

// sortText appends text in the form in which texts are ordered: where case does
// not matter, ASCII letters are capital ones, so that marks which stand between the two cases in ASCII come
// behind all letters. RFC 4790 §9.2, RFC 5051
func (by comparator) sortText(dst []byte, text string) []byte {
	start := len(dst)
	dst = by.fold(dst, []byte(text))
	if by == octet {
		return dst
	}
	for i := start; i < len(dst); i++ {
		if c := dst[i]; 'a' <= c && c <= 'z' {
			dst[i] = c - 'a' + 'A'
		}
	}
	return dst
}

// firstAddress gives the first address of a field; false if it has none.
func firstAddress(r *mailbox.Record, field string) (message.Address, bool) {
	fields, _ := r.Fields(nil, field)
	for f := range message.Fields(fields) {
		for _, a := range message.ParseAddressList(f.Text()) {
			if a.Kind != message.GroupEnd {
				return a, true
			}
		}
		break
	}
	return message.Address{}, false
}

// mailboxKey orders by the local part of the first address. RFC 5256 §3
func mailboxKey(field string) func(comparator) func([]byte, *mailbox.Record) []byte {
	return func(by comparator) func([]byte, *mailbox.Record) []byte {
		return func(dst []byte, r *mailbox.Record) []byte {
			a, _ := firstAddress(r, field)
			if a.Kind == message.GroupStart {
				return by.sortText(dst, a.Name)
			}
			return by.sortText(dst, a.Local)
		}
	}
}

// displayKey orders by what is shown of the first address. RFC 5957 §3
func displayKey(field string) func(comparator) func([]byte, *mailbox.Record) []byte {
	return func(by comparator) func([]byte, *mailbox.Record) []byte {
		return func(dst []byte, r *mailbox.Record) []byte {
			a, ok := firstAddress(r, field)
			switch {
			case !ok:
				return dst
			case a.Name != "":
				return by.sortText(dst, message.DecodeWords(a.Name))
			case a.Domain == "":
				return by.sortText(dst, a.Local)
			}
			return by.sortText(dst, a.Local+"@"+a.Domain)
		}
	}
}

// noteSubject notes the base subject, folded. RFC 5256 §2.1
func noteSubject(by comparator) func([]byte, *mailbox.Record) []byte {
	return func(dst []byte, r *mailbox.Record) []byte {
		base, _ := baseSubject(r)
		return by.sortText(dst, base)
	}
}

func baseSubject(r *mailbox.Record) (base string, reply bool) {
	fields, _ := r.Fields(nil, "subject")
	for f := range message.Fields(fields) {
		return message.BaseSubject(f.Text())
	}
	return "", false
}

package pop3d

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

// A drop is a maildrop as one session sees it: INBOX as it was at login, or what
// the device's policy makes of the account's mailboxes.
type drop struct {
	mail    *mailbox.Store
	rules   *maildrop.Store
	account mail.AccountID
	device  maildrop.Device
	policy  maildrop.Policy
	parts   []part
	total   int
	deleted marks
	read    marks         // retrieved whole
	whole   marks         // the same by TOP: they stay unread
	gone    []mail.UIDSet // of each part: what was removed at QUIT
	count   int           // messages that are not deleted
	size    int64         // their octets
	sent    int64         // octets retrieved
	utf8    bool          // headers may have UTF-8

	// Messages fetched ahead: ahead[i] is number first+i.
	ahead []mailbox.Message
	first int
	last  int    // the message opened last
	text  []byte // it, if it was small; the memory serves the next one
}

// A part is one mailbox of the maildrop.
type part struct {
	box   mail.MailboxID
	snap  *mailbox.Snapshot
	picks []int32 // which messages of snap are in it, nil: all
	first int     // the number of its first message in the drop, from 0
}

func (p *part) len() int {
	if p.picks != nil {
		return len(p.picks)
	}
	return p.snap.Len()
}

func (p *part) at(i int) *mailbox.Row {
	if p.picks != nil {
		i = int(p.picks[i])
	}
	return p.snap.At(i)
}

func openDrop(ctx context.Context, st *mailbox.Store, rules *maildrop.Store, a mail.AccountID, device maildrop.Device) (*drop, error) {
	policies, err := rules.Policies(ctx, a)
	if err != nil {
		return nil, err
	}
	d := &drop{mail: st, rules: rules, account: a, device: device, policy: policies.Of(device), last: -1}
	for _, box := range d.policy.Boxes() {
		snap, err := st.Open(ctx, a, box)
		if errors.Is(err, mail.ErrNotFound) && box != mailbox.Inbox {
			continue // the mailbox is gone since the policy was made
		}
		if err != nil {
			return nil, err
		}
		p := part{box: box, snap: snap}
		hidden, err := rules.Hidden(ctx, a, device, box)
		if err != nil {
			return nil, err
		}
		p.window(&d.policy, hidden)
		d.parts = append(d.parts, p)
	}
	d.newest()
	for i := range d.parts {
		d.parts[i].first = d.total
		d.total += d.parts[i].len()
	}
	d.gone = make([]mail.UIDSet, len(d.parts))
	return d, nil
}

// window leaves out what the policy does not show.
func (p *part) window(policy *maildrop.Policy, hidden mail.UIDSet) {
	if hidden.IsEmpty() && policy.Since.IsZero() && !policy.Unread {
		return
	}
	p.picks = make([]int32, 0, p.snap.Len())
	for i, r := range p.snap.Rows(0) {
		if hidden.Contains(r.UID) || r.Date().Before(policy.Since) || policy.Unread && r.Flags&mailbox.Seen != 0 {
			continue
		}
		p.picks = append(p.picks, int32(i))
	}
}

// newest leaves only the newest messages, by the time they came into their
// mailboxes.
func (d *drop) newest() {
	most := d.policy.Newest
	var ages []int64
	for i := range d.parts {
		for j := range d.parts[i].len() {
			ages = append(ages, d.parts[i].at(j).Saved().Unix())
		}
	}
	if most == 0 || len(ages) <= most {
		return
	}
	slices.Sort(ages)
	limit := ages[len(ages)-most]
	same := 0 // of those that came in that second, the first ones go
	for _, a := range ages[:len(ages)-most] {
		if a == limit {
			same++
		}
	}
	for i := range d.parts {
		p := &d.parts[i]
		var picks []int32
		for j := range p.len() {
			at := p.at(j).Saved().Unix()
			if at == limit && same > 0 {
				same--
				continue
			}
			if at < limit {
				continue
			}
			n := int32(j)
			if p.picks != nil {
				n = p.picks[j]
			}
			picks = append(picks, n)
		}
		p.picks = append(make([]int32, 0, len(picks)), picks...)
	}
}

// reset unmarks all deleted messages.
func (d *drop) reset() {
	d.deleted, d.count, d.size = nil, d.total, 0
	for _, r := range d.rows(0) {
		d.size += d.octets(r)
	}
}

// octets is the size of a message as RETR sends it. RFC 1939 §11
func (d *drop) octets(r *mailbox.Row) int64 {
	if d.utf8 {
		return r.Lined()
	}
	return r.LinedASCII()
}

// find gives the part that message i is in, and its number there.
func (d *drop) find(i int) (p *part, at int) {
	for n := len(d.parts) - 1; n >= 0; n-- {
		if p = &d.parts[n]; i >= p.first {
			return p, i - p.first
		}
	}
	return nil, 0
}

// at gives message i, 0 <= i < total.
func (d *drop) at(i int) *mailbox.Row {
	p, n := d.find(i)
	return p.at(n)
}

// rows goes over the messages from number i on.
func (d *drop) rows(i int) iter.Seq2[int, *mailbox.Row] {
	return func(yield func(int, *mailbox.Row) bool) {
		for n := range d.parts {
			p := &d.parts[n]
			if from := max(i-p.first, 0); from < p.len() && !p.each(from, yield) {
				return
			}
		}
	}
}

// each goes over the messages of a part from number i in it on; false if yield
// wants no more.
func (p *part) each(i int, yield func(int, *mailbox.Row) bool) bool {
	if p.picks == nil {
		for n, r := range p.snap.Rows(i) {
			if !yield(p.first+n, r) {
				return false
			}
		}
		return true
	}
	for ; i < len(p.picks); i++ {
		if !yield(p.first+i, p.at(i)) {
			return false
		}
	}
	return true
}

// row gives a message by the number that clients give it, which begins at 1.
func (d *drop) row(number uint32) (int, *mailbox.Row, error) {
	i := int64(number) - 1
	if i >= int64(d.total) {
		return 0, nil, no("", "there is no message with this number")
	}
	if d.deleted.has(int(i)) {
		return 0, nil, no("", "this message is deleted")
	}
	return int(i), d.at(int(i)), nil
}

// delete marks a message as deleted.
func (d *drop) delete(i int) {
	d.deleted.set(i, d.total)
	d.count--
	d.size -= d.octets(d.at(i))
}

const (
	// farAhead is how many messages are fetched at once from one that seems to
	// take them all. What is fetched is no more than a few KB each.
	farAhead = 32
	// nearAhead is the same when that is not yet clear.
	nearAhead = 4
)

// message gives message i, and fetches some ahead if this looks like a client
// that takes one after the other.
func (d *drop) message(ctx context.Context, i int) (*mailbox.Message, error) {
	at := i - d.first
	if at < 0 || at >= len(d.ahead) {
		n := 1
		switch {
		case i == 0:
			n = nearAhead
		case i == d.last+1:
			n = farAhead
		}
		ids := make([]mail.EmailID, 0, n)
		for _, r := range d.rows(i) {
			if ids = append(ids, r.Email); len(ids) == n {
				break
			}
		}
		msgs, err := d.mail.Messages(ctx, d.account, ids)
		if err != nil {
			return nil, err
		}
		d.ahead, d.first, at = msgs, i, 0
	}
	d.last = i
	return &d.ahead[at], nil
}

// forget gives back the memory of what was fetched ahead.
func (d *drop) forget() { d.ahead, d.first, d.text = nil, 0, nil }

// commitTimeout is how long the end of a session may take: a client that has
// hung up must not catch us half way.
const commitTimeout = time.Minute

// expunge removes the messages marked as deleted, and what was retrieved if the
// policy is to keep nothing. It gives how many of them are not gone then.
func (d *drop) expunge(ctx context.Context) (left int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var errs []error
	for i := range d.parts {
		p := &d.parts[i]
		doomed := d.uids(p, d.deleted)
		if d.policy.After == maildrop.DeleteAtOnce {
			doomed = doomed.Union(d.collected(p))
		}
		if doomed.IsEmpty() {
			continue
		}
		err := d.rules.Remove(ctx, d.account, d.device, p.box, doomed, d.policy.Removal)
		if err == nil {
			d.gone[i] = doomed
			continue
		}
		// A very large deletion takes several transactions, of which some may
		// have gone well.
		errs = append(errs, err)
		if now, lookErr := d.mail.Open(ctx, d.account, p.box); lookErr == nil && d.policy.Removal != maildrop.Hide {
			d.gone[i] = doomed.Subtract(now.UIDs())
		}
		left += doomed.Len() - d.gone[i].Len()
	}
	return left, errors.Join(errs...)
}

// markSeen marks what was retrieved, and is still there, as \Seen, in one go for
// each mailbox.
func (d *drop) markSeen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	for i := range d.parts {
		p := &d.parts[i]
		var seen mail.UIDSet
		for n, r := range d.rows(p.first) {
			if n >= p.first+p.len() {
				break
			}
			if d.read.has(n) && r.Flags&mailbox.Seen == 0 {
				seen.Add(r.UID)
			}
		}
		if d.policy.Removal != maildrop.Hide {
			seen = seen.Subtract(d.gone[i])
		}
		if seen.IsEmpty() {
			continue
		}
		_, err := d.mail.StoreFlags(ctx, d.account, p.box, seen, mailbox.FlagChange{Mode: mailbox.AddFlags, Flags: mailbox.Seen})
		if err != nil {
			return fmt.Errorf("pop3d: mark as seen: %w", err)
		}
	}
	return nil
}

// visited writes the ledger.
func (d *drop) visited(ctx context.Context, from netip.Addr) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	v := maildrop.Visit{Device: d.device, From: from, Removal: d.policy.Removal, Bytes: d.sent}
	for i := range d.parts {
		p := &d.parts[i]
		x := maildrop.BoxVisit{Mailbox: p.box, Collected: d.collected(p), Removed: d.gone[i]}
		if !x.Collected.IsEmpty() || !x.Removed.IsEmpty() {
			x.There, x.Next = p.snap.UIDs(), p.snap.Mailbox.UIDNext
			v.Boxes = append(v.Boxes, x)
		}
	}
	if v.Boxes == nil {
		return nil
	}
	return d.rules.Visited(ctx, d.account, v)
}

// collected gives the messages of a part that the client has got whole.
func (d *drop) collected(p *part) mail.UIDSet { return d.uids(p, d.read).Union(d.uids(p, d.whole)) }

// uids gives the marked messages of a part.
func (d *drop) uids(p *part, m marks) mail.UIDSet {
	var set mail.UIDSet
	if m == nil {
		return set
	}
	p.each(0, func(i int, r *mailbox.Row) bool {
		if m.has(i) {
			set.Add(r.UID)
		}
		return true
	})
	return set
}

// uniqueIDs gives what makes the unique id of a message: that which it brought
// along when its account moved in, or "uidvalidity.uid". If several brought the
// same, the first has it. RFC 1939 §7
func (d *drop) uniqueIDs(ctx context.Context) (func(i int, r *mailbox.Row) string, error) {
	brought, err := d.mail.UIDLs(ctx, d.account)
	if err != nil {
		return nil, err
	}
	own := func(i int, r *mailbox.Row) string {
		p, _ := d.find(i)
		return strconv.FormatUint(uint64(p.snap.Mailbox.UIDValidity), 10) + "." + strconv.FormatUint(uint64(r.UID), 10)
	}
	if len(brought) == 0 {
		return own, nil
	}
	holder := make(map[string]int, len(brought))
	for i, r := range d.rows(0) {
		if id := brought[r.Email]; id != "" {
			if _, taken := holder[id]; !taken {
				holder[id] = i
			}
		}
	}
	return func(i int, r *mailbox.Row) string {
		id := brought[r.Email]
		if n, ok := holder[id]; ok && n == i {
			return id
		}
		if id = own(i, r); holderOf(holder, id) {
			return id + "~" // somebody else brought our own
		}
		return id
	}, nil
}

func holderOf(holder map[string]int, id string) bool {
	_, ok := holder[id]
	return ok
}

// marks are messages by number, a bit each; nil has none.
type marks []uint64

func (m marks) has(i int) bool { return m != nil && m[i/64]&(1<<(i%64)) != 0 }

// set marks message i of n.
func (m *marks) set(i, n int) {
	if *m == nil {
		*m = make(marks, (n+63)/64)
	}
	(*m)[i/64] |= 1 << (i % 64)
}

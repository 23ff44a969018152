package pop3d

import (
	"context"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// A drop is a maildrop as one session sees it: INBOX as it was at login.
type drop struct {
	mail    *mailbox.Store
	account mail.AccountID
	snap    *mailbox.Snapshot
	deleted marks
	read    marks // retrieved whole
	count   int   // messages that are not deleted
	size    int64 // their octets
	utf8    bool  // headers may have UTF-8

	// Messages fetched ahead: ahead[i] is number first+i.
	ahead []mailbox.Message
	first int
	last  int    // the message opened last
	text  []byte // it, if it was small; the memory serves the next one
}

func openDrop(ctx context.Context, st *mailbox.Store, a mail.AccountID) (*drop, error) {
	snap, err := st.Open(ctx, a, mailbox.Inbox)
	if err != nil {
		return nil, err
	}
	d := &drop{mail: st, account: a, snap: snap, last: -1}
	return d, nil
}

// reset unmarks all deleted messages.
func (d *drop) reset() {
	d.deleted, d.count, d.size = nil, d.snap.Len(), 0
	for _, r := range d.snap.Rows(0) {
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

// row gives a message by the number that clients give it, which begins at 1.
func (d *drop) row(number uint32) (int, *mailbox.Row, error) {
	i := int64(number) - 1
	if i >= int64(d.snap.Len()) {
		return 0, nil, no("", "there is no message with this number")
	}
	if d.deleted.has(int(i)) {
		return 0, nil, no("", "this message is deleted")
	}
	return int(i), d.snap.At(int(i)), nil
}

// delete marks a message as deleted.
func (d *drop) delete(i int) {
	d.deleted.set(i, d.snap.Len())
	d.count--
	d.size -= d.octets(d.snap.At(i))
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
		for _, r := range d.snap.Rows(i) {
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

// expunge removes the messages marked as deleted, and gives how many of them
// are not gone then.
func (d *drop) expunge(ctx context.Context) (left int, err error) {
	doomed := d.uids(d.deleted)
	if doomed.IsEmpty() {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if _, _, err = d.mail.Expunge(ctx, d.account, mailbox.Inbox, doomed, mailbox.ExpungeAll); err == nil {
		for i := range d.read {
			d.read[i] &^= d.deleted[i] // there is nothing left to mark
		}
		return 0, nil
	}
	// A very large deletion takes several transactions, of which some may have
	// gone well.
	left = doomed.Len()
	if now, lookErr := d.mail.Open(ctx, d.account, mailbox.Inbox); lookErr == nil {
		left = doomed.Intersect(now.UIDs()).Len()
	}
	return left, err
}

// markSeen marks what was retrieved as \Seen, in one go.
func (d *drop) markSeen(ctx context.Context) error {
	seen := d.uids(d.read)
	d.read = nil
	if seen.IsEmpty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	_, err := d.mail.StoreFlags(ctx, d.account, mailbox.Inbox, seen, mailbox.FlagChange{Mode: mailbox.AddFlags, Flags: mailbox.Seen})
	if err != nil {
		return fmt.Errorf("pop3d: mark as seen: %w", err)
	}
	return nil
}

func (d *drop) uids(m marks) mail.UIDSet {
	var set mail.UIDSet
	if m == nil {
		return set
	}
	for i, r := range d.snap.Rows(0) {
		if m.has(i) {
			set.Add(r.UID)
		}
	}
	return set
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

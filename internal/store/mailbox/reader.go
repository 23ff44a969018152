package mailbox

import (
	"context"
	"fmt"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A readerKey names what one reader has seen of a mailbox.
type readerKey struct {
	boxKey
	reader mail.AccountID
}

// A readState is what one reader has seen of a mailbox, at one moment. It never
// changes. Snapshots that differ in nothing else share their rows: what a reader
// has of its own is in its readState, and laid over them.
type readState struct {
	since  mail.ModSeq // see Mailbox.own: a state of before that is worth nothing
	modseq mail.ModSeq // of the account: it is right up to here
	last   mail.ModSeq // of the reader's last change
	blocks []readBlock // in order
}

type readBlock struct {
	number uint32
	last   mail.ModSeq // of the changes in it
	runs   runs
}

// size is about how much memory it takes.
func (p *readState) size() int {
	n := 200 + 40*len(p.blocks)
	for i := range p.blocks {
		n += 24 * len(p.blocks[i].runs)
	}
	return n
}

func (p *readState) find(n uint32) (int, bool) {
	return slices.BinarySearchFunc(p.blocks, n, func(b readBlock, n uint32) int { return int(int64(b.number) - int64(n)) })
}

func (p *readState) at(u mail.UID) (seen bool, seq mail.ModSeq) {
	i, ok := p.find(blockNumber(u))
	if !ok {
		return false, 0
	}
	return p.blocks[i].runs.at(u)
}

// over gives a message as the reader has it. The row is not changed.
func (p *readState) over(r *Row) *Row {
	if p == nil {
		return r
	}
	seen, seq := p.at(r.UID)
	if seen == (r.Flags&Seen != 0) && seq <= r.ModSeq {
		return r
	}
	n := *r
	if n.Flags &^= Seen; seen {
		n.Flags |= Seen
	}
	n.ModSeq = max(n.ModSeq, seq)
	return &n
}

// changedSince gives the messages that the reader has changed after seq.
func (p *readState) changedSince(seq mail.ModSeq) (changed mail.UIDSet) {
	for i := range p.blocks {
		if p.blocks[i].last <= seq {
			continue
		}
		for _, r := range p.blocks[i].runs {
			if r.seq > seq {
				changed.AddRange(r.first, r.last)
			}
		}
	}
	return changed
}

// seen gives the messages that the reader has seen.
func (p *readState) seen() (set mail.UIDSet) {
	for i := range p.blocks {
		for _, r := range p.blocks[i].runs {
			if r.seen {
				set.AddRange(r.first, r.last)
			}
		}
	}
	return set
}

// put takes over what a block's row has.
func (p *readState) put(n uint32, l runs) {
	b := readBlock{n, l.highest(), l}
	if i, ok := p.find(n); ok {
		p.blocks[i] = b
	} else {
		p.blocks = slices.Insert(p.blocks, i, b)
	}
	p.last = max(p.last, b.last)
}

// everyone is the reader whose rows are what all begin with.
const everyone mail.AccountID = 0

// loadState reads what a reader has seen of a mailbox. In a block of which the
// reader has no row, it is what all begin with.
func loadState(r kv.Reader, k readerKey) (*readState, error) {
	p := &readState{}
	for _, who := range [...]mail.AccountID{everyone, k.reader} {
		for row, err := range r.Scan(kv.Prefix(seenPrefix(k.acct, k.box, who))) {
			if err != nil {
				return nil, err
			}
			_, n := decodeSeenKey(row.Key)
			l, err := decodeRuns(n, row.Value)
			if err != nil {
				return nil, err
			}
			p.put(n, l)
		}
	}
	return p, nil
}

// readBlockOf reads one block of what a reader has seen.
func readBlockOf(r kv.Reader, k readerKey, n uint32) (runs, error) {
	rows, err := r.GetMany(seenKey(k.acct, k.box, everyone, n), seenKey(k.acct, k.box, k.reader, n))
	if err != nil {
		return nil, err
	}
	raw := rows[1]
	if raw == nil {
		raw = rows[0]
	}
	if raw == nil {
		return nil, nil
	}
	return decodeRuns(n, raw)
}

// forwardState gives what a reader has seen of the mailbox m when the account is
// at seq, from the older state old if there is one.
func forwardState(r kv.Reader, old *readState, k readerKey, m *Mailbox, seq, floor mail.ModSeq) (*readState, error) {
	if old != nil && old.since == m.own && old.modseq == seq {
		return old, nil
	}
	if old != nil && old.modseq > seq {
		return nil, errAhead
	}
	if old == nil || old.since != m.own || old.modseq < floor || seq-old.modseq > maxForward {
		p, err := loadState(r, k)
		if err != nil {
			return nil, fmt.Errorf("mailbox: what %d has seen of mailbox %d: %w", k.reader, k.box, err)
		}
		p.since, p.modseq = m.own, seq
		return p, nil
	}
	var changed mail.UIDSet
	err := eachChange(r, k.acct, old.modseq, seq, func(_ mail.ModSeq, o *op) error {
		if o.kind == opSeen && o.box == k.box && (o.reader == k.reader || o.reader == everyone) {
			changed = changed.Union(o.uids)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &readState{since: old.since, modseq: seq, last: old.last, blocks: old.blocks}
	if !changed.IsEmpty() {
		p.blocks = slices.Clone(p.blocks)
	}
	for _, n := range blocksOf(changed) {
		l, err := readBlockOf(r, k, n)
		if err != nil {
			return nil, err
		}
		p.put(n, l)
	}
	return p, nil
}

// readStateBytes is how much memory what readers have seen may take.
const readStateBytes = 32 << 20

// OpenAs is Open for somebody who need not be the owner: where \Seen is each
// reader's own, it and what follows from it are theirs.
func (s *Store) OpenAs(ctx context.Context, b Box, who mail.AccountID) (*Snapshot, error) {
	return s.open(ctx, boxKey{b.Account, b.Mailbox}, who)
}

// askedFor is of how many messages UnseenBy asks one by one whether they are there.
const askedFor = 500

// UnseenBy gives how many messages of a mailbox where \Seen is each reader's own
// somebody has not seen, and the sequence of the last change as they have it: what Unseen
// and ModSeq are of OpenAs. The messages themselves are read only if neither what they
// have seen nor what they have not is little, and messages are missing in between.
func (s *Store) UnseenBy(ctx context.Context, b Box, who mail.AccountID) (unseen uint32, last mail.ModSeq, err error) {
	known := false
	err = s.DB.View(ctx, func(r kv.Reader) error {
		m, err := readMailbox(r, b.Account, b.Mailbox)
		if err != nil {
			return err
		}
		p, err := loadState(r, readerKey{boxKey{b.Account, b.Mailbox}, who})
		if err != nil {
			return err
		}
		last = max(m.ModSeq, p.last)
		unseen, known, err = countUnseen(r, b, &m, p.seen())
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("mailbox: what %d has not seen: %w", who, err)
	}
	if known {
		return unseen, last, nil
	}
	snap, err := s.OpenAs(ctx, b, who)
	if err != nil {
		return 0, 0, err
	}
	return snap.Unseen(), snap.Mailbox.ModSeq, nil
}

// countUnseen counts the messages of a mailbox that are not among those seen, if that
// takes little.
func countUnseen(r kv.Reader, b Box, m *Mailbox, seen mail.UIDSet) (n uint32, known bool, err error) {
	given := mail.UIDSpan(1, m.UIDNext-1)
	if m.UIDNext == 1 {
		given = mail.UIDSet{}
	}
	not := given.Subtract(seen)
	switch {
	case seen.IsEmpty() || m.Total == uint32(given.Len()): // all are there that ever were
		return m.Total - uint32(seen.Len()), true, nil
	case not.Len() <= askedFor:
		n, err = there(r, b, not)
		return n, true, err
	case seen.Len() <= askedFor:
		n, err = there(r, b, seen)
		return m.Total - n, true, err
	}
	return 0, false, nil
}

// there counts the messages of a set that are in a mailbox.
func there(r kv.Reader, b Box, set mail.UIDSet) (n uint32, err error) {
	var keys [][]byte
	for u := range set.All() {
		keys = append(keys, messageKey(b.Account, b.Mailbox, u))
	}
	rows, err := r.GetMany(keys...)
	for _, row := range rows {
		if row != nil {
			n++
		}
	}
	return n, err
}

// as gives a snapshot as a reader has it.
func (s *Store) as(r kv.Reader, snap *Snapshot, a, who mail.AccountID) (*Snapshot, error) {
	m := &snap.Mailbox
	rt, err := readRoot(r, a)
	if err != nil {
		return nil, err
	}
	k := readerKey{boxKey{a, m.ID}, who}
	old, _ := s.seen.get(k)
	p, err := forwardState(r, old, k, m, snap.ModSeq, rt.floor)
	if err != nil {
		return nil, err
	}
	if p != old {
		s.seen.put(k, p, p.size(), readStateBytes)
	}
	return snap.with(p), nil
}

// with lays what a reader has seen over a snapshot.
func (s *Snapshot) with(p *readState) *Snapshot {
	n := *s
	n.state = p
	n.Mailbox.ModSeq = max(n.Mailbox.ModSeq, p.last)
	return &n
}

// Unseen is how many messages are not seen.
func (s *Snapshot) Unseen() uint32 {
	if s.state == nil {
		return s.Mailbox.Unseen
	}
	return uint32(s.n - s.UIDs().Intersect(s.state.seen()).Len())
}

package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A SeenMode says whose \Seen is in a mailbox that several people read.
type SeenMode string

// The modes, as the entry SeenEntry has them.
const (
	SeenCommon SeenMode = "common" // what one has read is read for all
	SeenOwn    SeenMode = "own"    // each reader has read what they have read
)

// ParseSeenMode reads a mode; false if it is none.
func ParseSeenMode(s string) (SeenMode, bool) {
	m := SeenMode(s)
	return m, m == SeenCommon || m == SeenOwn
}

// SeenMode tells whose \Seen is. Of a mailbox that is not shared and of which
// nobody has said anything, it tells what will be when it is shared.
func (m *Mailbox) SeenMode() SeenMode {
	if m.own > 0 || !m.chosen && len(m.ACL) == 0 {
		return SeenOwn
	}
	return SeenCommon
}

// OwnSeen tells whether what somebody has seen of the mailbox is their own. The
// owner's stands in the rows of the messages, as that of all does otherwise.
func (m *Mailbox) OwnSeen(owner, who mail.AccountID) bool {
	return m.own > 0 && who != owner && who != 0
}

// SetSeenMode says whose \Seen is to be. Nobody loses what they have read when
// each gets their own. When it becomes common, what the owner has read is read; in
// a shared folder, which has no owner who reads, what anybody has read.
func (s *Store) SetSeenMode(ctx context.Context, b Box, mode SeenMode) error {
	if err := s.gatherSeen(ctx, b, mode); err != nil {
		return err
	}
	err := s.update(ctx, b.Account, func(e *Edit) error {
		box, err := e.messages(b.Mailbox)
		if err != nil {
			return err
		}
		_, err = e.setSeenMode(box, mode)
		return err
	})
	if err != nil {
		return fmt.Errorf("mailbox: whose \\Seen is: %w", err)
	}
	return nil
}

// gatherSeen marks as read what anybody has read, where that is to be common and
// nobody owns it. Until then nobody sees those marks.
func (s *Store) gatherSeen(ctx context.Context, b Box, mode SeenMode) error {
	var read mail.UIDSet
	err := s.DB.View(ctx, func(r kv.Reader) error {
		read = mail.UIDSet{}
		rt, err := readRoot(r, b.Account)
		if err != nil || !rt.shared || mode != SeenCommon {
			return err
		}
		m, err := readMailbox(r, b.Account, b.Mailbox)
		if err != nil || m.own == 0 {
			return err
		}
		return eachReader(r, boxKey{b.Account, b.Mailbox}, func(who mail.AccountID) error {
			p, err := loadState(r, readerKey{boxKey{b.Account, b.Mailbox}, who})
			if err == nil {
				read = read.Union(p.seen())
			}
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("mailbox: who has read what: %w", err)
	}
	if read.IsEmpty() {
		return nil
	}
	_, err = s.StoreFlags(ctx, b.Account, b.Mailbox, read, FlagChange{Mode: AddFlags, Flags: Seen})
	return err
}

// setSeenMode tells whether it has changed anything.
func (e *Edit) setSeenMode(b *editBox, mode SeenMode) (changed bool, err error) {
	was := b.SeenMode()
	switch {
	case mode == SeenOwn && b.own == 0 && len(b.ACL) > 0:
		err = e.makeOwn(b)
	case mode == SeenOwn && b.own == 0: // nobody has been there
		b.own, b.dirty = e.root.modseq, true
	case mode == SeenCommon && b.own > 0:
		err = e.makeCommon(b)
	}
	if err != nil {
		return false, err
	}
	if !b.chosen || was != mode {
		b.chosen, b.dirty = true, true
		e.note(op{kind: opMailbox, box: b.ID})
	}
	return was != mode, nil
}

// makeOwn lets each reader begin with what is seen now.
func (e *Edit) makeOwn(b *editBox) error {
	now, err := e.current(b.ID)
	if err != nil {
		return err
	}
	var seen mail.UIDSet
	for _, r := range now.Rows(0) {
		if r.Flags&Seen != 0 {
			seen.Add(r.UID)
		}
	}
	bytes := 0
	for _, n := range blocksOf(seen) {
		part := seen.Intersect(inBlock(n))
		row := runs(nil).set(n, part, true, 0, part).append(nil)
		if bytes += len(row) + 40; bytes > kv.MaxTx/2 {
			return fmt.Errorf("mailbox: %q has too many messages: %w", b.Name, mail.ErrLimit)
		}
		e.tx.Set(seenKey(e.acct, b.ID, everyone, n), row)
	}
	b.own, b.dirty = e.root.modseq, true
	return nil
}

// makeCommon forgets what readers have of their own. Messages that are now
// another thing for one of them count as changed, and so do those of which one of
// them changed it: with what is forgotten goes when that was. RFC 7162 §3
func (e *Edit) makeCommon(b *editBox) error {
	now, err := e.current(b.ID)
	if err != nil {
		return err
	}
	var seen, other mail.UIDSet
	for _, r := range now.Rows(0) {
		if r.Flags&Seen != 0 {
			seen.Add(r.UID)
		}
	}
	there := now.UIDs()
	compare := func(who mail.AccountID) error {
		p, err := loadState(e.tx, readerKey{boxKey{e.acct, b.ID}, who})
		if err == nil {
			theirs := p.seen().Intersect(there)
			other = other.Union(theirs.Subtract(seen)).Union(seen.Subtract(theirs)).Union(p.changedSince(0).Intersect(there))
		}
		return err
	}
	if err := compare(everyone); err != nil {
		return err
	}
	if err := eachReader(e.tx, boxKey{e.acct, b.ID}, compare); err != nil {
		return err
	}
	if len(other.Ranges()) > maxRanges {
		other = mail.UIDSpan(other.Min(), other.Max())
	}
	if !other.IsEmpty() {
		e.note(op{kind: opFlags, box: b.ID, uids: other})
	}
	e.forgetSeen(b)
	b.own, b.ModSeq, b.dirty = 0, e.root.modseq, true // a reader's own may have been higher
	return nil
}

// forgetSeen removes what all readers have seen of a mailbox.
func (e *Edit) forgetSeen(b *editBox) {
	p := key64(e.acct, kindSeen, uint64(b.ID))
	e.tx.DeleteRange(p, kv.Next(p))
}

// forgetStrangers removes what those have seen who have no rights any more.
func (e *Edit) forgetStrangers(b *editBox) error {
	var gone []mail.AccountID
	err := eachReader(e.tx, boxKey{e.acct, b.ID}, func(who mail.AccountID) error {
		if b.ACL.Rights(who) == 0 {
			gone = append(gone, who)
		}
		return nil
	})
	for _, who := range gone {
		e.forgetSeenBy(b, who)
	}
	return err
}

// forgetSeenBy removes what somebody has seen of a mailbox of others. What is in
// memory of it is worth nothing after that.
func (e *Edit) forgetSeenBy(b *editBox, who mail.AccountID) {
	p := seenPrefix(e.acct, b.ID, who)
	e.tx.DeleteRange(p, kv.Next(p))
	b.own, b.dirty, e.changed = e.root.modseq, true, true
}

// eachReader calls fn for all who have rows of their own in a mailbox.
func eachReader(r kv.Reader, k boxKey, fn func(mail.AccountID) error) error {
	end := kv.Next(key64(k.acct, kindSeen, uint64(k.box)))
	for next := everyone + 1; next != 0; {
		rg := kv.Range{Low: seenPrefix(k.acct, k.box, next), High: end, Limit: 1}
		next = 0
		for row, err := range r.Scan(rg) {
			if err != nil {
				return err
			}
			who, _ := decodeSeenKey(row.Key)
			next = who + 1
		}
		if next != 0 {
			if err := fn(next - 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateOf gives what a reader has seen of some messages that exist.
func (e *Edit) stateOf(box mail.MailboxID, who mail.AccountID, uids mail.UIDSet) (*readState, error) {
	p := &readState{}
	for _, n := range blocksOf(uids) {
		l, err := readBlockOf(e.tx, readerKey{boxKey{e.acct, box}, who}, n)
		if err != nil {
			return nil, fmt.Errorf("mailbox: what %d has seen: %w", who, err)
		}
		p.put(n, l)
	}
	return p, nil
}

// see writes that a reader has seen messages, or has not; p is what they have seen
// of these so far. It gives how many bytes it has written.
func (e *Edit) see(b *editBox, who mail.AccountID, p *readState, uids mail.UIDSet, seen bool, there mail.UIDSet) (bytes int) {
	for _, n := range blocksOf(uids) {
		var l runs
		if i, ok := p.find(n); ok {
			l = p.blocks[i].runs
		}
		row := l.set(n, uids, seen, e.root.modseq, there.Intersect(inBlock(n))).append(nil)
		e.tx.Set(seenKey(e.acct, b.ID, who, n), row)
		bytes += len(row) + 40
	}
	e.note(op{kind: opSeen, box: b.ID, reader: who, uids: uids})
	e.s.due.note(e.acct, e.root, b.folded)
	return bytes
}

// A seenBy is new messages of a mailbox that somebody has seen already, or has not
// though all others have.
type seenBy struct {
	box  *editBox
	who  mail.AccountID
	seen bool
	uids mail.UIDSet
}

// hasSeen notes whether somebody has seen a message that the edit has put into a
// mailbox where that is their own; Done writes it.
func (e *Edit) hasSeen(b *editBox, who mail.AccountID, u mail.UID, seen bool) {
	for i := len(e.seen) - 1; i >= max(0, len(e.seen)-2); i-- {
		if s := &e.seen[i]; s.box == b && s.who == who && s.seen == seen {
			s.uids.Add(u)
			return
		}
	}
	e.seen = append(e.seen, seenBy{b, who, seen, mail.UIDs(u)})
}

// carriedBytes is about how much of what readers have seen goes along with
// messages in one commit: more readers than that begin anew.
const carriedBytes = kv.MaxTx / 4

// writeSeen writes what hasSeen has noted.
func (e *Edit) writeSeen() error {
	bytes := 0
	for i := range e.seen {
		s := &e.seen[i]
		if s.box.gone || bytes > carriedBytes {
			continue
		}
		p, err := e.stateOf(s.box.ID, s.who, s.uids)
		if err != nil {
			return err
		}
		bytes += e.see(s.box, s.who, p, s.uids, s.seen, mail.UIDSpan(1, ^mail.UID(0)))
	}
	e.seen = nil
	return nil
}

// viewed gives the messages of a selection as somebody has them.
func (e *Edit) viewed(t *selection, who mail.AccountID) error {
	if !t.box.OwnSeen(e.acct, who) || len(t.rows) == 0 {
		return nil
	}
	p, err := e.stateOf(t.box.ID, who, t.uids)
	if err != nil {
		return err
	}
	t.view = p
	return nil
}

// landed gives the flags that a message gets in the mailbox b which who brings
// there, of those that may go along; ours is whether it stays with its owner.
func (e *Edit) landed(b *editBox, who mail.AccountID, r *Row, t *selection, keep Flags, ours bool) Flags {
	theirs := t.view.over(r).Flags & Seen & keep
	if !b.OwnSeen(e.acct, who) {
		return r.Flags.System()&^Seen&keep | theirs
	}
	if theirs != 0 {
		e.hasSeen(b, who, b.UIDNext, true)
	}
	f := r.Flags.System() &^ Seen & keep
	if ours {
		f |= r.Flags & Seen
	}
	return f
}

// follow lets what people have seen of messages go along with them; for who moves
// them, landed has noted what they have seen. In the other mailbox, too, a reader
// without a row begins with what everyone has seen.
func (e *Edit) follow(t *selection, dst *editBox, first mail.UID, who mail.AccountID) error {
	if t.box.own == 0 || dst.own == 0 {
		return nil
	}
	all, err := e.stateOf(t.box.ID, everyone, t.uids)
	if err != nil {
		return err
	}
	readers := []mail.AccountID{everyone}
	if dst.OwnSeen(e.acct, who) {
		readers = append(readers, who)
	}
	for _, box := range [...]mail.MailboxID{t.box.ID, dst.ID} {
		err := eachReader(e.tx, boxKey{e.acct, box}, func(reader mail.AccountID) error {
			if !slices.Contains(readers, reader) && dst.ACL.Rights(reader) != 0 {
				readers = append(readers, reader)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, reader := range readers {
		p, err := e.stateOf(t.box.ID, reader, t.uids)
		if err != nil {
			return err
		}
		for i, r := range t.rows {
			seen, _ := p.at(r.UID)
			begun, _ := all.at(r.UID)
			switch {
			case reader == who:
				if begun && !e.noted(dst, who, first+mail.UID(i)) {
					e.hasSeen(dst, who, first+mail.UID(i), false)
				}
			case seen || begun:
				e.hasSeen(dst, reader, first+mail.UID(i), seen)
			}
		}
	}
	return nil
}

// noted tells whether hasSeen has noted that somebody has seen a new message.
func (e *Edit) noted(b *editBox, who mail.AccountID, u mail.UID) bool {
	return slices.ContainsFunc(e.seen, func(s seenBy) bool { return s.box == b && s.who == who && s.seen && s.uids.Contains(u) })
}

// seenRows is the most rows 34 that one commit changes flags in.
const seenRows = 150

// splitBlocks cuts a set of messages that exist into sets that one commit can mark
// for a reader.
func splitBlocks(set mail.UIDSet) []mail.UIDSet {
	blocks := blocksOf(set)
	var out []mail.UIDSet
	for len(blocks) > seenRows {
		part := mail.UIDSpan(max(mail.UID(blocks[0])*seenBlock, 1), mail.UID(blocks[seenRows-1])*seenBlock+seenBlock-1)
		out = append(out, set.Intersect(part))
		blocks = blocks[seenRows:]
		set = set.Subtract(part)
	}
	return append(out, set)
}

// tidySeen forgets what readers have seen of messages that are gone.
func (s *Store) tidySeen(ctx context.Context, a mail.AccountID, box mail.MailboxID) error {
	const most = 5000 // rows in one commit
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock(a)}}, func(tx kv.Tx) error {
		rt, err := readRoot(tx, a)
		if err != nil {
			return err
		}
		snap, err := forward(tx, s.cachedBefore(a, box, rt.modseq), a, box)
		if err != nil {
			return err
		}
		var gone [][]byte
		for row, err := range tx.Scan(kv.Prefix(key64(a, kindSeen, uint64(box)))) {
			if err != nil {
				return err
			}
			_, block := decodeSeenKey(row.Key)
			first := mail.UID(block) * seenBlock
			i, _ := snap.Index(first)
			if i < snap.Len() && snap.At(i).UID-first < seenBlock || uint64(first)+seenBlock > uint64(snap.Mailbox.UIDNext) {
				continue
			}
			if gone = append(gone, append([]byte(nil), row.Key...)); len(gone) == most {
				break
			}
		}
		for _, k := range gone {
			tx.Delete(k)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: tidy what is seen of mailbox %d of account %d: %w", box, a, err)
	}
	return nil
}

// seenRows looks that what is noted of readers is of mailboxes, messages and
// readers that there are.
func (c *checker) seenRows(r kv.Reader) error {
	return c.scan(r, kindSeen, func(k, v []byte) error {
		id := mail.MailboxID(binary.BigEndian.Uint64(k))
		who, n := decodeSeenKey(k)
		m := c.boxes[id]
		l, err := decodeRuns(n, v)
		switch {
		case err != nil:
			c.say("mailbox %d: what reader %d has seen: unreadable row", id, who)
		case m.own == 0:
			c.say("reader %d has seen messages of mailbox %d, where that is nobody's own", who, id)
		case who != everyone && m.ACL.Rights(who) == 0:
			c.say("reader %d has seen messages of mailbox %q, and has no rights in it", who, m.Name)
		case len(l) > 0 && l[len(l)-1].last >= m.UIDNext || l.highest() > c.root.modseq:
			c.say("mailbox %q: what reader %d has seen is newer than the mailbox", m.Name, who)
		}
		return nil
	})
}

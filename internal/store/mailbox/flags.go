package mailbox

import (
	"context"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A FlagMode is how a change of flags is meant.
type FlagMode byte

// The modes of STORE. RFC 9051 §6.4.6
const (
	ReplaceFlags FlagMode = iota
	AddFlags
	RemoveFlags
)

// A FlagChange says what becomes of the flags of messages.
type FlagChange struct {
	Mode     FlagMode
	Flags    Flags // system flags
	Keywords []string
	// Within are the flags that may be changed, others stay as they are; 0 is all.
	Within Flags
	// UnchangedSince leaves messages alone that were changed after it, if
	// Conditional. RFC 7162 §3.1.3
	Conditional    bool
	UnchangedSince mail.ModSeq
	// By is who changes them, as far as \Seen is each reader's own; 0: the owner.
	By mail.AccountID
}

// Stored says what a flag change did.
type Stored struct {
	Changed mail.UIDSet // whose flags are other than before
	Failed  mail.UIDSet // changed since UnchangedSince, left alone
	ModSeq  mail.ModSeq // of Changed
}

// StoreFlags changes the flags of the messages in the set. UIDs that are not
// there are passed over.
func (s *Store) StoreFlags(ctx context.Context, a mail.AccountID, box mail.MailboxID, set mail.UIDSet, c FlagChange) (Stored, error) {
	var out Stored
	parts := split(set)
	if c.By != 0 && c.By != a {
		snap, err := s.Open(ctx, a, box)
		if err != nil {
			return out, fmt.Errorf("mailbox: store flags: %w", err)
		}
		parts = splitBlocks(set.Intersect(snap.UIDs()))
	}
	for _, part := range parts {
		var st Stored
		err := s.update(ctx, a, func(e *Edit) (err error) {
			st, err = e.StoreFlags(box, part, c)
			return err
		})
		if err != nil {
			return out, fmt.Errorf("mailbox: store flags: %w", err)
		}
		out.Changed = out.Changed.Union(st.Changed)
		out.Failed = out.Failed.Union(st.Failed)
		out.ModSeq = max(out.ModSeq, st.ModSeq)
	}
	return out, nil
}

// maxRanges is the most ranges of UIDs that one commit changes, so that its row
// in the log stays below kv.MaxValue.
const maxRanges = 7000

// split cuts a set of very many ranges into sets for a commit each.
func split(set mail.UIDSet) []mail.UIDSet {
	ranges := set.Ranges()
	if len(ranges) <= maxRanges {
		return []mail.UIDSet{set}
	}
	var out []mail.UIDSet
	for len(ranges) > 0 {
		n := min(len(ranges), maxRanges)
		out = append(out, mail.UIDSetOf(ranges[:n]))
		ranges = ranges[n:]
	}
	return out
}

// update runs fn in a transaction of its own over one account.
func (s *Store) update(ctx context.Context, a mail.AccountID, fn func(*Edit) error) error {
	plan := kv.Plan{Locks: []kv.Lock{Lock(a)}, Reads: [][]byte{key(a, kindRoot)}}
	return s.DB.Update(ctx, plan, func(tx kv.Tx) error {
		e, err := s.Edit(tx, a)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
		return e.Done()
	})
}

// StoreFlags is Store.StoreFlags within a transaction.
func (e *Edit) StoreFlags(box mail.MailboxID, set mail.UIDSet, c FlagChange) (Stored, error) {
	b, err := e.messages(box)
	if err != nil {
		return Stored{}, err
	}
	now, err := e.current(box)
	if err != nil {
		return Stored{}, err
	}
	names := c.Keywords
	within := c.Within
	if within == 0 {
		within = ^Flags(0)
	} else if within&^systemFlags == 0 {
		names = nil // the mailbox must not learn what may not be set
	}
	if c.Mode == RemoveFlags {
		names = known(now, names)
	}
	bits, err := e.keywordBits(b, names)
	if err != nil {
		return Stored{}, err
	}
	o := op{kind: opFlags, box: box}
	bits |= c.Flags.System()
	switch c.Mode {
	case ReplaceFlags:
		o.add, o.remove = bits, ^bits
	case AddFlags:
		o.add = bits
	case RemoveFlags:
		o.remove = bits
	}
	o.add, o.remove = o.add&within, o.remove&within
	if !b.OwnSeen(e.acct, c.By) {
		return e.apply(b, now, set, &o, c)
	}
	there := now.UIDs()
	state, err := e.stateOf(box, c.By, set.Intersect(there))
	if err != nil {
		return Stored{}, err
	}
	var seen mail.UIDSet
	mark, touches := o.add&Seen != 0, (o.add|o.remove)&Seen != 0
	o.add, o.remove = o.add&^Seen, o.remove&^Seen
	now = now.with(state)
	for _, r := range now.In(set) {
		if touches && (r.Flags&Seen != 0) != mark && !(c.Conditional && r.ModSeq > c.UnchangedSince) {
			seen.Add(r.UID)
		}
	}
	out, err := e.apply(b, now, set, &o, c)
	if err != nil || seen.IsEmpty() {
		return out, err
	}
	e.see(b, c.By, state, seen, mark, there)
	out.Changed = out.Changed.Union(seen)
	return out, nil
}

// apply notes a change of flags for those of the messages that it concerns.
func (e *Edit) apply(b *editBox, now *Snapshot, set mail.UIDSet, o *op, c FlagChange) (Stored, error) {
	out := Stored{ModSeq: e.root.modseq}
	for _, r := range now.In(set) {
		if c.Conditional && r.ModSeq > c.UnchangedSince {
			out.Failed.Add(r.UID)
			continue
		}
		flags := r.Flags&^o.remove | o.add
		if flags == r.Flags {
			continue
		}
		b.count(r.Flags, -1)
		b.count(flags, 1)
		o.uids.Add(r.UID)
	}
	if len(o.uids.Ranges()) > maxRanges {
		return Stored{}, fmt.Errorf("mailbox: too many messages in one change: %w", mail.ErrLimit)
	}
	if !o.uids.IsEmpty() {
		out.Changed = o.uids
		b.ModSeq, b.dirty = e.root.modseq, true
		e.note(*o)
		return out, e.marked(b, now, o, c.By)
	}
	return out, nil
}

// known leaves out the keywords that the mailbox does not know: taking them
// away changes nothing, and must not teach it them.
func known(s *Snapshot, names []string) []string {
	var out []string
	for _, k := range names {
		if s.Keyword(k) != 0 {
			out = append(out, k)
		}
	}
	return out
}

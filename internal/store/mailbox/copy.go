package mailbox

import (
	"context"
	"fmt"

	"posthaste/internal/base/mail"
)

// Copied says where messages went: the i-th of From became the i-th of To.
type Copied struct {
	UIDValidity uint32 // of the mailbox they went to
	From, To    mail.UIDSet
	ModSeq      mail.ModSeq // of the account that they came from
	Filed       mail.ModSeq // of the one that they went to
}

// Copy adds the messages of the set to another mailbox of the account, with
// flags, keywords and date. If some cannot be copied, none are (unless there
// are more than a transaction takes: then the first thousands may be).
func (s *Store) Copy(ctx context.Context, a mail.AccountID, from, to mail.MailboxID, set mail.UIDSet) (Copied, error) {
	return s.transfer(ctx, a, set, func(e *Edit, set mail.UIDSet) (Copied, bool, error) {
		return e.copySome(from, to, set)
	})
}

// Move is Copy and Expunge in one step: no message is ever in both or neither
// of the mailboxes. RFC 6851
func (s *Store) Move(ctx context.Context, a mail.AccountID, from, to mail.MailboxID, set mail.UIDSet) (Copied, error) {
	return s.transfer(ctx, a, set, func(e *Edit, set mail.UIDSet) (Copied, bool, error) {
		return e.moveSome(from, to, set)
	})
}

func (s *Store) transfer(ctx context.Context, a mail.AccountID, set mail.UIDSet, some func(*Edit, mail.UIDSet) (Copied, bool, error)) (Copied, error) {
	var all Copied
	for {
		var part Copied
		var rest bool
		err := s.update(ctx, a, func(e *Edit) (err error) {
			part, rest, err = some(e, set)
			return err
		})
		if err != nil {
			return all, fmt.Errorf("mailbox: copy: %w", err)
		}
		all.note(&part)
		if !rest {
			return all, nil
		}
		set = set.Subtract(mail.UIDSpan(1, part.From.Max()))
	}
}

// note adds what one commit did.
func (c *Copied) note(part *Copied) {
	c.UIDValidity, c.ModSeq, c.Filed = part.UIDValidity, max(c.ModSeq, part.ModSeq), max(c.Filed, part.Filed)
	c.From, c.To = c.From.Union(part.From), c.To.Union(part.To)
}

// Copy is Store.Copy within a transaction, for at most a few thousand messages.
func (e *Edit) Copy(from, to mail.MailboxID, set mail.UIDSet) (Copied, error) {
	c, rest, err := e.copySome(from, to, set)
	if err == nil && rest {
		err = fmt.Errorf("mailbox: too many messages in one change: %w", mail.ErrLimit)
	}
	return c, err
}

// Move is Store.Move within a transaction, for at most a few thousand messages.
func (e *Edit) Move(from, to mail.MailboxID, set mail.UIDSet) (Copied, error) {
	c, rest, err := e.moveSome(from, to, set)
	if err == nil && rest {
		err = fmt.Errorf("mailbox: too many messages in one change: %w", mail.ErrLimit)
	}
	return c, err
}

func (e *Edit) copySome(from, to mail.MailboxID, set mail.UIDSet) (c Copied, rest bool, err error) {
	return e.copyKeeping(from, to, set, ^Flags(0), e.acct)
}

func (e *Edit) copyKeeping(from, to mail.MailboxID, set mail.UIDSet, keep Flags, who mail.AccountID) (c Copied, rest bool, err error) {
	t, err := e.selection(from, set, maxMessages)
	if err == nil {
		err = e.viewed(&t, who)
	}
	if err != nil {
		return c, false, err
	}
	if c, err = e.copyRows(&t, to, keep, who, false); err == nil {
		err = e.charge(0, 0)
	}
	return c, t.rest, err
}

// moveSome asks no quota: a move takes no more room than there was.
func (e *Edit) moveSome(from, to mail.MailboxID, set mail.UIDSet) (c Copied, rest bool, err error) {
	return e.moveKeeping(from, to, set, ^Flags(0), e.acct)
}

func (e *Edit) moveKeeping(from, to mail.MailboxID, set mail.UIDSet, keep Flags, who mail.AccountID) (c Copied, rest bool, err error) {
	most := maxMessages
	if b, err := e.messages(from); err == nil && b.own > 0 {
		most /= 2 // what readers have seen goes along, and takes room in the commit
	}
	t, err := e.selection(from, set, most)
	if err == nil {
		err = e.viewed(&t, who)
	}
	if err != nil {
		return c, false, err
	}
	if c, err = e.copyRows(&t, to, keep, who, true); err != nil || len(t.rows) == 0 {
		return c, t.rest, err
	}
	if err := e.follow(&t, e.boxes[to], c.To.Min(), who); err != nil {
		return c, false, err
	}
	e.remove(t.box, t.rows, t.at, t.uids)
	return c, t.rest, nil
}

// A selection is the first messages of a set, as many as one commit takes.
type selection struct {
	box  *editBox
	now  *Snapshot
	uids mail.UIDSet
	rows []*Row
	at   []int      // their numbers in now
	rest bool       // there are more
	view *readState // of who brings them elsewhere, if that is not what the rows have
}

func (e *Edit) selection(box mail.MailboxID, set mail.UIDSet, most int) (t selection, err error) {
	if t.box, err = e.messages(box); err != nil {
		return t, err
	}
	if t.now, err = e.current(box); err != nil {
		return t, err
	}
	for i, r := range t.now.In(set) {
		if len(t.rows) == most {
			t.rest = true
			break
		}
		t.rows, t.at = append(t.rows, r), append(t.at, i)
		t.uids.Add(r.UID)
	}
	return t, nil
}

// copyRows adds the selected messages to another mailbox, with those of their
// flags that are to be kept. If they move, what their owner has read stays read.
func (e *Edit) copyRows(t *selection, to mail.MailboxID, keep Flags, who mail.AccountID, moved bool) (Copied, error) {
	dst, err := e.messages(to)
	if err != nil {
		return Copied{}, err
	}
	c := Copied{UIDValidity: dst.UIDValidity, ModSeq: e.root.modseq, Filed: e.root.modseq, From: t.uids}
	if len(t.rows) == 0 {
		return c, nil
	}
	if uint64(dst.UIDNext)+uint64(len(t.rows)) > uint64(^mail.UID(0)) {
		return c, fmt.Errorf("mailbox: %q has no UIDs left: %w", dst.Name, mail.ErrLimit)
	}
	bits := keywordMap{e: e, from: t.now, dst: dst}
	first := dst.UIDNext
	saved := e.tx.Now().Unix()
	buf := make([]byte, 0, 64)
	for _, r := range t.rows {
		n := *r
		n.UID, n.ModSeq, n.saved = dst.UIDNext, e.root.modseq, saved
		keywords, err := bits.translate(r.Flags & keep)
		if err != nil {
			return c, err
		}
		n.Flags = e.landed(dst, who, r, t, keep, moved) | keywords
		buf = n.append(buf[:0])
		e.tx.Set(messageKey(e.acct, dst.ID, n.UID), buf)
		dst.UIDNext++
		dst.Total++
		dst.Size += n.Size
		dst.count(n.Flags, 1)
		e.root.usedCount++
		e.root.usedBytes += n.Size
	}
	c.To = mail.UIDSpan(first, dst.UIDNext-1)
	dst.ModSeq, dst.dirty = e.root.modseq, true
	e.note(op{kind: opAppend, box: dst.ID, uids: c.To})
	return c, e.sorted(t, dst, who)
}

// A keywordMap gives the bits that keywords of one mailbox have in another.
type keywordMap struct {
	e     *Edit
	from  *Snapshot
	dst   *editBox
	known Flags // bits of from that are in to
	to    [64]Flags
}

func (k *keywordMap) translate(f Flags) (Flags, error) {
	f &^= systemFlags
	var out Flags
	for i, name := range k.from.Keywords {
		bit := Flags(1) << (firstKeyword + i)
		if f&bit == 0 {
			continue
		}
		if k.known&bit == 0 {
			to, err := k.e.keywordBits(k.dst, []string{name})
			if err != nil {
				return 0, err
			}
			k.known |= bit
			k.to[firstKeyword+i] = to
		}
		out |= k.to[firstKeyword+i]
	}
	return out, nil
}

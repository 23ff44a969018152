package mailbox

import (
	"context"
	"fmt"

	"posthaste/internal/base/mail"
)

// An ExpungeMode says which messages of a set go.
type ExpungeMode byte

const (
	// ExpungeDeleted takes those with \Deleted, as IMAP's EXPUNGE does.
	ExpungeDeleted ExpungeMode = iota
	// ExpungeAll takes all of the set, as POP3's QUIT does.
	ExpungeAll
)

// maxMessages is the most messages that one commit copies or expunges: it keeps
// a transaction below kv.MaxTx and a row below kv.MaxValue.
const maxMessages = 8000

// Expunge takes messages out of a mailbox, and gives their UIDs. Until they are
// reaped they can be restored.
func (s *Store) Expunge(ctx context.Context, a mail.AccountID, box mail.MailboxID, set mail.UIDSet, mode ExpungeMode) (gone mail.UIDSet, seq mail.ModSeq, err error) {
	for {
		var part mail.UIDSet
		var rest bool
		err := s.update(ctx, a, func(e *Edit) (err error) {
			part, rest, err = e.expungeSome(box, set, mode, maxMessages)
			seq = e.root.modseq
			return err
		})
		if err != nil {
			return gone, seq, fmt.Errorf("mailbox: expunge: %w", err)
		}
		gone = gone.Union(part)
		if !rest {
			return gone, seq, nil
		}
		set = set.Subtract(part)
	}
}

// Expunge is Store.Expunge within a transaction, which must not take more than
// a few thousand messages: mail.ErrLimit.
func (e *Edit) Expunge(box mail.MailboxID, set mail.UIDSet, mode ExpungeMode) (mail.UIDSet, error) {
	gone, rest, err := e.expungeSome(box, set, mode, maxMessages)
	if err == nil && rest {
		err = fmt.Errorf("mailbox: too many messages in one change: %w", mail.ErrLimit)
	}
	return gone, err
}

func (e *Edit) expungeSome(box mail.MailboxID, set mail.UIDSet, mode ExpungeMode, most int) (gone mail.UIDSet, rest bool, err error) {
	b, err := e.messages(box)
	if err != nil {
		return gone, false, err
	}
	now, err := e.current(box)
	if err != nil {
		return gone, false, err
	}
	var rows []*Row
	var at []int
	for i, r := range now.In(set) {
		if mode == ExpungeDeleted && r.Flags&Deleted == 0 {
			continue
		}
		if len(rows) == most {
			rest = true
			break
		}
		rows, at = append(rows, r), append(at, i)
		gone.Add(r.UID)
	}
	if len(rows) > 0 {
		e.remove(b, rows, at, gone)
		e.bury(b, now.Keywords, rows)
	}
	return gone, rest, nil
}

// remove takes rows out of a mailbox; at are their numbers in it.
func (e *Edit) remove(b *editBox, rows []*Row, at []int, gone mail.UIDSet) {
	for _, r := range rows {
		b.Total--
		b.Size -= r.Size
		b.count(r.Flags, -1)
		e.root.usedCount--
		e.root.usedBytes -= r.Size
	}
	e.deleteRows(b.ID, rows, at)
	b.ModSeq, b.vanished, b.dirty = e.root.modseq, e.root.modseq, true
	e.note(op{kind: opExpunge, box: b.ID, uids: gone})
}

// deleteRows deletes neighbours at one blow, single rows one by one.
func (e *Edit) deleteRows(box mail.MailboxID, rows []*Row, at []int) {
	const worthRange = 8
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && at[j] == at[j-1]+1 {
			j++
		}
		if j-i >= worthRange {
			rg := messageRange(e.acct, box, rows[i].UID, rows[j-1].UID)
			e.tx.DeleteRange(rg.Low, rg.High)
		} else {
			for _, r := range rows[i:j] {
				e.tx.Delete(messageKey(e.acct, box, r.UID))
			}
		}
		i = j
	}
}

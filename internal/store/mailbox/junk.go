package mailbox

import (
	"errors"

	"posthaste/internal/base/mail"
)

// Sorted is a message that its owner has put into Junk, or taken out of it.
type Sorted struct {
	Account mail.AccountID
	Junk    bool   // it went there
	Prefix  []byte // the trace fields that were written when it came; none: it was not delivered
	From    []byte // its raw From fields
}

// maxSorted is how many messages of one change are told of: who moves more at a time
// tidies up.
const maxSorted = 200

// sorted tells Sorted of messages that their owner copies or moves to Junk, or out of
// it. Out of it to Trash says nothing of them.
func (e *Edit) sorted(t *selection, dst *editBox, who mail.AccountID) error {
	if e.s.Sorted == nil || who != 0 && who != e.acct {
		return nil
	}
	from, err := e.use(&t.box.Mailbox)
	if err != nil {
		return err
	}
	to, err := e.use(&dst.Mailbox)
	if err != nil {
		return err
	}
	if (from == JunkRole) == (to == JunkRole) || to == TrashRole {
		return nil
	}
	rows := t.rows[:min(len(t.rows), maxSorted)]
	keys := make([][]byte, 0, 2*len(rows))
	for _, r := range rows {
		keys = append(keys, key64(e.acct, kindEmail, uint64(r.Email)), key64(e.acct, kindRecord, uint64(r.Email)))
	}
	raw, err := e.tx.GetMany(keys...)
	if err != nil {
		return err
	}
	for i := range rows {
		em, err := decodeEmail(raw[2*i])
		if err != nil || len(em.prefix) == 0 {
			continue
		}
		rec, err := decodeRecord(raw[2*i+1])
		if err != nil { // or it is too large for a row
			continue
		}
		fields, _ := rec.Fields(nil, "from")
		if err := e.s.Sorted(e.tx, Sorted{Account: e.acct, Junk: to == JunkRole, Prefix: em.prefix, From: fields}); err != nil {
			return err
		}
	}
	return nil
}

// use gives the role of a mailbox, or of the nearest above it that is Junk or Trash.
func (e *Edit) use(m *Mailbox) (Role, error) {
	if m.Role != NoRole {
		return m.Role, nil
	}
	above := parents(m.Name)
	for i := len(above) - 1; i >= 0; i-- {
		id, err := lookup(e.tx, e.acct, above[i])
		if errors.Is(err, mail.ErrNotFound) {
			continue
		}
		if err != nil {
			return NoRole, err
		}
		b, err := e.box(id)
		if err != nil {
			return NoRole, err
		}
		if b.Role == JunkRole || b.Role == TrashRole {
			return b.Role, nil
		}
	}
	return NoRole, nil
}

package mailbox

import (
	"errors"

	"posthaste/internal/base/mail"
)

// Sorted is a message that its owner has put into Junk, or taken out of it, or of which
// he has said by a keyword that it belongs there, or does not.
type Sorted struct {
	Account mail.AccountID
	Junk    bool   // it went there
	Marked  bool   // it moves, and has a keyword that says the same
	Prefix  []byte // the trace fields that were written when it came; none: it was not delivered
	From    []byte // its raw From fields
}

// The keywords by which a mail program says that a message is junk, or is none: those of
// IANA's registry. What Thunderbird calls Junk and NonJunk, and older Apple Mails Junk and
// NotJunk, their own filters set on whatever comes, and it says nothing of the person.
const (
	junkKeyword    = "$Junk"
	notJunkKeyword = "$NotJunk"
)

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
	says := t.now.Keyword(notJunkKeyword)
	if to == JunkRole {
		says = t.now.Keyword(junkKeyword)
	}
	return e.tellSorted(t.rows, to == JunkRole, says)
}

// marked tells Sorted of messages among the set of a flag change that then say by a
// keyword what they did not say before: that they are junk, if they lie elsewhere; or that
// they are none, if they lie in Junk or had $Junk. On other messages $NotJunk says nothing:
// some programs set it on all that their own filters have seen.
func (e *Edit) marked(b *editBox, now *Snapshot, o *op, who mail.AccountID) error {
	k := junkBits{keywordBit(b.keywords, junkKeyword), keywordBit(b.keywords, notJunkKeyword)}
	if e.s.Sorted == nil || (o.add|o.remove)&(k.junk|k.not) == 0 || who != 0 && who != e.acct {
		return nil
	}
	use, err := e.use(&b.Mailbox)
	if err != nil || use == TrashRole {
		return err
	}
	var junk, not []*Row
	for _, r := range now.In(o.uids) {
		flags := r.Flags&^o.remove | o.add
		switch {
		case k.isJunk(flags) && !k.isJunk(r.Flags) && use != JunkRole:
			junk = append(junk, r)
		case k.isNot(flags) && !k.isNot(r.Flags) && (use == JunkRole || r.Flags&k.junk != 0):
			not = append(not, r)
		}
	}
	if err := e.tellSorted(junk, true, 0); err != nil {
		return err
	}
	return e.tellSorted(not, false, 0)
}

// junkBits are the bits that the keywords have in a mailbox; 0: it does not know them.
// Who has both says neither. RFC 9051 §2.3.2
type junkBits struct{ junk, not Flags }

func (k junkBits) isJunk(f Flags) bool { return f&k.junk != 0 && f&k.not == 0 }
func (k junkBits) isNot(f Flags) bool  { return f&k.not != 0 && f&k.junk == 0 }

// tellSorted tells Sorted of messages; those that have one of the flags that say so are
// Marked.
func (e *Edit) tellSorted(rows []*Row, junk bool, says Flags) error {
	rows = rows[:min(len(rows), maxSorted)]
	keys := make([][]byte, 0, 2*len(rows))
	for _, r := range rows {
		keys = append(keys, key64(e.acct, kindEmail, uint64(r.Email)), key64(e.acct, kindRecord, uint64(r.Email)))
	}
	raw, err := e.tx.GetMany(keys...)
	if err != nil {
		return err
	}
	for i, r := range rows {
		em, err := decodeEmail(raw[2*i])
		if err != nil || len(em.prefix) == 0 {
			continue
		}
		rec, err := decodeRecord(raw[2*i+1])
		if err != nil { // or it is too large for a row
			continue
		}
		fields, _ := rec.Fields(nil, "from")
		if err := e.s.Sorted(e.tx, Sorted{Account: e.acct, Junk: junk, Marked: r.Flags&says != 0, Prefix: em.prefix, From: fields}); err != nil {
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

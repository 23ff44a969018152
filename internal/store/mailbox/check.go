package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

// Check verifies the invariants of an account and gives a sentence for each
// that does not hold. With open it also reads every body whole.
func (s *Store) Check(ctx context.Context, a mail.AccountID, open func(ctx context.Context, b *body.Reader) error) ([]string, error) {
	c := checker{s: s, a: a}
	if err := s.DB.View(ctx, c.rows); err != nil {
		return c.wrong, fmt.Errorf("mailbox: check account %d: %w", a, err)
	}
	if open == nil {
		return c.wrong, nil
	}
	for id, e := range c.emails {
		b, err := s.Bodies.Open(ctx, e.ref, e.prefix)
		if err == nil {
			err = open(ctx, b)
			b.Close()
		}
		if err != nil {
			c.say("email %d (%v): its bytes cannot be read: %v", id, e.trace, err)
		}
	}
	return c.wrong, nil
}

type checker struct {
	s       *Store
	a       mail.AccountID
	wrong   []string
	root    root
	boxes   map[mail.MailboxID]Mailbox
	emails  map[mail.EmailID]email
	records map[mail.EmailID]bool
}

func (c *checker) say(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf("account %d: ", c.a)+fmt.Sprintf(format, args...))
}

func (c *checker) rows(r kv.Reader) (err error) {
	c.wrong = nil
	c.boxes, c.emails, c.records = map[mail.MailboxID]Mailbox{}, map[mail.EmailID]email{}, map[mail.EmailID]bool{}
	if c.root, err = readRoot(r, c.a); err != nil {
		return err
	}
	steps := []func(kv.Reader) error{c.mailboxes, c.emailRows, c.messages, c.names, c.shares, c.metadata, c.seenRows, c.urlKeys, c.log, c.expunged, c.uidls, c.arrivals}
	for _, step := range steps {
		if err := step(r); err != nil {
			return err
		}
	}
	return nil
}

// scan goes over the rows of a kind.
func (c *checker) scan(r kv.Reader, kind byte, fn func(key, value []byte) error) error {
	p := key(c.a, kind)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return err
		}
		if err := fn(row.Key[len(p):], row.Value); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) mailboxes(r kv.Reader) error {
	return c.scan(r, kindMailbox, func(k, v []byte) error {
		id := mail.MailboxID(binary.BigEndian.Uint64(k))
		m, err := decodeMailbox(id, v)
		if err != nil {
			c.say("mailbox %d: unreadable row", id)
			return nil
		}
		if id >= c.root.nextMailbox || m.ModSeq > c.root.modseq {
			c.say("mailbox %q is newer than the account", m.Name)
		}
		c.boxes[id] = m
		return nil
	})
}

func (c *checker) emailRows(r kv.Reader) error {
	err := c.scan(r, kindEmail, func(k, v []byte) error {
		id := mail.EmailID(binary.BigEndian.Uint64(k))
		e, err := decodeEmail(append([]byte(nil), v...))
		if err != nil {
			c.say("email %d: unreadable row", id)
			return nil
		}
		held, err := body.HeldBy(r, e.ref, holder(c.a, id))
		if err != nil {
			return err
		}
		if !held {
			c.say("email %d: its blob %v has no reference row", id, e.ref.Blob)
		}
		c.emails[id] = e
		return nil
	})
	if err != nil {
		return err
	}
	return c.scan(r, kindRecord, func(k, v []byte) error {
		id := mail.EmailID(binary.BigEndian.Uint64(k))
		c.records[id] = true
		if len(v) == 1 && v[0] == recordAbsent {
			return nil
		}
		if _, err := decodeRecord(v); err != nil {
			c.say("email %d: unreadable record", id)
		}
		return nil
	})
}

func (c *checker) messages(r kv.Reader) error {
	var bytes, count int64
	for _, m := range c.boxes {
		if m.Placeholder {
			continue
		}
		snap, err := forward(r, nil, c.a, m.ID)
		if err != nil {
			return err
		}
		var unseen, deleted uint32
		var size int64
		for _, row := range snap.Rows(0) {
			if row.Flags&Seen == 0 {
				unseen++
			}
			if row.Flags&Deleted != 0 {
				deleted++
			}
			size += row.Size
			c.message(m, row)
		}
		bytes, count = bytes+size, count+int64(snap.Len())
		if m.Total != uint32(snap.Len()) || m.Unseen != unseen || m.Deleted != deleted || m.Size != size {
			c.say("mailbox %q counts %d messages, %d unseen, %d deleted, %d bytes; there are %d, %d, %d, %d",
				m.Name, m.Total, m.Unseen, m.Deleted, m.Size, snap.Len(), unseen, deleted, size)
		}
	}
	if bytes != c.root.usedBytes || count != c.root.usedCount {
		c.say("use is counted as %d bytes in %d messages, there are %d in %d", c.root.usedBytes, c.root.usedCount, bytes, count)
	}
	return c.scan(r, kindMessage, func(k, _ []byte) error {
		if id := mail.MailboxID(binary.BigEndian.Uint64(k)); c.boxes[id].ID == 0 {
			c.say("message %d stands in mailbox %d, which does not exist", binary.BigEndian.Uint32(k[8:]), id)
		}
		return nil
	})
}

func (c *checker) message(m Mailbox, row *Row) {
	e, ok := c.emails[row.Email]
	switch {
	case row.UID >= m.UIDNext:
		c.say("mailbox %q: UID %d is not below UIDNEXT %d", m.Name, row.UID, m.UIDNext)
	case row.Email >= c.root.nextEmail || row.ModSeq > c.root.modseq:
		c.say("mailbox %q: UID %d is newer than the account", m.Name, row.UID)
	case !ok || !c.records[row.Email]:
		c.say("mailbox %q: UID %d: email %d is missing", m.Name, row.UID, row.Email)
	case row.Size != int64(len(e.prefix))+e.ref.Size:
		c.say("mailbox %q: UID %d has %d bytes, its email %d", m.Name, row.UID, row.Size, int64(len(e.prefix))+e.ref.Size)
	}
}

func (c *checker) names(r kv.Reader) error {
	n := 0
	err := c.scan(r, kindName, func(k, v []byte) error {
		n++
		id := mail.MailboxID(binary.BigEndian.Uint64(v))
		if c.boxes[id].Name != string(k) {
			c.say("the name %q leads to mailbox %d, which is called %q", k, id, c.boxes[id].Name)
		}
		return nil
	})
	if err == nil && n != len(c.boxes) {
		c.say("%d names for %d mailboxes", n, len(c.boxes))
	}
	if err == nil && c.root.counted && int64(n) != c.root.boxes {
		c.say("%d mailboxes are counted, there are %d", c.root.boxes, n)
	}
	return err
}

// shares looks that who has rights is led to the mailbox, and nobody else is.
func (c *checker) shares(r kv.Reader) error {
	for id, m := range c.boxes {
		for _, g := range m.ACL {
			raw, err := r.Get(shareKey(g.To, c.a, id))
			if err != nil {
				return err
			}
			if raw == nil {
				c.say("mailbox %q is shared with %d, who is not led to it", m.Name, g.To)
			}
		}
	}
	p := sharePrefix(GranteeOf(c.a))
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return err
		}
		k := decodeShare(row.Key)
		m, err := readMailbox(r, k.acct, k.box)
		if err != nil || !m.ACL.names(GranteeOf(c.a)) {
			c.say("is led to mailbox %d of account %d, which is not shared with it (%v)", k.box, k.acct, err)
		}
	}
	return nil
}

func (c *checker) log(r kv.Reader) error {
	err := eachChange(r, c.a, c.root.floor, c.root.modseq, func(mail.ModSeq, *op) error { return nil })
	if err != nil {
		c.say("%v", err)
	}
	return nil
}

func (c *checker) expunged(r kv.Reader) error {
	var size int64
	err := c.scan(r, kindExpunged, func(k, v []byte) error {
		g, err := decodeGrave(v)
		if err != nil {
			c.say("expunged messages: unreadable row %x", k)
			return nil
		}
		for i := range g.rows {
			row := &g.rows[i]
			size += row.Size
			if _, ok := c.emails[row.Email]; !ok || !c.records[row.Email] {
				c.say("expunged UID %d of %q: email %d is missing", row.UID, g.name, row.Email)
			}
		}
		return nil
	})
	if err == nil && size != c.root.deadBytes {
		c.say("expunged mail is counted as %d bytes, there are %d", c.root.deadBytes, size)
	}
	return err
}

func (c *checker) uidls(r kv.Reader) error {
	return c.scan(r, kindUIDL, func(k, v []byte) error {
		id := mail.EmailID(binary.BigEndian.Uint64(k))
		if _, ok := c.emails[id]; !ok || !ValidUIDL(string(v)) {
			c.say("email %d: it does not exist or its unique id %q is none", id, v)
		}
		return nil
	})
}

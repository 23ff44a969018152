package mailbox

import (
	"context"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/message"
)

// A Box names a mailbox of any account.
type Box struct {
	Account mail.AccountID
	Mailbox mail.MailboxID
}

// A Transfer is messages that go from one mailbox to another, whoever owns them.
type Transfer struct {
	From, To Box
	UIDs     mail.UIDSet
	Keep     Flags          // those of their flags that go along
	By       mail.AccountID // who does it, as far as \Seen is each reader's own; 0: the owner
}

// CopyBetween is Copy for mailboxes that may be of different accounts. The room
// is taken of the account that they go to.
func (s *Store) CopyBetween(ctx context.Context, t Transfer) (Copied, error) {
	if t.From.Account != t.To.Account {
		return s.across(ctx, t, leave)
	}
	return s.transfer(ctx, t.From.Account, t.UIDs, func(e *Edit, set mail.UIDSet) (Copied, bool, error) {
		return e.copyKeeping(t.From.Mailbox, t.To.Mailbox, set, t.Keep, t.By)
	})
}

// MoveBetween is Move for mailboxes that may be of different accounts: in the
// transaction that takes a message out of one it comes into the other.
func (s *Store) MoveBetween(ctx context.Context, t Transfer) (Copied, error) {
	if t.From.Account != t.To.Account {
		return s.across(ctx, t, takeOut)
	}
	return s.transfer(ctx, t.From.Account, t.UIDs, func(e *Edit, set mail.UIDSet) (Copied, bool, error) {
		return e.moveKeeping(t.From.Mailbox, t.To.Mailbox, set, t.Keep, t.By)
	})
}

// leave and takeOut are what becomes of the originals. For their account, what is
// moved to another is expunged: its owner may want it back.
func leave(*Edit, *selection) {}

func takeOut(e *Edit, t *selection) {
	if len(t.rows) > 0 {
		e.remove(t.box, t.rows, t.at, t.uids)
		e.bury(t.box, t.now.Keywords, t.rows)
	}
}

const (
	// acrossWeight is about how many bytes one commit between accounts writes.
	acrossWeight = kv.MaxTx / 2
	// acrossRows is the most messages of one commit between accounts.
	acrossRows = 1000
)

// across brings messages into another account, some in each commit.
func (s *Store) across(ctx context.Context, t Transfer, then func(*Edit, *selection)) (Copied, error) {
	var all Copied
	set := t.UIDs
	for {
		b, err := s.batch(ctx, t.From, set)
		if err != nil {
			return all, fmt.Errorf("mailbox: copy between accounts: %w", err)
		}
		var part Copied
		plan := kv.Plan{Locks: []kv.Lock{Lock(t.From.Account), Lock(t.To.Account)}}
		err = s.DB.Update(ctx, plan, func(tx kv.Tx) (err error) {
			part, err = s.acrossSome(tx, t, b, then)
			return err
		})
		if err != nil {
			return all, fmt.Errorf("mailbox: copy between accounts: %w", err)
		}
		all.note(&part)
		if !b.more {
			return all, nil
		}
		set = set.Subtract(mail.UIDSpan(1, b.uids.Max()))
	}
}

// A batch is messages as they are to be filed in another account.
type batch struct {
	uids  mail.UIDSet
	ready map[mail.EmailID]*Prepared
	more  bool // messages of the set are left
}

// batch reads what is kept of the first messages of a set.
func (s *Store) batch(ctx context.Context, from Box, set mail.UIDSet) (*batch, error) {
	snap, err := s.Open(ctx, from.Account, from.Mailbox)
	if err != nil {
		return nil, err
	}
	b := &batch{ready: map[mail.EmailID]*Prepared{}}
	weight := 0
	for _, r := range snap.In(set) {
		if weight > acrossWeight || len(b.ready) == acrossRows {
			b.more = true
			break
		}
		p, err := s.prepared(ctx, from.Account, r)
		if err != nil {
			return nil, err
		}
		b.uids.Add(r.UID)
		if p == nil {
			continue // it went away while we looked
		}
		b.ready[r.Email] = p
		weight += p.Weight()
	}
	return b, nil
}

// prepared gives a message that is kept already as Prepare would, with its body
// where it is; nil if it is gone.
func (s *Store) prepared(ctx context.Context, a mail.AccountID, r *Row) (*Prepared, error) {
	var rows [][]byte
	err := s.DB.View(ctx, func(rd kv.Reader) (err error) {
		rows, err = rd.GetMany(key64(a, kindEmail, uint64(r.Email)), key64(a, kindRecord, uint64(r.Email)))
		return err
	})
	if err != nil || rows[0] == nil || rows[1] == nil {
		return nil, err
	}
	em, err := decodeEmail(rows[0])
	if err != nil {
		return nil, err
	}
	p := &Prepared{Trace: em.trace, Prefix: em.prefix, Ref: em.ref, Size: r.Size, ends: r.ends, ascii: r.ascii, record: rows[1]}
	if len(rows[1]) == 1 && rows[1][0] == recordAbsent {
		body, err := s.Bodies.Open(ctx, em.ref, em.prefix)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		err = p.parse(body)
		p.large = Record{}
		return p, err
	}
	rec, err := decodeRecord(rows[1])
	if err != nil {
		return nil, err
	}
	p.threads = rec.threads()
	return p, nil
}

// threads gives the keys of the message's thread, as summarize makes them: all
// header fields that they need are in the record.
func (r *Record) threads() []uint64 {
	tree := message.ParseBytes(append(r.fields[:len(r.fields):len(r.fields)], "\r\n"...))
	refs := ""
	for f := range message.Fields(r.fields) {
		if f.Is("references") {
			if refs = f.Text(); refs != "" {
				break
			}
		}
	}
	return threadKeys(tree.Envelope, refs)
}

// acrossSome files one batch. What is no longer where it was is left out.
func (s *Store) acrossSome(tx kv.Tx, t Transfer, b *batch, then func(*Edit, *selection)) (Copied, error) {
	from, err := s.Edit(tx, t.From.Account)
	if err != nil {
		return Copied{}, err
	}
	to, err := s.Edit(tx, t.To.Account)
	if err != nil {
		return Copied{}, err
	}
	old, err := from.selection(t.From.Mailbox, b.uids, maxMessages)
	if err == nil {
		err = from.viewed(&old, t.By)
	}
	if err != nil {
		return Copied{}, err
	}
	dst, err := to.messages(t.To.Mailbox)
	if err != nil {
		return Copied{}, err
	}
	c := Copied{UIDValidity: dst.UIDValidity, ModSeq: from.root.modseq, Filed: to.root.modseq}
	bits := keywordMap{e: to, from: old.now, dst: dst}
	for _, r := range old.rows {
		p := b.ready[r.Email]
		if p == nil {
			return c, fmt.Errorf("mailbox: message %d has changed: %w", r.UID, kv.ErrRow)
		}
		keywords, err := bits.translate(r.Flags & t.Keep)
		if err != nil {
			return c, err
		}
		n := *r
		if err := to.charge(1, p.Size); err != nil {
			return c, err
		}
		n.Flags, n.saved = to.landed(dst, t.By, r, &old, t.Keep, false)|keywords, tx.Now().Unix()
		if err := to.file(dst, p, &n); err != nil {
			return c, err
		}
		c.From.Add(r.UID)
		c.To.Add(n.UID)
	}
	then(from, &old)
	if err := from.Done(); err != nil {
		return c, err
	}
	return c, to.Done()
}

// ReplaceBetween is Replace for mailboxes that may be of different accounts.
func (s *Store) ReplaceBetween(ctx context.Context, from Box, uid mail.UID, to Box, m Incoming) (out Appended, err error) {
	if from.Account == to.Account {
		return s.Replace(ctx, from.Account, from.Mailbox, uid, to.Mailbox, m)
	}
	plan := kv.Plan{Locks: []kv.Lock{Lock(from.Account), Lock(to.Account)}}
	err = s.DB.Update(ctx, plan, func(tx kv.Tx) error {
		src, err := s.Edit(tx, from.Account)
		if err != nil {
			return err
		}
		dst, err := s.Edit(tx, to.Account)
		if err != nil {
			return err
		}
		gone, err := src.Expunge(from.Mailbox, mail.UIDs(uid), ExpungeAll)
		if err != nil {
			return err
		}
		if gone.IsEmpty() {
			return fmt.Errorf("mailbox: replace message %d: %w", uid, mail.ErrNotFound)
		}
		if out, err = dst.Append(to.Mailbox, m); err != nil {
			return err
		}
		if err := src.Done(); err != nil {
			return err
		}
		return dst.Done()
	})
	return out, err
}

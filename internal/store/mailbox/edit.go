package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

// An Edit is what one transaction does to one account. Several edits of
// different accounts may share a transaction; its plan must have each account's
// Lock. Done must be called last, and writes what the account's rows need.
type Edit struct {
	s         *Store
	tx        kv.Tx
	acct      mail.AccountID
	root      root
	boxes     map[mail.MailboxID]*editBox
	ops       []op
	changed   bool
	snapshots map[mail.MailboxID]*edited
	seen      []seenBy // to be written
}

type editBox struct {
	Mailbox
	keywords []string // nil until read
	dirty    bool
	gone     bool
}

// Edit begins an edit. mail.ErrNotFound if the account has no mailboxes.
func (s *Store) Edit(tx kv.Tx, a mail.AccountID) (*Edit, error) {
	rt, err := readRoot(tx, a)
	if err != nil {
		return nil, err
	}
	rt.modseq++
	return &Edit{s: s, tx: tx, acct: a, root: rt, boxes: map[mail.MailboxID]*editBox{}}, nil
}

// Create makes the rows of a new account, with its first mailboxes. Limits of 0
// are none.
func (s *Store) Create(tx kv.Tx, a mail.AccountID, maxBytes, maxCount int64) error {
	e, err := s.create(tx, a, maxBytes, maxCount)
	if err != nil {
		return err
	}
	for _, f := range firstMailboxes {
		if _, err := e.add(f.name, f.role); err != nil {
			return err
		}
		e.tx.Set(nameKey(a, kindSubscribed, f.name), []byte{})
	}
	return e.Done()
}

// CreateShared is Create for an account that nobody logs in to. It has one tree
// of mailboxes, which is the INBOX with all that is below.
func (s *Store) CreateShared(tx kv.Tx, a mail.AccountID, maxBytes, maxCount int64) error {
	e, err := s.create(tx, a, maxBytes, maxCount)
	if err != nil {
		return err
	}
	e.root.shared = true
	if _, err := e.add(InboxName, InboxRole); err != nil {
		return err
	}
	return e.Done()
}

func (s *Store) create(tx kv.Tx, a mail.AccountID, maxBytes, maxCount int64) (*Edit, error) {
	old, err := tx.Get(key(a, kindRoot))
	if err != nil {
		return nil, err
	}
	if old != nil {
		return nil, fmt.Errorf("mailbox: account %d: %w", a, mail.ErrExists)
	}
	e := &Edit{s: s, tx: tx, acct: a, boxes: map[mail.MailboxID]*editBox{}}
	e.root = root{modseq: 1, nextMailbox: Inbox, nextEmail: 1, nextThread: 1, maxBytes: maxBytes, maxCount: maxCount}
	return e, nil
}

// SetLimits changes the account's limits of bytes and messages; 0 is none.
func (e *Edit) SetLimits(maxBytes, maxCount int64) {
	e.root.maxBytes, e.root.maxCount = maxBytes, maxCount
	e.changed = true
}

// SetLimits changes an account's limits of bytes, messages and mailboxes. 0 is no
// limit; of mailboxes there are never more than MaxMailboxes.
func (s *Store) SetLimits(ctx context.Context, a mail.AccountID, maxBytes, maxCount, maxBoxes int64) error {
	err := s.update(ctx, a, func(e *Edit) error {
		e.SetLimits(maxBytes, maxCount)
		e.root.maxBoxes = min(maxBoxes, MaxMailboxes)
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: set limits: %w", err)
	}
	return nil
}

// SetMaxBytes changes an account's limit of bytes alone; 0 is none.
func (s *Store) SetMaxBytes(ctx context.Context, a mail.AccountID, most int64) error {
	err := s.update(ctx, a, func(e *Edit) error {
		e.SetLimits(most, e.root.maxCount)
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: set limits: %w", err)
	}
	return nil
}

// ModSeq is the sequence that this edit's commit has.
func (e *Edit) ModSeq() mail.ModSeq { return e.root.modseq }

func (e *Edit) box(id mail.MailboxID) (*editBox, error) {
	if b := e.boxes[id]; b != nil {
		if b.gone {
			return nil, fmt.Errorf("mailbox: %d: %w", id, mail.ErrNotFound)
		}
		return b, nil
	}
	m, err := readMailbox(e.tx, e.acct, id)
	if err != nil {
		return nil, err
	}
	b := &editBox{Mailbox: m}
	e.boxes[id] = b
	return b, nil
}

// messages is box for a mailbox that can hold messages.
func (e *Edit) messages(id mail.MailboxID) (*editBox, error) {
	b, err := e.box(id)
	if err == nil && b.Placeholder {
		err = fmt.Errorf("mailbox: %q holds no messages: %w", b.Name, mail.ErrNotFound)
	}
	return b, err
}

// note adds to what the log will say, joined to the entry before it where that
// says the same.
func (e *Edit) note(o op) {
	e.changed = true
	if n := len(e.ops) - 1; n >= 0 {
		last := &e.ops[n]
		if last.kind == o.kind && last.box == o.box && (o.kind == opMailbox || o.kind == opKeywords) {
			return
		}
		if e.snapshots == nil && o.kind == opAppend && last.kind == opAppend && last.box == o.box && last.uids.Max()+1 == o.uids.Min() {
			last.uids.AddRange(o.uids.Min(), o.uids.Max())
			return
		}
	}
	e.ops = append(e.ops, o)
}

// Done writes the rows of the account and its mailboxes, and the log. It wakes
// the account's sessions after the commit. An edit that changed nothing writes
// nothing.
func (e *Edit) Done() error {
	if !e.changed {
		return nil
	}
	if err := e.writeSeen(); err != nil {
		return err
	}
	buf := make([]byte, 0, 256)
	for id, b := range e.boxes {
		switch {
		case b.gone:
			e.tx.Delete(key64(e.acct, kindMailbox, uint64(id)))
			e.tx.Delete(key64(e.acct, kindKeywords, uint64(id)))
			e.tx.Delete(key64(e.acct, kindURLKey, uint64(id)))
		case b.dirty:
			b.recent = e.s.firstRecent(e.acct, &b.Mailbox)
			buf = b.append(buf[:0])
			e.tx.Set(key64(e.acct, kindMailbox, uint64(id)), buf)
			e.s.due.note(e.acct, e.root, b.folded)
		}
	}
	e.tx.Set(key(e.acct, kindRoot), e.root.append(nil))
	buf = buf[:0]
	for i := range e.ops {
		buf = e.ops[i].append(buf)
	}
	if len(buf) > kv.MaxValue {
		return fmt.Errorf("mailbox: one change touches too many messages: %w", mail.ErrLimit)
	}
	e.tx.Set(key64(e.acct, kindChange, uint64(e.root.modseq)), buf)
	e.tx.Wake(topic(e.acct))
	return nil
}

// An Incoming message is what Append adds.
type Incoming struct {
	*Prepared
	Flags    Flags // system flags
	Keywords []string
	Date     time.Time      // INTERNALDATE; zero: now
	UIDL     string         // unique id of POP3 that it had elsewhere; "": none
	By       mail.AccountID // who adds it, as far as \Seen is each reader's own; 0: the owner
}

// Appended says where a message went.
type Appended struct {
	Mailbox     mail.MailboxID
	UIDValidity uint32
	UID         mail.UID
	Email       mail.EmailID
	Thread      mail.ThreadID
	ModSeq      mail.ModSeq
}

// Append adds a message to a mailbox. mail.ErrOverQuota if the account has no
// room; mail.ErrNotFound if there is no such mailbox.
func (e *Edit) Append(box mail.MailboxID, m Incoming) (Appended, error) {
	b, err := e.messages(box)
	if err != nil {
		return Appended{}, err
	}
	bits, err := e.keywordBits(b, m.Keywords)
	if err != nil {
		return Appended{}, err
	}
	if err := e.charge(1, m.Size); err != nil {
		return Appended{}, err
	}
	now := e.tx.Now()
	if m.Date.IsZero() {
		m.Date = now
	}
	_, zone := m.Date.Zone()
	if m.Flags&Seen != 0 && b.OwnSeen(e.acct, m.By) {
		m.Flags &^= Seen
		e.hasSeen(b, m.By, b.UIDNext, true)
	}
	r := Row{Flags: m.Flags.System() | bits, date: m.Date.Unix(), zone: int16(zone / 60), saved: now.Unix(), ends: m.ends, ascii: m.ascii}
	if err := e.file(b, m.Prepared, &r); err != nil {
		return Appended{}, err
	}
	if m.UIDL != "" {
		if err := e.setUIDL(r.Email, m.UIDL); err != nil {
			return Appended{}, err
		}
	}
	return Appended{Mailbox: box, UIDValidity: b.UIDValidity, UID: r.UID, Email: r.Email, Thread: r.Thread, ModSeq: r.ModSeq}, nil
}

// file adds a message to a mailbox that has been charged. It fills in what is
// new in the row.
func (e *Edit) file(b *editBox, p *Prepared, r *Row) error {
	if b.UIDNext == ^mail.UID(0) {
		return fmt.Errorf("mailbox: %q has no UIDs left: %w", b.Name, mail.ErrLimit)
	}
	thread, err := e.thread(p)
	if err != nil {
		return err
	}
	r.UID, r.ModSeq, r.Email, r.Thread, r.Size = b.UIDNext, e.root.modseq, e.root.nextEmail, thread, p.Size
	e.root.nextEmail++
	em := email{trace: p.Trace, prefix: p.Prefix, ref: p.Ref}
	buf := scratch.Get().(*[]byte)
	*buf = em.append((*buf)[:0])
	e.tx.Set(key64(e.acct, kindEmail, uint64(r.Email)), *buf)
	scratch.Put(buf) // tx has a copy
	e.tx.Set(key64(e.acct, kindRecord, uint64(r.Email)), p.record)
	body.Hold(e.tx, p.Ref, holder(e.acct, r.Email))
	e.put(b, *r)
	return nil
}

// charge counts messages of that many bytes. What would be over a limit is
// refused, and not counted.
func (e *Edit) charge(count, bytes int64) error {
	n, size := e.root.usedCount+count, e.root.usedBytes+bytes
	if e.root.maxBytes > 0 && size > e.root.maxBytes || e.root.maxCount > 0 && n > e.root.maxCount {
		return fmt.Errorf("mailbox: account %d: %w", e.acct, mail.ErrOverQuota)
	}
	e.root.usedCount, e.root.usedBytes = n, size
	return nil
}

// put writes a row at the end of a mailbox.
func (e *Edit) put(b *editBox, r Row) {
	e.tx.Set(messageKey(e.acct, b.ID, r.UID), r.append(make([]byte, 0, 64)))
	b.UIDNext = r.UID + 1
	b.Total++
	b.Size += r.Size
	b.count(r.Flags, 1)
	b.ModSeq, b.dirty = e.root.modseq, true
	e.note(op{kind: opAppend, box: b.ID, uids: mail.UIDs(r.UID)})
}

// count adds n messages with these flags to the counters.
func (b *editBox) count(f Flags, n int) {
	if f&Seen == 0 {
		b.Unseen = uint32(int(b.Unseen) + n)
	}
	if f&Deleted != 0 {
		b.Deleted = uint32(int(b.Deleted) + n)
	}
}

// keywordBits gives the bits of the keywords, and makes the mailbox know them.
func (e *Edit) keywordBits(b *editBox, names []string) (Flags, error) {
	if len(names) == 0 {
		return 0, nil
	}
	if b.keywords == nil {
		known, err := readKeywords(e.tx, e.acct, b.ID)
		if err != nil {
			return 0, err
		}
		b.keywords = known
	}
	var bits Flags
	added := false
	for _, k := range names {
		bit := keywordBit(b.keywords, k)
		if bit == 0 {
			if len(b.keywords) == MaxKeywords || len(k) > MaxKeyword {
				return 0, fmt.Errorf("mailbox: %q: keywords: %w", b.Name, mail.ErrLimit)
			}
			b.keywords = append(slices.Clip(b.keywords), strings.Clone(k))
			bit = keywordBit(b.keywords, k)
			added = true
		}
		bits |= bit
	}
	if added {
		var row []byte
		for _, k := range b.keywords {
			row = kv.AppendBytes(row, k)
		}
		e.tx.Set(key64(e.acct, kindKeywords, uint64(b.ID)), row)
		e.note(op{kind: opKeywords, box: b.ID})
	}
	return bits, nil
}

// thread finds the conversation a message belongs to, or begins one: an email
// with a Message-ID in common and the same base subject. RFC 8621 §3
func (e *Edit) thread(p *Prepared) (mail.ThreadID, error) {
	keys := make([][]byte, len(p.threads))
	for i, h := range p.threads {
		keys[i] = key64(e.acct, kindThread, h)
	}
	var id mail.ThreadID
	rows, err := e.tx.GetMany(keys...)
	if err != nil {
		return 0, fmt.Errorf("mailbox: thread: %w", err)
	}
	for _, raw := range rows {
		if raw != nil {
			id = mail.ThreadID(kv.Decode(raw).Uvarint())
			break
		}
	}
	if id == 0 {
		id = e.root.nextThread
		e.root.nextThread++
	}
	row := binary.AppendUvarint(nil, uint64(id))
	for i, raw := range rows {
		if raw == nil {
			e.tx.Set(keys[i], row)
		}
	}
	return id, nil
}

// current gives the mailbox as edited so far.
func (e *Edit) current(box mail.MailboxID) (*Snapshot, error) {
	have := e.snapshots[box]
	if have == nil {
		s, err := forward(e.tx, e.s.cachedBefore(e.acct, box, e.root.modseq-1), e.acct, box)
		if err != nil {
			return nil, err
		}
		have = &edited{snap: s}
		if e.snapshots == nil {
			e.snapshots = map[mail.MailboxID]*edited{}
		}
		e.snapshots[box] = have
	}
	if have.ops == len(e.ops) {
		return have.snap, nil
	}
	b := newBuilder(have.snap)
	for i := have.ops; i < len(e.ops); i++ {
		o := &e.ops[i]
		if o.box != box {
			continue
		}
		switch o.kind {
		case opAppend:
			if err := b.read(e.tx, e.acct, box, o.uids.Min(), o.uids.Max()); err != nil {
				return nil, err
			}
		case opFlags:
			b.flags(o.uids, e.root.modseq, o.add, o.remove)
		case opExpunge:
			b.expunge(o.uids)
		}
	}
	if eb := e.boxes[box]; eb != nil && eb.keywords != nil {
		b.s.Keywords = eb.keywords
	}
	have.snap, have.ops = b.done(), len(e.ops)
	return have.snap, nil
}

// edited is a mailbox with the first ops of an edit applied.
type edited struct {
	snap *Snapshot
	ops  int
}

// Name gives the name of a mailbox that the edit has touched.
func (e *Edit) Name(box mail.MailboxID) string {
	if b := e.boxes[box]; b != nil {
		return b.Name
	}
	return ""
}

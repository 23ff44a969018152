package mailbox

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

// A Store keeps mailboxes. DB and Bodies must be set; a Store must not be
// copied after first use.
type Store struct {
	DB     kv.Store
	Bodies *body.Store

	// CachedRows is how many messages of snapshots are kept in memory (about
	// 72 bytes each); 0 is a million.
	CachedRows int
	// RecordBytes is how much memory Records may keep, and as much again
	// AppendDerived; 0 is 64 MiB.
	RecordBytes int
	// Sorted is told of each message that its owner moves or copies to Junk, or out of
	// it, or marks as junk or none, in the transaction that does it, which has the
	// account's lock and may be made again; nil: nobody is.
	Sorted func(kv.Tx, Sorted) error

	cache   cache
	recent  lru[recordKey, *recordBlock]
	columns lru[columnKey, *column]
	seen    lru[readerKey, *readState]
	due     due
}

type boxKey struct {
	acct mail.AccountID
	box  mail.MailboxID
}

// A cache keeps snapshots by recency.
type cache struct {
	mu      sync.Mutex
	entries map[boxKey]*entry
	recent  list.List // of *entry, the last used in front
	rows    int
}

type entry struct {
	key  boxKey
	mu   sync.Mutex // one brings it forward, the others wait for that
	snap atomic.Pointer[Snapshot]
	elem *list.Element
	rows int // as counted in cache.rows

	recent mail.UID // guarded by cache.mu, see ClaimRecent
}

func (c *cache) entry(k boxKey) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		if c.entries == nil {
			c.entries = map[boxKey]*entry{}
		}
		e = &entry{key: k}
		e.elem = c.recent.PushFront(e)
		c.entries[k] = e
	} else {
		c.recent.MoveToFront(e.elem)
	}
	return e
}

// peek gives the snapshot in memory, if any, without counting as a use.
func (c *cache) peek(k boxKey) *Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil {
		return e.snap.Load()
	}
	return nil
}

// put notes a newer snapshot, and lets the longest unused ones go.
func (c *cache) put(e *entry, s *Snapshot, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.snap.Store(s)
	if c.entries[e.key] != e {
		return // let go meanwhile
	}
	c.rows += s.n - e.rows
	e.rows = s.n
	for c.rows > limit {
		last := c.recent.Back()
		if last == nil || last == e.elem {
			return
		}
		c.drop(last.Value.(*entry))
	}
}

func (c *cache) drop(e *entry) {
	c.recent.Remove(e.elem)
	delete(c.entries, e.key)
	c.rows -= e.rows
}

func (c *cache) forget(k boxKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil {
		c.drop(e)
	}
}

const defaultCachedRows = 1_000_000

// Open gives the mailbox as it is now. mail.ErrNotFound if there is no such
// mailbox, or it is a placeholder.
func (s *Store) Open(ctx context.Context, a mail.AccountID, box mail.MailboxID) (*Snapshot, error) {
	return s.open(ctx, boxKey{a, box}, a)
}

// open is Open as somebody has the mailbox.
func (s *Store) open(ctx context.Context, k boxKey, who mail.AccountID) (*Snapshot, error) {
	e := s.cache.entry(k)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		cached := e.snap.Load()
		var next, theirs *Snapshot
		err := s.DB.View(ctx, func(r kv.Reader) (err error) {
			if next, err = forward(r, cached, k.acct, k.box); err == nil && next.Mailbox.OwnSeen(k.acct, who) {
				theirs, err = s.as(r, next, k.acct, who)
			} else {
				theirs = next
			}
			return err
		})
		if errors.Is(err, errAhead) {
			continue // what is in memory was committed after our view began
		}
		if errors.Is(err, mail.ErrNotFound) {
			s.cache.forget(k)
		}
		if err != nil {
			return nil, err
		}
		if next != cached {
			limit := s.CachedRows
			if limit == 0 {
				limit = defaultCachedRows
			}
			s.cache.put(e, next, limit)
		}
		return theirs, nil
	}
}

var errAhead = errors.New("mailbox: snapshot is newer than the view")

// maxForward is how many commits behind a snapshot may be to be brought forward
// by the log; further back, reading all rows is cheaper.
const maxForward = 10_000

// forward gives the mailbox as r shows it, from the older snapshot old if there
// is one.
func forward(r kv.Reader, old *Snapshot, a mail.AccountID, box mail.MailboxID) (*Snapshot, error) {
	rt, err := readRoot(r, a)
	if err != nil {
		return nil, err
	}
	if old != nil && old.ModSeq == rt.modseq {
		return old, nil
	}
	if old != nil && old.ModSeq > rt.modseq {
		return nil, errAhead
	}
	m, err := readMailbox(r, a, box)
	if err != nil {
		return nil, err
	}
	if m.Placeholder {
		return nil, fmt.Errorf("mailbox: %q has no messages: %w", m.Name, mail.ErrNotFound)
	}
	if old == nil || old.ModSeq < rt.floor || rt.modseq-old.ModSeq > maxForward || old.Mailbox.UIDValidity != m.UIDValidity {
		return load(r, a, rt, m)
	}
	b := newBuilder(old)
	keywords := false
	err = eachChange(r, a, old.ModSeq, rt.modseq, func(seq mail.ModSeq, o *op) error {
		if o.box != box {
			return nil
		}
		switch o.kind {
		case opAppend:
			return b.read(r, a, box, o.uids.Min(), o.uids.Max())
		case opFlags:
			b.flags(o.uids, seq, o.add, o.remove)
			b.log(o.uids, seq)
		case opExpunge:
			b.expunge(o.uids)
		case opKeywords:
			keywords = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if keywords {
		if b.s.Keywords, err = readKeywords(r, a, box); err != nil {
			return nil, err
		}
	}
	b.s.Mailbox, b.s.ModSeq = m, rt.modseq
	return b.done(), nil
}

// load reads all rows of a mailbox, and applies the flag changes of the log
// that are not in them.
func load(r kv.Reader, a mail.AccountID, rt root, m Mailbox) (*Snapshot, error) {
	b := &builder{s: Snapshot{Mailbox: m, ModSeq: rt.modseq, since: rt.modseq}}
	var err error
	if b.s.Keywords, err = readKeywords(r, a, m.ID); err != nil {
		return nil, err
	}
	if err := b.read(r, a, m.ID, 1, ^mail.UID(0)); err != nil {
		return nil, err
	}
	if m.ModSeq > m.folded {
		err = eachChange(r, a, m.folded, rt.modseq, func(seq mail.ModSeq, o *op) error {
			if o.box == m.ID && o.kind == opFlags {
				b.flags(o.uids, seq, o.add, o.remove)
			}
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return b.done(), nil
}

// read pushes the rows of the UIDs from first to last.
func (b *builder) read(r kv.Reader, a mail.AccountID, box mail.MailboxID, first, last mail.UID) error {
	for row, err := range r.Scan(messageRange(a, box, first, last)) {
		if err != nil {
			return fmt.Errorf("mailbox: read messages: %w", err)
		}
		uid := mail.UID(binary.BigEndian.Uint32(row.Key[len(row.Key)-4:]))
		rw, err := decodeRow(uid, row.Value)
		if err != nil {
			return fmt.Errorf("mailbox: message %d of mailbox %d: %w", uid, box, err)
		}
		b.push(rw)
	}
	return nil
}

// There looks whether an account has its rows: mail.ErrNotFound if it has none, or none
// any more. For who keeps rows under its lock that must go with it.
func There(r kv.Reader, a mail.AccountID) error {
	_, err := readRoot(r, a)
	return err
}

func readRoot(r kv.Reader, a mail.AccountID) (root, error) {
	raw, err := r.Get(key(a, kindRoot))
	if err != nil {
		return root{}, fmt.Errorf("mailbox: account %d: %w", a, err)
	}
	if raw == nil {
		return root{}, fmt.Errorf("mailbox: account %d: %w", a, mail.ErrNotFound)
	}
	return decodeRoot(raw)
}

func readMailbox(r kv.Reader, a mail.AccountID, box mail.MailboxID) (Mailbox, error) {
	raw, err := r.Get(key64(a, kindMailbox, uint64(box)))
	if err != nil {
		return Mailbox{}, fmt.Errorf("mailbox: %d: %w", box, err)
	}
	if raw == nil {
		return Mailbox{}, fmt.Errorf("mailbox: %d: %w", box, mail.ErrNotFound)
	}
	return decodeMailbox(box, raw)
}

func readKeywords(r kv.Reader, a mail.AccountID, box mail.MailboxID) ([]string, error) {
	raw, err := r.Get(key64(a, kindKeywords, uint64(box)))
	if err != nil {
		return nil, fmt.Errorf("mailbox: keywords: %w", err)
	}
	var out []string
	d := kv.Decode(raw)
	for d.More() {
		out = append(out, d.String())
	}
	return out, d.Err()
}

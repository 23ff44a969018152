package mailbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

const (
	// foldAfter is how many commits flags stay in the log alone.
	foldAfter = 2000
	// keepLog is how many commits the log reaches back, for QRESYNC.
	keepLog = 100_000
	// foldRows is how many rows one commit of Fold rewrites.
	foldRows = 4000
)

// due remembers which accounts have work for Maintain.
type due struct {
	mu    sync.Mutex
	accts map[mail.AccountID]bool
	wake  chan struct{}
}

func (d *due) note(a mail.AccountID, rt root, folded mail.ModSeq) {
	if rt.modseq-folded <= foldAfter {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.accts == nil {
		d.accts = map[mail.AccountID]bool{}
	}
	d.accts[a] = true
	select {
	case d.waker() <- struct{}{}:
	default:
	}
}

// waker must be called with mu held.
func (d *due) waker() chan struct{} {
	if d.wake == nil {
		d.wake = make(chan struct{}, 1)
	}
	return d.wake
}

func (d *due) take() ([]mail.AccountID, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []mail.AccountID
	for a := range d.accts {
		out = append(out, a)
	}
	clear(d.accts)
	return out, d.waker()
}

// Run folds the logs of busy accounts until ctx ends. An error of one account
// goes to report, and does not hold up the others.
func (s *Store) Run(ctx context.Context, report func(error)) error {
	for {
		accts, wake := s.due.take()
		for _, a := range accts {
			err := s.Fold(ctx, a)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil && !errors.Is(err, mail.ErrNotFound) {
				report(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		}
	}
}

// Fold writes flag changes from the log through to the rows of the messages,
// and cuts off the log's far end.
func (s *Store) Fold(ctx context.Context, a mail.AccountID) error {
	list, upTo, err := s.Mailboxes(ctx, a)
	if err != nil {
		return err
	}
	for _, m := range list {
		for next := mail.UID(1); next != 0; {
			plan := kv.Plan{Locks: []kv.Lock{Lock(a)}, Reads: [][]byte{key(a, kindRoot)}}
			from := next
			err := s.DB.Update(ctx, plan, func(tx kv.Tx) (err error) {
				next, err = s.foldSome(tx, a, m.ID, from, upTo)
				return err
			})
			if err != nil {
				return fmt.Errorf("mailbox: fold account %d: %w", a, err)
			}
		}
		if m.own > 0 {
			if err := s.tidySeen(ctx, a, m.ID); err != nil && !errors.Is(err, mail.ErrNotFound) {
				return err
			}
		}
	}
	return s.trim(ctx, a)
}

// foldSome writes the changes of the commits up to upTo through to the rows from
// UID first on, and gives the UID to go on from; 0 if the mailbox is done.
// Later commits may come between two calls: a row then holds more than it must,
// and what the log says once more does no harm.
func (s *Store) foldSome(tx kv.Tx, a mail.AccountID, box mail.MailboxID, first mail.UID, upTo mail.ModSeq) (mail.UID, error) {
	m, err := readMailbox(tx, a, box)
	if errors.Is(err, mail.ErrNotFound) {
		return 0, nil
	}
	if err != nil || m.Placeholder || m.folded >= upTo {
		return 0, err
	}
	var changed mail.UIDSet
	err = eachChange(tx, a, m.folded, upTo, func(_ mail.ModSeq, o *op) error {
		if o.box == box && o.kind == opFlags {
			changed = changed.Union(o.uids)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if !changed.IsEmpty() {
		rt, err := readRoot(tx, a)
		if err != nil {
			return 0, err
		}
		snap, err := forward(tx, s.cachedBefore(a, box, rt.modseq), a, box)
		if err != nil {
			return 0, err
		}
		n := 0
		for _, r := range snap.In(changed.Intersect(mail.UIDSpan(first, ^mail.UID(0)))) {
			if n++; n > foldRows {
				return r.UID, nil
			}
			tx.Set(messageKey(a, box, r.UID), r.append(make([]byte, 0, 64)))
		}
	}
	m.folded = upTo
	tx.Set(key64(a, kindMailbox, uint64(box)), m.append(nil))
	return 0, nil
}

// cachedBefore gives the snapshot in memory if it is not newer than seq.
func (s *Store) cachedBefore(a mail.AccountID, box mail.MailboxID, seq mail.ModSeq) *Snapshot {
	if c := s.cache.peek(boxKey{a, box}); c != nil && c.ModSeq <= seq {
		return c
	}
	return nil
}

// trim cuts the log off below what is folded and what QRESYNC may ask for.
func (s *Store) trim(ctx context.Context, a mail.AccountID) error {
	plan := kv.Plan{Locks: []kv.Lock{Lock(a)}, Reads: [][]byte{key(a, kindRoot)}}
	err := s.DB.Update(ctx, plan, func(tx kv.Tx) error {
		rt, err := readRoot(tx, a)
		if err != nil || rt.modseq <= rt.floor+2*keepLog {
			return err
		}
		floor := rt.modseq - keepLog
		p := key(a, kindMailbox)
		for row, err := range tx.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			m, err := decodeMailbox(0, row.Value)
			if err != nil {
				return err
			}
			if m.ModSeq > m.folded {
				floor = min(floor, m.folded)
			}
		}
		if floor <= rt.floor {
			return nil
		}
		tx.DeleteRange(key64(a, kindChange, uint64(rt.floor)+1), key64(a, kindChange, uint64(floor)+1))
		rt.floor = floor
		tx.Set(key(a, kindRoot), rt.append(nil))
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: trim the log of account %d: %w", a, err)
	}
	return nil
}

// reapRows is how many emails one commit of Remove forgets.
const reapRows = 1000

// Keep says what of the expunged mail stays.
type Keep struct {
	From  time.Time // what went before that stays all the same
	Since time.Time // what went before that is forgotten
	Bytes int64     // and so is the oldest of what is more than that; 0: no limit
}

// Reap forgets expunged mail that need not be kept: it can no longer be
// restored, and emails that stand in no mailbox let their bodies go. It gives
// how many messages that were.
func (s *Store) Reap(ctx context.Context, a mail.AccountID, keep Keep) (n int, err error) {
	var doomed [][]byte
	var rt root
	var live map[mail.EmailID]bool
	err = s.DB.View(ctx, func(r kv.Reader) error {
		if rt, err = readRoot(r, a); err != nil {
			return err
		}
		if doomed, err = doomedRows(r, a, rt, keep); err != nil || len(doomed) == 0 {
			return err
		}
		live, err = liveEmails(r, a, doomed)
		return err
	})
	if err != nil || len(doomed) == 0 {
		return 0, wrapReap(a, err)
	}
	// An email without a row in any mailbox gets one again only if it is
	// restored, which restored counts: what is dead stays dead while this goes on.
	for _, k := range doomed {
		part := 0
		err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock(a)}}, func(tx kv.Tx) (err error) {
			part, err = reapRow(tx, a, k, rt.restored, live)
			return err
		})
		if err != nil {
			return n, wrapReap(a, err)
		}
		n += part
	}
	return n, nil
}

// doomedRows gives the keys of the rows 0a and 24 that are not to be kept.
func doomedRows(r kv.Reader, a mail.AccountID, rt root, keep Keep) (keys [][]byte, err error) {
	since, from := uint64(max(keep.Since.Unix(), 0)), uint64(max(keep.From.Unix(), 0))
	for row, err := range r.Scan(kv.Range{Low: key64(a, kindDead, from), High: key64(a, kindDead, since)}) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, append([]byte(nil), row.Key...))
	}
	left := rt.deadBytes
	rg := kv.Prefix(key(a, kindExpunged))
	rg.Low = key64(a, kindExpunged, from)
	for row, err := range r.Scan(rg) {
		if err != nil {
			return nil, err
		}
		at, _ := graveOf(row.Key)
		if uint64(at.Unix()) >= since && (keep.Bytes == 0 || left <= keep.Bytes) {
			break
		}
		g, err := decodeGrave(row.Value)
		if err != nil {
			return nil, err
		}
		for i := range g.rows {
			left -= g.rows[i].Size
		}
		keys = append(keys, append([]byte(nil), row.Key...))
	}
	return keys, nil
}

// reapRow forgets the emails of a row 0a or 24 that are not live, unless mail was
// restored since that was looked up: then the next time will do.
func reapRow(tx kv.Tx, a mail.AccountID, k []byte, restored uint64, live map[mail.EmailID]bool) (int, error) {
	rt, err := readRoot(tx, a)
	if err != nil || rt.restored != restored {
		return 0, err
	}
	raw, err := tx.Get(k)
	if err != nil || raw == nil {
		return 0, err
	}
	ids, size, err := deadEmails(k, raw)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if !live[id] {
			if err := forget(tx, a, id); err != nil {
				return 0, err
			}
		}
	}
	tx.Delete(k)
	if size > 0 {
		rt.deadBytes -= size
		tx.Set(key(a, kindRoot), rt.append(nil))
	}
	return len(ids), nil
}

// deadEmails gives the emails that a row 0a or 24 has, and their size as counted
// in row 00.
func deadEmails(k, raw []byte) (ids []mail.EmailID, size int64, err error) {
	if k[kv.PrefixLen] == kindExpunged {
		g, err := decodeGrave(raw)
		for i := range g.rows {
			ids = append(ids, g.rows[i].Email)
			size += g.rows[i].Size
		}
		return ids, size, err
	}
	d := kv.Decode(raw)
	last := int64(0)
	for d.More() {
		last += d.Varint()
		ids = append(ids, mail.EmailID(last))
	}
	return ids, 0, d.Err()
}

func wrapReap(a mail.AccountID, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mailbox: reap account %d: %w", a, err)
}

// liveEmails gives those emails of doomed rows that stand in a mailbox too, or in a
// row 24 that is not doomed. It looks through all messages of the account, but
// remembers only what is doomed: few, as a rule.
func liveEmails(r kv.Reader, a mail.AccountID, doomed [][]byte) (map[mail.EmailID]bool, error) {
	live, err := emailsOf(r, doomed)
	if err != nil {
		return nil, err
	}
	seen := func(id mail.EmailID) {
		if _, ok := live[id]; ok {
			live[id] = true
		}
	}
	for row, err := range r.Scan(kv.Prefix(key(a, kindMessage))) {
		if err != nil {
			return nil, err
		}
		id, err := rowEmail(row.Value)
		if err != nil {
			return nil, err
		}
		seen(id)
	}
	for row, err := range r.Scan(kv.Prefix(key(a, kindExpunged))) {
		if err != nil {
			return nil, err
		}
		if _, gone := slices.BinarySearchFunc(doomed, row.Key, bytes.Compare); gone { // they are in order
			continue
		}
		g, err := decodeGrave(row.Value)
		if err != nil {
			return nil, err
		}
		for i := range g.rows {
			seen(g.rows[i].Email)
		}
	}
	return live, nil
}

// emailsOf gives the emails of rows 0a and 24, with false for each.
func emailsOf(r kv.Reader, keys [][]byte) (map[mail.EmailID]bool, error) {
	out := map[mail.EmailID]bool{}
	for _, k := range keys {
		raw, err := r.Get(k)
		if err != nil {
			return nil, err
		}
		ids, _, err := deadEmails(k, raw)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			out[id] = false
		}
	}
	return out, nil
}

// forget removes what is kept of an email.
func forget(tx kv.Tx, a mail.AccountID, id mail.EmailID) error {
	k := key64(a, kindEmail, uint64(id))
	raw, err := tx.Get(k)
	if err != nil || raw == nil {
		return err
	}
	e, err := decodeEmail(raw)
	if err != nil {
		return err
	}
	body.Release(tx, e.ref, holder(a, id))
	tx.Delete(k)
	tx.Delete(key64(a, kindRecord, uint64(id)))
	tx.Delete(key64(a, kindUIDL, uint64(id)))
	return nil
}

// Accounts gives the accounts of which there is anything.
func (s *Store) Accounts(ctx context.Context) (ids []mail.AccountID, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		ids = ids[:0]
		low := []byte{Lock(0).Class}
		for high := kv.Next(low); low != nil; {
			at := kv.Range{Low: low, High: high, Limit: 1}
			low = nil
			for row, err := range r.Scan(at) {
				if err != nil {
					return err
				}
				l, ok := kv.LockOf(row.Key)
				if !ok {
					return kv.ErrRow
				}
				ids = append(ids, mail.AccountID(l.ID))
				low = kv.Next(l.Prefix())
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: accounts: %w", err)
	}
	return ids, nil
}

// Remove removes all that there is of an account, and lets its bodies go.
func (s *Store) Remove(ctx context.Context, a mail.AccountID) error {
	for more := true; more; {
		// There may be more of them than one transaction takes, and what had been on its
		// way to the account may still come: the last one looks.
		err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock(a)}}, func(tx kv.Tx) (err error) {
			if more, err = releaseSome(tx, a); err != nil || more {
				return err
			}
			tx.DeleteRange(Lock(a).Prefix(), kv.Next(Lock(a).Prefix()))
			tx.Wake(topic(a))
			return nil
		})
		if err != nil {
			return fmt.Errorf("mailbox: remove account %d: %w", a, err)
		}
	}
	return nil
}

// releaseSome lets bodies of an account go, and tells whether there may be more.
func releaseSome(tx kv.Tx, a mail.AccountID) (more bool, err error) {
	var ids []mail.EmailID
	r := kv.Prefix(key(a, kindEmail))
	r.Limit = reapRows
	for row, err := range tx.Scan(r) {
		if err != nil {
			return false, err
		}
		ids = append(ids, mail.EmailID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:])))
	}
	for _, id := range ids {
		if err := forget(tx, a, id); err != nil {
			return false, err
		}
	}
	return len(ids) == reapRows, nil
}

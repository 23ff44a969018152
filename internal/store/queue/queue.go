// Package queue keeps what has yet to go somewhere.
//
// An item is one message for the recipients of one domain, so that each
// destination has its own state and its own schedule; or, if it goes on an Errand,
// for all its recipients. Items lie in shards, each
// under its own lock.
//
//	00              next id of the shard
//	01 due id       domain, and behind a space its way, if it has one of its own:
//	                the schedule. While an item is claimed, due is the end of
//	                the claim
//	04, 05 due id   the same, for what is urgent and for what is not
//	02 id           what does not change: envelope, body
//	03 id           what does: attempts, due, claim, recipients to reach
//
// # The life of an item
//
//	state     01          03.token   becomes
//	waiting   due = next  0          claimed, dropped, waiting (Retry, Hold, Reroute, Release)
//	claimed   due = lease ≠ 0        gone or waiting (Settle); waiting when the
//	                                 lease ends: another Claim takes it over;
//	                                 claimed for fewer recipients (Reached)
//	gone      –           –
//
// A crash at any point leaves one of these states, since each arrow is one
// commit. Settle is refused to whoever's claim was taken over, so what a claim
// did counts once; the remote host may get a message twice if the crash comes
// between its 250 and our Settle, which SMTP cannot avoid (RFC 5321 §4.5.5).
package queue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
)

// shards is how many locks writers of the queue share. It is part of the store
// format: an id tells its shard.
const shards = 16

const (
	kindCounter  = 0x00
	kindSchedule = 0x01
	kindItem     = 0x02
	kindState    = 0x03
	kindUrgent   = 0x04
	kindLow      = 0x05
)

// Topic is woken when something may be due sooner than it was.
const Topic = uint64('Q') << 56

// A Queue reads and writes the rows. DB must be set; a Queue must not be copied
// after first use.
type Queue struct {
	DB kv.Store
	// Way names the way that an item goes, if that is not its domain's own; nil: none
	// goes another. It must be quick, and the same for all Queues of a store.
	Way func(*Item) string

	looks looks
	clock clock
}

// An Item is a message on its way to the recipients of one domain.
type Item struct {
	ID       mail.QueueID
	Envelope mail.Envelope // with the recipients that it has yet to reach
	Domain   mail.Domain   // of all recipients, unless it goes on an errand
	Body     body.Ref
	Prefix   []byte // trace fields in front of the body
	Queued   time.Time
	// Role is that of the mailbox that it goes to at people here, as the mailbox
	// store numbers them; 0 is the inbox.
	Role byte
	// Errand is how it goes if it goes by an account that its sender has elsewhere.
	Errand Errand
	// Way is the way that it goes, in a claim, as Queue.Way names it.
	Way string
	State
}

// A Bound is where an item is bound: its domain, and the way that it goes there if
// that is not the domain's own. What is bound alike is held back together.
type Bound struct {
	Domain mail.Domain
	Way    string
}

// Bound gives where an item is bound.
func (q *Queue) Bound(it *Item) Bound {
	b := Bound{Domain: it.Domain}
	if q.Way != nil {
		b.Way = q.Way(it)
	}
	return b
}

// value is what stands in the schedule. A domain has no space in it.
func (b Bound) value() []byte {
	if b.Way == "" {
		return []byte(b.Domain)
	}
	return []byte(string(b.Domain) + " " + b.Way)
}

func parseBound(v []byte) Bound {
	d, way, _ := strings.Cut(string(v), " ")
	return Bound{Domain: mail.Domain(d), Way: way}
}

// State is the part of an item that attempts change.
type State struct {
	Attempts int
	Next     time.Time // when it is due
	Warned   bool      // the sender has been told of the delay
	Held     bool      // an operator holds it back
	Late     bool      // the sender has been told that it is later than he asked for
	Via      string    // the way that an operator told it to go; "" is the usual
	Text     string    // what the last attempt heard
	Remote   string    // from whom
	From     string    // and on which of our addresses, if we have several
	Status   mail.Status
	token    uint64 // of the claim; 0 if waiting
}

// Claimed tells whether somebody is at work on the item.
func (s State) Claimed() bool { return s.token != 0 }

// Size is the length of the message in bytes.
func (it *Item) Size() int64 { return int64(len(it.Prefix)) + it.Body.Size }

// ShardOf gives the lock that a Put of this message needs.
func ShardOf(id mail.TraceID) kv.Lock { return kv.Lock{Class: 'Q', ID: uint64(id[9] % shards)} }

func shardOf(id mail.QueueID) kv.Lock { return kv.Lock{Class: 'Q', ID: uint64(id) % shards} }

func (it *Item) holder() body.Holder { return body.Holder{Lock: shardOf(it.ID), Row: uint64(it.ID)} }

func key(l kv.Lock, kind byte, id mail.QueueID) []byte {
	return binary.BigEndian.AppendUint64(append(l.Prefix(), kind), uint64(id))
}

// scheduleKey is where the item stands in the schedule of its lane.
func (it *Item) scheduleKey(l kv.Lock) []byte {
	return scheduleKey(l, laneOf(it.Envelope.Priority), it.Next, it.ID)
}

func scheduleKey(l kv.Lock, n lane, due time.Time, id mail.QueueID) []byte {
	b := binary.BigEndian.AppendUint64(append(l.Prefix(), n.kind()), uint64(due.UnixMilli()))
	return binary.BigEndian.AppendUint64(b, uint64(id))
}

// Put adds an item that is due at it.Next, or at once if that is zero, and
// gives its id. The transaction needs the lock ShardOf(it.Envelope.Trace).
func (q *Queue) Put(tx kv.Tx, it Item) (mail.QueueID, error) {
	l := ShardOf(it.Envelope.Trace)
	ck := append(l.Prefix(), kindCounter)
	raw, err := tx.Get(ck)
	if err != nil {
		return 0, err
	}
	n := uint64(1)
	if raw != nil {
		n = kv.Decode(raw).Uvarint()
	}
	tx.Set(ck, binary.AppendUvarint(nil, n+1))
	it.ID = mail.QueueID(n*shards + l.ID)
	if now := tx.Now(); it.Queued.Before(now) { // else it is as if it came only then
		it.Queued = now
	}
	if it.Next.IsZero() {
		it.Next = it.Queued
	}
	it.punctual(it.Queued)
	row := it.row()
	if len(row) > kv.MaxValue {
		return 0, fmt.Errorf("queue: too many recipients in one domain: %w", mail.ErrLimit)
	}
	tx.Set(key(l, kindItem, it.ID), row)
	body.Hold(tx, it.Body, it.holder())
	q.write(tx, l, &it)
	return it.ID, nil
}

// punctual has an item due, at the latest, when it is to be delivered by: then it is
// tried once more, or its sender hears of it. RFC 2852
func (it *Item) punctual(now time.Time) {
	if by := it.Envelope.By.Time; by.After(now) && by.Before(it.Next) {
		it.Next = by
	}
}

// write writes the state and the schedule of an item.
func (q *Queue) write(tx kv.Tx, l kv.Lock, it *Item) {
	tx.Set(key(l, kindState, it.ID), it.stateRow())
	tx.Set(it.scheduleKey(l), q.Bound(it).value())
	tx.Wake(Topic)
}

// A Claim is an item that its holder alone works on, until Until.
type Claim struct {
	Item
	Until time.Time
}

// Claim claims up to n items that are due, each for the time given, of domains
// that pick has room for.
func (q *Queue) Claim(ctx context.Context, hold time.Duration, n int, pick Pick) (claims []Claim, err error) {
	found, err := q.due(ctx, n, pick)
	if err != nil {
		return nil, fmt.Errorf("queue: claim: %w", err)
	}
	// At the same time, so that they share the wait for the disk.
	got, errs := make([][]Claim, len(found)), make([]error, len(found))
	var wg sync.WaitGroup
	for i, f := range found {
		wg.Go(func() {
			errs[i] = q.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{f.lock}}, func(tx kv.Tx) (err error) {
				q.clock.set(tx.Now())
				got[i], err = q.claim(tx, f.lock, f.ids, hold)
				return err
			})
		})
	}
	wg.Wait()
	for i := range found {
		if errs[i] == nil {
			claims = append(claims, got[i]...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return claims, fmt.Errorf("queue: claim: %w", err)
	}
	return claims, nil
}

func (q *Queue) claim(tx kv.Tx, l kv.Lock, ids []mail.QueueID, hold time.Duration) ([]Claim, error) {
	var out []Claim
	now := tx.Now()
	for _, id := range ids {
		it, err := read(tx, l, id)
		if errors.Is(err, mail.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if it.Next.After(now) {
			continue // somebody else was quicker
		}
		tx.Delete(it.scheduleKey(l))
		it.Next = now.Add(hold)
		it.token = newToken()
		tx.Set(key(l, kindState, id), it.stateRow())
		bound := q.Bound(&it)
		it.Way = bound.Way
		tx.Set(it.scheduleKey(l), bound.value())
		out = append(out, Claim{Item: it, Until: it.Next})
	}
	return out, nil
}

func newToken() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) | 1
}

// Lock gives the lock that Settle needs for the claim.
func (c *Claim) Lock() kv.Lock { return shardOf(c.ID) }

// Settle ends a claim: recipients whose outcome is done leave the item, the
// rest waits until next. An item without recipients is gone, and so is its hold
// on the body. mail.ErrInUse if the claim has ended and somebody else has it.
func (q *Queue) Settle(tx kv.Tx, c Claim, outcomes []mail.Outcome, next time.Time) error {
	l := c.Lock()
	it, err := read(tx, l, c.ID)
	if err != nil {
		return err
	}
	if it.token != c.token {
		return fmt.Errorf("queue: item %d: the claim has ended: %w", c.ID, mail.ErrInUse)
	}
	done := map[mail.Address]bool{}
	for _, o := range outcomes {
		if o.Done() {
			done[o.Recipient.Address] = true
		} else {
			it.Text, it.Remote, it.From, it.Status = o.Text, o.Remote, o.From, o.Status
		}
	}
	left := it.Envelope.Recipients[:0]
	for _, r := range it.Envelope.Recipients {
		if !done[r.Address] {
			left = append(left, r)
		}
	}
	it.Envelope.Recipients = left
	tx.Delete(it.scheduleKey(l))
	if len(left) == 0 {
		it.erase(tx, l)
		return nil
	}
	it.token, it.Next, it.Warned, it.Late = 0, next, c.Warned, c.Late
	it.punctual(tx.Now())
	it.Attempts++
	q.write(tx, l, &it)
	return nil
}

// Reached takes recipients out of a claimed item, in the transaction that serves
// them. The item stays, even without recipients, until it is settled.
// mail.ErrInUse if the claim has ended: then nobody must be served.
func (*Queue) Reached(tx kv.Tx, claimed *Item, rcpts []mail.Address) error {
	l := shardOf(claimed.ID)
	it, err := read(tx, l, claimed.ID)
	if err != nil {
		return err
	}
	if it.token != claimed.token {
		return fmt.Errorf("queue: item %d: the claim has ended: %w", it.ID, mail.ErrInUse)
	}
	it.Envelope.Recipients = slices.DeleteFunc(it.Envelope.Recipients, func(r mail.Recipient) bool {
		return slices.Contains(rcpts, r.Address)
	})
	tx.Set(key(l, kindState, it.ID), it.stateRow())
	return nil
}

// Release gives a claim back as if it had never been, due again at next.
func (q *Queue) Release(tx kv.Tx, c Claim, next time.Time) error {
	l := c.Lock()
	it, err := read(tx, l, c.ID)
	if err != nil {
		return err
	}
	if it.token != c.token {
		return nil
	}
	tx.Delete(it.scheduleKey(l))
	it.token, it.Next = 0, next
	q.write(tx, l, &it)
	return nil
}

// erase removes all rows but the schedule.
func (it *Item) erase(tx kv.Tx, l kv.Lock) {
	body.Release(tx, it.Body, it.holder())
	tx.Delete(key(l, kindItem, it.ID))
	tx.Delete(key(l, kindState, it.ID))
}

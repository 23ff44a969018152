package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// page is how many items one look takes.
const page = 256

// Each calls fn for every item, in no particular order, until fn says no. No
// transaction is open while fn runs.
func (q *Queue) Each(ctx context.Context, fn func(Item) bool) error {
	for shard := uint64(0); shard < shards; shard++ {
		l := kv.Lock{Class: 'Q', ID: shard}
		low := append(l.Prefix(), kindItem)
		for low != nil {
			items, next, err := q.page(ctx, l, low)
			if err != nil {
				return fmt.Errorf("queue: list: %w", err)
			}
			for _, it := range items {
				if !fn(it) {
					return nil
				}
			}
			low = next
		}
	}
	return nil
}

// Some gives up to about n items behind the one given, in an order that does not change,
// and the last of them; 0 begins, and 0 as the last is that there are no more.
func (q *Queue) Some(ctx context.Context, after mail.QueueID, n int) (items []Item, last mail.QueueID, err error) {
	shard := uint64(after) % shards
	for ; shard < shards; shard++ {
		l := kv.Lock{Class: 'Q', ID: shard}
		low := append(l.Prefix(), kindItem)
		if after != 0 {
			low, after = key(l, kindItem, after+1), 0
		}
		for low != nil {
			some, next, err := q.page(ctx, l, low)
			if err != nil {
				return nil, 0, fmt.Errorf("queue: list: %w", err)
			}
			if items = append(items, some...); len(items) >= n {
				return items, items[len(items)-1].ID, nil
			}
			low = next
		}
	}
	return items, 0, nil
}

// page gives some items of a shard, and where the next page begins.
func (q *Queue) page(ctx context.Context, l kv.Lock, low []byte) (items []Item, next []byte, err error) {
	err = q.DB.View(ctx, func(r kv.Reader) error {
		items, next = items[:0], nil
		for row, err := range r.Scan(kv.Range{Low: low, High: kv.Next(append(l.Prefix(), kindItem)), Limit: page}) {
			if err != nil {
				return err
			}
			id := mail.QueueID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))
			it, err := read(r, l, id)
			if err != nil {
				return err
			}
			items = append(items, it)
			next = key(l, kindItem, id+1)
		}
		if len(items) < page {
			next = nil
		}
		return nil
	})
	return items, next, err
}

// Of gives the items of one message.
func (q *Queue) Of(ctx context.Context, id mail.TraceID) ([]Item, error) {
	var out []Item
	l := ShardOf(id)
	low := append(l.Prefix(), kindItem)
	for low != nil {
		items, next, err := q.page(ctx, l, low)
		if err != nil {
			return nil, fmt.Errorf("queue: items of %v: %w", id, err)
		}
		for _, it := range items {
			if it.Envelope.Trace == id {
				out = append(out, it)
			}
		}
		low = next
	}
	return out, nil
}

// Retry makes an item due now, also one that is held. An item that is being
// worked on is left alone: mail.ErrInUse.
func (q *Queue) Retry(ctx context.Context, id mail.QueueID) error {
	return q.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{shardOf(id)}}, func(tx kv.Tx) error {
		_, err := q.LetGo(tx, id)
		return err
	})
}

// LetGo is Retry in a transaction, which needs ShardOf of its message.
func (q *Queue) LetGo(tx kv.Tx, id mail.QueueID) (Item, error) {
	return q.change(tx, id, func(it *Item) { it.Next, it.Held = tx.Now(), false })
}

// heldFor is how far away the time is when an item is due that is held.
const heldFor = 100 * 365 * 24 * time.Hour

// Hold holds an item back until LetGo. The transaction needs ShardOf of its
// message.
func (q *Queue) Hold(tx kv.Tx, id mail.QueueID) (Item, error) {
	return q.change(tx, id, func(it *Item) { it.Next, it.Held, it.token = tx.Now().Add(heldFor), true, 0 })
}

// Reroute has an item go another way from then on, at once if it waits and is not
// held; "" is the usual one. An attempt that is under way goes on. The transaction
// needs ShardOf of its message.
func (q *Queue) Reroute(tx kv.Tx, id mail.QueueID, via string) (Item, error) {
	if len(via) > maxVia {
		return Item{}, fmt.Errorf("queue: the name of a way has at most %d characters: %w", maxVia, mail.ErrLimit)
	}
	l := shardOf(id)
	it, err := read(tx, l, id)
	if err != nil {
		return Item{}, err
	}
	tx.Delete(it.scheduleKey(l))
	it.Via = via
	if claimed := it.Claimed() && it.Next.After(tx.Now()); !claimed && !it.Held {
		it.Next = tx.Now()
	}
	q.write(tx, l, &it)
	return it, nil
}

// maxVia bounds the name of a way.
const maxVia = 300

// change changes a waiting item, and when it is due.
func (q *Queue) change(tx kv.Tx, id mail.QueueID, change func(*Item)) (Item, error) {
	l := shardOf(id)
	it, err := waiting(tx, l, id)
	if err != nil {
		return Item{}, err
	}
	tx.Delete(it.scheduleKey(l))
	change(&it)
	q.write(tx, l, &it)
	return it, nil
}

// Take claims an item that waits, whenever it is due.
func (q *Queue) Take(ctx context.Context, id mail.QueueID, hold time.Duration) (c Claim, err error) {
	l := shardOf(id)
	err = q.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{l}}, func(tx kv.Tx) error {
		it, err := q.change(tx, id, func(it *Item) { it.Next, it.Held = tx.Now(), false })
		if err != nil {
			return err
		}
		got, err := q.claim(tx, l, []mail.QueueID{it.ID}, hold)
		if err == nil {
			c = got[0]
		}
		return err
	})
	return c, err
}

// Drop removes an item, and its hold on the body. The transaction needs
// ShardOf of its message.
func (q *Queue) Drop(tx kv.Tx, id mail.QueueID) (Item, error) {
	l := shardOf(id)
	it, err := waiting(tx, l, id)
	if err != nil {
		return Item{}, err
	}
	tx.Delete(it.scheduleKey(l))
	it.erase(tx, l)
	return it, nil
}

// waiting reads an item that nobody works on.
func waiting(tx kv.Tx, l kv.Lock, id mail.QueueID) (Item, error) {
	it, err := read(tx, l, id)
	if err == nil && it.Claimed() && it.Next.After(tx.Now()) {
		err = fmt.Errorf("queue: item %d is being delivered just now: %w", id, mail.ErrInUse)
	}
	return it, err
}

// Check verifies that rows and schedule agree, and gives a sentence for each
// that does not.
func (q *Queue) Check(ctx context.Context) (wrong []string, err error) {
	err = q.DB.View(ctx, func(r kv.Reader) error {
		wrong = wrong[:0]
		for shard := uint64(0); shard < shards; shard++ {
			w, err := check(r, kv.Lock{Class: 'Q', ID: shard})
			if err != nil {
				return err
			}
			wrong = append(wrong, w...)
		}
		return nil
	})
	return wrong, err
}

func check(r kv.Reader, l kv.Lock) (wrong []string, err error) {
	type when struct {
		lane lane
		due  time.Time
	}
	scheduled := map[mail.QueueID]when{}
	for n := range lanes {
		for row, err := range r.Scan(kv.Prefix(append(l.Prefix(), n.kind()))) {
			if err != nil {
				return nil, err
			}
			due, id := parseSchedule(row.Key)
			if _, twice := scheduled[id]; twice {
				wrong = append(wrong, fmt.Sprintf("queue: item %d is scheduled twice", id))
			}
			scheduled[id] = when{n, due}
		}
	}
	for row, err := range r.Scan(kv.Prefix(append(l.Prefix(), kindItem))) {
		if err != nil {
			return nil, err
		}
		id := mail.QueueID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))
		it, err := read(r, l, id)
		switch at, ok := scheduled[id]; {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("queue: item %d: %v", id, err))
		case !ok || at.lane != laneOf(it.Envelope.Priority) || !at.due.Equal(it.Next.Truncate(time.Millisecond)):
			wrong = append(wrong, fmt.Sprintf("queue: item %d is not scheduled when it says", id))
		case len(it.Envelope.Recipients) == 0 && !it.Claimed():
			wrong = append(wrong, fmt.Sprintf("queue: item %d has nobody left to reach", id))
		}
		delete(scheduled, id)
	}
	for id := range scheduled {
		wrong = append(wrong, fmt.Sprintf("queue: item %d is scheduled and does not exist", id))
	}
	return wrong, nil
}

// Revoke ends the claim of an item, whoever has it, and makes the item due.
func (q *Queue) Revoke(ctx context.Context, id mail.QueueID) error {
	l := shardOf(id)
	return q.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{l}}, func(tx kv.Tx) error {
		it, err := read(tx, l, id)
		if errors.Is(err, mail.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		tx.Delete(it.scheduleKey(l))
		if len(it.Envelope.Recipients) == 0 { // all were reached, and that was not settled
			it.erase(tx, l)
			return nil
		}
		it.Next, it.token = tx.Now(), 0
		q.write(tx, l, &it)
		return nil
	})
}

package queue

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Counts are how much is in the queue.
type Counts struct {
	Due   int // its time has come, and nobody works on it yet
	Later int // it is tried again later, or is being tried now
	Held  int // an operator holds it back
	// Oldest is since when the oldest waits that nobody holds back; zero if there is none.
	Oldest time.Time
}

const (
	countPage = 10_000 // rows that are counted in one look
	// oldPage is how many of a shard's items, in the order in which they came, are
	// looked at to find the oldest that is not held back.
	oldPage = 1000
)

// Count counts what is in the queue, and takes about a fifth of a second for a million
// items: it reads the schedule only, and looks into items to find the oldest.
func (q *Queue) Count(ctx context.Context) (c Counts, err error) {
	now, err := q.now(ctx)
	if err != nil {
		return c, fmt.Errorf("queue: count: %w", err)
	}
	for i := range shards * uint64(lanes) {
		l := kv.Lock{Class: 'Q', ID: i % shards}
		if err := q.countLane(ctx, l, lane(i/shards), now, &c); err != nil {
			return c, fmt.Errorf("queue: count: %w", err)
		}
	}
	for i := range uint64(shards) {
		oldest, err := q.oldest(ctx, kv.Lock{Class: 'Q', ID: i}, now)
		if err != nil {
			return c, fmt.Errorf("queue: count: %w", err)
		}
		if !oldest.IsZero() && (c.Oldest.IsZero() || oldest.Before(c.Oldest)) {
			c.Oldest = oldest
		}
	}
	return c, nil
}

// countLane counts the schedule of a shard.
func (q *Queue) countLane(ctx context.Context, l kv.Lock, n lane, now time.Time, c *Counts) error {
	low := append(l.Prefix(), n.kind())
	high := kv.Next(low)
	for low != nil {
		var page Counts
		var next []byte
		err := q.DB.View(ctx, func(r kv.Reader) error {
			page, next = Counts{}, nil
			rows := 0
			for row, err := range r.Scan(kv.Range{Low: low, High: high, Limit: countPage}) {
				if err != nil {
					return err
				}
				due, _ := parseSchedule(row.Key)
				switch {
				case !due.After(now):
					page.Due++
				case due.After(now.Add(heldFor / 2)):
					page.Held++
				default:
					page.Later++
				}
				if rows++; rows == countPage {
					next = append([]byte(string(row.Key)), 0)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		c.Due, c.Later, c.Held = c.Due+page.Due, c.Later+page.Later, c.Held+page.Held
		low = next
	}
	return nil
}

// oldest gives since when the first item of a shard waits that is not held back; zero if
// there is none.
func (q *Queue) oldest(ctx context.Context, l kv.Lock, now time.Time) (since time.Time, err error) {
	low := append(l.Prefix(), kindItem)
	err = q.DB.View(ctx, func(r kv.Reader) error {
		since = time.Time{}
		for row, err := range r.Scan(kv.Range{Low: low, High: kv.Next(low), Limit: oldPage}) {
			if err != nil {
				return err
			}
			it, err := read(r, l, mail.QueueID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:])))
			if err != nil {
				return err
			}
			if !it.Held && !it.Queued.After(now) { // the latter: it is to be sent later
				since = it.Queued
				return nil
			}
		}
		return nil
	})
	return since, err
}

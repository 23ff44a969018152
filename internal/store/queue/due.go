package queue

import (
	"context"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Room is whether an item of a domain may be claimed.
type Room uint8

// What a Pick says of a domain.
const (
	Free Room = iota
	Full      // enough of its items are under way
	Slow      // it is held back for a while, whatever is under way
)

// A Pick chooses among what is due, by where it is bound. The zero Pick takes everything.
type Pick struct {
	// Room tells whether there is room for one more; it changes nothing.
	Room func(Bound) Room
	// Chose hears of an item that is chosen.
	Chose func(Bound)
}

func (p Pick) room(d Bound) Room {
	if p.Room == nil {
		return Free
	}
	return p.Room(d)
}

const (
	// scanLimit is how many due rows of busy domains one look passes over in a
	// shard; the next look goes on behind them, at once if this one found nothing,
	// up to maxLooks: or a domain with very many of them would hold up the others
	// each time that everything is looked at anew.
	scanLimit = 2000
	maxLooks  = 500
	// maxLate is how late an item may be because its domain is held back: then it
	// is claimed nevertheless, so that whoever has it can tell its sender.
	maxLate = time.Hour
	// lookBack is how much earlier than the first row that was seen a new one
	// may be due: commits take their time, and clocks differ. So far back are the
	// rows of all that has gone since, which cost as much as others: while there
	// is enough to do, a look goes back by glance only, and every glanceTime by all.
	lookBack   = 2 * time.Second
	glance     = 50 * time.Millisecond
	glanceTime = 250 * time.Millisecond
	// lookAll is how often everything is looked at nevertheless.
	lookAll = 30 * time.Second
)

// Items of a shard that look due.
type found struct {
	lock kv.Lock
	ids  []mail.QueueID
}

// due gives up to n items that look due. Nothing is locked meanwhile.
func (q *Queue) due(ctx context.Context, n int, pick Pick) (out []found, err error) {
	now, err := q.now(ctx)
	if err != nil {
		return nil, err
	}
	back := q.looks.back()
	for range maxLooks {
		var more bool
		if out, more, err = q.look(ctx, n, pick, now, back); err != nil || len(out) > 0 || !more && back == lookBack {
			return out, err
		}
		back = lookBack
	}
	return out, err
}

// look is due for rows that are at most so much earlier than what is known; more tells
// that it did not get to the end.
func (q *Queue) look(ctx context.Context, n int, pick Pick, now time.Time, back time.Duration) (out []found, more bool, err error) {
	// Each time another shard is first, or the last ones would wait as long as
	// there is enough to do in others.
	first := mathrand.Uint64N(shards)
	order := turns(mathrand.Uint64())
	var seen shelves
	var quiet [lanes]bool
	err = q.DB.View(ctx, func(r kv.Reader) error {
		out, more = out[:0], false
		seen, quiet = q.looks.known()
		left := n
		for _, lane := range order {
			if left == 0 || quiet[lane] && back < lookBack {
				continue
			}
			quiet[lane] = true
			for i := uint64(0); i < shards && left > 0; i++ {
				l := look{r: r, lane: lane, lock: kv.Lock{Class: 'Q', ID: (first + i) % shards}, pick: pick, now: now, left: left, back: back}
				sh := &seen[lane][l.lock.ID]
				if err := l.over(*sh); err != nil {
					return err
				}
				*sh, more = l.shelf, more || l.passed >= scanLimit
				if left = l.left; len(l.ids) > 0 {
					out = append(out, found{l.lock, l.ids})
				}
				quiet[lane] = quiet[lane] && left > 0 && len(l.ids) == 0 && l.passed == 0
			}
		}
		return nil
	})
	if err == nil {
		q.looks.note(seen, quiet)
	}
	return out, more, err
}

// A place is where a row stands in the schedule of a shard.
type place struct {
	due int64 // milliseconds
	id  mail.QueueID
}

// A stretch is a part of a schedule, both ends included, in which a look met
// nothing but items for a few places that had no room. Rows only ever leave it:
// new ones are due later.
type stretch struct {
	from, to place
	bound    []Bound
}

const (
	stretchBound = 8    // places of a stretch
	stretchRows  = 1000 // and rows
)

// A shelf is what is known of a shard's schedule: where it begins, behind all
// the rows of items that have gone, which the engine would have to pass over
// each time; and the stretches of busy domains, in order. So one domain with
// very many items costs no look more than others do.
type shelf struct {
	begins    place
	stretches []stretch
}

// shelves are those of all lanes and shards.
type shelves [lanes][shards]shelf

// looks remembers the shelves.
type looks struct {
	mu   sync.Mutex
	seen shelves
	all  time.Time // when everything was looked at
	far  time.Time // and when by lookBack
	// quiet are the lanes in which nothing was due: a glance passes over them.
	quiet [lanes]bool
}

// back gives how far the next look goes back.
func (l *looks) back() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.far) < glanceTime {
		return glance
	}
	l.far = time.Now()
	return lookBack
}

// known gives the shelves; they are empty when it is time to look at all.
func (l *looks) known() (shelves, [lanes]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.all) > lookAll {
		l.all = time.Now()
		l.seen = shelves{}
	}
	return l.seen, l.quiet
}

// begins gives where a lane of the shard's schedule begins.
func (l *looks) begins(n lane, shard uint64) place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[n][shard].begins
}

func (l *looks) note(seen shelves, quiet [lanes]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.quiet = seen, quiet
}

// A look is one look at a shard. It builds the shelf anew.
type look struct {
	r    kv.Reader
	lane lane
	lock kv.Lock
	pick Pick
	now  time.Time
	left int // items to find
	back time.Duration

	ids    []mail.QueueID
	passed int
	shelf  shelf
}

// over goes over the schedule: over stretches only if one of their domains has
// room by now, and over what comes behind them.
func (l *look) over(old shelf) error {
	l.shelf.begins = old.begins
	from := old.begins
	if from.due > 0 {
		from = place{due: from.due - l.back.Milliseconds()}
	}
	for i, st := range old.stretches {
		if l.left == 0 || l.passed >= scanLimit {
			l.shelf.stretches = append(l.shelf.stretches, old.stretches[i:]...)
			return nil
		}
		if err := l.scan(from, st.from, i == 0); err != nil {
			return err
		}
		if l.closed(st) {
			l.shelf.stretches = append(l.shelf.stretches, st)
		} else if err := l.scan(st.from, st.after(), false); err != nil {
			return err
		}
		from = st.after()
	}
	if l.left == 0 || l.passed >= scanLimit {
		return nil
	}
	return l.scan(from, place{due: l.now.UnixMilli() + 1}, len(old.stretches) == 0)
}

// after is the place behind a stretch.
func (st stretch) after() place { return place{st.to.due, st.to.id + 1} }

// closed tells whether there is nothing to find in a stretch.
func (l *look) closed(st stretch) bool {
	late := l.late(st.from.due)
	for _, d := range st.bound {
		if room := l.pick.room(d); room == Free || room == Slow && late {
			return false
		}
	}
	return true
}

func (l *look) late(due int64) bool { return due < l.now.Add(-maxLate).UnixMilli() }

// scan looks at the rows from one place to before another; first tells that
// there is nothing before them.
func (l *look) scan(from, to place, first bool) error {
	if from.due > to.due || from.due == to.due && from.id >= to.id {
		return nil
	}
	if first {
		l.shelf.begins = place{due: min(l.now.UnixMilli(), to.due)}
	}
	var st stretch
	rows := 0
	end := func() {
		if rows > 0 {
			l.shelf.stretches = append(l.shelf.stretches, st)
		}
		st, rows = stretch{}, 0
	}
	defer func() { end() }()
	for row, err := range l.r.Scan(kv.Range{Low: l.key(from), High: l.key(to), Limit: scanLimit}) {
		if err != nil {
			return err
		}
		if l.left == 0 {
			return nil // whoever looks next sees it: no stretch reaches over it
		}
		due, id := parseSchedule(row.Key)
		at, d := place{due.UnixMilli(), id}, parseBound(row.Value)
		if first {
			first = false
			l.shelf.begins = place{due: min(at.due, l.now.UnixMilli())}
		}
		if room := l.pick.room(d); room == Free || room == Slow && l.late(at.due) {
			end()
			l.ids = append(l.ids, id)
			l.left--
			if l.pick.Chose != nil {
				l.pick.Chose(d)
			}
			continue
		}
		if l.passed++; at.due > l.now.Add(-lookBack).UnixMilli() {
			end() // others may come in before it
			continue
		}
		if rows == stretchRows || !slices.Contains(st.bound, d) && len(st.bound) == stretchBound {
			end()
		}
		if rows++; rows == 1 {
			st.from = at
		}
		if st.to = at; !slices.Contains(st.bound, d) {
			st.bound = append(st.bound, d)
		}
		if l.passed >= scanLimit {
			return nil
		}
	}
	return nil
}

func (l *look) key(p place) []byte {
	b := binary.BigEndian.AppendUint64(append(l.lock.Prefix(), l.lane.kind()), uint64(p.due))
	return binary.BigEndian.AppendUint64(b, uint64(p.id))
}

func parseSchedule(k []byte) (due time.Time, id mail.QueueID) {
	b := k[kv.PrefixLen+1:]
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))), mail.QueueID(binary.BigEndian.Uint64(b[8:]))
}

// A clock knows how far the store's clock is ahead of ours, as of the last
// transaction.
type clock struct {
	known atomic.Bool
	ahead atomic.Int64
}

func (c *clock) set(now time.Time) {
	c.ahead.Store(int64(time.Until(now)))
	c.known.Store(true)
}

// now gives the time of the store's clock, by which items are due.
func (q *Queue) now(ctx context.Context) (time.Time, error) {
	if !q.clock.known.Load() {
		err := q.DB.Update(ctx, kv.Plan{}, func(tx kv.Tx) error {
			q.clock.set(tx.Now())
			return nil
		})
		if err != nil {
			return time.Time{}, err
		}
	}
	return time.Now().Add(time.Duration(q.clock.ahead.Load())), nil
}

// maxWait is how long Wait waits when nothing is due: hints may be lost.
const maxWait = time.Minute

// Wait waits for a knock, for the next item to be due, or for a minute. knock
// is a subscription to Topic.
func (q *Queue) Wait(ctx context.Context, knock <-chan struct{}) error {
	now, err := q.now(ctx)
	if err != nil {
		return fmt.Errorf("queue: wait: %w", err)
	}
	due, err := q.next(ctx)
	if err != nil {
		return fmt.Errorf("queue: wait: %w", err)
	}
	wait := maxWait
	if !due.IsZero() {
		wait = min(max(due.Sub(now), 0), maxWait)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-knock:
	case <-t.C:
	}
	return nil
}

// next gives when the first item is due; zero if there is none.
func (q *Queue) next(ctx context.Context) (first time.Time, err error) {
	err = q.DB.View(ctx, func(r kv.Reader) error {
		first = time.Time{}
		for i := range shards * uint64(lanes) {
			l := look{lane: lane(i / shards), lock: kv.Lock{Class: 'Q', ID: i % shards}}
			p := append(l.lock.Prefix(), l.lane.kind())
			rows := kv.Range{Low: p, High: kv.Next(p), Limit: 1}
			if b := q.looks.begins(l.lane, l.lock.ID); b.due > 0 {
				rows.Low = l.key(place{due: b.due - lookBack.Milliseconds()})
			}
			for row, err := range r.Scan(rows) {
				if err != nil {
					return err
				}
				if due, _ := parseSchedule(row.Key); first.IsZero() || due.Before(first) {
					first = due
				}
			}
		}
		return nil
	})
	return first, err
}

// Package journal keeps what happened to each message, for the story that `why`
// tells. Events of a transaction are rows of its commit, so what is true of the
// mail is true of its story; events without one (a refusal, an attempt) are
// gathered and written a little later, and a crash may lose the last of them.
//
// Rows are of the class kv.Free, under the message's id, which begins with the
// time: old stories go by one range.
//
//	'~' 'T' id(10) time(8) random(4) → events
package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
)

const (
	// flushAfter is how long an event waits for others to be written with it.
	flushAfter = 200 * time.Millisecond
	// maxWaiting bounds the events that wait; what comes above it is lost, and
	// counted, so that a flood of refusals cannot take the memory.
	maxWaiting = 10_000
	// flushEvents is how many are written in one commit: the longest have 3 KB,
	// and kv.MaxTx must hold them all.
	flushEvents = 250
)

// A Journal writes and reads stories. DB must be set; Run must run for Add to
// have effect.
type Journal struct {
	DB kv.Store
	// Heard hears of every event, once it is true, and must be quick; nil: nobody does.
	Heard func(trace.Event)

	mu      sync.Mutex
	waiting []trace.Event
	lost    int64
	knock   chan struct{}
}

func prefix(id mail.TraceID) []byte {
	b := make([]byte, 0, 32)
	b = append(b, kv.Free, 'T')
	return append(b, id[:]...)
}

// Write writes events in the transaction that makes them true. All must be of
// one message.
func Write(tx kv.Tx, events ...trace.Event) {
	if len(events) == 0 {
		return
	}
	k := binary.BigEndian.AppendUint64(prefix(events[0].Trace), uint64(events[0].Time.UnixNano()))
	var salt [4]byte
	rand.Read(salt[:])
	k = append(k, salt[:]...)
	v := make([]byte, 0, 128*len(events))
	for i, e := range events {
		if len(v) > kv.MaxValue-4000 {
			Write(tx, events[i:]...)
			break
		}
		v = e.Append(v)
	}
	tx.Set(k, v)
}

// Wrote is to be called when the transaction that Write has written events in is
// committed.
func (j *Journal) Wrote(events ...trace.Event) {
	if j.Heard == nil {
		return
	}
	for _, e := range events {
		j.Heard(e)
	}
}

// Add has an event written soon.
func (j *Journal) Add(e trace.Event) {
	j.Wrote(e)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) >= maxWaiting {
		j.lost++
		return
	}
	j.waiting = append(j.waiting, e)
	if len(j.waiting) == 1 {
		select {
		case j.bell() <- struct{}{}:
		default:
		}
	}
}

func (j *Journal) bell() chan struct{} {
	if j.knock == nil {
		j.knock = make(chan struct{}, 1)
	}
	return j.knock
}

// Run writes what Add gathers until ctx ends, and the rest then. Errors go to
// report.
func (j *Journal) Run(ctx context.Context, report func(error)) error {
	j.mu.Lock()
	knock := j.bell()
	j.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return j.Flush(context.WithoutCancel(ctx))
		case <-knock:
		}
		select {
		case <-ctx.Done():
		case <-time.After(flushAfter):
		}
		if err := j.Flush(context.WithoutCancel(ctx)); err != nil {
			report(err)
		}
	}
}

// Flush writes what is waiting.
func (j *Journal) Flush(ctx context.Context) error {
	j.mu.Lock()
	events := j.waiting
	j.waiting = nil
	lost := j.lost
	j.lost = 0
	j.mu.Unlock()
	for part := range slices.Chunk(events, flushEvents) {
		err := j.DB.Update(ctx, kv.Plan{}, func(tx kv.Tx) error {
			for i := 0; i < len(part); {
				n := i + 1
				for n < len(part) && part[n].Trace == part[i].Trace {
					n++
				}
				Write(tx, part[i:n]...)
				i = n
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	if lost > 0 {
		return &lostError{lost}
	}
	return nil
}

// A lostError tells that events were thrown away; what was kept is written.
type lostError struct{ n int64 }

func (e *lostError) Error() string {
	return fmt.Sprintf("journal: %d events came too fast to be kept", e.n)
}

// Events gives what happened to a message, in the order of time;
// mail.ErrNotFound if nothing is known of it.
func (j *Journal) Events(ctx context.Context, id mail.TraceID) ([]trace.Event, error) {
	if err := j.Flush(ctx); err != nil {
		lost, ok := errors.AsType[*lostError](err)
		if !ok {
			return nil, err
		}
		j.mu.Lock()
		j.lost += lost.n // for Run to tell of
		j.mu.Unlock()
	}
	var out []trace.Event
	err := j.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(kv.Prefix(prefix(id))) {
			if err != nil {
				return err
			}
			out = append(out, trace.Decode(id, row.Value)...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("journal: message %v: %w", id, mail.ErrNotFound)
	}
	slices.SortStableFunc(out, func(a, b trace.Event) int { return a.Time.Compare(b.Time) })
	return out, nil
}

// Each goes over what happened since a time to messages that came since then, until
// fn gives false. It reads all of it: it is for people who ask.
func (j *Journal) Each(ctx context.Context, since time.Time, fn func(trace.Event) bool) error {
	if err := j.Flush(ctx); err != nil {
		if _, ok := errors.AsType[*lostError](err); !ok {
			return err
		}
	}
	from := mail.NewTraceID(since)
	clear(from[6:]) // by chance
	const page = 1000
	at := prefix(from)
	for at != nil {
		var events []trace.Event
		var next []byte
		err := j.DB.View(ctx, func(r kv.Reader) error {
			events, next = events[:0], nil
			rows := kv.Range{Low: at, High: kv.Next([]byte{kv.Free, 'T'}), Limit: page}
			n := 0
			for row, err := range r.Scan(rows) {
				if err != nil {
					return err
				}
				if n++; n == page {
					next = append(slices.Clone(row.Key), 0)
				}
				var id mail.TraceID
				copy(id[:], row.Key[2:])
				events = append(events, trace.Decode(id, row.Value)...)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		for _, e := range events {
			if !fn(e) {
				return nil
			}
		}
		at = next
	}
	return nil
}

// Expire forgets the stories of messages that came before a time.
func (j *Journal) Expire(ctx context.Context, before time.Time) error {
	id := mail.NewTraceID(before)
	err := j.DB.Update(ctx, kv.Plan{}, func(tx kv.Tx) error {
		tx.DeleteRange(prefix(mail.TraceID{}), prefix(id))
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal: expire: %w", err)
	}
	return nil
}

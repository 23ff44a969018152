package mta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/queue"
)

// A Group is some of what waits: what fits all fields that are set. The zero
// Group is everything.
type Group struct {
	ID   mail.TraceID // of one message
	To   mail.Domain
	From string // an address, "@domain", or "<>"
	Why  string // as Reason names it
	// Outpost is by which account elsewhere it goes, if it is on an errand.
	Outpost uint64
}

func (g Group) has(it *queue.Item) bool {
	sender := it.Envelope.Sender
	switch {
	case !g.ID.IsZero() && it.Envelope.Trace != g.ID, g.To != "" && it.Domain != g.To:
		return false
	case g.Outpost != 0 && it.Errand.Outpost != g.Outpost:
		return false
	case g.From != "" && g.From != sender.String() && g.From != "@"+string(sender.Domain) && (g.From != "<>" || !sender.IsZero()):
		return false
	}
	if g.Why == "" {
		return true
	}
	why, _ := Reason(it)
	return why == g.Why
}

// Reason tells why an item waits: a word, and a sentence.
func Reason(it *queue.Item) (name, words string) {
	switch {
	case it.Held:
		return "held", "An administrator holds it back."
	case it.Attempts == 0 && it.Status == (mail.Status{}): // else a mailbox was full when it came
		return "new", "It has not been tried yet."
	}
	if r, ok := remedy.Of(remedy.Answer{Status: it.Status, Text: it.Text, Remote: it.Remote}); ok {
		return r.Name, r.What
	}
	return "other", it.Text
}

// Retry makes all that waits in a group due now, and tells how many items that
// is. Of a message that nothing waits of: mail.ErrNotFound.
func (a *Agent) Retry(ctx context.Context, g Group) (int, error) {
	return a.each(ctx, g, func(it queue.Item) error {
		a.shaper().forgive(a.Queue.Bound(&it))
		return a.Queue.Retry(ctx, it.ID)
	})
}

// Hurry makes due now what waits to go by an account elsewhere and has failed: something
// about that account has changed. What is held back stays so.
func (a *Agent) Hurry(ctx context.Context, outpost uint64) error {
	_, err := a.each(ctx, Group{Outpost: outpost}, func(it queue.Item) error {
		if it.Held || it.Attempts == 0 {
			return mail.ErrNotFound
		}
		a.shaper().forgive(a.Queue.Bound(&it))
		return a.Queue.Retry(ctx, it.ID)
	})
	return err
}

// Hold holds a group back until it is released, tried or dropped.
func (a *Agent) Hold(ctx context.Context, g Group) (int, error) {
	return a.each(ctx, g, func(it queue.Item) error { return a.change(ctx, it, trace.Held, a.Queue.Hold) })
}

// Release lets go what is held in a group.
func (a *Agent) Release(ctx context.Context, g Group) (int, error) {
	return a.each(ctx, g, func(it queue.Item) error {
		if !it.Held {
			return mail.ErrNotFound
		}
		return a.change(ctx, it, trace.Released, a.Queue.LetGo)
	})
}

// Reroute has all that waits in a group go another way from now on, as Route
// understands it; "" is the usual one.
func (a *Agent) Reroute(ctx context.Context, g Group, via string) (int, error) {
	return a.each(ctx, g, func(it queue.Item) error {
		return a.change(ctx, it, trace.Rerouted, func(tx kv.Tx, id mail.QueueID) (queue.Item, error) {
			return a.Queue.Reroute(tx, id, via)
		})
	})
}

// Drop removes all that waits in a group. Nobody is told but its story.
func (a *Agent) Drop(ctx context.Context, g Group) (int, error) {
	return a.each(ctx, g, func(it queue.Item) error { return a.change(ctx, it, trace.Dropped, a.Queue.Drop) })
}

// errReturned is what senders read of what an administrator returns.
var errReturned = mail.Refuse("5.7.0", "an administrator of this server returned it", "")

// Bounce returns all that waits in a group to its senders.
func (a *Agent) Bounce(ctx context.Context, g Group) (int, error) {
	return a.each(ctx, g, func(it queue.Item) error {
		c, err := a.Queue.Take(ctx, it.ID, hold)
		if err != nil {
			return err
		}
		return a.settle(ctx, c, all(c.Item, errReturned))
	})
}

// change changes an item, and writes it into the story of its message.
func (a *Agent) change(ctx context.Context, it queue.Item, kind trace.Kind, do func(kv.Tx, mail.QueueID) (queue.Item, error)) error {
	id := it.Envelope.Trace
	var events []trace.Event
	err := a.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{queue.ShardOf(id)}}, func(tx kv.Tx) error {
		it, err := do(tx, it.ID)
		if err != nil {
			return err
		}
		events = events[:0]
		text := ""
		if kind == trace.Rerouted {
			text = it.Via
			a.shaper().forgive(a.Queue.Bound(&it))
		}
		for _, r := range it.Envelope.Recipients {
			events = append(events, trace.Event{Trace: id, Time: tx.Now(), Kind: kind, Rcpt: r.Address, Text: text})
		}
		journal.Write(tx, events...)
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range events {
		e.Log(a.Log)
	}
	a.Journal.Wrote(events...)
	return nil
}

// each does something to each item of a group. In a group of several messages,
// what is being sent or has gone meanwhile is passed over.
func (a *Agent) each(ctx context.Context, g Group, fn func(queue.Item) error) (n int, err error) {
	items, err := a.items(ctx, g)
	if err != nil {
		return 0, err
	}
	if len(items) == 0 && !g.ID.IsZero() {
		return 0, fmt.Errorf("mta: message %v in the queue: %w", g.ID, mail.ErrNotFound)
	}
	for _, it := range items {
		err := fn(it)
		switch {
		case err == nil:
			n++
		case !g.ID.IsZero():
			return n, err
		case !errors.Is(err, mail.ErrInUse) && !errors.Is(err, mail.ErrNotFound):
			return n, err
		}
	}
	return n, nil
}

// items gives the items of a group, without what is large in them.
func (a *Agent) items(ctx context.Context, g Group) (out []queue.Item, err error) {
	if !g.ID.IsZero() {
		return a.Queue.Of(ctx, g.ID)
	}
	err = a.Queue.Each(ctx, func(it queue.Item) bool {
		if g.has(&it) {
			small := queue.Item{ID: it.ID, Domain: it.Domain, Errand: it.Errand}
			small.Envelope.Trace, small.Held = it.Envelope.Trace, it.Held
			small.Via, small.Attempts, small.Envelope.Sender = it.Via, it.Attempts, it.Envelope.Sender
			out = append(out, small)
		}
		return ctx.Err() == nil
	})
	return out, err
}

// A Heap is what waits for one destination, for one reason.
type Heap struct {
	To         mail.Domain
	Why, Words string
	Messages   int
	Bytes      int64
	// Hour, Day and Older count the messages by their age: up to an hour, up to a
	// day, and more.
	Hour, Day, Older int
	Oldest, Next     time.Time
}

// maxHeaps bounds a summary: what comes above it is in the last heap, whose To is
// empty.
const maxHeaps = 5000

// Summary tells what waits, by destination and reason.
func (a *Agent) Summary(ctx context.Context) ([]Heap, error) {
	type key struct {
		to  mail.Domain
		why string
	}
	heaps := map[key]*Heap{}
	now := time.Now()
	err := a.Queue.Each(ctx, func(it queue.Item) bool {
		why, words := Reason(&it)
		k := key{it.Domain, why}
		if heaps[k] == nil && len(heaps) >= maxHeaps {
			k, why, words = key{}, "", ""
		}
		h := heaps[k]
		if h == nil {
			h = &Heap{To: k.to, Why: why, Words: words, Oldest: it.Queued, Next: it.Next}
			heaps[k] = h
		}
		h.add(&it, now)
		return ctx.Err() == nil
	})
	out := make([]Heap, 0, len(heaps))
	for _, h := range heaps {
		out = append(out, *h)
	}
	return out, err
}

func (h *Heap) add(it *queue.Item, now time.Time) {
	h.Messages++
	h.Bytes += it.Size()
	switch age := now.Sub(it.Queued); {
	case age <= time.Hour:
		h.Hour++
	case age <= 24*time.Hour:
		h.Day++
	default:
		h.Older++
	}
	if it.Queued.Before(h.Oldest) {
		h.Oldest = it.Queued
	}
	if it.Next.Before(h.Next) {
		h.Next = it.Next
	}
}

// Recover gives back the claims of a process that is no more. Only the sole
// user of an engine may call it, before Run.
func (a *Agent) Recover(ctx context.Context) error {
	var stale []mail.QueueID
	err := a.Queue.Each(ctx, func(it queue.Item) bool {
		if it.Claimed() && it.Next.After(time.Now()) {
			stale = append(stale, it.ID)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("mta: recover: %w", err)
	}
	for _, id := range stale {
		if err := a.Queue.Revoke(ctx, id); err != nil {
			return fmt.Errorf("mta: recover: %w", err)
		}
	}
	return nil
}

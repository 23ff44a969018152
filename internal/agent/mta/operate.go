package mta

import (
	"context"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/queue"
)

// Retry makes all that waits of a message due now, and tells how many items
// that is. mail.ErrNotFound if nothing of it waits.
func (a *Agent) Retry(ctx context.Context, id mail.TraceID) (int, error) {
	return a.each(ctx, id, func(it queue.Item) error {
		a.shaper().forgive(it.Domain)
		return a.Queue.Retry(ctx, it.ID)
	})
}

// Drop removes all that waits of a message. Nobody is told but its story.
func (a *Agent) Drop(ctx context.Context, id mail.TraceID) (int, error) {
	return a.each(ctx, id, func(it queue.Item) error {
		var events []trace.Event
		err := a.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{queue.ShardOf(id)}}, func(tx kv.Tx) error {
			gone, err := a.Queue.Drop(tx, it.ID)
			if err != nil {
				return err
			}
			events = events[:0]
			for _, r := range gone.Envelope.Recipients {
				events = append(events, trace.Event{Trace: id, Time: tx.Now(), Kind: trace.Dropped, Rcpt: r.Address})
			}
			journal.Write(tx, events...)
			return nil
		})
		for _, e := range events {
			if err == nil {
				e.Log(a.Log)
			}
		}
		return err
	})
}

func (a *Agent) each(ctx context.Context, id mail.TraceID, fn func(queue.Item) error) (int, error) {
	items, err := a.Queue.Of(ctx, id)
	if err != nil {
		return 0, err
	}
	if len(items) == 0 {
		return 0, fmt.Errorf("mta: message %v in the queue: %w", id, mail.ErrNotFound)
	}
	for i, it := range items {
		if err := fn(it); err != nil {
			return i, err
		}
	}
	return len(items), nil
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

package postmaster

import (
	"context"
	"errors"
	"slices"
	"time"

	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
)

const (
	// relieveEvery is how often it is looked whether the disk is full.
	relieveEvery = 10 * time.Second
	// keepAnyway is how long deleted mail can be restored in any case: so long a
	// mistake has to be noticed.
	keepAnyway = 24 * time.Hour
	// keepMeanwhile is how long, if it was deleted when the disk was full already: who
	// deletes then does it to make room.
	keepMeanwhile = time.Hour
)

// A need is the time in which the disk is full. That it is not, for a moment, does not
// end it: what was deleted before that would have to wait for a day.
type need struct{ since, last time.Time }

func (n *need) look(full bool, now time.Time) {
	if n.since.IsZero() || !full && now.Sub(n.last) > keepMeanwhile {
		n.since = now
	}
	if full {
		n.last = now
	}
}

// Relief is what had to go early because the disk was full, since we run.
type Relief struct {
	Last     time.Time // when that was
	Before   time.Time // it was deleted until then
	Messages int
}

// Relief tells what had to go early; zero if nothing had to.
func (a *Agent) Relief() Relief {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.relief
}

// relieve lets deleted mail go before its time if the disk is full, of all accounts
// what was deleted first first, and some at a time: the next time it is looked whether
// that was enough. What is not deleted is not touched.
func (a *Agent) relieve(ctx context.Context) error {
	now := time.Now()
	full := a.Full()
	if a.need.look(full, now); !full {
		return nil
	}
	accts, err := a.Directory.Accounts(ctx)
	if err != nil {
		return err
	}
	anyway := min(keepAnyway, or(a.KeepDead, keepAnyway))
	for _, part := range [...]mailbox.Keep{
		{Since: now.Add(-anyway)},
		{From: a.need.since, Since: now.Add(-min(keepMeanwhile, anyway))},
	} {
		if part.Since, err = a.oldest(ctx, accts, part); err != nil {
			return err
		}
		if !part.Since.IsZero() {
			return a.reapEarly(ctx, accts, part)
		}
	}
	return nil
}

// oldest gives until when deleted mail has to go, of what may, to make as much room as is
// made at a time; zero if there is none.
func (a *Agent) oldest(ctx context.Context, accts []directory.Account, may mailbox.Keep) (until time.Time, err error) {
	bytes := a.Early
	if bytes == 0 {
		bytes = 256 << 20
	}
	var all []mailbox.Buried
	for _, ac := range accts {
		list, err := a.Mailboxes.Buried(ctx, ac.ID, may.From, may.Since, bytes)
		if err != nil {
			return until, err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(x, y mailbox.Buried) int { return x.At.Compare(y.At) })
	for left, i := bytes, 0; i < len(all) && left > 0; i++ {
		left -= all[i].Bytes
		until = all[i].At.Add(time.Second)
	}
	return until, nil
}

// reapEarly lets deleted mail go, and the room that it had.
func (a *Agent) reapEarly(ctx context.Context, accts []directory.Account, part mailbox.Keep) error {
	var errs []error
	n := 0
	for _, ac := range accts {
		m, err := a.Mailboxes.Reap(ctx, ac.ID, part)
		n, errs = n+m, append(errs, err)
	}
	swept, err := a.Bodies.Sweep(ctx)
	last := part.Since.Add(-time.Second)
	a.Log.Warn("the disk is full: deleted mail is let go early", "messages", n, "deleted_until", last, "freed", swept.Bytes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.relief = Relief{Last: time.Now(), Before: last, Messages: a.relief.Messages + n}
	return errors.Join(append(errs, err)...)
}

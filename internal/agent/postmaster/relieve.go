package postmaster

import (
	"context"
	"errors"
	"slices"
	"time"

	"posthaste/internal/store/mailbox"
)

const (
	// relieveEvery is how often it is looked whether the disk is full.
	relieveEvery = 10 * time.Second
	// keepAnyway is how long deleted mail can be restored in any case: so long a
	// mistake has to be noticed.
	keepAnyway = 24 * time.Hour
)

// Relief is what had to go early because the disk was full, since we run.
type Relief struct {
	Last     time.Time // when that was
	Before   time.Time // what was deleted until then is gone
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
	if !a.Full() {
		return nil
	}
	now := time.Now()
	bytes := a.Early
	if bytes == 0 {
		bytes = 256 << 20
	}
	accts, err := a.Directory.Accounts(ctx)
	if err != nil {
		return err
	}
	var all []mailbox.Buried
	for _, ac := range accts {
		list, err := a.Mailboxes.Buried(ctx, ac.ID, now.Add(-keepAnyway), bytes)
		if err != nil {
			return err
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(x, y mailbox.Buried) int { return x.At.Compare(y.At) })
	var last time.Time
	for left, i := bytes, 0; i < len(all) && left > 0; i++ {
		left -= all[i].Bytes
		last = all[i].At
	}
	var errs []error
	n := 0
	for _, ac := range accts {
		part, err := a.Mailboxes.Reap(ctx, ac.ID, mailbox.Keep{Since: last.Add(time.Second)})
		n, errs = n+part, append(errs, err)
	}
	swept, err := a.Bodies.Sweep(ctx)
	a.Log.Warn("the disk is full: deleted mail is let go early", "messages", n, "deleted_until", last, "freed", swept.Bytes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.relief = Relief{Last: now, Before: last, Messages: a.relief.Messages + n}
	return errors.Join(append(errs, err)...)
}

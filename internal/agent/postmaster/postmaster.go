// Package postmaster does what must be done from time to time: flags are folded
// into their rows, mail that POP3 policies have kept for long enough goes, expunged mail
// is let go when its time is over or the disk is full, bodies that nobody holds give
// back their space, old stories and sessions of browsers are forgotten. And it checks
// the store when asked.
package postmaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/acquaintance"
	"posthaste/internal/store/allowance"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/keyring"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
	"posthaste/internal/store/opinion"
	"posthaste/internal/store/outpost"
	"posthaste/internal/store/policies"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
	"posthaste/internal/store/script"
	"posthaste/internal/store/signin"
	"posthaste/internal/store/suppression"
)

// An Agent looks after the stores. The stores and Log must be set.
type Agent struct {
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Maildrops *maildrop.Store
	Bodies    *body.Store
	Queue     *queue.Queue
	Journal   *journal.Journal
	Policies  *policies.Store
	Reports   *reports.Store
	// Suppression is swept, if it is set.
	Suppression *suppression.List
	// Acquaintances are swept and checked, if they are set.
	Acquaintances *acquaintance.Store
	// Outposts are checked, if they are set.
	Outposts *outpost.Store
	// Allowance is checked, if it is set.
	Allowance *allowance.Store
	// Opinions are checked, if they are set.
	Opinions *opinion.Store
	// Sessions of browsers are swept and checked, if they are set.
	Sessions *signin.Store
	// Scripts are swept and checked, if they are set.
	Scripts *script.Store
	// Keys are checked, if they are set.
	Keys *keyring.Keyring
	// Removals finishes what was begun of accounts that are removed; nil: nothing was.
	Removals func(context.Context) error
	Log      *slog.Logger

	// Every is how often the round is made, KeepDead how long expunged mail can be
	// restored, KeepStories how long stories are kept; 0 is an hour, 30 days and
	// 30 days.
	Every, KeepDead, KeepStories time.Duration
	// MaxDead is how many bytes of expunged mail an account keeps, 0 is no limit.
	MaxDead int64
	// Full tells that the disk is full: then expunged mail goes early. nil: never.
	Full func() bool
	// Early is how many bytes of it go so at a time; 0 is 256 MB.
	Early int64

	mu     sync.Mutex // guards what follows
	relief Relief

	need need // of who runs
}

// keepReports is how long reports on mail between servers are kept.
const keepReports = 60 * 24 * time.Hour

func or(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Run makes a round from time to time until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	t := time.NewTicker(or(a.Every, time.Hour))
	defer t.Stop()
	var full <-chan time.Time
	if a.Full != nil {
		f := time.NewTicker(relieveEvery)
		defer f.Stop()
		full = f.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-full:
			if err := a.relieve(ctx); err != nil && ctx.Err() == nil {
				a.Log.Error("make room on a full disk", "error", err)
			}
			continue
		case <-t.C:
		}
		if err := a.Round(ctx); err != nil && ctx.Err() == nil {
			a.Log.Error("the hourly round", "error", err)
		}
	}
}

// Round does everything once. An error of one account does not hold up the
// others.
func (a *Agent) Round(ctx context.Context) error {
	var errs []error
	accts, err := a.Directory.Accounts(ctx)
	errs = append(errs, err)
	now := time.Now()
	for _, ac := range accts {
		if n, err := a.Maildrops.Keep(ctx, ac.ID, now); err != nil {
			errs = append(errs, err)
		} else if n > 0 {
			a.Log.Info("removed by the POP3 policy", "account", ac.ID, "messages", n)
		}
		keep := mailbox.Keep{Since: now.Add(-or(a.KeepDead, 30*24*time.Hour)), Bytes: a.MaxDead}
		if _, err := a.Mailboxes.Reap(ctx, ac.ID, keep); err != nil {
			errs = append(errs, err)
		}
		if a.Sessions != nil {
			errs = append(errs, a.Sessions.Sweep(ctx, ac.ID, now))
		}
		if a.Scripts != nil {
			errs = append(errs, a.Scripts.Sweep(ctx, ac.ID, now))
		}
	}
	if a.Removals != nil {
		errs = append(errs, a.Removals(ctx))
	}
	errs = append(errs, a.Reports.Expire(ctx, now.Add(-keepReports)))
	errs = append(errs, a.Journal.Expire(ctx, now.Add(-or(a.KeepStories, 30*24*time.Hour))))
	if a.Suppression != nil {
		errs = append(errs, a.Suppression.Sweep(ctx))
	}
	if a.Acquaintances != nil {
		errs = append(errs, a.Acquaintances.Sweep(ctx, now))
	}
	swept, err := a.Bodies.Sweep(ctx)
	errs = append(errs, err)
	if swept.Blobs > 0 {
		a.Log.Info("swept", "blobs", swept.Blobs, "bytes", swept.Bytes)
	}
	return errors.Join(errs...)
}

// Check verifies the invariants of all stores, and reads every body. It gives a
// sentence to say for each that does not hold, and tells progress as accounts
// done of accounts there are.
func (a *Agent) Check(ctx context.Context, say func(string), progress func(done, all int)) error {
	accts, err := a.Directory.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for i, ac := range accts {
		progress(i, len(accts))
		wrong, err := a.Mailboxes.Check(ctx, ac.ID, readAll)
		if errors.Is(err, mail.ErrNotFound) {
			wrong, err = []string{fmt.Sprintf("account %d (%s) has no mailboxes", ac.ID, ac.Address)}, nil
		}
		if err != nil {
			return err
		}
		more, err := a.Maildrops.Check(ctx, ac.ID)
		if err != nil {
			return err
		}
		for _, check := range a.ofAccounts() {
			bad, err := check(ctx, ac.ID)
			if err != nil {
				return fmt.Errorf("check: %w", err)
			}
			more = append(more, bad...)
		}
		for _, w := range append(wrong, more...) {
			say(w)
		}
	}
	progress(len(accts), len(accts))
	people, err := a.Directory.Check(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	lost, err := a.lost(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	wrong, err := a.Queue.Check(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	more, err := a.Policies.Check(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	told, err := a.Reports.Check(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	var keys []string
	if a.Keys != nil {
		if keys, err = a.Keys.Check(ctx); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	var met []string
	if a.Acquaintances != nil {
		if met, err = a.Acquaintances.Check(ctx); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	var posts []string
	if a.Outposts != nil {
		names := map[mail.AccountID]string{}
		for _, ac := range accts {
			names[ac.ID] = ac.Address.String()
		}
		if posts, err = a.Outposts.Check(ctx, func(id mail.AccountID) string { return names[id] }); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	for _, w := range slices.Concat(met, people, lost, wrong, more, told, keys, posts) {
		say(w)
	}
	return a.queued(ctx, say)
}

// lost tells of mail of accounts that are not in the directory, and are not just being
// removed.
func (a *Agent) lost(ctx context.Context) (wrong []string, err error) {
	have, err := a.Mailboxes.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	leaving, err := a.Directory.Leaving(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range have { // an account is in the directory before it has mailboxes
		_, err := a.Directory.Account(ctx, id)
		switch {
		case err == nil || slices.Contains(leaving, id):
		case errors.Is(err, mail.ErrNotFound):
			wrong = append(wrong, fmt.Sprintf("account %d is not there, but has mailboxes", id))
		default:
			return nil, err
		}
	}
	return wrong, nil
}

// ofAccounts gives the checks of what small stores keep of an account.
func (a *Agent) ofAccounts() (list []func(context.Context, mail.AccountID) ([]string, error)) {
	if a.Allowance != nil {
		list = append(list, a.Allowance.Check)
	}
	if a.Opinions != nil {
		list = append(list, a.Opinions.Check)
	}
	if a.Sessions != nil {
		list = append(list, a.Sessions.Check)
	}
	if a.Scripts != nil {
		list = append(list, a.Scripts.Check)
	}
	return list
}

// queued reads the bodies of what is in the queue.
func (a *Agent) queued(ctx context.Context, say func(string)) error {
	return a.Queue.Each(ctx, func(it queue.Item) bool {
		b, err := a.Bodies.Open(ctx, it.Body, it.Prefix)
		if err == nil {
			err = readAll(ctx, b)
			b.Close()
		}
		if err != nil {
			say(fmt.Sprintf("queue: message %v cannot be read: %v", it.Envelope.Trace, err))
		}
		return ctx.Err() == nil
	})
}

func readAll(_ context.Context, b *body.Reader) error {
	n, err := io.Copy(io.Discard, io.NewSectionReader(b, 0, b.Size()))
	if err == nil && n != b.Size() {
		err = io.ErrUnexpectedEOF
	}
	return err
}

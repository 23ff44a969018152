package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A lock is an object in locks/, of who writes, that is written again from time to
// time. Who comes writes his own, and then looks whether there are others: of two
// that come at the same time, at least one sees the other. That asks no more of a
// server than that a list has in it what has been written, which all do today;
// conditional writes many do not know. Times are those of the server's clock.
const (
	lockDir    = "locks/"
	renewEvery = time.Minute
	loseAfter  = 5 * time.Minute  // who could not renew his lock for so long has lost it
	staleAfter = 15 * time.Minute // who has not renewed it for so long is no more
)

// errLost says that the lock could not be renewed.
var errLost = errors.New("backup: the server could not be reached for so long that others may write now; what was begun does not count")

// Hold is as of Depot.
func (b *bucket) Hold(ctx context.Context) (held context.Context, release func() error, err error) {
	name := lockDir + rand.Text()
	host, _ := os.Hostname()
	note := fmt.Appendf(nil, "%s, process %d\n", host, os.Getpid())
	if err := b.Put(ctx, name, note); err != nil {
		return nil, nil, err
	}
	drop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewEvery)
		defer cancel()
		return b.Delete(ctx, name)
	}
	if err := b.alone(ctx, name); err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	held, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { b.renew(held, cancel, name, note) })
	return held, func() error {
		cancel(nil)
		wg.Wait()
		return drop()
	}, nil
}

// alone gives ErrBusy if another has a lock, and removes those of who is no more.
func (b *bucket) alone(ctx context.Context, name string) error {
	var others []Item
	err := b.List(ctx, lockDir, func(i Item) error {
		if i.Name != name {
			others = append(others, i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range others {
		age := b.clock.now().Sub(i.Time)
		if age < staleAfter {
			who, _ := b.Get(ctx, i.Name, 1<<10) // it only tells more
			return fmt.Errorf("%w (%.200q was last heard of %s ago; if it was killed, its lock ends %s after that)", ErrBusy, string(who), max(0, age).Round(time.Second), staleAfter)
		}
		if err := b.Delete(ctx, i.Name); err != nil {
			return err
		}
	}
	return nil
}

// renew writes the lock again until ctx ends, and cancels it when that was not
// possible for too long. Clocks that show the time are asked: a machine may sleep.
func (b *bucket) renew(ctx context.Context, cancel context.CancelCauseFunc, name string, note []byte) {
	last := time.Now().Round(0)
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if time.Now().Round(0).Sub(last) < loseAfter {
			once, done := context.WithTimeout(ctx, renewEvery)
			err := b.Put(once, name, note)
			done()
			if err == nil {
				last = time.Now().Round(0)
			}
		}
		if time.Now().Round(0).Sub(last) >= loseAfter {
			cancel(errLost)
			return
		}
	}
}

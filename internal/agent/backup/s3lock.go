package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A lock of who writes is an object in locks/, of who writes, that is written again from time to
// time. Who comes writes his own, and then looks whether there are others: of two
// that come at the same time, at least one sees the other. That asks no more of a
// server than that a list has in it what has been written, which all do today;
// conditional writes many do not know. Times are those of the server's clock.
//
// Who reads has one in reading/, behind the name of the generation, so that what it
// uses stays. It is written before the generation is read; who prunes removes the
// generation before he looks who reads: one of the two sees the other.
const (
	lockDir    = "locks/"
	readDir    = "reading/"
	renewEvery = time.Minute
	loseAfter  = 5 * time.Minute  // who could not renew his lock for so long has lost it
	staleAfter = 15 * time.Minute // who has not renewed it for so long is no more
)

// errLost says that the lock could not be renewed.
var errLost = errors.New("backup: the server could not be reached for so long that others may write now; what was begun does not count")

// Hold is as of Depot.
func (b *bucket) Hold(ctx context.Context) (held context.Context, release func() error, err error) {
	name := lockDir + rand.Text()
	held, release, err = b.lock(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if err := b.alone(ctx, name); err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return held, release, nil
}

// Reading is as of Depot.
func (b *bucket) Reading(ctx context.Context, generation string) (release func() error, err error) {
	_, release, err = b.lock(ctx, readDir+generation+"/"+rand.Text())
	if errors.Is(err, errDenied) { // a key that may only read
		return func() error { return nil }, nil
	}
	return release, err
}

// Readers is as of Depot. It removes the locks of who is no more.
func (b *bucket) Readers(ctx context.Context, generations []string) (read []string, err error) {
	var stale []string
	err = b.List(ctx, readDir, func(i Item) error {
		generation, _, _ := strings.Cut(strings.TrimPrefix(i.Name, readDir), "/")
		if b.clock.now().Sub(i.Time) >= staleAfter {
			stale = append(stale, i.Name)
		} else if slices.Contains(generations, generation) {
			read = append(read, generation)
		}
		return nil
	})
	for _, name := range stale {
		err = errors.Join(err, b.Delete(ctx, name))
	}
	return read, err
}

// lock writes a lock, and again from time to time until release is called. The
// context that it gives ends when that was not possible for too long.
func (b *bucket) lock(ctx context.Context, name string) (held context.Context, release func() error, err error) {
	host, _ := os.Hostname()
	note := fmt.Appendf(nil, "%s, process %d\n", host, os.Getpid())
	if err := b.Put(ctx, name, note); err != nil {
		return nil, nil, err
	}
	held, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { b.renew(held, cancel, name, note) })
	return held, func() error {
		cancel(nil)
		wg.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewEvery)
		defer cancel()
		return b.Delete(ctx, name)
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

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/service/admind"
)

// maxAtOnce is how many accounts can be brought at a time.
const maxAtOnce = 50

// checkAtOnce looks at what --at-once says.
func checkAtOnce(n int) error {
	if n < 1 || n > maxAtOnce {
		return fmt.Errorf("--at-once is 1 to %d", maxAtOnce)
	}
	return nil
}

// A crowd is many accounts that are brought from one server.
type crowd struct {
	m    *moveIn
	cl   *admind.Client
	open func(context.Context, pair) (carrier.Source, error)

	mu      sync.Mutex // also of what is printed
	bar     *bar
	reports map[string]carrier.Report
	ended   int
	failed  int
	all     int
}

// run brings the accounts, some at a time.
func (c *crowd) run(ctx context.Context, people []pair, atOnce int) error {
	if err := c.m.begin(); err != nil {
		return err
	}
	c.bar, c.reports, c.all = newBar(c.m.quiet, ""), map[string]carrier.Report{}, len(people)
	next := make(chan pair)
	var work sync.WaitGroup
	for range min(atOnce, len(people)) {
		work.Go(func() {
			for p := range next {
				c.end(ctx, p, c.one(ctx, p))
			}
		})
	}
	for _, p := range people {
		if ctx.Err() != nil {
			break
		}
		next <- p
	}
	close(next)
	work.Wait()
	c.bar.end()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.failed > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d accounts did not come whole; run the command again.\n", c.failed, c.all)
		return errSaid
	}
	return nil
}

// one brings one account, and tells how it went.
func (c *crowd) one(ctx context.Context, p pair) error {
	s, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	rep, err := c.m.bring(ctx, c.cl, s, p.ours, func(r carrier.Report) { c.show(p.ours, r) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar.end()
	return c.m.ended(rep, p.ours, err)
}

func (c *crowd) end(ctx context.Context, p pair, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	if err == nil || ctx.Err() != nil {
		return
	}
	c.failed++
	if !errors.Is(err, errSaid) {
		c.bar.end()
		fmt.Fprintf(os.Stderr, "%s: %s\n", p.ours, plainly(err.Error()))
	}
}

// show says how far all are. How many messages there are is known of those that have
// begun; of the others it is taken that they have as many.
func (c *crowd) show(address string, r carrier.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Problems = nil
	c.reports[address] = r
	var seen, expected, bytes int64
	for _, r := range c.reports {
		seen, expected, bytes = seen+r.Seen, expected+max(r.Seen, r.Expected), bytes+r.Bytes
	}
	if begun := int64(len(c.reports)); begun < int64(c.all) {
		expected = expected * int64(c.all) / begun
	}
	c.bar.show(progress(fmt.Sprintf("%d of %d accounts", c.ended, c.all), seen, expected, bytes, time.Since(c.bar.begun)))
}

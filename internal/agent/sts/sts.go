// Package sts finds out by what MTA-STS policy a domain's mail must travel. A
// policy that has been seen counts for as long as it says, whatever somebody on
// the way does to the DNS or to the domain's web server meanwhile. RFC 8461
package sts

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/policies"
)

// An Agent knows policies. Its fields must be set, and an Agent must not be
// copied after first use.
type Agent struct {
	Store *policies.Store
	DNS   dns.Resolver
	// Fetch gives what stands at https://host and mtasts.Path.
	Fetch func(ctx context.Context, host string) ([]byte, error)
	Log   *slog.Logger

	mu      sync.Mutex
	flights map[mail.Domain]*flight
	failed  map[mail.Domain]failure
}

// A flight is a policy that is being fetched; done is closed at its end.
type flight struct{ done chan struct{} }

// A failure is a policy that could not be had.
type failure struct {
	id     string
	until  time.Time
	result tlsrpt.Result
}

const (
	fetchTime = 30 * time.Second
	// again is when a policy that could not be had is asked for again.
	again = 5 * time.Minute
	// maxFailed bounds the failures that are remembered.
	maxFailed = 10_000
	day       = 24 * time.Hour
	// unused is how long a policy is refreshed that nobody needs.
	unused = 30 * day
	// perRound is how many policies are fetched in a round.
	perRound = 1000
)

// Policy gives the policy of a domain; its Mode is empty if there is none. The
// result tells what is wrong with the one that the domain says to have; "" is
// nothing.
func (a *Agent) Policy(ctx context.Context, d mail.Domain) (mtasts.Policy, tlsrpt.Result) {
	now := time.Now()
	have, err := a.Store.Policy(ctx, d)
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		a.Log.Error("an MTA-STS policy cannot be read", "domain", string(d), "error", err)
	}
	valid := err == nil && now.Before(have.Expires())
	if valid && now.Sub(have.Used) > day {
		have.Used = now
		a.keep(ctx, have)
	}
	ans, err := a.DNS.TXT(ctx, mtasts.Name(d))
	id, says := mtasts.ID(ans.Records)
	if err != nil || !says {
		if valid {
			return have.Policy, ""
		}
		return mtasts.Policy{}, ""
	}
	if valid && have.ID == id {
		return have.Policy, ""
	}
	result := a.fetch(ctx, d, id)
	fresh, err := a.Store.Policy(ctx, d)
	if err == nil && now.Before(fresh.Expires()) {
		return fresh.Policy, result
	}
	return mtasts.Policy{}, result
}

// keep writes a policy down.
func (a *Agent) keep(ctx context.Context, p policies.Policy) {
	if err := a.Store.Put(ctx, p); err != nil && ctx.Err() == nil {
		a.Log.Error("an MTA-STS policy cannot be written down", "domain", string(p.Domain), "error", err)
	}
}

// fetch has the policy of that id in the store, if it can be had. Those who need
// the same wait for one of them.
func (a *Agent) fetch(ctx context.Context, d mail.Domain, id string) tlsrpt.Result {
	a.mu.Lock()
	if f := a.failed[d]; f.id == id && time.Now().Before(f.until) {
		a.mu.Unlock()
		return f.result
	}
	fl := a.flights[d]
	if fl == nil {
		fl = &flight{done: make(chan struct{})}
		if a.flights == nil {
			a.flights = map[mail.Domain]*flight{}
		}
		a.flights[d] = fl
		a.mu.Unlock()
		result := a.try(ctx, d, id)
		a.mu.Lock()
		delete(a.flights, d)
		a.remember(ctx, d, id, result)
		a.mu.Unlock()
		close(fl.done)
		return result
	}
	a.mu.Unlock()
	select {
	case <-fl.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed[d].result
}

// remember notes how fetching a policy went. mu is held.
func (a *Agent) remember(ctx context.Context, d mail.Domain, id string, result tlsrpt.Result) {
	if result == "" || ctx.Err() != nil {
		delete(a.failed, d)
		return
	}
	now := time.Now()
	if a.failed == nil || len(a.failed) >= maxFailed {
		a.failed = map[mail.Domain]failure{}
	}
	a.failed[d] = failure{id: id, until: now.Add(again), result: result}
}

// try fetches a policy. One that cannot be read, or cannot be had, leaves the one
// before in its place. RFC 8461 §3.3
func (a *Agent) try(ctx context.Context, d mail.Domain, id string) tlsrpt.Result {
	fctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	text, err := a.Fetch(fctx, mtasts.Host(d))
	result := tlsrpt.STSFetch
	var p mtasts.Policy
	if err == nil {
		p, err = mtasts.Parse(text)
		result = tlsrpt.STSInvalid
	} else if untrusted(err) {
		result = tlsrpt.STSWebPKI
	}
	if err != nil {
		a.Log.Info("no MTA-STS policy", "domain", string(d), "error", err)
		return result
	}
	now := time.Now()
	a.keep(ctx, policies.Policy{Domain: d, ID: id, Fetched: now, Used: now, Policy: p})
	return ""
}

// Run refreshes policies until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := a.Round(ctx); err != nil && ctx.Err() == nil {
			a.Log.Error("MTA-STS policies cannot be refreshed", "error", err)
		}
	}
}

// Round fetches the policies that are used and were not fetched for a day, so
// that they do not end while somebody keeps the new ones from us, and forgets
// those that have ended. RFC 8461 §5.1, 10.2
func (a *Agent) Round(ctx context.Context) error {
	now := time.Now()
	fetched := 0
	for at := mail.Domain(""); ; {
		list, err := a.Store.After(ctx, at, 100)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, p := range list {
			at = p.Domain
			if !now.Before(p.Expires()) {
				if err := a.Store.Delete(ctx, p.Domain); err != nil {
					return err
				}
				continue
			}
			if now.Sub(p.Fetched) < min(day, p.MaxAge/2) || now.Sub(p.Used) > unused || fetched == perRound {
				continue
			}
			fetched++
			a.refresh(ctx, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// refresh fetches a policy anew, if the domain still says to have one.
func (a *Agent) refresh(ctx context.Context, p policies.Policy) {
	ans, err := a.DNS.TXT(ctx, mtasts.Name(p.Domain))
	id, says := mtasts.ID(ans.Records)
	if err != nil || !says {
		return
	}
	if a.fetch(ctx, p.Domain, id) != "" {
		return
	}
	if fresh, err := a.Store.Policy(ctx, p.Domain); err == nil {
		fresh.Used = p.Used // that it was refreshed is no use of it
		a.keep(ctx, fresh)
	}
}

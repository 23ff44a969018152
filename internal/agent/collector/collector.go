// Package collector fetches the mail of accounts that people have elsewhere, over POP3
// and IMAP, and has it delivered to their accounts here.
//
// A message is written into the outpost's ledger in the commit that delivers it, and
// removed from the outpost, if it is to be, only after that: whoever is interrupted,
// at whatever moment, fetches nothing twice and loses nothing. Messages are known by
// the ids that the other server gives them, and beyond that by their bytes, so that a
// server that changes its ids makes us read its mail anew, but not deliver it.
//
// Outposts are claimed by lease, so several nodes may collect.
package collector

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/token"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/outpost"
)

const (
	hold      = 15 * time.Minute // of a lease
	beat      = time.Minute      // when it is renewed
	patience  = 3 * time.Minute  // with a server that says nothing
	loginTime = time.Minute
	// MinEvery is how often an outpost is visited at most, DefaultEvery if nobody says.
	MinEvery     = time.Minute
	DefaultEvery = 5 * time.Minute
	maxBackOff   = 4 * time.Hour
	// unsure is how often in a row a server may refuse a login, without saying why,
	// before the password is taken to be wrong.
	unsure = 3
	// maxVisit is how many messages are fetched in one visit. More are fetched in the
	// next, at once: a POP3 server removes nothing before the visit has ended.
	maxVisit = 5000
	// maxIdle is how many outposts are listened to at a time.
	maxIdle = 1000
	page    = 1000 // lines of the ledger that are looked at in a step
	// maxThere is how many messages there may be in a folder.
	maxThere = 1_000_000
	// longVisit is when a visit asks for nothing more, so that others get their turn;
	// endless, when it is cut off: a server that answers, but ever so slowly, would hold
	// a place for ever.
	longVisit = 30 * time.Minute
	endless   = 2 * time.Hour
)

// An Agent collects. All fields but Roots, Web and the limits must be set.
type Agent struct {
	Outposts  *outpost.Store
	Directory *directory.Directory
	Bodies    *body.Store
	MX        *mx.Agent
	// Try delivers.
	Try func(context.Context, mda.Mail) ([]mail.Outcome, error)
	// Dial connects to a host by name.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Log  *slog.Logger
	// Roots are the authorities that are trusted; nil: those of the system.
	Roots *x509.CertPool
	// Web asks for access tokens; nil: no outpost has any.
	Web *http.Client
	// AnyClear allows connections in clear to other machines.
	AnyClear bool
	// MaxSize is how large a message may be, in bytes; 0 is 50 MB.
	MaxSize int64
	// AtOnce is how many outposts are visited at a time; 0 is 8.
	AtOnce int
	// Visited hears of every visit that has ended; nil: nobody does.
	Visited func(Visited)

	mu     sync.Mutex
	here   map[outpost.ID]bool // visited by us
	active int
	busy   map[mail.AccountID]int // the same, of each account
	idle   int                    // visits that only listen
	freed  chan struct{}          // hears when there may be room again
	tokens map[tokenKey]*tokens
	breaks breaks
}

// tokens are the access tokens of an outpost, as long as nobody changes its secret.
type tokens struct {
	of     outpost.Outpost
	past   []string // refresh tokens that it had before
	source *token.Source
}

// maxPast is how many refresh tokens are known again that others have replaced.
const maxPast = 10

// has tells whether a secret is the refresh token, or was: who collects and who sends may
// not have heard yet that it has changed.
func (t *tokens) has(secret string) bool {
	return t.of.Secret == secret || slices.Contains(t.past, secret)
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Run collects until ctx ends, and then waits for the visits under way, which are cut
// short.
func (a *Agent) Run(ctx context.Context) error {
	knock, stop := a.Outposts.Subscribe()
	defer stop()
	a.mu.Lock()
	freed := make(chan struct{}, 1)
	a.freed = freed
	a.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		wait := time.Hour
		claims, next, err := a.claim(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			a.Log.Error("the outposts cannot be read", "error", err)
			wait = beat
		case !next.IsZero():
			wait = max(time.Until(next), 0)
		}
		for _, c := range claims {
			wg.Go(func() {
				defer a.left(&c.Outpost)
				a.visit(ctx, c)
			})
		}
		if wait <= 0 && a.room() > 0 {
			continue
		}
		t := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
		case <-knock:
		case <-freed:
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

func (a *Agent) room() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return or(a.AtOnce, 8) - a.active
}

// mayIdle tells whether one more visit may only listen.
func (a *Agent) mayIdle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.idle < maxIdle
}

// rest tells that a visit only listens, or does no longer.
func (a *Agent) rest(begins bool, of mail.AccountID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := -1
	if begins {
		n = 1
	}
	a.idle += n
	a.count(-n, of)
}

// count counts n visits more; a.mu is held.
func (a *Agent) count(n int, of mail.AccountID) {
	if a.busy == nil {
		a.busy = map[mail.AccountID]int{}
	}
	a.active += n
	if a.busy[of] += n; a.busy[of] == 0 {
		delete(a.busy, of)
	}
	if n < 0 {
		select {
		case a.freed <- struct{}{}:
		default:
		}
	}
}

// claim claims as many outposts as there is room for. One account has half of it at most:
// servers that do not answer must not keep others waiting.
func (a *Agent) claim(ctx context.Context) ([]outpost.Claim, time.Time, error) {
	a.mu.Lock()
	here, places := maps.Clone(a.here), or(a.AtOnce, 8)
	room := outpost.Room{Most: places - a.active, PerAccount: max(places/2, 1), Busy: maps.Clone(a.busy), Skip: func(id outpost.ID) bool { return here[id] }}
	a.mu.Unlock()
	if room.Most <= 0 {
		return nil, time.Time{}, nil
	}
	claims, next, err := a.Outposts.Claim(ctx, hold, room)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.here == nil {
		a.here = map[outpost.ID]bool{}
	}
	for _, c := range claims {
		a.here[c.ID] = true
		a.count(1, c.Account)
	}
	return claims, next, err
}

func (a *Agent) left(o *outpost.Outpost) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.here, o.ID)
	a.count(-1, o.Account)
}

// errChanged ends a visit whose outpost was changed or removed meanwhile.
var errChanged = errors.New("collector: the outpost was changed")

// visit visits an outpost once, and writes down what came of it.
func (a *Agent) visit(ctx context.Context, c outpost.Claim) {
	log := a.Log.With("account", c.Account, "outpost", c.Name)
	v := &visit{a: a, o: &c.Outpost, claim: c}
	vctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { a.keepAlive(vctx, c, v, cancel) })
	err := v.safely(vctx)
	cancel(errChanged)
	wg.Wait()
	if ctx.Err() != nil {
		err = nil
	}
	if err == nil || v.count().collected > 0 {
		v.finish(context.WithoutCancel(ctx), err == nil)
	}
	done, stopped := v.count(), false
	serr := a.Outposts.Settle(context.WithoutCancel(ctx), c, 0, func(s *outpost.State) {
		v.note(s, done)
		now := time.Now()
		s.Idle = false
		switch {
		case ctx.Err() != nil:
			s.Next = now
		case err != nil:
			a.failed(s, &c.Outpost, err, now)
			stopped = s.Stopped
		default:
			s.Good, s.Fails, s.Error = now, 0, ""
			s.Next = now.Add(wait(or(c.Every, DefaultEvery)))
			if v.more && (done.collected > 0 || c.Protocol == outpost.IMAP) {
				s.Next = now // a POP3 server that gives nothing is not asked again at once
			}
		}
	})
	a.tell(done, ctx.Err() != nil || errors.Is(serr, mail.ErrNotFound), stopped, err)
	switch {
	case errors.Is(serr, mail.ErrNotFound): // changed, or gone: the next visit goes by that
	case serr != nil:
		log.Error("a visit cannot be written down", "error", serr)
	case err != nil:
		log.Warn("collecting failed", "error", err, "collected", done.collected)
	case done.collected > 0 || done.removed > 0:
		log.Info("collected", "messages", done.collected, "bytes", done.bytes, "removed", done.removed)
	}
}

// wait leaves a little to chance, so that not all come at once.
func wait(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/20+1))
}

// failed says when to try again, and what is wrong.
func (a *Agent) failed(s *outpost.State, o *outpost.Outpost, err error, now time.Time) {
	s.Fails++
	s.Error = Words(o, err)
	if no, ok := errors.AsType[*LoginError](err); ok && (no.Sure || s.Fails >= unsure && !no.Later) {
		s.Stopped = true
		return
	}
	d := or(o.Every, DefaultEvery)
	for i := 1; i < s.Fails && d < maxBackOff; i++ {
		d *= 2
	}
	s.Next = now.Add(wait(max(min(d, maxBackOff), or(o.Every, DefaultEvery))))
}

// keepAlive renews the lease, with how far the visit has come, and ends the visit when
// it is no longer wanted.
func (a *Agent) keepAlive(ctx context.Context, c outpost.Claim, v *visit, cancel context.CancelCauseFunc) {
	knock, stop := a.Outposts.Subscribe()
	defer stop()
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-knock:
			if held, err := a.Outposts.Held(ctx, c); err == nil && !held {
				cancel(errChanged)
				return
			}
			continue
		case <-t.C:
		}
		if err := v.record(ctx, func(*outpost.State) {}); errors.Is(err, mail.ErrNotFound) {
			cancel(errChanged)
			return
		}
	}
}

// Check tries to log in at an outpost, as it is before it is saved. The error is in
// words for its owner. Its refresh token may be another one after that.
func (a *Agent) Check(ctx context.Context, o *outpost.Outpost) error {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	probe := *o
	probe.ID = 0
	v := &visit{a: a, o: &probe}
	s, err := v.open(ctx)
	o.Secret = probe.Secret
	if err == nil {
		err = s.suits(ctx, &probe)
		s.close()
	}
	if err != nil {
		return errors.New(Once(Words(&probe, err)))
	}
	return nil
}

// accountOf gives whose mail it is.
func (a *Agent) accountOf(ctx context.Context, o *outpost.Outpost) (directory.Account, error) {
	acct, err := a.Directory.Account(ctx, o.Account)
	if err != nil {
		return acct, fmt.Errorf("collector: %w", err)
	}
	return acct, nil
}

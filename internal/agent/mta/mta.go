package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/suppression"
)

// A Transport takes a message one hop on, for recipients who share it, and
// tells what became of each. An error is a "not now" for all of them, or a
// *mail.Refusal for all of them.
type Transport interface {
	Carry(ctx context.Context, it queue.Item, b *body.Reader) ([]mail.Outcome, error)
}

// An Agent transfers. All fields but the limits must be set.
type Agent struct {
	Hostname string
	DB       kv.Store
	Bodies   *body.Store
	Queue    *queue.Queue
	Journal  *journal.Journal
	Log      *slog.Logger
	// Route finds the way that an item goes. A *mail.Refusal means that there is none.
	Route func(ctx context.Context, it *queue.Item) (Transport, error)
	// Suppression hears of addresses that do not exist; nil: nobody does.
	Suppression *suppression.List

	// Shape says how much goes where at a time; nil is a Shaper of PerDomain and
	// Workers. The Remotes that Route gives should have the same.
	Shape *Shaper
	// Workers is how many messages are carried at a time, PerDomain how many of
	// them to one domain; 0 is 100 and 10.
	Workers, PerDomain int
	// GiveUp is how long a message is tried, WarnAfter when its sender hears of
	// the delay; 0 is 5 days and 4 hours. RFC 5321 §4.5.4.1
	GiveUp, WarnAfter time.Duration
	// FirstRetry is the wait after the first failure; it doubles from then on,
	// up to LastRetry. 0 is a minute and 4 hours.
	FirstRetry, LastRetry time.Duration

	once sync.Once
}

const (
	// hold is how long a claim lasts, and attemptTime how long the work on it
	// may take: less, so that nobody takes it over meanwhile.
	hold        = 45 * time.Minute
	attemptTime = 40 * time.Minute
	// busyAfter is when a destination that was at its limit is looked at again,
	// if nothing ends meanwhile.
	busyAfter = 5 * time.Second
	// gather is how long hands that are free wait for others, so that each look at
	// the queue finds work for some.
	gather = 2 * time.Millisecond
	// jitter is which part of a wait is left to chance.
	jitter = 20
	// fullAfter is when it is tried again to write to a full disk.
	fullAfter = 2 * time.Second
)

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// work is what is under way.
type work struct {
	mu     sync.Mutex
	active int
	ended  chan struct{}
	wg     sync.WaitGroup
}

// Run transfers until ctx ends, and then waits for what is under way: attempts
// are cut short, and tried again at the next start.
func (a *Agent) Run(ctx context.Context) error {
	knock, stop := kv.Subscribe(a.DB, queue.Topic)
	defer stop()
	w := &work{ended: make(chan struct{}, 1)}
	defer w.wg.Wait()
	for ctx.Err() == nil {
		n, wait, err := a.fill(ctx, w)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			a.Log.Error("the queue cannot be read", "error", err)
			pause(ctx, knock, w.ended, busyAfter)
		case n > 0:
		case wait > 0:
			pause(ctx, knock, w.ended, wait)
			pause(ctx, nil, nil, gather) // who ends now, ends with others
		default:
			if err := a.Queue.Wait(ctx, knock); err != nil && ctx.Err() == nil {
				a.Log.Error("the queue cannot be read", "error", err)
				pause(ctx, knock, w.ended, busyAfter)
			}
		}
	}
	return nil
}

func pause(ctx context.Context, knock, ended <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-knock:
	case <-ended:
	case <-t.C:
	}
}

// shaper gives the Shaper, which is made if there is none.
func (a *Agent) shaper() *Shaper {
	a.once.Do(func() {
		if a.Shape == nil {
			a.Shape = &Shaper{PerSite: a.PerDomain, Hands: a.Workers, FirstPause: a.FirstRetry}
		}
	})
	return a.Shape
}

// fill claims as much as there are hands for, and sets them to work. wait tells
// that more may be due than that, and when to look again.
func (a *Agent) fill(ctx context.Context, w *work) (n int, wait time.Duration, err error) {
	const most = 64 // a commit
	w.mu.Lock()
	free := min(or(a.Workers, 100)-w.active, most)
	w.mu.Unlock()
	if free <= 0 {
		return 0, busyAfter, nil
	}
	s := a.shaper()
	r := s.round(time.Now())
	claims, err := a.Queue.Claim(ctx, hold, free, queue.Pick{Room: r.room, Chose: r.chose})
	for _, c := range claims {
		p := s.begin(queue.Bound{Domain: c.Domain, Way: c.Way}, time.Now())
		w.begin()
		w.wg.Go(func() {
			defer w.end()
			defer s.end(p)
			a.attempt(ctx, c, p)
		})
	}
	if r.skipped {
		wait = r.wait
	}
	return len(claims), wait, err
}

func (w *work) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active++
}

func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active--
	select {
	case w.ended <- struct{}{}:
	default:
	}
}

// attempt carries one item, and settles it.
func (a *Agent) attempt(ctx context.Context, c queue.Claim, p *passage) {
	defer func() {
		if p := recover(); p != nil {
			a.Log.Error("panic in an attempt", "id", c.Envelope.Trace.String(), "panic", p)
		}
	}()
	err := late(c, time.Now())
	if err == nil {
		err = a.shaper().held(p, time.Now())
	}
	var outcomes []mail.Outcome
	if err == nil {
		tctx, cancel := context.WithTimeout(ctx, attemptTime)
		outcomes, err = a.carry(tctx, c)
		cancel()
		if ctx.Err() != nil && err != nil {
			a.release(context.WithoutCancel(ctx), c)
			return
		}
		a.note(p, outcomes, err)
	}
	if less, ok := errors.AsType[*askedLess](err); ok {
		outcomes = said(c.Item, less.said)
	} else if err != nil {
		outcomes = all(c.Item, err)
		if _, answer := errors.AsType[*mail.Refusal](err); !answer {
			a.Log.Warn("attempt", "id", c.Envelope.Trace.String(), "domain", string(c.Domain), "error", err)
		}
	}
	err = a.settle(context.WithoutCancel(ctx), c, outcomes)
	for errors.Is(err, mail.ErrFull) && ctx.Err() == nil && time.Now().Before(c.Until.Add(-fullAfter)) {
		// What came of it must not be forgotten, or it would be sent again.
		pause(ctx, nil, nil, fullAfter)
		err = a.settle(context.WithoutCancel(ctx), c, outcomes)
	}
	if err != nil {
		a.Log.Error("an attempt cannot be written down", "id", c.Envelope.Trace.String(), "error", err)
	}
}

// note tells the Shaper what came of an attempt.
func (a *Agent) note(p *passage, outcomes []mail.Outcome, err error) {
	now := time.Now()
	no, answer := errors.AsType[*mail.Refusal](err)
	switch {
	case err == nil:
		a.shaper().answered(p, outcomes, now)
	case answer && no.Status.Temporary() && no.Status.Subject == 4: // network and routing, RFC 3463 §3.5
		a.shaper().unreachable(p, no, now)
	}
}

// said makes what was said to another the outcome of every recipient.
func said(it queue.Item, o mail.Outcome) []mail.Outcome {
	out := make([]mail.Outcome, len(it.Envelope.Recipients))
	for i, r := range it.Envelope.Recipients {
		out[i] = o
		out[i].Recipient = r
	}
	return out
}

func (a *Agent) carry(ctx context.Context, c queue.Claim) ([]mail.Outcome, error) {
	if len(c.Envelope.Recipients) == 0 {
		return nil, nil // all were reached, and that was not settled
	}
	t, err := a.Route(ctx, &c.Item)
	if err != nil {
		return nil, err
	}
	b, err := a.Bodies.Open(ctx, c.Body, c.Prefix)
	if err != nil {
		return nil, fmt.Errorf("mta: %w", err)
	}
	defer b.Close()
	return t.Carry(ctx, c.Item, b)
}

// all makes an error the outcome of every recipient.
func all(it queue.Item, err error) []mail.Outcome {
	st, text := mail.StatusOf(err)
	out := make([]mail.Outcome, len(it.Envelope.Recipients))
	for i, r := range it.Envelope.Recipients {
		out[i] = mail.Outcome{Recipient: r, Status: st, Text: text}
	}
	return out
}

func (a *Agent) release(ctx context.Context, c queue.Claim) {
	err := a.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{c.Lock()}}, func(tx kv.Tx) error {
		return a.Queue.Release(tx, c, tx.Now())
	})
	if err != nil {
		a.Log.Error("a claim cannot be given back", "id", c.Envelope.Trace.String(), "error", err)
	}
}

// next gives when to try again after a number of failed attempts: a little
// later, by chance, so that what failed together does not come back together.
func (a *Agent) next(now time.Time, attempts int) time.Time {
	wait, most := or(a.FirstRetry, time.Minute), or(a.LastRetry, 4*time.Hour)
	for i := 0; i < attempts && wait < most; i++ {
		wait *= 2
	}
	wait = min(wait, most)
	return now.Add(wait + time.Duration(rand.Int64N(int64(wait)/jitter+1)))
}

// settle writes down what became of the recipients, and queues the report that
// the sender is owed.
func (a *Agent) settle(ctx context.Context, c queue.Claim, outcomes []mail.Outcome) error {
	now := time.Now()
	next := a.next(now, c.Attempts)
	age := now.Sub(c.Queued)
	events := make([]trace.Event, 0, len(outcomes)+1)
	var ta tally
	for i := range outcomes {
		o := &outcomes[i]
		o.Status = remedy.Refine(remedy.Answer{Status: o.Status, Text: o.Text, Remote: o.Remote})
		e := trace.Event{Trace: c.Envelope.Trace, Time: now, Rcpt: o.Recipient.Address, Status: o.Status, Text: o.Text, Remote: o.Remote, TLS: o.TLS, From: o.From}
		switch {
		case o.Status.Class == 2:
			e.Kind = trace.Delivered
			if o.Remote == "" {
				e.Kind = 0 // the mda has told of it
			} else {
				ta.relayed = append(ta.relayed, *o)
			}
		case o.Status.Class == 5:
			e.Kind = trace.Failed
			ta.failed = append(ta.failed, *o)
		case c.Envelope.By.Over(now):
			o.Status, o.Text, o.Remote = expired, lateText(c)+given(o.Text), ""
			e.Kind, e.Status, e.Text, e.Remote = trace.Failed, o.Status, o.Text, ""
			ta.failed = append(ta.failed, *o)
		case age >= or(a.GiveUp, 5*24*time.Hour):
			o.Status.Class = 5
			o.Text = fmt.Sprintf("tried for %s; the last answer was: %s", days(age), o.Text)
			e.Kind, e.Status, e.Text = trace.Failed, o.Status, o.Text
			ta.failed = append(ta.failed, *o)
		default:
			e.Kind, e.Next = trace.Deferred, next
			ta.delayed = append(ta.delayed, *o)
		}
		if e.Kind != 0 {
			events = append(events, e)
		}
	}
	reports, err := a.reports(ctx, &c, ta, now, next)
	if err != nil {
		return err
	}
	return a.commit(ctx, c, outcomes, events, reports, next)
}

func days(d time.Duration) string {
	if n := int(d / (24 * time.Hour)); n > 1 {
		return fmt.Sprintf("%d days", n)
	}
	return fmt.Sprintf("%d hours", int(d/time.Hour))
}

// dead gives the outcomes of which the other server says that there is no such
// address. A report that does not arrive says nothing: its sender was forged; nor does a
// server that one person has chosen, as all would hear of it.
func (a *Agent) dead(c queue.Claim, outcomes []mail.Outcome) (out []mail.Outcome) {
	if a.Suppression == nil || c.Envelope.Sender.IsZero() || c.Errand.Is() {
		return nil
	}
	for _, o := range outcomes {
		if o.Status.Class != 5 || o.Remote == "" {
			continue
		}
		if r, ok := remedy.Of(remedy.Answer{Status: o.Status, Text: o.Text, Remote: o.Remote}); ok && r.Kind == remedy.NoUser {
			out = append(out, o)
		}
	}
	return out
}

func (a *Agent) commit(ctx context.Context, c queue.Claim, outcomes []mail.Outcome, events []trace.Event, reports []mda.Report, next time.Time) error {
	locks := []kv.Lock{c.Lock()}
	for _, r := range reports {
		locks = append(locks, queue.ShardOf(r.Envelope.Trace))
	}
	dead := a.dead(c, outcomes)
	if len(dead) > 0 {
		locks = append(locks, suppression.Lock)
	}
	var all, others []trace.Event
	err := a.DB.Update(ctx, kv.Plan{Locks: locks}, func(tx kv.Tx) error {
		if err := a.Queue.Settle(tx, c, outcomes, next); err != nil {
			return err
		}
		all, others = append(all[:0], events...), others[:0]
		for _, r := range reports {
			e, own, err := mda.PutReport(tx, a.Queue, r, owed(c.Item))
			if err != nil {
				return err
			}
			all, others = append(all, e), append(others, own...)
		}
		for _, o := range dead {
			if err := a.Suppression.Note(tx, o.Recipient.Address, c.Envelope.Trace, o.Text); err != nil {
				return err
			}
		}
		journal.Write(tx, all...)
		return nil
	})
	if err != nil {
		return fmt.Errorf("mta: settle: %w", err)
	}
	for _, e := range all {
		e.Log(a.Log)
	}
	a.Journal.Wrote(all...)
	a.Journal.Wrote(others...)
	return nil
}

package mta_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/queue"
	"posthaste/test/network"
)

var later = mail.Refuse("4.2.1", "come back later", "")

// TestSchedule: later and later, a warning once, and a report at the end.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		h.rcpt = func(string) error { return later }
		w.run(w.agent)
		begin := time.Now()
		id := w.post("x@b.example")
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if got := w.reports(); len(got) != 1 || !strings.Contains(got[0], "| delayed |") || !strings.Contains(got[0], "x@b.example") {
			t.Errorf("after four hours: %q", got)
		}
		time.Sleep(6 * 24 * time.Hour)
		synctest.Wait()
		if got := w.reports(); len(got) != 2 || !strings.Contains(got[1], "| failed | 5.2.1") {
			t.Errorf("at the end: %q", got)
		}
		same(t, "waiting", w.Waiting(), nil)

		wait, before := time.Minute, time.Duration(0)
		at := begin
		for i, got := range h.attempts {
			if d := got.Sub(at); d < 0 || d > before/20+time.Second {
				t.Fatalf("attempt %d came %v after its time", i, d)
			}
			at, before = got.Add(wait), wait
			wait = min(2*wait, 4*time.Hour)
		}
		last := h.attempts[len(h.attempts)-1].Sub(begin)
		if last < 5*24*time.Hour || last > 5*24*time.Hour+4*time.Hour+13*time.Minute {
			t.Errorf("given up after %v", last)
		}
		kinds := w.Story(id)
		count := func(k trace.Kind) (n int) {
			for _, have := range kinds {
				if have == k {
					n++
				}
			}
			return n
		}
		if count(trace.Deferred) != len(h.attempts)-1 || count(trace.Failed) != 1 || count(trace.Reported) != 2 || kinds[len(kinds)-1] != trace.Reported {
			t.Errorf("%d attempts: %v", len(h.attempts), kinds)
		}
	})
}

// TestPolicy: the numbers of the configuration are used.
func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		h.rcpt = func(string) error { return later }
		w.agent.FirstRetry, w.agent.LastRetry = 10*time.Minute, 15*time.Minute
		w.agent.GiveUp, w.agent.WarnAfter = time.Hour, 30*time.Minute
		w.run(w.agent)
		begin := time.Now()
		w.post("x@b.example")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 10, 25, 40, 55, 70}
		if len(h.attempts) != len(want) {
			t.Fatalf("%d attempts", len(h.attempts))
		}
		for i, a := range h.attempts { // a twentieth is left to chance
			if d, least := a.Sub(begin), want[i]*time.Minute; d < least || d > least+least/20+time.Second {
				t.Errorf("attempt %d after %v", i, d)
			}
		}
		if n := len(w.reports()); n != 2 {
			t.Errorf("%d reports", n)
		}
	})
}

// TestEach: each recipient has its own fate, and is told of once.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		h.rcpt = func(local string) error {
			switch local {
			case "never":
				return mail.Refuse("5.1.1", "no such user", "")
			case "neither":
				return mail.Refuse("5.7.1", "not you", "")
			case "later":
				if time.Since(h.attempts[0]) < time.Hour {
					return later
				}
			}
			return nil
		}
		w.run(w.agent)
		w.post("now@b.example", "never@b.example", "later@b.example", "neither@b.example")
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "waiting", w.Waiting(), []string{"b.example: later"})
		if got := w.reports(); len(got) != 1 || !strings.Contains(got[0], "never@b.example | failed | 5.1.1 | neither@b.example | failed | 5.7.1") {
			t.Errorf("%q", got)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		var to []string
		for _, g := range h.got {
			local, m, _ := strings.Cut(g, ": ")
			if m != "Received: here\r\n"+text {
				t.Errorf("%s got %q", local, m)
			}
			to = append(to, local)
		}
		same(t, "delivered", to, []string{"now", "later"})
		same(t, "waiting", w.Waiting(), nil)
		if n := len(w.reports()); n != 1 {
			t.Errorf("%d reports", n)
		}
	})
}

// TestNoReport: nobody is told of what nobody sent, nor of a report that fails.
func TestNoReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		h.rcpt = func(local string) error { return mail.Refuse("5.1.1", "no such user", "") }
		w.net.Fault = func(netip.Addr, netip.AddrPort) network.Fault { return network.Fault{Latency: time.Millisecond} }
		w.run(w.agent)
		id := w.postFrom("", text, "x@b.example")
		w.postFrom("gone@a.example", text, "x@b.example") // whose report cannot be delivered here
		w.postFrom("y@b.example", text, "x@b.example")    // nor there
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		same(t, "waiting", w.Waiting(), nil)
		same(t, "reports", w.reports(), nil)
		if got := w.Story(id); !slices.Equal(got, []trace.Kind{trace.Queued, trace.Failed}) {
			t.Errorf("%v", got)
		}
	})
}

// TestReportTo: a report to elsewhere goes out from nobody, and what becomes of
// our own recipients who are gone is reported too.
func TestReportTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		w.run(w.agent)
		w.postFrom("bob@b.example", text, "ada@a.example", "gone@a.example")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.Inbox("ada@a.example")); n != 1 {
			t.Errorf("ada has %d messages", n)
		}
		if h.count() != 1 || !strings.HasPrefix(h.got[0], "bob: ") || !strings.Contains(h.got[0], "gone@a.example") || !strings.Contains(h.got[0], "Status: 5.1.1") ||
			!strings.Contains(h.got[0], "From: Mail Delivery System <postmaster@mx.a.example>") {
			t.Errorf("bob got %q", h.got)
		}
		same(t, "waiting", w.Waiting(), nil)
	})
}

// A taker is a Transport that does what it is told.
type taker struct {
	carry func(ctx context.Context, it queue.Item) ([]mail.Outcome, error)
}

func (k *taker) Carry(ctx context.Context, it queue.Item, b *body.Reader) ([]mail.Outcome, error) {
	if _, err := io.Copy(io.Discard, io.NewSectionReader(b, 0, b.Size())); err != nil {
		return nil, err
	}
	return k.carry(ctx, it)
}

func outcomes(it queue.Item, st mail.Status) (out []mail.Outcome) {
	for _, r := range it.Envelope.Recipients {
		out = append(out, mail.Outcome{Recipient: r, Status: st, Text: "as told", Remote: "somewhere"})
	}
	return out
}

func (w *world) routeTo(a *mta.Agent, k *taker) {
	old := a.Route
	a.Route = func(ctx context.Context, it *queue.Item) (mta.Transport, error) {
		if it.Domain == "a.example" {
			return old(ctx, it)
		}
		return k, nil
	}
}

// TestLostClaim: who works longer than the claim lasts, and loses it, counts
// for nothing: the other's result stands, and there is one report.
func TestLostClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		failed := mail.Status{Class: 5, Subject: 1, Detail: 1}
		w.routeTo(w.agent, &taker{func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) {
			time.Sleep(50 * time.Minute) // deaf to its context
			return outcomes(it, failed), nil
		}})
		other := w.newAgent()
		w.routeTo(other, &taker{func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) { return outcomes(it, failed), nil }})
		stop := w.run(w.agent)
		id := w.post("x@b.example")
		time.Sleep(44 * time.Minute)
		synctest.Wait()
		w.run(other)
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		time.Sleep(time.Minute)
		if n := len(w.reports()); n != 1 {
			t.Errorf("%d reports", n)
		}
		if got := w.Story(id); !slices.Equal(got, []trace.Kind{trace.Queued, trace.Failed, trace.Reported}) {
			t.Errorf("%v", got)
		}
		same(t, "waiting", w.Waiting(), nil)
	})
}

// TestLimits: no more at once than there are workers, nor to one domain; and a
// slow domain does not hold up the others.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		now, most := map[mail.Domain]int{}, map[mail.Domain]int{}
		all, mostAll := 0, 0
		lock := make(chan struct{}, 1)
		count := func(d mail.Domain, n int) {
			lock <- struct{}{}
			now[d] += n
			all += n
			most[d], mostAll = max(most[d], now[d]), max(mostAll, all)
			<-lock
		}
		done := map[mail.Domain]time.Time{}
		w.agent.Workers, w.agent.PerDomain = 5, 3
		w.routeTo(w.agent, &taker{func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) {
			count(it.Domain, 1)
			defer count(it.Domain, -1)
			if it.Domain == "slow.example" {
				time.Sleep(10 * time.Minute)
			} else {
				time.Sleep(time.Second)
			}
			lock <- struct{}{}
			done[it.Domain] = time.Now()
			<-lock
			return outcomes(it, mail.StatusOK), nil
		}})
		for range 12 {
			w.post("x@slow.example")
		}
		begin := time.Now()
		for range 20 {
			w.post("x@quick.example")
			w.post("y@fast.example")
		}
		w.run(w.agent)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		same(t, "waiting", w.Waiting(), nil)
		if most["slow.example"] != 3 || mostAll != 5 || most["quick.example"] > 3 {
			t.Errorf("at once: %v, %d in all", most, mostAll)
		}
		if d := done["quick.example"].Sub(begin); d > 5*time.Minute {
			t.Errorf("the quick one took %v", d)
		}
		if d := done["slow.example"].Sub(begin); d < 40*time.Minute || d > 51*time.Minute { // at first they are strangers, with half of the hands
			t.Errorf("the slow one took %v", d)
		}
	})
}

// TestStop: what is under way when the agent stops is due at the next start; and
// what a dead process had claimed is due after Recover.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.routeTo(w.agent, &taker{func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		stop := w.run(w.agent)
		w.post("x@b.example")
		time.Sleep(time.Minute)
		stop()
		items := w.Items()
		if len(items) != 1 || items[0].Claimed() || items[0].Attempts != 0 || items[0].Next.After(time.Now()) {
			t.Errorf("%+v", items)
		}
		if claims := w.claimAll(time.Hour); len(claims) != 1 {
			t.Fatalf("%d claims", len(claims))
		}
		again := w.newAgent()
		w.routeTo(again, &taker{func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) {
			return outcomes(it, mail.StatusOK), nil
		}})
		if err := again.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.run(again)
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "waiting", w.Waiting(), nil)
	})
}

// TestPanic: one attempt that panics ends that attempt only.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		calls := 0
		w.routeTo(w.agent, &taker{func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) {
			if calls++; calls == 1 {
				panic("poison")
			}
			return outcomes(it, mail.StatusOK), nil
		}})
		w.run(w.agent)
		w.post("x@b.example")
		time.Sleep(time.Hour)
		synctest.Wait()
		same(t, "waiting", w.Waiting(), nil)
		if calls != 2 {
			t.Errorf("%d calls", calls)
		}
	})
}

// TestUnreadable: a message whose bytes are gone is not tried for ever, and its
// sender hears of it.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		w.postFrom("ada@a.example", text+strings.Repeat("words\r\n", 20_000), "x@b.example")
		it := w.Items()[0]
		if err := w.DB.Update(t.Context(), kv.Plan{}, func(tx kv.Tx) error {
			body.Release(tx, it.Body, body.Holder{Lock: queue.ShardOf(it.Envelope.Trace), Row: uint64(it.ID)})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if swept, err := w.Bodies.Sweep(t.Context()); err != nil || swept.Blobs == 0 {
			t.Fatalf("%+v, %v", swept, err)
		}
		w.run(w.agent)
		time.Sleep(6 * 24 * time.Hour)
		synctest.Wait()
		same(t, "waiting", w.Waiting(), nil)
		if got := w.reports(); len(got) != 2 || !strings.Contains(got[1], "| failed |") {
			t.Errorf("%q", got)
		}
	})
}

// TestOperate: what the operator can do to what waits.
func TestOperate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		h.rcpt = func(string) error { return later }
		w.run(w.agent)
		id := w.post("x@b.example", "y@c.example")
		other := w.post("z@b.example")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		h.mu.Lock()
		h.rcpt = nil
		h.mu.Unlock()
		if n, err := w.agent.Retry(t.Context(), mta.Group{ID: id}); n != 1 || err != nil { // y@c.example failed for good: no such domain
			t.Errorf("retried %d, %v", n, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if h.count() != 1 || !strings.HasPrefix(h.got[0], "x: ") {
			t.Errorf("delivered: %q", h.got)
		}
		if n, err := w.agent.Drop(t.Context(), mta.Group{ID: other}); n != 1 || err != nil {
			t.Errorf("dropped %d, %v", n, err)
		}
		if got := w.Story(other); got[len(got)-1] != trace.Dropped {
			t.Errorf("%v", got)
		}
		same(t, "waiting", w.Waiting(), nil)
		for name, do := range map[string]func(context.Context, mta.Group) (int, error){"retry": w.agent.Retry, "drop": w.agent.Drop} {
			if _, err := do(t.Context(), mta.Group{ID: id}); !errors.Is(err, mail.ErrNotFound) {
				t.Errorf("%s what is gone: %v", name, err)
			}
		}
	})
}

// TestGroups: what waits is held, let go and returned by groups, and told by
// destination and reason.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		c := w.host("c.example", 10, "mx.c.example", "198.51.100.2")
		full := mail.Refuse("4.2.2", "mailbox full", "")
		b.rcpt = func(string) error { return full }
		c.rcpt = func(string) error { return mail.Refuse("4.7.1", "Greylisted, come back", "") }
		stop := w.run(w.agent)
		id := w.post("x@b.example")
		w.post("y@b.example", "z@c.example")
		w.postFrom("eve@d.example", text, "z@c.example")
		time.Sleep(time.Second)
		synctest.Wait()
		show := func(when string, want ...string) {
			t.Helper()
			heaps, err := w.agent.Summary(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range heaps {
				got = append(got, fmt.Sprintf("%s %s %d %d/%d/%d", h.To, h.Why, h.Messages, h.Hour, h.Day, h.Older))
			}
			slices.Sort(got)
			same(t, when, got, want)
		}
		show("at first", "b.example full 2 2/0/0", "c.example greylisted 2 2/0/0")
		do := func(what string, fn func(context.Context, mta.Group) (int, error), g mta.Group, want int) {
			t.Helper()
			if n, err := fn(t.Context(), g); n != want || err != nil {
				t.Errorf("%s: %d, %v; want %d", what, n, err, want)
			}
		}
		do("hold by sender", w.agent.Hold, mta.Group{From: "@d.example"}, 1)
		do("hold by reason", w.agent.Hold, mta.Group{Why: "full"}, 2)
		show("held", "b.example held 2 2/0/0", "c.example greylisted 1 1/0/0", "c.example held 1 1/0/0")
		tries := len(b.attempts)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(b.attempts) != tries {
			t.Error("what is held was tried")
		}
		show("two hours later", "b.example held 2 0/2/0", "c.example greylisted 1 0/1/0", "c.example held 1 0/1/0")
		do("release what is not held", w.agent.Release, mta.Group{Why: "greylisted"}, 0)
		do("bounce", w.agent.Bounce, mta.Group{To: "c.example"}, 2)
		b.mu.Lock()
		b.rcpt = nil
		b.mu.Unlock()
		do("release by id", w.agent.Release, mta.Group{ID: id}, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		do("retry what is held", w.agent.Retry, mta.Group{To: "b.example"}, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.count() != 2 {
			t.Errorf("%d came", b.count())
		}
		if got := w.reports(); len(got) != 1 || !strings.Contains(got[0], "z@c.example | failed | 5.7.0") {
			t.Errorf("%q", got)
		}
		if got := w.Story(id); !slices.Contains(got, trace.Held) || !slices.Contains(got, trace.Released) {
			t.Errorf("%v", got)
		}
		stop()
	})
}

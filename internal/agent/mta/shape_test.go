package mta_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/queue"
	"posthaste/test/network"
)

// TestThrottled: who says that it is too much gets less, gets all in the end, and
// does not have to say it often. Another domain on the same host is meant too.
func TestThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		w.zone.MXHost("c.example", 10, "mx.b.example")
		other := w.host("d.example", 10, "mx.d.example", "198.51.100.2")
		// It takes a message a second, after a first ten.
		tokens, at, refused := 10.0, time.Now(), 0
		h.rcpt = func(string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			tokens = min(tokens+time.Since(at).Seconds(), 10)
			at = time.Now()
			if tokens < 1 {
				refused++
				return mail.Refuse("4.7.1", "too many messages from you, slow down", "")
			}
			tokens--
			return nil
		}
		w.agent.Shape = &mta.Shaper{}
		w.remote.Shape = w.agent.Shape
		const n = 400
		for i := range n {
			w.post(fmt.Sprintf("x%d@%s.example", i, []string{"b", "c"}[i%2]))
			if i%4 == 0 {
				w.post(fmt.Sprintf("x%d@d.example", i))
			}
		}
		w.run(w.agent)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if other.count() != n/4 {
			t.Errorf("the other has %d messages", other.count())
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if h.count() != n {
			t.Errorf("%d messages came", h.count())
		}
		if refused > n/4 {
			t.Errorf("it had to say no %d times", refused)
		}
		same(t, "waiting", w.Waiting(), nil)
	})
}

// TestDead: a host that cannot be reached is asked by one message at a time, and
// all others hear of that; when it is back, all get there.
func TestDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		w.zone.MXHost("c.example", 10, "mx.b.example")
		w.agent.Shape = &mta.Shaper{}
		w.remote.Shape = w.agent.Shape
		var dead sync.Mutex
		isDead := true
		w.net.Fault = func(netip.Addr, netip.AddrPort) network.Fault {
			dead.Lock()
			defer dead.Unlock()
			return network.Fault{Refused: isDead}
		}
		for i := range 200 {
			w.post(fmt.Sprintf("x%d@%s.example", i, []string{"b", "c"}[i%2]))
		}
		w.run(w.agent)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		w.mu.Lock()
		dials := len(w.dialed)
		w.mu.Unlock()
		if dials < 5 || dials > 60 { // more than ten a minute at first, and then each quarter of an hour
			t.Errorf("%d connections were tried", dials)
		}
		for _, it := range w.Items() {
			if it.Attempts < 4 || !strings.Contains(it.Text, "no host could be reached") {
				t.Fatalf("%d attempts: %s", it.Attempts, it.Text)
			}
		}
		dead.Lock()
		isDead = false
		dead.Unlock()
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if h.count() != 200 {
			t.Errorf("%d came when it was back", h.count())
		}
		same(t, "waiting", w.Waiting(), nil)
	})
}

// TestRate: a limit of the configuration is kept.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
		w.agent.Shape = &mta.Shaper{Limits: map[string]mta.Limit{"mx.b.example": {PerMinute: 6, Connections: 1, PerConnection: 2}}}
		w.remote.Shape = w.agent.Shape
		for i := range 20 {
			w.post(fmt.Sprintf("x%d@b.example", i))
		}
		w.run(w.agent)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := h.count(); n < 6 || n > 9 { // the first few know no host yet
			t.Errorf("%d in the first minute", n)
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if conns, _ := h.sessions(); h.count() != 20 || conns < 10 {
			t.Errorf("%d messages over %d connections", h.count(), conns)
		}
	})
}

var (
	flood        = flag.Int("flood", 6000, "messages of TestFlood")
	destinations = flag.Int("destinations", 300, "destinations of TestFlood")
)

// TestFlood: very many messages to very many destinations, most of them dead and
// slow to say so. Those that live get their mail soon, no more is under way than
// there are hands, and a new start takes moments.
//
//	go test ./internal/agent/mta -run TestFlood -flood=100000 -destinations=1000 -v
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := func(d mail.Domain) bool { return !strings.HasSuffix(string(d), "0.example") } // 9 of 10
		var mu sync.Mutex
		dials, under, most, got := 0, 0, 0, map[mail.Domain]int{}
		carry := func(ctx context.Context, it queue.Item) ([]mail.Outcome, error) {
			mu.Lock()
			under++
			most = max(most, under)
			if dead(it.Domain) {
				dials++
			}
			mu.Unlock()
			defer func() { mu.Lock(); under--; mu.Unlock() }()
			if dead(it.Domain) {
				time.Sleep(30 * time.Second)
				return nil, mail.Refuse("4.4.1", "no host could be reached; the last one: x [192.0.2.1]: i/o timeout", "")
			}
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			got[it.Domain]++
			mu.Unlock()
			return outcomes(it, mail.StatusOK), nil
		}
		begin := time.Now()
		live := fillQueue(t, w, *flood, *destinations, dead)
		w.routeTo(w.agent, &taker{carry})
		stop := w.run(w.agent)
		reached := func() (n int) {
			mu.Lock()
			defer mu.Unlock()
			for _, k := range got {
				n += k
			}
			return n
		}
		for range 90 {
			if time.Sleep(10 * time.Second); reached() == live {
				break
			}
		}
		if n := reached(); n != live {
			t.Errorf("%d of %d had their mail after %v", n, live, time.Since(begin))
		}
		t.Logf("%d living had their mail after %v; %d tries of dead ones", live, time.Since(begin), dials)
		stop()
		if most > 100 {
			t.Errorf("%d at once", most)
		}
		if dials > 5**destinations {
			t.Errorf("%d tries of %d dead destinations", dials, *destinations)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%d MB in use", m.HeapAlloc>>20)

		// The next process begins at once, and does not storm the dead.
		again := w.newAgent()
		w.routeTo(again, &taker{carry})
		if err := again.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		dials = 0
		mu.Unlock()
		w.run(again)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		if dials > 2*50+50*4 { // half of the hands, for half a minute each
			t.Errorf("%d tries in the first two minutes", dials)
		}
		mu.Unlock()
	})
}

// fillQueue puts messages into the queue, and tells how many are for the living.
func fillQueue(t *testing.T, w *world, messages, destinations int, dead func(mail.Domain) bool) (live int) {
	t.Helper()
	const batch = 200
	ref, err := w.Bodies.Keep(t.Context(), w.Stage(text), 1)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < messages; from += batch {
		trace := mail.NewTraceID(time.Now())
		err := w.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{queue.ShardOf(trace)}}, func(tx kv.Tx) error {
			for i := from; i < min(from+batch, messages); i++ {
				d := mail.Domain(fmt.Sprintf("d%d.example", i%destinations))
				it := queue.Item{Domain: d, Body: ref}
				it.Envelope = mail.Envelope{Trace: trace, Recipients: []mail.Recipient{{Address: mail.Address{Local: "x", Domain: d}}}}
				if _, err := w.Queue.Put(tx, it); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		if !dead(mail.Domain(fmt.Sprintf("d%d.example", i%destinations))) {
			live++
		}
	}
	return live
}

// TestOrder: within a host IPv6 and IPv4 take turns, and what could not be reached
// lately comes last.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.zone.MXHost("b.example", 10, "mx1.b.example")
		w.zone.MXHost("b.example", 20, "mx2.b.example")
		for _, ip := range []string{"2001:db8::1", "2001:db8::2", "198.51.100.1"} {
			w.zone.Address("mx1.b.example", ip)
		}
		h := w.host("b.example", 20, "mx2.b.example", "198.51.100.9")
		defer w.remote.Close()
		if st, err := w.carry("b.example"); err != nil || !strings.Contains(st, "2.0.0") {
			t.Fatal(st, err)
		}
		same(t, "dialed", w.dialed, []string{"[2001:db8::1]:25", "198.51.100.1:25", "[2001:db8::2]:25", "198.51.100.9:25"})
		w.remote.Close()
		w.dialed = nil
		if st, err := w.carry("b.example"); err != nil || !strings.Contains(st, "2.0.0") {
			t.Fatal(st, err)
		}
		same(t, "dialed", w.dialed, []string{"198.51.100.9:25"})
		w.remote.Close()
		time.Sleep(10 * time.Minute)
		w.dialed = nil
		if _, err := w.carry("b.example"); err != nil || !slices.Contains(w.dialed, "[2001:db8::1]:25") || h.count() != 3 {
			t.Errorf("%q, %v", w.dialed, err)
		}
	})
}

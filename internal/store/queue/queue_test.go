package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/body"
)

// A bench is a queue on the table, with what tests do to it.
type bench struct {
	*Queue
	t      testing.TB
	bodies *body.Store
}

func newBench(t testing.TB) *bench {
	db := kv.Strict(memkv.New())
	return &bench{Queue: &Queue{DB: db}, t: t, bodies: &body.Store{DB: db, Blobs: memblob.New()}}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// update runs fn under the lock of a message.
func (b *bench) update(l kv.Lock, fn func(kv.Tx) error) error {
	return b.DB.Update(context.Background(), kv.Plan{Locks: []kv.Lock{l}}, fn)
}

// keep gives a body large enough to be a blob, so that holding it shows.
func (b *bench) keep() body.Ref {
	b.t.Helper()
	st, err := b.bodies.Stage(context.Background(), strings.NewReader(strings.Repeat("word ", 30_000)))
	b.must(err)
	defer st.Close()
	ref, err := b.bodies.Keep(context.Background(), st, 1)
	b.must(err)
	return ref
}

func (b *bench) put(it Item) mail.QueueID {
	b.t.Helper()
	var id mail.QueueID
	b.must(b.update(ShardOf(it.Envelope.Trace), func(tx kv.Tx) (err error) {
		id, err = b.Put(tx, it)
		return err
	}))
	return id
}

func (b *bench) item(domain string, locals ...string) Item {
	it := Item{Domain: mail.Domain(domain), Envelope: mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: mail.Address{Local: "ada", Domain: "a.example"}}}
	for _, l := range locals {
		it.Envelope.Recipients = append(it.Envelope.Recipients, mail.Recipient{Address: mail.Address{Local: l, Domain: it.Domain}})
	}
	return it
}

func (b *bench) claim(hold time.Duration, n int) []Claim {
	b.t.Helper()
	claims, err := b.Claim(context.Background(), hold, n, Pick{})
	b.must(err)
	return claims
}

func (b *bench) settle(c Claim, next time.Time, class uint16, locals ...string) error {
	var outs []mail.Outcome
	for _, l := range locals {
		outs = append(outs, mail.Outcome{Recipient: mail.Recipient{Address: mail.Address{Local: l, Domain: c.Domain}}, Status: mail.Status{Class: class}, Text: "text", Remote: "host"})
	}
	return b.update(c.Lock(), func(tx kv.Tx) error { return b.Settle(tx, c, outs, next) })
}

func (b *bench) drop(id mail.QueueID) error {
	return b.update(shardOf(id), func(tx kv.Tx) error {
		_, err := b.Drop(tx, id)
		return err
	})
}

// all gives what is in the queue, in the order of ids, after a check.
func (b *bench) all() []Item {
	b.t.Helper()
	wrong, err := b.Check(context.Background())
	b.must(err)
	for _, w := range wrong {
		b.t.Error(w)
	}
	var out []Item
	b.must(b.Each(context.Background(), func(it Item) bool {
		out = append(out, it)
		return true
	}))
	slices.SortFunc(out, func(a, b Item) int { return int(int64(a.ID) - int64(b.ID)) })
	return out
}

// TestRow: an item comes back as it was put.
func TestRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		it := b.item("b.example", "x", "y z")
		it.Envelope.UTF8, it.Envelope.EightBit, it.Envelope.RequireTLS = true, true, true
		it.Envelope.Priority = -9
		it.Envelope.Recipients[1].ValidSince, it.Envelope.Recipients[1].ValidOnly = time.Unix(1e9, 0).UTC(), true
		it.Envelope.By = mail.DeliverBy{Time: time.Now().Add(time.Hour), Return: true, Trace: true}
		it.Envelope.Recipients[1].Original = mail.Address{Local: "alias", Domain: "c.example"}
		it.Envelope.Recipients[1].Notify, it.Envelope.Recipients[1].ORCPT = mail.NotifySuccess|mail.NotifyDelay, "rfc822;first@c.example"
		it.Envelope.Return, it.Envelope.EnvelopeID = mail.ReturnFull, "QQ314159"
		it.Prefix = []byte("Received: x\r\n")
		it.Role = 5
		it.Body = body.Ref{Inline: []byte("body"), Size: 17}
		it.State = State{Attempts: 3, Next: time.Now().Add(time.Hour).Truncate(time.Millisecond), Warned: true, Text: "later", Remote: "mx", Status: mail.Status{Class: 4, Subject: 2, Detail: 1}}
		it.ID = b.put(it)
		it.Queued = time.Now()
		got := b.all()
		if len(got) != 1 || !got[0].Queued.Equal(it.Queued) || !got[0].Next.Equal(it.Next) {
			t.Fatalf("got %+v", got)
		}
		got[0].Queued, got[0].Next = it.Queued, it.Next
		if !reflect.DeepEqual(got[0], it) {
			t.Errorf("got\n%+v\nwant\n%+v", got[0], it)
		}
		if got[0].Size() != 13+17 {
			t.Errorf("size %d", got[0].Size())
		}
		if of, err := b.Of(t.Context(), it.Envelope.Trace); err != nil || len(of) != 1 {
			t.Errorf("of the message: %v, %v", of, err)
		}
		if of, err := b.Of(t.Context(), mail.TraceID{9: it.Envelope.Trace[9]}); err != nil || len(of) != 0 {
			t.Errorf("of no message: %v, %v", of, err)
		}
	})
}

// TestOldRow: rows of a version that knew no wishes are read, and so are those
// of one that will know more of them.
func TestOldRow(t *testing.T) {
	b := newBench(t)
	it := b.item("b.example", "x", "x", "y")
	it.Queued, it.Next = time.UnixMilli(1), time.UnixMilli(2)
	fixed, state := it.row(), it.stateRow()
	if last := kv.AppendBytes(append(kv.AppendBytes(nil, "y"), 0), ""); !bytes.HasSuffix(fixed, last) {
		t.Errorf("what nobody asked for takes room: %q", fixed)
	}
	newer := kv.AppendBytes(kv.AppendBytes(append(fixed, 200, 1), "something new"), "")
	newer = append(newer[:len(newer)-1], wishEnvelopeID, 1, 'e')
	for name, row := range map[string][]byte{"old": fixed, "new": newer} {
		got, err := decodeItem(1, row, state)
		if err != nil || !slices.Equal(got.Envelope.Recipients, it.Envelope.Recipients) || got.Envelope.EnvelopeID != map[string]string{"new": "e"}[name] {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := decodeItem(1, append(fixed, wishEnvelopeID, 9, 'e'), state); err == nil {
		t.Error("half a wish was granted")
	}
}

// TestLife walks the state table: what each step does to an item in each state.
func TestLife(t *testing.T) {
	const hold = time.Hour
	next := func() time.Time { return time.Now().Add(10 * time.Minute) }
	steps := map[string]func(b *bench, c Claim) error{
		"claim": func(b *bench, c Claim) error {
			if len(b.claim(hold, 10)) == 0 {
				return mail.ErrNotFound
			}
			return nil
		},
		"all done": func(b *bench, c Claim) error { return b.settle(c, next(), 2, "x", "y") },
		"one done": func(b *bench, c Claim) error { return b.settle(c, next(), 5, "x") },
		"none done": func(b *bench, c Claim) error {
			return b.settle(c, next(), 4, "x", "y")
		},
		"release": func(b *bench, c Claim) error {
			return b.update(c.Lock(), func(tx kv.Tx) error { return b.Release(tx, c, next()) })
		},
		"retry":  func(b *bench, c Claim) error { return b.Retry(context.Background(), c.ID) },
		"drop":   func(b *bench, c Claim) error { return b.drop(c.ID) },
		"revoke": func(b *bench, c Claim) error { return b.Revoke(context.Background(), c.ID) },
	}
	// A state is "waiting" (until later), "due", "claimed" (by c), "expired"
	// (c's claim is over), "taken" (somebody else's), or "gone". c is always a
	// claim that has been made once.
	states := map[string]func(b *bench, id mail.QueueID) Claim{
		"waiting": func(b *bench, id mail.QueueID) Claim {
			c := b.claim(hold, 1)[0]
			b.must(b.update(c.Lock(), func(tx kv.Tx) error { return b.Release(tx, c, next()) }))
			return c
		},
		"due": func(b *bench, id mail.QueueID) Claim {
			c := b.claim(hold, 1)[0]
			b.must(b.update(c.Lock(), func(tx kv.Tx) error { return b.Release(tx, c, time.Now()) }))
			return c
		},
		"claimed": func(b *bench, id mail.QueueID) Claim { return b.claim(hold, 1)[0] },
		"expired": func(b *bench, id mail.QueueID) Claim {
			c := b.claim(hold, 1)[0]
			time.Sleep(hold)
			return c
		},
		"taken": func(b *bench, id mail.QueueID) Claim {
			c := b.claim(hold, 1)[0]
			time.Sleep(hold)
			if got := b.claim(hold, 1); len(got) != 1 || got[0].ID != c.ID {
				b.t.Fatal("an expired claim cannot be taken over")
			}
			return c
		},
		"gone": func(b *bench, id mail.QueueID) Claim {
			c := b.claim(hold, 1)[0]
			b.must(b.settle(c, next(), 2, "x", "y"))
			return c
		},
	}
	missing, inUse := mail.ErrNotFound, mail.ErrInUse
	type result struct {
		err   error
		state string
	}
	table := map[string]map[string]result{
		"waiting": {
			"claim": {missing, "waiting"}, "all done": {inUse, "waiting"}, "one done": {inUse, "waiting"}, "none done": {inUse, "waiting"},
			"release": {nil, "waiting"}, "retry": {nil, "due"}, "drop": {nil, "gone"}, "revoke": {nil, "due"},
		},
		"due": {
			"claim": {nil, "claimed"}, "all done": {inUse, "due"}, "one done": {inUse, "due"}, "none done": {inUse, "due"},
			"release": {nil, "due"}, "retry": {nil, "due"}, "drop": {nil, "gone"}, "revoke": {nil, "due"},
		},
		"claimed": {
			"claim": {missing, "claimed"}, "all done": {nil, "gone"}, "one done": {nil, "waiting"}, "none done": {nil, "waiting"},
			"release": {nil, "waiting"}, "retry": {inUse, "claimed"}, "drop": {inUse, "claimed"}, "revoke": {nil, "due"},
		},
		// Nobody has taken it over: what the claim did still counts.
		"expired": {
			"claim": {nil, "claimed"}, "all done": {nil, "gone"}, "one done": {nil, "waiting"}, "none done": {nil, "waiting"},
			"release": {nil, "waiting"}, "retry": {nil, "expired"}, "drop": {nil, "gone"}, "revoke": {nil, "due"},
		},
		"taken": {
			"claim": {missing, "claimed"}, "all done": {inUse, "claimed"}, "one done": {inUse, "claimed"}, "none done": {inUse, "claimed"},
			"release": {nil, "claimed"}, "retry": {inUse, "claimed"}, "drop": {inUse, "claimed"}, "revoke": {nil, "due"},
		},
		"gone": {
			"claim": {missing, "gone"}, "all done": {missing, "gone"}, "one done": {missing, "gone"}, "none done": {missing, "gone"},
			"release": {missing, "gone"}, "retry": {missing, "gone"}, "drop": {missing, "gone"}, "revoke": {nil, "gone"},
		},
	}
	for from, into := range states {
		for name, do := range steps {
			t.Run(from+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					want, ok := table[from][name]
					if !ok {
						t.Fatal("not in the table")
					}
					b := newBench(t)
					it := b.item("b.example", "x", "y")
					it.Body = b.keep()
					id := b.put(it)
					c := into(b, id)
					if err := do(b, c); !errors.Is(err, want.err) || want.err == nil && err != nil {
						t.Errorf("error %v, want %v", err, want.err)
					}
					if got := b.state(id); got != want.state {
						t.Errorf("it is %s now, want %s", got, want.state)
					}
					held, err := b.bodies.Held(t.Context(), it.Body.Blob)
					if err != nil || held != (want.state != "gone") {
						t.Errorf("body held: %v, %v", held, err)
					}
				})
			})
		}
	}
}

// state says in a word where an item is.
func (b *bench) state(id mail.QueueID) string {
	for _, it := range b.all() {
		if it.ID != id {
			continue
		}
		later := it.Next.After(time.Now())
		switch {
		case it.Claimed() && later:
			return "claimed"
		case it.Claimed():
			return "expired"
		case later:
			return "waiting"
		}
		return "due"
	}
	return "gone"
}

// TestSettle: what Settle writes down.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.put(b.item("b.example", "x", "y", "z"))
		c := b.claim(time.Hour, 5)[0]
		next := time.Now().Add(time.Minute)
		c.Warned = true
		b.must(b.settle(c, next, 4, "x", "y"))
		it := b.all()[0]
		if it.Attempts != 1 || !it.Warned || it.Text != "text" || it.Remote != "host" || it.Status.Class != 4 || len(it.Envelope.Recipients) != 3 || !it.Next.Equal(next) {
			t.Errorf("after one attempt: %+v", it)
		}
		time.Sleep(time.Minute)
		c = b.claim(time.Hour, 5)[0]
		b.must(b.settle(c, next, 2, "x", "z", "somebody else"))
		it = b.all()[0]
		if it.Attempts != 2 || !it.Warned || len(it.Envelope.Recipients) != 1 || it.Envelope.Recipients[0].Address.Local != "y" {
			t.Errorf("after two attempts: %+v", it)
		}
	})
}

// TestClaim: due first, no more than asked for, and around busy domains.
func TestClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 200 {
			it := b.item([]string{"a.example", "b.example"}[i%2], "x")
			it.Next = time.Now().Add(time.Duration(i%3-1) * time.Minute)
			b.put(it)
		}
		if got := b.claim(time.Hour, 7); len(got) != 7 {
			t.Errorf("%d claims, want 7", len(got))
		}
		busy := 0
		claims, err := b.Claim(t.Context(), time.Hour, 1000, Pick{Room: func(d Bound) Room {
			busy++
			if d.Domain == "a.example" {
				return Full
			}
			return Free
		}})
		b.must(err)
		for _, c := range claims {
			if c.Domain == "a.example" || c.Next.After(time.Now().Add(time.Hour)) || !c.Until.Equal(time.Now().Add(time.Hour)) {
				t.Errorf("claimed %+v", c)
			}
		}
		rest := b.claim(time.Hour, 1000)
		if len(claims)+len(rest)+7 != 134 { // those of every third are not due
			t.Errorf("%d and %d claims", len(claims), len(rest))
		}
		if len(b.claim(time.Hour, 1000)) != 0 {
			t.Error("claimed twice")
		}
		time.Sleep(time.Minute)
		if got := len(b.claim(time.Hour, 1000)); got != 66 {
			t.Errorf("a minute later %d more, want 66", got)
		}
	})
}

// TestClaimTogether: many who claim at once never get the same item.
func TestClaimTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for range 100 {
			b.put(b.item("b.example", "x"))
		}
		got := make(chan []Claim)
		for range 8 {
			go func() {
				var mine []Claim
				for {
					c, err := b.Claim(context.Background(), time.Hour, 3, Pick{})
					if err != nil {
						t.Error(err)
					}
					if len(c) == 0 {
						// Perhaps somebody was quicker with those we saw.
						if due, err := b.next(context.Background()); err == nil && due.After(time.Now()) {
							break
						}
					}
					mine = append(mine, c...)
				}
				got <- mine
			}()
		}
		seen := map[mail.QueueID]bool{}
		for range 8 {
			for _, c := range <-got {
				if seen[c.ID] {
					t.Errorf("item %d is claimed twice", c.ID)
				}
				seen[c.ID] = true
			}
		}
		if len(seen) != 100 {
			t.Errorf("%d claimed", len(seen))
		}
	})
}

// TestWait: until the first is due, until a knock, and a minute at most.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		knock, stop := kv.Subscribe(b.DB, Topic)
		defer stop()
		waited := func() time.Duration {
			begin := time.Now()
			b.must(b.Wait(t.Context(), knock))
			return time.Since(begin)
		}
		if d := waited(); d != time.Minute {
			t.Errorf("with nothing to wait for: %v", d)
		}
		go func() {
			time.Sleep(10 * time.Second)
			it := b.item("b.example", "x")
			it.Next = time.Now().Add(20 * time.Second)
			b.put(it)
		}()
		if d := waited(); d != 10*time.Second {
			t.Errorf("until the knock: %v", d)
		}
		if d := waited(); d != 20*time.Second {
			t.Errorf("until it is due: %v", d)
		}
		if d := waited(); d != 0 {
			t.Errorf("when it is due: %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Wait(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// TestEach: pages join without loss, and fn can end it.
func TestEach(t *testing.T) {
	b := newBench(t)
	trace := mail.NewTraceID(time.Now())
	for range page*2 + 3 {
		it := b.item("b.example", "x")
		it.Envelope.Trace = trace // all in one shard
		b.put(it)
	}
	if got := len(b.all()); got != page*2+3 {
		t.Errorf("%d items", got)
	}
	n := 0
	b.must(b.Each(t.Context(), func(Item) bool { n++; return n < 5 }))
	if n != 5 {
		t.Errorf("fn was called %d times", n)
	}
	if of, err := b.Of(t.Context(), trace); err != nil || len(of) != page*2+3 {
		t.Errorf("%d of the message, %v", len(of), err)
	}
}

// TestTooMany: an item that no row can hold is refused, and nothing is written.
func TestTooMany(t *testing.T) {
	b := newBench(t)
	it := b.item("b.example")
	for i := range 5000 {
		it.Envelope.Recipients = append(it.Envelope.Recipients, mail.Recipient{Address: mail.Address{Local: fmt.Sprintf("somebody-with-a-name-%d", i), Domain: "b.example"}})
	}
	err := b.update(ShardOf(it.Envelope.Trace), func(tx kv.Tx) error {
		_, err := b.Put(tx, it)
		return err
	})
	if !errors.Is(err, mail.ErrLimit) || len(b.all()) != 0 {
		t.Errorf("%v, and %d items", err, len(b.all()))
	}
}

// TestCheckSees: the checker finds what it is for.
func TestCheckSees(t *testing.T) {
	for what, spoil := range map[string]func(tx kv.Tx, it Item, l kv.Lock){
		"is scheduled and does not exist": func(tx kv.Tx, it Item, l kv.Lock) { tx.Delete(key(l, kindItem, it.ID)) },
		"is not scheduled when it says":   func(tx kv.Tx, it Item, l kv.Lock) { tx.Delete(it.scheduleKey(l)) },
		"is scheduled twice":              func(tx kv.Tx, it Item, l kv.Lock) { tx.Set(scheduleKey(l, normal, it.Next.Add(time.Hour), it.ID), nil) },
		"has nobody left to reach": func(tx kv.Tx, it Item, l kv.Lock) {
			it.Envelope.Recipients = nil
			tx.Set(key(l, kindState, it.ID), it.stateRow())
		},
		"malformed": func(tx kv.Tx, it Item, l kv.Lock) { tx.Set(key(l, kindState, it.ID), []byte{1}) },
	} {
		b := newBench(t)
		b.put(b.item("b.example", "x"))
		it := b.all()[0]
		l := shardOf(it.ID)
		b.must(b.update(l, func(tx kv.Tx) error { spoil(tx, it, l); return nil }))
		wrong, err := b.Check(t.Context())
		if err != nil || !slices.ContainsFunc(wrong, func(w string) bool { return strings.Contains(w, what) }) {
			t.Errorf("%s: %q, %v", what, wrong, err)
		}
	}
}

// TestReached: whom a transaction serves leaves the item in it, so that a crash
// before Settle serves nobody twice; and who lost the claim serves nobody.
func TestReached(t *testing.T) {
	b := newBench(t)
	it := b.item("x.example", "a", "b")
	it.Body = b.keep()
	id := b.put(it)
	claims, err := b.Claim(t.Context(), time.Minute, 1, Pick{})
	b.must(err)
	c := claims[0]
	reach := func(c *Item, who ...mail.Address) error {
		return b.update(shardOf(id), func(tx kv.Tx) error { return b.Reached(tx, c, who) })
	}
	b.must(reach(&c.Item, c.Envelope.Recipients[0].Address))
	// The crash: the claim is revoked, and another takes the rest.
	b.must(b.Revoke(t.Context(), id))
	again, err := b.Claim(t.Context(), time.Minute, 1, Pick{})
	b.must(err)
	if r := again[0].Envelope.Recipients; len(r) != 1 || r[0].Address != c.Envelope.Recipients[1].Address {
		t.Errorf("left are %v", r)
	}
	if err := reach(&c.Item, c.Envelope.Recipients[1].Address); !errors.Is(err, mail.ErrInUse) {
		t.Error("who lost the claim served somebody:", err)
	}
	b.must(reach(&again[0].Item, again[0].Envelope.Recipients[0].Address))
	// All were reached and nothing was settled: the item goes at the next start.
	b.must(b.Revoke(t.Context(), id))
	if items, err := b.Of(t.Context(), it.Envelope.Trace); err != nil || len(items) != 0 {
		t.Error("an item without recipients is left:", items, err)
	}
	if held, err := b.bodies.Held(t.Context(), it.Body.Blob); err != nil || held {
		t.Error("its body is held", err)
	}
}

// An item that is due earlier than all that was ever seen is found, if only by
// the look at everything.
func TestDueBeforeTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &Queue{DB: memkv.New()}
		ctx := t.Context()
		if got, err := q.Claim(ctx, time.Hour, 10, Pick{}); len(got) > 0 || err != nil {
			t.Fatal(got, err)
		}
		env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Recipients: []mail.Recipient{{Address: mail.Address{Local: "b", Domain: "example.org"}}}}
		err := q.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{ShardOf(env.Trace)}}, func(tx kv.Tx) error {
			_, err := q.Put(tx, Item{Envelope: env, Domain: "example.org", State: State{Next: time.Now().Add(-time.Hour)}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookAll + time.Second)
		got, err := q.Claim(ctx, time.Hour, 10, Pick{})
		if len(got) != 1 || err != nil {
			t.Errorf("%d claims, %v", len(got), err)
		}
	})
}

// TestBehind: a domain with very many items holds up nobody, and a look does not
// go over all of them each time.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const many, few = 40_000, 50
		for i := range many + few {
			it := b.item("big.example", "x")
			if i >= many {
				it = b.item("small.example", "x")
			}
			it.Envelope.Trace[9] = byte(i % 2) // two shards are enough
			it.Next = time.Now().Add(time.Duration(i-many-few)*time.Millisecond - time.Minute)
			b.put(it)
		}
		under, asked := map[mail.Domain]int{}, 0
		pick := Pick{Room: func(d Bound) Room {
			if asked++; under[d.Domain] >= 10 {
				return Full
			}
			return Free
		}, Chose: func(d Bound) { under[d.Domain]++ }}
		looks := 0
		for ; under["small.example"] < 10; looks++ {
			if _, err := b.Claim(t.Context(), time.Hour, 100, pick); err != nil || looks > 20 {
				t.Fatalf("after %d looks: %v, %v", looks, under, err)
			}
		}
		// One of the big one ends: the next is found where it stands, and nothing
		// is passed over that need not be.
		asked = 0
		for range 100 {
			under["big.example"]--
			claims, err := b.Claim(t.Context(), time.Hour, 100, pick)
			if err != nil || len(claims) != 1 || claims[0].Domain != "big.example" {
				t.Fatalf("%d claims, %v", len(claims), err)
			}
		}
		if asked > 100*(2*stretchRows+200) {
			t.Errorf("%d rows were asked about for 100 claims", asked)
		}
		// A domain that is held back is claimed when it is very late.
		slow := Pick{Room: func(d Bound) Room { return Slow }}
		if claims, err := b.Claim(t.Context(), time.Hour, 5, slow); len(claims) > 0 || err != nil {
			t.Errorf("%d claims, %v", len(claims), err)
		}
		time.Sleep(maxLate)
		if claims, err := b.Claim(t.Context(), 2*time.Hour, 5, slow); len(claims) != 5 || err != nil {
			t.Errorf("%d claims, %v", len(claims), err)
		}
		// Nothing is left behind: all are found in the end.
		all := map[mail.QueueID]bool{}
		for n := 0; n < 200; n++ {
			claims, err := b.Claim(t.Context(), 48*time.Hour, 1000, Pick{})
			b.must(err)
			for _, c := range claims {
				all[c.ID] = true
			}
		}
		if len(all) != many+few-5 { // less those that are claimed for two hours
			t.Errorf("%d of %d were found", len(all), many+few-5)
		}
	})
}

// TestReroute: the way is kept over attempts and by who is at work on the item, is
// found in the schedule, and nothing but it changes while the item is claimed.
func TestReroute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Way = func(it *Item) string { return it.Via }
		id := b.put(b.item("b.example", "x", "y"))
		reroute := func(via string) error {
			return b.update(shardOf(id), func(tx kv.Tx) error {
				_, err := b.Reroute(tx, id, via)
				return err
			})
		}
		c := b.claim(time.Hour, 1)[0]
		b.must(reroute("other"))
		if it := b.all()[0]; !it.Claimed() || !it.Next.Equal(c.Until) || it.Via != "other" {
			t.Errorf("while it is claimed: %+v", it)
		}
		b.must(b.settle(c, time.Now().Add(time.Hour), 4, "x"))
		if it := b.all()[0]; it.Via != "other" || it.Attempts != 1 {
			t.Errorf("after an attempt: %+v", it)
		}
		b.must(reroute("third"))
		var asked []Bound
		claims, err := b.Claim(t.Context(), time.Hour, 1, Pick{Room: func(d Bound) Room { asked = append(asked, d); return Free }})
		if err != nil || len(claims) != 1 || claims[0].Way != "third" || asked[0] != (Bound{"b.example", "third"}) {
			t.Errorf("%+v, asked about %v, %v", claims, asked, err)
		}
		b.must(b.settle(claims[0], time.Now().Add(time.Hour), 4, "x"))
		b.must(reroute(""))
		if c := b.claim(time.Hour, 1); len(c) != 1 || c[0].Way != "" {
			t.Errorf("by the usual way: %+v", c)
		}
		if err := reroute(strings.Repeat("x", 1000)); !errors.Is(err, mail.ErrLimit) {
			t.Error(err)
		}
	})
}

// TestBehindAtOnce: however much is due for a domain that has no room, what is due for
// others is found by one Claim, also when everything is looked at anew.
func TestBehindAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const many = 20_000
		for i := range many + 5 {
			it := b.item("big.example", "x")
			if i >= many {
				it = b.item("small.example", "x")
			}
			it.Envelope.Trace[9] = 0 // one shard: as if there were 16 times as many
			it.Next = time.Now().Add(time.Duration(i-many-5)*time.Millisecond - time.Minute)
			b.put(it)
		}
		pick := Pick{Room: func(d Bound) Room {
			if d.Domain == "big.example" {
				return Full
			}
			return Free
		}}
		for i := range 5 {
			if claims, err := b.Claim(t.Context(), time.Hour, 1, pick); err != nil || len(claims) != 1 {
				t.Fatalf("look %d: %d claims, %v", i, len(claims), err)
			}
			time.Sleep(lookAll + time.Second)
		}
	})
}

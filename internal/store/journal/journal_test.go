package journal

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
)

func newJournal() *Journal { return &Journal{DB: kv.Strict(memkv.New())} }

func event(id mail.TraceID, text string) trace.Event {
	return trace.Event{Trace: id, Kind: trace.Failed, Time: time.Now(), Text: text}
}

func write(t *testing.T, j *Journal, events ...trace.Event) {
	t.Helper()
	err := j.DB.Update(context.Background(), kv.Plan{}, func(tx kv.Tx) error {
		Write(tx, events...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func texts(t *testing.T, j *Journal, id mail.TraceID) (out []string) {
	t.Helper()
	events, err := j.Events(context.Background(), id)
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		t.Fatal(err)
	}
	if (err == nil) != (len(events) > 0) {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, e := range events {
		if e.Trace != id {
			t.Errorf("an event of %v among those of %v", e.Trace, id)
		}
		out = append(out, e.Text)
	}
	return out
}

// TestOrder: events come in the order of time, however they were written, and
// each message has its own.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		a, b := mail.NewTraceID(time.Now()), mail.NewTraceID(time.Now())
		first := event(a, "1")
		time.Sleep(time.Second)
		second := event(a, "2")
		time.Sleep(time.Second)
		write(t, j, event(a, "3"), event(a, "4"))
		j.Add(second)
		j.Add(event(b, "other"))
		write(t, j, first)
		write(t, j)
		if got := texts(t, j, a); !reflect.DeepEqual(got, []string{"1", "2", "3", "4"}) {
			t.Errorf("%q", got)
		}
		if got := texts(t, j, b); !reflect.DeepEqual(got, []string{"other"}) {
			t.Errorf("%q", got)
		}
		if got := texts(t, j, mail.NewTraceID(time.Now())); got != nil {
			t.Errorf("of nothing: %q", got)
		}
	})
}

// TestRun: what is added is written a moment later, and the rest at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		id := mail.NewTraceID(time.Now())
		j.Add(event(id, "before the start"))
		go func() {
			done <- j.Run(ctx, func(err error) { t.Error(err) })
		}()
		rows := func() int {
			n := 0
			j.DB.View(t.Context(), func(r kv.Reader) error {
				for range r.Scan(kv.Prefix(prefix(id))) {
					n++
				}
				return nil
			})
			return n
		}
		time.Sleep(flushAfter)
		synctest.Wait()
		if rows() != 1 {
			t.Errorf("%d rows after %v", rows(), flushAfter)
		}
		time.Sleep(time.Hour)
		j.Add(event(id, "a"))
		time.Sleep(flushAfter / 2)
		j.Add(event(id, "b"))
		synctest.Wait()
		if rows() != 1 {
			t.Error("written too soon")
		}
		time.Sleep(flushAfter / 2)
		synctest.Wait()
		if rows() != 2 {
			t.Errorf("%d rows: those of one message that wait together make one", rows())
		}
		j.Add(event(id, "c"))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if rows() != 3 {
			t.Errorf("%d rows at the end", rows())
		}
	})
}

// TestFlood: a flood takes no memory, is written in commits that every engine
// takes, and what is lost is told of.
func TestFlood(t *testing.T) {
	j := newJournal()
	id := mail.NewTraceID(time.Now())
	long := mail.Address{Local: strings.Repeat("x", 256), Domain: mail.Domain(strings.Repeat("y", 253))}
	for i := range maxWaiting + 7 {
		e := event(mail.TraceID{9: byte(i)}, strings.Repeat("z", 600))
		e.Sender, e.Rcpt, e.Remote = long, long, strings.Repeat("r", 600)
		if i%2 == 0 {
			e.Trace = id
		}
		j.Add(e)
	}
	if got := len(texts(t, j, id)); got != maxWaiting/2 {
		t.Errorf("%d events are there", got)
	}
	// The reader did not hear of the loss; who runs the journal does, once.
	if err := j.Flush(t.Context()); err == nil || err.Error() != "journal: 7 events came too fast to be kept" {
		t.Error(err)
	}
	if err := j.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLargeStory: events that no row can hold together make several.
func TestLargeStory(t *testing.T) {
	j := newJournal()
	id := mail.NewTraceID(time.Now())
	var events []trace.Event
	var want []string
	for i := range 400 {
		text := fmt.Sprintf("%d %s", i, strings.Repeat("x", 490))
		want = append(want, text)
		e := event(id, text)
		e.Time = time.UnixMilli(int64(1e12 + i))
		events = append(events, e)
	}
	write(t, j, events...)
	if got := texts(t, j, id); !reflect.DeepEqual(got, want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
}

// TestExpire: stories of old messages go, those of younger ones stay.
func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		var ids []mail.TraceID
		for i := range 4 {
			id := mail.NewTraceID(time.Now())
			ids = append(ids, id)
			write(t, j, event(id, fmt.Sprint(i)))
			time.Sleep(24 * time.Hour)
		}
		if err := j.Expire(t.Context(), time.Now().Add(-60*time.Hour)); err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			if got := texts(t, j, id); (len(got) == 1) != (i >= 2) {
				t.Errorf("day %d: %q", i, got)
			}
		}
	})
}

// TestFails: an engine that fails is reported by Run, and it goes on.
func TestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memkv.New()
		j := &Journal{DB: db}
		ctx, cancel := context.WithCancel(t.Context())
		var reported []error
		done := make(chan error)
		go func() { done <- j.Run(ctx, func(err error) { reported = append(reported, err) }) }()
		db.Close()
		for range 2 {
			j.Add(event(mail.TraceID{}, "x"))
			time.Sleep(time.Second)
			synctest.Wait()
		}
		cancel()
		<-done
		if len(reported) != 2 || !errors.Is(reported[0], kv.ErrClosed) {
			t.Errorf("%v", reported)
		}
	})
}

// TestEach: what happened since a time, however much it is, and no more than is
// wanted.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		old := mail.NewTraceID(time.Now())
		write(t, j, event(old, "old"))
		time.Sleep(time.Hour)
		since := time.Now()
		const n = 2500
		for range n {
			write(t, j, event(mail.NewTraceID(time.Now()), "new"))
		}
		j.Add(event(mail.NewTraceID(time.Now()), "new"))
		for stop, want := range map[int]int{n + 10: n + 1, 7: 7} {
			got := 0
			err := j.Each(t.Context(), since, func(e trace.Event) bool {
				if e.Text != "new" || e.Trace.IsZero() {
					t.Errorf("%+v", e)
				}
				got++
				return got < stop
			})
			if err != nil || got != want {
				t.Errorf("%d events, want %d: %v", got, want, err)
			}
		}
	})
}

// TestHeard: every event is heard, whether it is added, or was written by another; also
// those that come too fast to be kept.
func TestHeard(t *testing.T) {
	j := newJournal()
	id := mail.NewTraceID(time.Now())
	j.Add(event(id, "nobody listens"))
	var heard []string
	j.Heard = func(e trace.Event) { heard = append(heard, e.Text) }
	j.Add(event(id, "added"))
	j.Wrote(event(id, "written"), event(id, "with it"))
	if got := strings.Join(heard, ", "); got != "added, written, with it" {
		t.Errorf("heard %s", got)
	}
	for range maxWaiting {
		j.Add(event(id, "x"))
	}
	if len(heard) != 3+maxWaiting {
		t.Errorf("heard %d", len(heard))
	}
}

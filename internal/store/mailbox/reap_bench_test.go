//go:build bench

package mailbox

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/pebblekv"
	"posthaste/internal/store/body"
)

// BenchmarkReap is what it costs to forget few messages of an account that has a
// million.
func BenchmarkReap(b *testing.B) {
	db, err := pebblekv.Open(b.TempDir(), pebblekv.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	s := &Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	err = db.Update(b.Context(), kv.Plan{Locks: []kv.Lock{Lock(ada)}}, func(tx kv.Tx) error { return s.Create(tx, ada, 0, 0) })
	if err != nil {
		b.Fatal(err)
	}
	const all, part = 1_000_000, 1000
	for i := range all / part {
		var in []Incoming
		for j := range part {
			in = append(in, Incoming{Prepared: prepare(b, s, letter("one", fmt.Sprintf("%d.%d@x", i, j), ""))})
		}
		if _, err := s.AppendMessages(b.Context(), ada, Inbox, in...); err != nil {
			b.Fatal(err)
		}
	}
	uid := mail.UID(1)
	for b.Loop() {
		b.StopTimer()
		expunge(b, s, Inbox, mail.UIDSpan(uid, uid+9))
		uid += 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.StartTimer()
		if n, err := s.Reap(b.Context(), ada, Keep{Since: time.Now().Add(time.Hour)}); n != 10 || err != nil {
			b.Fatal(n, err)
		}
		b.StopTimer()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6, "MB")
		b.StartTimer()
	}
}

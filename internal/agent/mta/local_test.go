package mta_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/test/house"
)

// putBlobs counts what is put.
type putBlobs struct {
	blob.Store
	n atomic.Int64
}

func (b *putBlobs) Put(ctx context.Context, r io.Reader) (mail.BlobID, int64, error) {
	b.n.Add(1)
	return b.Store.Put(ctx, r)
}

// TestKeptOnce: a large message that waits for room in a mailbox, to which an alias or a
// forward leads, is written once, however often it is tried, and also when it gets there.
func TestKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blobs := &putBlobs{Store: memblob.New()}
		h := house.Over(t, "mx.a.example", kv.Strict(memkv.New()), blobs)
		w := newWorldOver(t, h)
		ids := w.Account(1, "bob@a.example")
		w.Account(0, "ada@a.example", "eve@a.example")
		w.Alias("info@a.example", "bob@a.example")
		w.Alias("all@a.example", "bob@a.example", "ada@a.example")
		stop := w.run(w.agent)
		large := "From: x@far.example\r\nSubject: large\r\n\r\n" + strings.Repeat("0123456789\r\n", 20_000)
		w.postFrom("x@far.example", large, "info@a.example")
		w.postFrom("x@far.example", large, "all@a.example")
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := blobs.n.Load(); n != 2 {
			t.Errorf("%d bodies were written for two messages", n)
		}
		if n := len(w.Inbox("ada@a.example")); n != 1 {
			t.Errorf("ada has %d messages", n)
		}
		if err := h.Mailboxes.SetMaxBytes(t.Context(), ids[0], 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if got := w.Inbox("bob@a.example"); len(got) != 2 || !strings.HasSuffix(got[0], large) || !strings.HasSuffix(got[1], large) {
			t.Errorf("bob has %d messages", len(got))
		}
		if n := blobs.n.Load(); n != 2 || len(w.Waiting()) > 0 {
			t.Errorf("%d bodies were written for two messages; there waits %q", n, w.Waiting())
		}
		stop()
		h.Check()
	})
}

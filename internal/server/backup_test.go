package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"posthaste/internal/agent/backup"
	"posthaste/internal/base/mail"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/mailbox"
	"posthaste/test/s3"
)

// openHouse opens a store on the disk and builds a house over it.
func openHouse(t *testing.T, data string) (*server.Store, *server.House, *admind.Client) {
	t.Helper()
	c := config.Default()
	c.Hostname, c.Data = "mx.example.org", data
	log := slog.New(slog.DiscardHandler)
	st, err := server.OpenStore(c, log)
	if err != nil {
		t.Fatal(err)
	}
	h, err := server.Build(c, server.Outside{DB: st.DB, Blobs: st.Blobs, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return st, h, admind.InProcess(h.Admin.Handler())
}

// TestBackupUnderLoad: while messages come and go, what was acknowledged before a
// backup begins is in it, and nothing in it is broken: none of three. So it is with a
// bucket that fails now and then, and with a key.
func TestBackupUnderLoad(t *testing.T) {
	t.Run("folder", func(t *testing.T) {
		underLoad(t, &backup.Repository{Depot: backup.Folder(t.TempDir() + "/backup")})
	})
	t.Run("bucket", func(t *testing.T) {
		var n atomic.Int64
		web := httptest.NewServer(&s3.Server{Bucket: "backups", Fault: func(w http.ResponseWriter, _ *http.Request) bool {
			ill := n.Add(1)%20 == 0
			if ill {
				s3.Fail(w, http.StatusServiceUnavailable, "SlowDown")
			}
			return ill
		}})
		defer web.Close()
		t.Setenv("AWS_ACCESS_KEY_ID", s3.Key)
		t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
		c := config.Default()
		c.Backup.S3.Endpoint = web.URL
		at, err := server.Depot(c, "s3://backups/here")
		if err != nil {
			t.Fatal(err)
		}
		key, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		underLoad(t, &backup.Repository{Depot: at, Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}})
	})
}

func underLoad(t *testing.T, r *backup.Repository) {
	dir := t.TempDir()
	st, h, cl := openHouse(t, dir+"/data")
	ctx := t.Context()
	if err := cl.AddDomain(ctx, "example.org"); err != nil {
		t.Fatal(err)
	}
	if err := cl.AddAccount(ctx, admind.Account{Address: "ada@example.org", Password: "many secret words"}); err != nil {
		t.Fatal(err)
	}
	ada, err := h.Directory().AccountOf(ctx, mail.Address{Local: "ada", Domain: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[mail.UID]bool{}
	loadCtx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; loadCtx.Err() == nil; i++ {
				text := fmt.Sprintf("Subject: %d %d\r\n\r\n%s", w, i, strings.Repeat(fmt.Sprintf("line %d of a body\r\n", i), 1+i*37%9000))
				p, err := h.Mailboxes().PrepareMessage(ctx, mail.NewTraceID(time.Now()), strings.NewReader(text))
				if err == nil {
					var done []mailbox.Appended
					if done, err = h.Mailboxes().AppendMessages(ctx, ada.ID, mailbox.Inbox, mailbox.Incoming{Prepared: p}); err == nil {
						mu.Lock()
						acked[done[0].UID] = true
						mu.Unlock()
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var before [3]map[mail.UID]bool
	var names [3]string
	for i := range before {
		for { // some mail between them
			mu.Lock()
			n := len(acked)
			mu.Unlock()
			if n >= 60*(i+1) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		mu.Lock()
		before[i] = map[mail.UID]bool{}
		for u := range acked {
			before[i][u] = true
		}
		mu.Unlock()
		w, err := st.Backup(ctx, r, "test")
		if err != nil {
			t.Fatal(err)
		}
		names[i] = w.Generation
		if _, err := st.Blobs.Sweep(ctx, func(mail.BlobID) (bool, error) { return true, nil }); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		restored(t, r, name, fmt.Sprint(dir, "/restored", i), ada.ID, before[i])
	}
}

func restored(t *testing.T, r *backup.Repository, name, data string, a mail.AccountID, want map[mail.UID]bool) {
	g, err := r.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Restore(t.Context(), g.Manifest, data, nil); err != nil {
		t.Fatal(err)
	}
	st, h, cl := openHouse(t, data)
	defer st.Close()
	err = cl.Check(t.Context(), func(f admind.Finding) {
		if f.Wrong != "" {
			t.Error(name, f.Wrong)
		}
	})
	if err != nil {
		t.Error(err)
	}
	snap, err := h.Mailboxes().Open(t.Context(), a, mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	for u := range want {
		if snap.Find(u) == nil {
			t.Errorf("%s: UID %d was there before the backup began, and is not in it", name, u)
		}
	}
	t.Logf("%s: %d messages of %d that were acknowledged before", name, snap.Len(), len(want))
}

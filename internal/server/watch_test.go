package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/dns/zone"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server/config"
)

// A house whose disk has failed ends by itself, after it has been heard saying so.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := errors.New("sync of 00000001.pk: input/output error")
		var failed atomic.Bool
		var log bytes.Buffer
		c := config.Default()
		c.Hostname, c.Listeners = "mx.example.org", nil
		h, err := Build(c, Outside{
			DB: memkv.New(), Blobs: memblob.New(), DNS: new(zone.Zone), Log: slog.New(slog.NewTextHandler(&log, nil)),
			Failed: func() error {
				if failed.Load() {
					return disk
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- h.Run(context.Background(), func() {}) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it ended though the disk is well: %v", err)
		default:
		}
		failed.Store(true)
		began := time.Now()
		if err := <-ended; !errors.Is(err, disk) {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(began); took < failGrace || took > failGrace+2*watchEvery {
			t.Errorf("it ended after %v", took)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "input/output error") {
			t.Errorf("the log: %s", log.String())
		}
	})
}

// TestStoppedEarly: to be stopped before one has begun is no failure.
func TestStoppedEarly(t *testing.T) {
	c := config.Default()
	c.Hostname, c.Listeners = "mx.example.org", nil
	h, err := Build(c, Outside{DB: memkv.New(), Blobs: memblob.New(), DNS: new(zone.Zone), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx, func() {}); err != nil {
		t.Error(err)
	}
}

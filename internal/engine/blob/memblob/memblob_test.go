package memblob

import (
	"bytes"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/blobtest"
)

func TestContract(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return New() })
}

func TestGrace(t *testing.T) {
	s := New()
	now := time.Unix(1_000_000_000, 0)
	s.Now, s.Grace = func() time.Time { return now }, time.Hour
	id, _, _ := s.Put(t.Context(), bytes.NewReader(nil))
	asked := 0
	sweep := func() {
		_, _ = s.Sweep(t.Context(), func(got mail.BlobID) (bool, error) {
			if asked++; got != id {
				t.Errorf("asked about %s", got)
			}
			return true, nil
		})
	}
	sweep()
	now = now.Add(time.Hour)
	sweep()
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

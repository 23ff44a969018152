package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"filippo.io/age"
)

// ParseRecipients reads recipients of age, as "age1…".
func ParseRecipients(list []string) (out []age.Recipient, err error) {
	for _, s := range list {
		r, err := age.ParseX25519Recipient(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no recipient: it is what age-keygen prints as the public key, age1...: %w", s, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// A Schedule makes backups from time to time. All but Keep must be set.
type Schedule struct {
	Repository *Repository
	Every      time.Duration
	Keep       int // generations; 0: all
	Make       func(ctx context.Context, r *Repository) (Written, error)
	Log        *slog.Logger

	mu     sync.Mutex
	failed error // the last try
	newest time.Time
}

// Newest gives when the last generation was made, as far as that is known without
// looking; zero if it is not, or there is none.
func (s *Schedule) Newest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// State is how backups stand.
type State struct {
	Directory string        `json:"directory"`
	Every     time.Duration `json:"every"`
	Last      time.Time     `json:"last,omitzero"` // of the last generation
	Kept      int           `json:"kept"`          // generations
	Failed    string        `json:"failed,omitempty"`
	Late      bool          `json:"late,omitempty"` // the last is much older than it should be
}

// retry is how long a failed backup waits at least before the next try.
const retry = 10 * time.Minute

// Run makes a backup when it is time, until ctx ends.
func (s *Schedule) Run(ctx context.Context) error {
	for {
		wait := s.wait(ctx, time.Now())
		if wait == 0 {
			if err := s.once(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("backup", "directory", s.Repository.Depot.String(), "error", err)
				wait = min(s.Every, retry)
			} else {
				wait = s.Every // also if a clock that was wrong has dated the last one later
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// wait gives how long it is until the next.
func (s *Schedule) wait(ctx context.Context, now time.Time) time.Duration {
	last, _, _ := s.last(ctx)
	if last.IsZero() || last.After(now) {
		return 0
	}
	return max(0, last.Add(s.Every).Sub(now))
}

// lookTime is how long it may take to look what is there.
const lookTime = 30 * time.Second

// last gives when the last generation was made, and how many there are.
func (s *Schedule) last(ctx context.Context) (t time.Time, n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	all, err := s.Repository.Generations(ctx)
	if errors.Is(err, ErrNone) {
		err = nil
	}
	if len(all) > 0 {
		t, _ = Time(all[len(all)-1])
	}
	if err == nil {
		s.note(t)
	}
	return t, len(all), err
}

func (s *Schedule) note(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = t
}

func (s *Schedule) once(ctx context.Context) error {
	w, err := s.Make(ctx, s.Repository)
	if err == nil {
		if t, err := Time(w.Generation); err == nil {
			s.note(t)
		}
		s.Log.Info("backup", "directory", s.Repository.Depot.String(), "generation", w.Generation, "bytes", w.Bytes, "new", w.New)
		if s.Keep > 0 {
			_, _, err = s.Repository.Prune(ctx, s.Keep)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	return err
}

// State tells how backups stand.
func (s *Schedule) State(ctx context.Context, now time.Time) State {
	st := State{Directory: s.Repository.Depot.String(), Every: s.Every}
	var err error
	st.Last, st.Kept, err = s.last(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		st.Failed = s.failed.Error()
	} else if err != nil {
		st.Failed = err.Error()
	}
	st.Late = now.Sub(st.Last) > 2*s.Every
	return st
}

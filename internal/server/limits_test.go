package server_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/allowance"
)

// TestStrange: who looks after the server is told of mail that was stopped, by check
// too, until he lets it go.
func TestStrange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(*config.Config) {})
		synctest.Wait() // until the house is up
		sent := &allowance.Store{DB: s.house.DB, Cap: 2000, Floor: 300}
		if a, err := sent.Take(t.Context(), 1, 350); err != nil || a.OK {
			t.Fatal(a, err)
		}
		notes := func() (out []string) {
			err := s.admin.Check(t.Context(), func(f admind.Finding) {
				if f.Note != "" {
					out = append(out, f.Note)
				}
				if f.Wrong != "" {
					t.Error(f.Wrong)
				}
			})
			if err != nil {
				t.Error(err)
			}
			return out
		}
		if n := notes(); len(n) != 1 || !strings.HasPrefix(n[0], "ada@a.example was stopped at ") || !strings.Contains(n[0], "wanted to write to 350 people within a day, far more than it usually does. If that is right: posthaste account limit ada@a.example --release") {
			t.Errorf("%q", n)
		}
		list, err := s.admin.Limits(t.Context(), "")
		if err != nil || len(list) != 1 || list[0].Limit != 300 || list[0].Wanted != 350 || list[0].Sent != 0 || !list[0].Usual {
			t.Error(list, err)
		}
		if err := s.admin.ReleaseLimit(t.Context(), "ada@a.example"); err != nil {
			t.Error(err)
		}
		if n := notes(); len(n) != 0 {
			t.Errorf("released, and %q", n)
		}
		list, err = s.admin.Limits(t.Context(), "ADA@a.example")
		if err != nil || len(list) != 1 || list[0].Limit != 2000 || list[0].Released.IsZero() {
			t.Error(list, err)
		}
		if _, err := s.admin.Limits(t.Context(), "nobody@a.example"); err == nil {
			t.Error("nobody has a limit")
		}
	})
}

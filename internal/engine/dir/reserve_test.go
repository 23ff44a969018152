package dir

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestReserve: the states of a disk, one after the other.
func TestReserve(t *testing.T) {
	var free int64
	path := filepath.Join(t.TempDir(), reserveName)
	r := &Reserve{log: slog.New(slog.DiscardHandler), path: path, room: func() (int64, int64, error) { return free, 20 << 10, nil }} // a reserve of 1 KB
	for i, s := range []struct {
		free       int64
		held, full bool
	}{
		{1500, false, false},  // there was never room for it
		{900, false, true},    // as much as it would be is left
		{1500, false, true},   // not yet
		{1600, false, false},  // enough to take mail
		{2048, true, false},   // and to make it
		{1000, true, false},   // what it has is not counted
		{128, true, false},    // nearly
		{127, false, true},    // given up
		{1151, false, true},   // which others do not get
		{10, false, true},     // also when it is used
		{1600, false, false},  // there is room again
		{50_000, true, false}, // and it is made
	} {
		free = s.free
		if err := r.step(); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if (err == nil) != s.held || r.Full() != s.full || s.held && st.Size() != 1<<10 {
			t.Errorf("step %d, %d free: held %v, full %v", i, s.free, err == nil, r.Full())
		}
	}
	// Before the store is opened.
	for _, s := range []struct {
		free       int64
		held, full bool
	}{{128, true, false}, {127, false, true}, {10, false, true}} {
		free = s.free
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(path)
		if (err == nil) != s.held || r.Full() != s.full {
			t.Errorf("released with %d free: held %v, full %v", s.free, err == nil, r.Full())
		}
	}
	free = 50_000
	r.path = filepath.Join(t.TempDir(), "none", reserveName)
	if err := r.step(); err == nil {
		t.Error("a reserve in a folder that is not there")
	}
}

package server

import (
	"runtime"
	"testing"
)

// TestHeap: what the runtime tells is what there is, and memory is given back when little
// is done, if it is worth it.
func TestHeap(t *testing.T) {
	var h heap
	h.read()
	kept := make([]byte, 5<<20)
	runtime.GC()
	h.read()
	if h.fresh < 5<<20 || h.made < h.fresh || h.live < 5<<20 {
		t.Errorf("%+v", h)
	}
	runtime.KeepAlive(kept)
	const mb = 1 << 20
	for _, c := range []struct {
		fresh, since, live uint64
		want               bool
	}{
		{0, 6 * mb, 20 * mb, true},
		{2 * mb, 60 * mb, 20 * mb, false}, // much is done
		{0, 3 * mb, 4 * mb, false},        // not worth it
		{0, 50 * mb, 400 * mb, false},     // for so much work
		{0, 120 * mb, 400 * mb, true},
		{0, 0, 20 * mb, false},
	} {
		h := heap{fresh: c.fresh, live: c.live, given: 1000 * mb, made: 1000*mb + c.since}
		if h.idle() != c.want {
			t.Errorf("%+v: idle %v", h, h.idle())
		}
	}
}

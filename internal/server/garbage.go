package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// slack is how much garbage there may be, beside as much as is in use, before it is
	// collected. A server that nobody is connected to uses 4 MB: of mail that comes by
	// the thousand a second it would be collected thirty times a second, for more than a
	// tenth of all CPU.
	slack = 16 << 20
	// lookEvery is how often it is looked whether memory can be given back, and quiet
	// how much is allocated meanwhile by a server that does little.
	lookEvery = 2 * time.Second
	quiet     = 1 << 20
	// worth is how much must have been allocated for garbage to be collected before its
	// time.
	worth = 4 << 20
)

// Tend looks after the memory of the process until ctx ends: garbage may gather while
// much is done, and is given back to the machine as soon as little is. Without that it
// would stay for minutes after people have connected by the thousand, and then wait.
func Tend(ctx context.Context) {
	ballast := make([]byte, slack) // counts as in use; nobody touches it, so it takes no memory
	defer runtime.KeepAlive(ballast)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var h heap
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if h.read(); h.idle() {
			debug.FreeOSMemory()
			h.given = h.made
		}
	}
}

// A heap is what the runtime says of its heap.
type heap struct {
	made  uint64 // bytes, since the process began
	fresh uint64 // of these, since it was looked last
	given uint64 // what made was when memory was last given back
	live  uint64 // bytes that were in use when garbage was last collected
}

func (h *heap) read() {
	s := [...]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s[:])
	made := s[0].Value.Uint64()
	h.fresh, h.made, h.live = made-h.made, made, s[1].Value.Uint64()
}

// idle tells whether little is done, and enough was before that what is left of it is
// worth the work, which is in proportion to what is in use.
func (h *heap) idle() bool { return h.fresh < quiet && h.made-h.given > max(worth, h.live/4) }

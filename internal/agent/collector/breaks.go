package collector

import (
	"context"
	"errors"
	"sync"
	"time"

	"posthaste/internal/store/outpost"
)

const (
	// maxBreaks is how often a connection may break off at a message before it is left
	// out, so that those behind it come; after leftOut it is tried again.
	maxBreaks = 3
	leftOut   = 6 * time.Hour
	// breaksKept is how many such messages are remembered.
	breaksKept = 10_000
)

// breaks are the messages at which connections have broken off. Some servers hang up
// at a message that they cannot read, each time. It is remembered in memory only: that it
// is forgotten costs a few visits.
type breaks struct {
	mu sync.Mutex
	at map[breakKey]broken
}

type breakKey struct {
	outpost.ID
	folder string
	outpost.Message
}

type broken struct {
	times int
	last  time.Time
}

// note notes that a connection broke off at a message.
func (b *breaks) note(k breakKey, now time.Time) {
	if k.Message == (outpost.Message{}) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.at) >= breaksKept || b.at == nil {
		b.at = map[breakKey]broken{}
	}
	x := b.at[k]
	if now.Sub(x.last) >= leftOut {
		x.times = 0
	}
	b.at[k] = broken{x.times + 1, now}
}

// out tells whether a message is left out now.
func (b *breaks) out(k breakKey, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.at[k]
	return x.times >= maxBreaks && now.Sub(x.last) < leftOut
}

// blames notes that the connection broke off while a message was to come, if that is what
// the error says.
func (v *visit) blames(ctx context.Context, folder string, m outpost.Message, err error) {
	if _, theirs := errors.AsType[errSource](err); theirs && ctx.Err() == nil {
		v.a.breaks.note(breakKey{v.o.ID, folder, m}, time.Now())
	}
}

// leavesOut tells whether a message is left out, as connections broke off at it.
func (v *visit) leavesOut(folder string, m outpost.Message) bool {
	if !v.a.breaks.out(breakKey{v.o.ID, folder, m}, time.Now()) {
		return false
	}
	v.doubt("the connection breaks off at a message, each time: it is left there, and tried again in some hours")
	return true
}

// Package limit counts: how often, how many at once, and who is next, per key.
//
// It knows no clock (the time is passed in) and no policy. Whoever the keys
// belong to, memory is bounded: what counts how often remembers a bounded
// number of keys and forgets the least recent ones first, and what counts how
// many at once forgets a key when nobody is left. All types may be used by many
// goroutines.
package limit

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// Network gives what is counted as one place on the Internet: an IPv4 address,
// or the /64 of an IPv6 address, as one host has all of that.
func Network(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// A table maps keys to values and forgets those that were not looked at for
// long: it has two generations, and when the young one is full it becomes the
// old one, and the old one is forgotten.
type table[K comparable, V any] struct {
	half       int
	young, old map[K]*V
}

func newTable[K comparable, V any](size int) table[K, V] {
	return table[K, V]{half: max(size/2, 1), young: map[K]*V{}}
}

// at gives the value of k, which is zero if it is new.
func (t *table[K, V]) at(k K) *V {
	if v, ok := t.young[k]; ok {
		return v
	}
	v, ok := t.old[k]
	if ok {
		delete(t.old, k)
	} else {
		v = new(V)
	}
	if len(t.young) >= t.half {
		t.old, t.young = t.young, make(map[K]*V)
	}
	t.young[k] = v
	return v
}

// peek gives the value of k without remembering it; nil if there is none.
func (t *table[K, V]) peek(k K) *V {
	if v, ok := t.young[k]; ok {
		return v
	}
	return t.old[k]
}

// forget forgets k.
func (t *table[K, V]) forget(k K) {
	delete(t.young, k)
	delete(t.old, k)
}

// A Rate lets things happen so many times at once, and once in a while after
// that, per key: a bucket of tokens.
type Rate[K comparable] struct {
	burst float64
	every time.Duration
	mu    sync.Mutex
	t     table[K, bucket]
}

type bucket struct {
	used float64 // tokens that are missing
	at   time.Time
}

// NewRate makes a Rate that lets burst things happen at once and one more each
// time that every has passed, and remembers about size keys.
func NewRate[K comparable](burst int, every time.Duration, size int) *Rate[K] {
	return &Rate[K]{burst: float64(burst), every: every, t: newTable[K, bucket](size)}
}

// Take lets n things happen now if they may, and else tells how long to wait;
// nothing has been taken then.
func (r *Rate[K]) Take(k K, n int, now time.Time) (wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.t.at(k)
	if passed := now.Sub(b.at); passed > 0 {
		b.used = max(b.used-float64(passed)/float64(r.every), 0)
		b.at = now
	}
	if over := b.used + float64(n) - r.burst; over > 0 {
		return time.Duration(math.Ceil(over * float64(r.every)))
	}
	b.used += float64(n)
	return 0
}

// A Score is a count per key that halves as time passes.
type Score[K comparable] struct {
	half time.Duration
	mu   sync.Mutex
	t    table[K, bucket]
}

// NewScore makes a Score that halves in the time given, and remembers about
// size keys.
func NewScore[K comparable](half time.Duration, size int) *Score[K] {
	return &Score[K]{half: half, t: newTable[K, bucket](size)}
}

// Add adds n and gives the score.
func (s *Score[K]) Add(k K, n float64, now time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.t.at(k)
	b.used = s.faded(b, now) + n
	b.at = now
	return b.used
}

// Score gives the score.
func (s *Score[K]) Score(k K, now time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.t.peek(k); b != nil {
		return s.faded(b, now)
	}
	return 0
}

// Clear makes the score zero.
func (s *Score[K]) Clear(k K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.forget(k)
}

func (s *Score[K]) faded(b *bucket, now time.Time) float64 {
	passed := now.Sub(b.at)
	if passed <= 0 {
		return b.used
	}
	return b.used * math.Exp2(-float64(passed)/float64(s.half))
}

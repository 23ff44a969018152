package resolver

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxCached is how many answers are kept.
const maxCached = 20_000

type question struct {
	name string
	typ  uint16
}

type entry struct {
	m     *dns.Msg
	until time.Time
}

// A cache keeps answers until their time is over. When it is full it forgets
// what is over, and if that is not enough, whatever comes first.
type cache struct {
	mu sync.Mutex
	m  map[question]entry
}

func (c *cache) get(name string, typ uint16, now time.Time) (*dns.Msg, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[question{name, typ}]
	if !ok || !now.Before(e.until) {
		return nil, 0
	}
	return e.m, e.until.Sub(now)
}

func (c *cache) put(name string, typ uint16, m *dns.Msg, now time.Time, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[question]entry{}
	}
	if len(c.m) >= maxCached {
		for q, e := range c.m {
			if !now.Before(e.until) {
				delete(c.m, q)
			}
		}
		for q := range c.m {
			if len(c.m) < maxCached*9/10 {
				break
			}
			delete(c.m, q)
		}
	}
	c.m[question{name, typ}] = entry{m, now.Add(ttl)}
}

package mta

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// deadFor is how long an address that could not be reached is tried last.
const deadFor = 10 * time.Minute

// An atlas remembers which addresses could not be reached lately.
type atlas struct {
	mu   sync.Mutex
	dead generations[netip.Addr, time.Time]
}

// order gives the targets in the order to try them: as they are by host, IPv6
// and IPv4 in turns within a host, and those that could not be reached lately
// behind all others. RFC 8305 §4
func (a *atlas) order(targets []target, now time.Time) []target {
	out := make([]target, 0, len(targets))
	for from := 0; from < len(targets); {
		to := from
		for to < len(targets) && targets[to].name == targets[from].name {
			to++
		}
		out = append(out, inTurns(targets[from:to])...)
		from = to
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	isDead := func(t target) int {
		if at, ok := a.dead.get(t.ip); ok && now.Sub(at) < deadFor {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(x, y target) int { return isDead(x) - isDead(y) })
	return out
}

// inTurns gives the addresses of one host, one of each family after the other.
func inTurns(targets []target) []target {
	var families [2][]target
	for _, t := range targets {
		i := 0
		if t.ip.Unmap().Is4() {
			i = 1
		}
		families[i] = append(families[i], t)
	}
	var out []target
	for i := 0; len(families[0])+len(families[1]) > 0; i ^= 1 {
		if len(families[i]) > 0 {
			out = append(out, families[i][0])
			families[i] = families[i][1:]
		}
	}
	return out
}

// note remembers whether an address could be reached.
func (a *atlas) note(ip netip.Addr, err error, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.dead.put(ip, now)
	} else if _, was := a.dead.get(ip); was {
		a.dead.forget(ip)
	}
}

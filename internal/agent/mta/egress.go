package mta

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
	"posthaste/internal/proto/smtp"
)

const (
	// shunned is how long an address is used last for who has refused it, and
	// unbound how long one that this machine does not have.
	shunned = time.Hour
	unbound = time.Minute
)

// An Egress is a pool of addresses that mail goes out from. A destination always
// hears from the same one, as long as that works; when it is refused there, or this
// machine does not have it, another takes over for a while. Name, Sources and Dial must
// be set; an Egress must not be copied after first use. A nil Egress leaves it to the
// system.
type Egress struct {
	Name    string
	Sources []Source
	Dial    func(ctx context.Context, from netip.Addr, network, addr string) (net.Conn, error)

	mu  sync.Mutex
	bad generations[verdict, time.Time]
}

// A Source is who we are to others: a name, and the addresses that it has, of which
// one may be missing.
type Source struct {
	Hello      string
	IPv4, IPv6 netip.Addr
	Weight     int // how many of the destinations it serves, compared to others
}

// A verdict is that a source is of no use for a site; "" is for all.
type verdict struct {
	hello, site string
}

// ip gives the address from which another can be reached; the zero Addr if none can.
func (s *Source) ip(to netip.Addr) netip.Addr {
	if to.Unmap().Is4() {
		return s.IPv4
	}
	return s.IPv6
}

// or gives its name, or another if the system chooses.
func (s *Source) or(name string) string {
	if s == nil {
		return name
	}
	return s.Hello
}

// order gives the sources in the order to try them for a domain. Each domain has an
// order of its own, which hardly changes when a source comes or goes.
func (e *Egress) order(d mail.Domain, site string, now time.Time) []*Source {
	if e == nil {
		return []*Source{nil}
	}
	out := make([]*Source, len(e.Sources))
	score := map[*Source]float64{}
	for i := range e.Sources {
		s := &e.Sources[i]
		h := fnv.New64a()
		h.Write([]byte(s.Hello + " " + string(d)))
		// By rendezvous: the highest of weight / -ln(chance) is drawn by weight.
		chance := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
		out[i], score[s] = s, float64(max(s.Weight, 1))/-math.Log(chance)
	}
	slices.SortFunc(out, func(a, b *Source) int { return cmp.Compare(score[b], score[a]) })
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.SortStableFunc(out, func(a, b *Source) int { return e.rank(a, site, now) - e.rank(b, site, now) })
	return out
}

// mix spreads what FNV leaves close together. (SplitMix64)
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// rank is 0 for a source that works, as far as is known. mu is held.
func (e *Egress) rank(s *Source, site string, now time.Time) int {
	for _, v := range [...]verdict{{s.Hello, site}, {s.Hello, ""}} {
		if until, ok := e.bad.get(v); ok && until.After(now) {
			return 1
		}
	}
	return 0
}

// works tells whether nothing is known against a source.
func (e *Egress) works(s *Source, site string, now time.Time) bool {
	if e == nil || s == nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rank(s, site, now) == 0
}

// failed notes that a source was refused at a site, or cannot be used at all.
func (e *Egress) failed(s *Source, site string, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bad.put(verdict{s.Hello, site}, until)
}

// another tells whether some source is left that nothing is known against.
func (e *Egress) another(site string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.Sources, func(s Source) bool { return e.rank(&s, site, now) == 0 })
}

// isUnbound tells whether a connection failed because of the address on our side.
func isUnbound(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }

// blame notes what an error means for the source that met it, and tells whether
// another should be tried.
func (r *Remote) blame(s *Source, t target, err error) bool {
	if s == nil {
		return false
	}
	now := time.Now()
	if isUnbound(err) {
		r.Log.Warn("mail cannot be sent from an address of a pool: this machine does not have it", "pool", r.Egress.Name, "address", s.ip(t.ip).String(), "name", s.Hello)
		r.Egress.failed(s, "", now.Add(unbound))
		return true
	}
	re, ok := errors.AsType[*smtp.ReplyError](err)
	if !ok || !ofAddress(mail.Outcome{Status: re.Reply.Outcome(), Text: re.Reply.String(), Remote: t.String()}) {
		return false
	}
	r.Log.Warn("an address of a pool was refused", "pool", r.Egress.Name, "address", s.ip(t.ip).String(), "remote", t.String(), "text", re.Reply.String())
	r.Egress.failed(s, siteName(t.name), now.Add(shunned))
	return true
}

// refused tells whether a session came to nothing because of our address, and whether
// another one is left to try.
func (r *Remote) refused(s *session, outcomes []mail.Outcome) bool {
	if s.source == nil || len(outcomes) == 0 || slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return !ofAddress(o) }) {
		return false
	}
	r.Log.Warn("an address of a pool was refused", "pool", r.Egress.Name, "address", s.source.ip(s.target.ip).String(), "remote", s.target.String(), "text", outcomes[0].Text)
	site, now := siteName(s.target.name), time.Now()
	r.Egress.failed(s.source, site, now.Add(shunned))
	return r.Egress.another(site, now)
}

// ofAddress tells whether an answer speaks of the address that it was given to.
func ofAddress(o mail.Outcome) bool {
	rm, ok := remedy.Of(remedy.Answer{Status: o.Status, Text: o.Text, Remote: o.Remote})
	return ok && o.Remote != "" && rm.OfAddress()
}

// from says where a session comes from, "out1.example.org [192.0.2.1]"; "" if the
// system chose.
func (s *Source) from(to netip.Addr) string {
	if s == nil {
		return ""
	}
	return s.Hello + " [" + s.ip(to).String() + "]"
}

// siteName gives the site of a host: who runs it, or the host itself.
func siteName(host string) string {
	site := remedy.Site(host)
	if site == "" || site == "amazon" { // where everybody has machines
		return strings.ToLower(host)
	}
	return site
}

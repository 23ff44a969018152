// Package recursor finds answers of the domain name system by itself: from the
// root servers down, asking each only for as much of the name as it needs to
// know. RFC 1034 §5.3.3, RFC 9156
//
// What a server says counts for names in the zone that it was asked for, and no
// others. One question costs a bounded number of others, wherever a zone's
// delegations lead.
package recursor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
)

// A Recursor asks. Roots and Exchange must be set; it must not be copied after
// first use.
type Recursor struct {
	Roots []netip.Addr
	// Exchange asks one server one question.
	Exchange func(ctx context.Context, q *dns.Msg, server netip.Addr) (*dns.Msg, error)

	mu   sync.Mutex
	cuts map[string]*servers
	ill  map[netip.Addr]time.Time // do not ask before
}

const (
	maxQuestions = 80 // for one answer
	maxDepth     = 4  // name servers whose names lead to other name servers
	maxHops      = 10 // aliases
	maxMinimised = 10 // labels that are shown one by one; RFC 9156 §2.3
	maxNames     = 4  // of name servers whose addresses are asked for
	maxServers   = 8  // that are tried for one question
	maxCuts      = 20_000
	illFor       = 30 * time.Second
	maxKept      = 24 * time.Hour
	minKept      = time.Minute
)

// servers are who can be asked about a zone.
type servers struct {
	zone  string
	names []string
	until time.Time

	mu    sync.Mutex
	addrs []netip.Addr
}

// Message gives the answer to a question; aliases are followed.
func (r *Recursor) Message(ctx context.Context, name string, typ uint16) (*dns.Msg, error) {
	j := &job{r: r, ctx: ctx}
	return j.resolve(dns.CanonicalName(name), typ, 0)
}

// A job is one question under way.
type job struct {
	r     *Recursor
	ctx   context.Context
	asked int
}

func temporary(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ours.ErrTemporary, fmt.Sprintf(format, args...))
}

var errWork = temporary("it leads to more name servers than any honest name")

func (j *job) resolve(name string, typ uint16, depth int) (*dns.Msg, error) {
	out := new(dns.Msg)
	out.SetQuestion(name, typ)
	out.Response = true
	for range maxHops {
		m, err := j.iterate(name, typ, depth)
		if err != nil {
			return nil, err
		}
		out.Answer, out.Ns, out.Rcode = append(out.Answer, m.Answer...), m.Ns, m.Rcode
		next := target(m.Answer, name, typ)
		if next == "" {
			return out, nil
		}
		name = next
	}
	return nil, temporary("%s: too many aliases", out.Question[0].Name)
}

// target gives the end of the chain of aliases that begins at name, if there are
// no records of the type at it.
func target(answer []dns.RR, name string, typ uint16) string {
	at := name
	for range maxHops {
		next := ""
		for _, rr := range answer {
			if dns.CanonicalName(rr.Header().Name) != at {
				continue
			}
			if rr.Header().Rrtype == typ {
				return ""
			}
			if c, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(c.Target)
			}
		}
		if next == "" {
			break
		}
		at = next
	}
	if at == name {
		return ""
	}
	return at
}

// iterate asks from the nearest servers that are known downward.
func (j *job) iterate(name string, typ uint16, depth int) (*dns.Msg, error) {
	for minimise := true; ; minimise = false {
		m, err := j.descend(name, typ, depth, minimise)
		// Some servers deny a name that only has others below it, or choke on
		// the shorter question. RFC 9156 §2.2
		if !minimise || err == nil && m != nil || errors.Is(err, errWork) || j.ctx.Err() != nil {
			return m, err
		}
	}
}

// descend gives nil if a shortened question was denied or not answered.
func (j *job) descend(name string, typ uint16, depth int, minimise bool) (*dns.Msg, error) {
	s := j.r.nearest(name, typ)
	labels := dns.CountLabel(name)
	shown := dns.CountLabel(s.zone)
	for step := 0; ; step++ {
		ask, qtype := name, typ
		if shown++; minimise && step < maxMinimised && shown < labels {
			ask, qtype = lowest(name, shown), dns.TypeA
		} else {
			shown = labels
		}
		m, err := j.ask(s, ask, qtype, depth)
		if err != nil {
			if ask != name {
				return nil, nil
			}
			return nil, err
		}
		if next := j.r.referral(m, s.zone, ask); next != nil {
			s, shown = next, dns.CountLabel(next.zone)
			continue
		}
		switch {
		case ask == name:
			return bailiwick(m, s.zone), nil
		case m.Rcode != dns.RcodeSuccess:
			return nil, nil
		}
	}
}

// lowest gives the last n labels of a name.
func lowest(name string, n int) string {
	at := dns.Split(name)
	return name[at[len(at)-n]:]
}

// bailiwick leaves of an answer what its zone may say.
func bailiwick(m *dns.Msg, zone string) *dns.Msg {
	for _, sec := range [...]*[]dns.RR{&m.Answer, &m.Ns} {
		kept := (*sec)[:0]
		for _, rr := range *sec {
			if dns.IsSubDomain(zone, rr.Header().Name) {
				kept = append(kept, rr)
			}
		}
		*sec = kept
	}
	return m
}

// nearest gives the servers of the lowest zone that is known above a name.
func (r *Recursor) nearest(name string, typ uint16) *servers {
	r.mu.Lock()
	defer r.mu.Unlock()
	if typ == dns.TypeDS { // the parent has it
		name = parent(name)
	}
	now := time.Now()
	for n := name; n != "."; n = parent(n) {
		if s := r.cuts[n]; s != nil && now.Before(s.until) {
			return s
		}
	}
	return &servers{zone: ".", addrs: r.Roots}
}

func parent(name string) string {
	at, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[at:]
}

// referral gives the servers that m points to, below zone and at or above the
// name asked for; nil if it is none.
func (r *Recursor) referral(m *dns.Msg, zone, name string) *servers {
	if m.Authoritative || len(m.Answer) > 0 || m.Rcode != dns.RcodeSuccess {
		return nil
	}
	var s *servers
	ttl := maxKept
	for _, rr := range m.Ns {
		ns, ok := rr.(*dns.NS)
		if !ok {
			continue
		}
		owner := dns.CanonicalName(ns.Hdr.Name)
		if owner == zone || !dns.IsSubDomain(zone, owner) || !dns.IsSubDomain(owner, name) || s != nil && s.zone != owner {
			continue
		}
		if s == nil {
			s = &servers{zone: owner}
		}
		s.names = append(s.names, dns.CanonicalName(ns.Ns))
		ttl = min(ttl, time.Duration(ns.Hdr.Ttl)*time.Second)
	}
	if s == nil {
		return nil
	}
	for _, rr := range m.Extra {
		h := rr.Header()
		// Whoever delegates may say where its own names are, and no others.
		if !dns.IsSubDomain(zone, h.Name) || !contains(s.names, dns.CanonicalName(h.Name)) {
			continue
		}
		if a, ok := address(rr); ok {
			s.addrs = append(s.addrs, a)
		}
	}
	s.until = time.Now().Add(max(ttl, minKept))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cuts == nil {
		r.cuts = map[string]*servers{}
	}
	for old := range r.cuts {
		if len(r.cuts) < maxCuts {
			break
		}
		delete(r.cuts, old)
	}
	r.cuts[s.zone] = s
	return s
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func address(rr dns.RR) (netip.Addr, bool) {
	var a netip.Addr
	var ok bool
	switch rr := rr.(type) {
	case *dns.A:
		a, ok = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		a, ok = netip.AddrFromSlice(rr.AAAA)
	}
	return a.Unmap(), ok
}

// ask asks a zone's servers until one answers.
func (j *job) ask(s *servers, name string, typ uint16, depth int) (*dns.Msg, error) {
	addrs, err := j.addresses(s, depth)
	if err != nil {
		return nil, err
	}
	err = temporary("no server of %s answers", s.zone)
	for i, a := range j.r.order(addrs) {
		if i == maxServers {
			break
		}
		if j.asked++; j.asked > maxQuestions {
			return nil, errWork
		}
		m, e := j.r.Exchange(j.ctx, question(name, typ), a)
		if j.ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ours.ErrTemporary, j.ctx.Err())
		}
		if e == nil {
			e = j.r.useful(m, s.zone, name)
		}
		if e == nil {
			return m, nil
		}
		err = fmt.Errorf("%w: %s: %w", ours.ErrTemporary, s.zone, e)
		j.r.mark(a)
	}
	return nil, err
}

func question(name string, typ uint16) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, typ)
	q.RecursionDesired = false
	q.SetEdns0(1232, true)
	return q
}

// useful tells whether a server knows what it was asked about.
func (r *Recursor) useful(m *dns.Msg, zone, name string) error {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return errors.New(dns.RcodeToString[m.Rcode])
	case m.Authoritative:
		return nil
	case len(m.Answer) == 0 && m.Rcode == dns.RcodeSuccess:
		for _, rr := range m.Ns {
			owner := dns.CanonicalName(rr.Header().Name)
			if rr.Header().Rrtype == dns.TypeNS && owner != zone && dns.IsSubDomain(zone, owner) && dns.IsSubDomain(owner, name) {
				return nil
			}
		}
	}
	return errors.New("the server does not know its zone")
}

// order gives the addresses in the order to ask them: any order, IPv4 first since
// not every machine has IPv6, and last those that have just failed.
func (r *Recursor) order(addrs []netip.Addr) []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var classes [4][]netip.Addr
	for _, i := range rand.Perm(len(addrs)) {
		a, c := addrs[i], 0
		if !a.Is4() {
			c = 1
		}
		if now.Before(r.ill[a]) {
			c += 2
		}
		classes[c] = append(classes[c], a)
	}
	out := classes[0]
	for _, c := range classes[1:] {
		out = append(out, c...)
	}
	return out
}

// mark remembers that a server did not answer as it should.
func (r *Recursor) mark(a netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ill == nil || len(r.ill) > maxCuts {
		r.ill = map[netip.Addr]time.Time{}
	}
	r.ill[a] = time.Now().Add(illFor)
}

// addresses gives a zone's servers' addresses; those that did not come with the
// delegation are asked for.
func (j *job) addresses(s *servers, depth int) ([]netip.Addr, error) {
	s.mu.Lock()
	have := s.addrs
	s.mu.Unlock()
	if len(have) > 0 {
		return have, nil
	}
	if depth == maxDepth {
		return nil, errWork
	}
	err := temporary("the servers of %s have no addresses", s.zone)
	for n, i := range rand.Perm(len(s.names)) {
		if n == maxNames {
			break
		}
		for _, typ := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
			m, e := j.resolve(s.names[i], typ, depth+1)
			if errors.Is(e, errWork) {
				return nil, e
			}
			if e != nil {
				err = e
				continue
			}
			for _, rr := range m.Answer {
				if a, ok := address(rr); ok {
					have = append(have, a)
				}
			}
		}
		if len(have) > 0 {
			s.mu.Lock()
			s.addrs = have
			s.mu.Unlock()
			return have, nil
		}
	}
	return nil, err
}

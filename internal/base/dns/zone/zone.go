// Package zone is a resolver whose records are given: for tests, and for the
// demonstration's small world.
package zone

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
)

// A Zone answers from what it has been told. Names without any record do not
// exist. It may be changed while it is asked.
type Zone struct {
	mu    sync.Mutex
	mx    map[mail.Domain][]dns.MX
	ips   map[mail.Domain][]netip.Addr
	txt   map[string][]string
	ptr   map[netip.Addr][]mail.Domain
	tlsa  map[string][]dns.TLSA
	safe  map[string]bool
	cname map[mail.Domain]mail.Domain
	fail  map[string]error
}

// ttl is what all answers are good for.
const ttl = time.Minute

// MXHost adds an MX record.
func (z *Zone) MXHost(d mail.Domain, preference uint16, host mail.Domain) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	add(&z.mx, d, dns.MX{Preference: preference, Host: host})
	return z
}

// Address adds an address of a host, and the way back from it.
func (z *Zone) Address(host mail.Domain, ip string) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	a := netip.MustParseAddr(ip)
	add(&z.ips, host, a)
	add(&z.ptr, a, host)
	return z
}

// Text adds a TXT record.
func (z *Zone) Text(name, text string) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	add(&z.txt, name, text)
	return z
}

// Certificate adds a TLSA record of a service, "_25._tcp.mail.example.org".
func (z *Zone) Certificate(name string, r dns.TLSA) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	add(&z.tlsa, name, r)
	return z
}

// Alias makes a name an alias of a host.
func (z *Zone) Alias(name, host mail.Domain) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.cname == nil {
		z.cname = map[mail.Domain]mail.Domain{}
	}
	z.cname[name] = host
	return z
}

// Forget takes all records of a name away.
func (z *Zone) Forget(name string) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.mx, mail.Domain(name))
	delete(z.ips, mail.Domain(name))
	delete(z.txt, name)
	delete(z.tlsa, name)
	return z
}

// Secure makes answers about the names count as validated.
func (z *Zone) Secure(names ...string) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.safe == nil {
		z.safe = map[string]bool{}
	}
	for _, n := range names {
		z.safe[n] = true
	}
	return z
}

// Fail makes every question about a name fail; nil ends that.
func (z *Zone) Fail(name string, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.fail == nil {
		z.fail = map[string]error{}
	}
	z.fail[name] = err
}

func add[K comparable, V any](m *map[K][]V, k K, v V) {
	if *m == nil {
		*m = map[K][]V{}
	}
	(*m)[k] = append((*m)[k], v)
}

// answer must be called with mu held.
func answer[T any](z *Zone, name, typ string, records []T) (dns.Answer[T], error) {
	err := z.fail[name]
	switch {
	case err != nil:
	case len(records) > 0:
		return dns.Answer[T]{Records: append([]T(nil), records...), Secure: z.safe[name], TTL: ttl}, nil
	case z.known(name):
		err = dns.ErrNoData
	default:
		err = dns.ErrNoName
	}
	return dns.Answer[T]{}, &dns.Error{Name: name, Type: typ, Err: err}
}

func (z *Zone) known(name string) bool {
	d := mail.Domain(name)
	return z.mx[d] != nil || z.ips[d] != nil || z.txt[name] != nil || z.tlsa[name] != nil
}

// MX answers as a dns.Resolver.
func (z *Zone) MX(_ context.Context, d mail.Domain) (dns.Answer[dns.MX], error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return answer(z, string(d), "MX", z.mx[d])
}

// Addresses answers as a dns.Resolver.
func (z *Zone) Addresses(_ context.Context, host mail.Domain) (dns.Answer[netip.Addr], error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	to, alias := z.cname[host]
	if !alias {
		return answer(z, string(host), "A", z.ips[host])
	}
	ans, err := answer(z, string(to), "A", z.ips[to])
	ans.Secure, ans.Alias = ans.Secure && z.safe[string(host)], string(to)
	return ans, err
}

// TXT answers as a dns.Resolver.
func (z *Zone) TXT(_ context.Context, name string) (dns.Answer[string], error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return answer(z, name, "TXT", z.txt[name])
}

// TLSA answers as a dns.Resolver.
func (z *Zone) TLSA(_ context.Context, name string) (dns.Answer[dns.TLSA], error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return answer(z, name, "TLSA", z.tlsa[name])
}

// PTR answers as a dns.Resolver.
func (z *Zone) PTR(_ context.Context, ip netip.Addr) (dns.Answer[mail.Domain], error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return answer(z, fmt.Sprint(ip), "PTR", z.ptr[ip])
}

var _ dns.Resolver = (*Zone)(nil)

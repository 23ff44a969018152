// Package resolver is the dns.Resolver on the wire. It asks recursive servers, or
// finds answers by itself (recursor), checks what the owners of names have signed
// (dnssec), and remembers answers for as long as they say.
package resolver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/resolver/dnssec"
)

const maxCNAMEs = 10

// A Resolver asks its source. It must not be copied after first use.
type Resolver struct {
	// Source must be set. What it says to be authenticated is believed.
	Source dnssec.Source
	// Validator checks all else; nil: nothing is secure that the source does not
	// say to be.
	Validator *dnssec.Validator
	// Probe: the source may be one that does not pass signatures on, and then it
	// is used as it is. (Whoever can forge its answers can also make it seem so.)
	Probe bool
	Log   *slog.Logger // may be nil

	cache  cache
	probed probed
}

// MX gives a domain's MX records.
func (r *Resolver) MX(ctx context.Context, d mail.Domain) (ours.Answer[ours.MX], error) {
	return ask(ctx, r, string(d), dns.TypeMX, func(rr dns.RR) (ours.MX, bool) {
		mx, ok := rr.(*dns.MX)
		if !ok {
			return ours.MX{}, false
		}
		if mx.Mx == "." {
			return ours.MX{Preference: mx.Preference, Host: ours.NullMX}, true
		}
		h, err := mail.ParseDomain(mx.Mx)
		return ours.MX{Preference: mx.Preference, Host: h}, err == nil
	})
}

// TXT gives the texts of a name, each joined from its strings.
func (r *Resolver) TXT(ctx context.Context, name string) (ours.Answer[string], error) {
	return ask(ctx, r, name, dns.TypeTXT, func(rr dns.RR) (string, bool) {
		t, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return strings.Join(t.Txt, ""), true
	})
}

// TLSA gives the certificates that a service is known by. RFC 6698 §2
func (r *Resolver) TLSA(ctx context.Context, name string) (ours.Answer[ours.TLSA], error) {
	return ask(ctx, r, name, dns.TypeTLSA, func(rr dns.RR) (ours.TLSA, bool) {
		t, ok := rr.(*dns.TLSA)
		if !ok {
			return ours.TLSA{}, false
		}
		data, err := hex.DecodeString(t.Certificate)
		return ours.TLSA{Usage: t.Usage, Selector: t.Selector, Matching: t.MatchingType, Data: data}, err == nil
	})
}

// PTR gives the names of an address.
func (r *Resolver) PTR(ctx context.Context, ip netip.Addr) (ours.Answer[mail.Domain], error) {
	name, err := dns.ReverseAddr(ip.Unmap().String())
	if err != nil {
		return ours.Answer[mail.Domain]{}, fmt.Errorf("resolver: %w", err)
	}
	return ask(ctx, r, name, dns.TypePTR, func(rr dns.RR) (mail.Domain, bool) {
		p, ok := rr.(*dns.PTR)
		if !ok {
			return "", false
		}
		d, err := mail.ParseDomain(p.Ptr)
		return d, err == nil
	})
}

// Addresses gives a host's addresses, IPv6 and IPv4 in turn, beginning with
// IPv6. A name with one kind only has no error for the other.
func (r *Resolver) Addresses(ctx context.Context, host mail.Domain) (ours.Answer[netip.Addr], error) {
	if host == "localhost" { // RFC 6761 §6.3
		return ours.Answer[netip.Addr]{Records: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, TTL: time.Hour}, nil
	}
	type result struct {
		ans ours.Answer[netip.Addr]
		err error
	}
	six := make(chan result, 1)
	go func() {
		ans, err := ask(ctx, r, string(host), dns.TypeAAAA, address)
		six <- result{ans, err}
	}()
	v4, err4 := ask(ctx, r, string(host), dns.TypeA, address)
	v6 := <-six
	switch {
	case err4 != nil && v6.err != nil:
		if ours.IsAbsent(err4) {
			return v4, v6.err // absent too, or the one that may change
		}
		return v4, err4
	case err4 != nil:
		return v6.ans, nil
	case v6.err != nil:
		return v4, nil
	}
	out := ours.Answer[netip.Addr]{Secure: v4.Secure && v6.ans.Secure, TTL: min(v4.TTL, v6.ans.TTL), Alias: v4.Alias}
	for i := range max(len(v4.Records), len(v6.ans.Records)) {
		if i < len(v6.ans.Records) {
			out.Records = append(out.Records, v6.ans.Records[i])
		}
		if i < len(v4.Records) {
			out.Records = append(out.Records, v4.Records[i])
		}
	}
	return out, nil
}

func address(rr dns.RR) (netip.Addr, bool) {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A
	case *dns.AAAA:
		ip = rr.AAAA
	}
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// ask asks one question, and gives the records that pick takes.
func ask[T any](ctx context.Context, r *Resolver, name string, typ uint16, pick func(dns.RR) (T, bool)) (ours.Answer[T], error) {
	var out ours.Answer[T]
	fail := func(err error) (ours.Answer[T], error) {
		return ours.Answer[T]{}, &ours.Error{Name: name, Type: dns.TypeToString[typ], Err: err}
	}
	m, left, err := r.message(ctx, dns.Fqdn(strings.ToLower(name)), typ)
	if err != nil {
		return fail(err)
	}
	if m.Rcode == dns.RcodeNameError {
		return fail(ours.ErrNoName)
	}
	want := dns.Fqdn(strings.ToLower(name))
	for range maxCNAMEs {
		next := ""
		for _, rr := range m.Answer {
			if !strings.EqualFold(rr.Header().Name, want) {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok && typ != dns.TypeCNAME {
				next = strings.ToLower(c.Target)
			} else if v, ok := pick(rr); ok {
				out.Records = append(out.Records, v)
			}
		}
		if len(out.Records) > 0 || next == "" {
			break
		}
		want = next
	}
	if len(out.Records) == 0 {
		return fail(ours.ErrNoData)
	}
	out.Secure, out.TTL = m.AuthenticatedData, left
	if want != dns.Fqdn(strings.ToLower(name)) {
		out.Alias = strings.TrimSuffix(want, ".")
	}
	return out, nil
}

// message gives the answer to a question, from memory or from the source, and how
// long it is good for.
func (r *Resolver) message(ctx context.Context, name string, typ uint16) (*dns.Msg, time.Duration, error) {
	now := time.Now()
	if m, left := r.cache.get(name, typ, now); m != nil {
		return m, left, nil
	}
	m, err := r.validated(ctx, name, typ)
	if errors.Is(err, ours.ErrBogus) && ctx.Err() == nil {
		// It may have been one server among many, or one datagram.
		m, err = r.validated(ctx, name, typ)
	}
	if err != nil {
		return nil, 0, err
	}
	left := ttl(m)
	r.cache.put(name, typ, m, now, left)
	return m, left, nil
}

func (r *Resolver) validated(ctx context.Context, name string, typ uint16) (*dns.Msg, error) {
	m, err := r.Source.Message(ctx, name, typ)
	if err != nil || m.AuthenticatedData || r.Validator == nil {
		return m, err
	}
	if r.Probe {
		ok, err := r.signs(ctx)
		if err != nil || !ok {
			return m, err
		}
	}
	m.AuthenticatedData, err = r.Validator.Validate(ctx, m)
	return m, err
}

// probed is what is known of whether the source passes signatures on.
type probed struct {
	mu    sync.Mutex
	ok    bool
	until time.Time
}

// How long that is believed.
const (
	probeKept   = 6 * time.Hour
	probeFailed = 10 * time.Minute
)

// signs tells whether the source passes on the root's signatures.
func (r *Resolver) signs(ctx context.Context) (bool, error) {
	p := &r.probed
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.until) {
		return p.ok, nil
	}
	m, err := r.Source.Message(ctx, ".", dns.TypeDNSKEY)
	if err != nil {
		return false, err
	}
	p.ok, p.until = false, now.Add(probeFailed)
	for _, rr := range m.Answer {
		if _, ok := rr.(*dns.RRSIG); ok {
			p.ok, p.until = true, now.Add(probeKept)
		}
	}
	if !p.ok && r.Log != nil {
		r.Log.Warn("the DNS servers leave out DNSSEC's signatures: nothing can be validated, and there is no DANE; name other servers in the configuration, or let this server find answers itself (dns.recursive)")
	}
	return p.ok, nil
}

const (
	minTTL = 5 * time.Second
	maxTTL = time.Hour
)

// ttl gives how long an answer may be kept; of an absence, as the zone's SOA
// says. RFC 2308 §5
func ttl(m *dns.Msg) time.Duration {
	least := maxTTL
	for _, rr := range m.Answer {
		least = min(least, time.Duration(rr.Header().Ttl)*time.Second)
	}
	if len(m.Answer) == 0 {
		least = time.Minute
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				least = min(maxTTL, time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second)
			}
		}
	}
	return max(least, minTTL)
}

// Package resolver is the dns.Resolver on the wire: a stub that asks recursive
// servers, by UDP and, where an answer does not fit, by TCP, and remembers
// answers for as long as they say.
//
// An answer counts as validated by DNSSEC only if a server on a loopback
// address says so: on any other way the word of a stranger could have changed
// it.
package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
)

const (
	askTime   = 4 * time.Second // one question to one server
	rounds    = 2               // over all servers
	maxCNAMEs = 10
)

// A Resolver asks the servers in turn. Servers must be set; a Resolver must not
// be copied after first use.
type Resolver struct {
	Servers []string // address:port

	cache cache
}

// System gives the servers that the system's own resolver uses.
func System() ([]string, error) {
	b, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return []string{"127.0.0.1:53"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "nameserver" {
			out = append(out, net.JoinHostPort(f[1], "53"))
		}
	}
	if len(out) == 0 {
		out = []string{"127.0.0.1:53"}
	}
	return out, nil
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
	out := ours.Answer[netip.Addr]{Secure: v4.Secure && v6.ans.Secure, TTL: min(v4.TTL, v6.ans.TTL)}
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
	return out, nil
}

// message gives the answer to a question, from memory or from a server, and how
// long it is good for.
func (r *Resolver) message(ctx context.Context, name string, typ uint16) (*dns.Msg, time.Duration, error) {
	now := time.Now()
	if m, left := r.cache.get(name, typ, now); m != nil {
		return m, left, nil
	}
	q := new(dns.Msg)
	q.SetQuestion(name, typ)
	q.SetEdns0(1232, true)
	q.AuthenticatedData = true
	var last error = ours.ErrTemporary
	for range rounds {
		for _, server := range r.Servers {
			m, err := exchange(ctx, q, server)
			if ctx.Err() != nil {
				return nil, 0, errors.Join(ours.ErrTemporary, ctx.Err())
			}
			if err != nil {
				last = fmt.Errorf("%w: %w", ours.ErrTemporary, err)
				continue
			}
			switch m.Rcode {
			case dns.RcodeSuccess, dns.RcodeNameError:
				m.AuthenticatedData = m.AuthenticatedData && loopback(server)
				left := ttl(m)
				r.cache.put(name, typ, m, now, left)
				return m, left, nil
			case dns.RcodeServerFailure:
				last = r.why(m)
			default:
				last = fmt.Errorf("%w: %s answered %s", ours.ErrTemporary, server, dns.RcodeToString[m.Rcode])
			}
		}
	}
	return nil, 0, last
}

// why tells a failed validation from other failures, by the extended error of
// RFC 8914.
func (r *Resolver) why(m *dns.Msg) error {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				switch e.InfoCode {
				case dns.ExtendedErrorCodeDNSBogus, dns.ExtendedErrorCodeSignatureExpired, dns.ExtendedErrorCodeSignatureNotYetValid,
					dns.ExtendedErrorCodeDNSKEYMissing, dns.ExtendedErrorCodeRRSIGsMissing, dns.ExtendedErrorCodeNSECMissing:
					return ours.ErrBogus
				}
			}
		}
	}
	return fmt.Errorf("%w: SERVFAIL", ours.ErrTemporary)
}

func loopback(server string) bool {
	a, err := netip.ParseAddrPort(server)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

func exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	q = q.Copy()
	var id [2]byte
	rand.Read(id[:])
	q.Id = binary.BigEndian.Uint16(id[:])
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c := dns.Client{Net: "udp", Timeout: askTime, UDPSize: 1232}
	m, _, err := c.ExchangeContext(ctx, q, server)
	if err == nil && m.Truncated {
		c.Net = "tcp"
		m, _, err = c.ExchangeContext(ctx, q, server)
	}
	if err != nil {
		return nil, err
	}
	if len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Qtype != q.Question[0].Qtype {
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
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

// Package spf asks a domain whether a host may send mail for it: RFC 7208. It
// touches no network: answers come by a Resolver from above.
//
// A record is parsed whole before any of it is evaluated, so that a mistake at
// its end is a mistake; work is bounded by the RFC's limits.
package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A Result is what the domain says. RFC 7208 §2.6
type Result string

// The results.
const (
	None      Result = "none"      // nothing
	Neutral   Result = "neutral"   // it does not say
	Pass      Result = "pass"      // the host may
	Fail      Result = "fail"      // it may not
	SoftFail  Result = "softfail"  // it may probably not
	TempError Result = "temperror" // it could not be found out just now
	PermError Result = "permerror" // the record is wrong
)

// ErrNoRecord is a Resolver's answer for what does not exist, be it the name or
// records of this type. All other errors are temporary.
var ErrNoRecord = errors.New("spf: no such record")

// A Resolver asks the DNS. Names may have any printable characters.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	// A and AAAA give addresses of one kind.
	A(ctx context.Context, name string) ([]netip.Addr, error)
	AAAA(ctx context.Context, name string) ([]netip.Addr, error)
	// MX gives the names of hosts, without the null MX.
	MX(ctx context.Context, name string) ([]string, error)
	PTR(ctx context.Context, ip netip.Addr) ([]string, error)
}

// Limits of RFC 7208 §4.6.4.
const (
	maxLookups = 10
	maxVoid    = 2
	maxHosts   = 10 // of one MX, and names of one address
)

// A Query is what is asked.
type Query struct {
	IP     netip.Addr
	Domain string // that of the sender, or of HELO
	Local  string // local part of the sender; "postmaster" if it has none
	Sender string // domain of the sender
	Helo   string
	// Receiver and Now are for explanations alone.
	Receiver string
	Now      time.Time
}

// Explain gives the domain's own explanation of a Fail, in printable ASCII; "" if it
// has none. It asks the DNS anew for all that Check has asked. RFC 7208 §6.2
func Explain(ctx context.Context, r Resolver, q Query) string {
	c := newCheck(ctx, r, q)
	if res, err := c.host(c.q.Domain); err != nil || res != Fail || c.exp == nil {
		return ""
	}
	name, err := c.expand(c.exp, c.expDomain)
	if err != nil {
		return ""
	}
	txts, err := r.TXT(ctx, name)
	if err != nil || len(txts) != 1 {
		return ""
	}
	s, err := parseMacros(txts[0], explanationLetters)
	if err != nil {
		return ""
	}
	out := c.text(s, c.expDomain)
	for i := range len(out) {
		if out[i] < ' ' || out[i] > '~' {
			return ""
		}
	}
	return out[:min(len(out), maxExplanation)]
}

// maxExplanation is how many bytes of an explanation we give.
const maxExplanation = 300

// Check gives what the domain says of the host, and why, in words.
func Check(ctx context.Context, r Resolver, q Query) (Result, string) {
	c := newCheck(ctx, r, q)
	res, err := c.host(c.q.Domain)
	if err != nil {
		return failure(err)
	}
	if res == None {
		return None, "there is no SPF record"
	}
	return res, c.why
}

func newCheck(ctx context.Context, r Resolver, q Query) *check {
	q.IP = q.IP.Unmap()
	if q.Local == "" {
		q.Local = "postmaster"
	}
	if q.Sender == "" {
		q.Sender = q.Domain
	}
	return &check{ctx: ctx, r: r, q: q}
}

// errPerm is a mistake of the domain, errTemp a failure of the DNS.
type (
	errPerm struct{ error }
	errTemp struct{ error }
)

func perm(format string, args ...any) error { return errPerm{fmt.Errorf(format, args...)} }

func failure(err error) (Result, string) {
	if _, ok := errors.AsType[errPerm](err); ok {
		return PermError, err.Error()
	}
	return TempError, err.Error()
}

// A check is one evaluation, with all that it includes.
type check struct {
	ctx     context.Context
	r       Resolver
	q       Query
	lookups int
	void    int
	why     string

	exp       spec // of the record that decided; nil: none
	expDomain string
}

// host is check_host() of RFC 7208 §4.
func (c *check) host(domain string) (Result, error) {
	if !isDomain(domain) {
		return None, nil
	}
	txt, err := c.record(domain)
	if err != nil || txt == "" {
		return None, err
	}
	rec, err := parse(txt)
	if err != nil {
		return None, err
	}
	for _, m := range rec.mechanisms {
		ok, err := c.matches(m, domain)
		if err != nil {
			return None, err
		}
		if ok {
			c.why = fmt.Sprintf("%s says %s by %q", domain, m.result, m.text)
			c.exp, c.expDomain = rec.exp, domain // not that of a record that is included
			return m.result, nil
		}
	}
	if rec.redirect == nil {
		c.why = fmt.Sprintf("nothing in the record of %s is about this host", domain)
		return Neutral, nil
	}
	if err := c.count(); err != nil {
		return None, err
	}
	to, err := c.expand(rec.redirect, domain)
	if err != nil {
		return None, err
	}
	res, err := c.host(to)
	if err == nil && res == None {
		return None, perm("%s redirects to %s, which has no record", domain, to)
	}
	return res, err
}

// record gives the SPF record of a domain, "" if there is none. RFC 7208 §4.5
func (c *check) record(domain string) (string, error) {
	txts, err := c.r.TXT(c.ctx, domain)
	if errors.Is(err, ErrNoRecord) {
		return "", nil
	}
	if err != nil {
		return "", errTemp{err}
	}
	found := ""
	for _, t := range txts {
		if len(t) >= 6 && strings.EqualFold(t[:6], "v=spf1") && (len(t) == 6 || t[6] == ' ') {
			if found != "" {
				return "", perm("%s has more than one SPF record", domain)
			}
			found = t
		}
	}
	return found, nil
}

// count counts a term that asks the DNS.
func (c *check) count() error {
	if c.lookups++; c.lookups > maxLookups {
		return perm("the record needs more than %d look-ups", maxLookups)
	}
	return nil
}

// answer counts answers that say nothing, and tells absence from failure.
func answer[T any](c *check, list []T, err error) ([]T, error) {
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return nil, errTemp{err}
	}
	if len(list) == 0 {
		if c.void++; c.void > maxVoid {
			return nil, perm("more than %d look-ups of the record find nothing", maxVoid)
		}
	}
	return list, nil
}

func (c *check) matches(m mechanism, domain string) (bool, error) {
	switch m.kind {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return m.network.Contains(c.q.IP), nil
	}
	if err := c.count(); err != nil {
		return false, err
	}
	target := domain
	if m.spec != nil {
		var err error
		if target, err = c.expand(m.spec, domain); err != nil {
			return false, err
		}
	}
	switch m.kind {
	case "include":
		return c.include(target)
	case "a":
		return c.a(target, m)
	case "mx":
		return c.mx(target, m)
	case "ptr":
		return c.ptr(target), nil
	default: // exists
		if !isDomain(target) {
			return false, nil
		}
		ips, err := c.r.A(c.ctx, target)
		ips, err = answer(c, ips, err)
		return len(ips) > 0, err
	}
}

func (c *check) include(target string) (bool, error) {
	res, err := c.host(target)
	if err != nil {
		return false, err
	}
	if res == None {
		return false, perm("%s is included, and has no record", target)
	}
	return res == Pass, nil
}

// addresses gives a host's addresses of the kind that the peer has.
func (c *check) addresses(host string) ([]netip.Addr, error) {
	if c.q.IP.Is4() {
		return c.r.A(c.ctx, host)
	}
	return c.r.AAAA(c.ctx, host)
}

func (c *check) a(host string, m mechanism) (bool, error) {
	if !isDomain(host) {
		return false, nil
	}
	ips, err := c.addresses(host)
	if ips, err = answer(c, ips, err); err != nil {
		return false, err
	}
	return c.within(ips, m), nil
}

func (c *check) within(ips []netip.Addr, m mechanism) bool {
	bits := m.bits4
	if c.q.IP.Is6() {
		bits = m.bits6
	}
	for _, ip := range ips {
		if p, err := ip.Unmap().Prefix(bits); err == nil && p.Contains(c.q.IP) {
			return true
		}
	}
	return false
}

func (c *check) mx(target string, m mechanism) (bool, error) {
	if !isDomain(target) {
		return false, nil
	}
	hosts, err := c.r.MX(c.ctx, target)
	if hosts, err = answer(c, hosts, err); err != nil {
		return false, err
	}
	if len(hosts) > maxHosts {
		return false, perm("%s has more than %d MX hosts", target, maxHosts)
	}
	for _, h := range hosts {
		ips, err := c.addresses(h)
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return false, errTemp{err}
		}
		if c.within(ips, m) {
			return true, nil
		}
	}
	return false, nil
}

// ptr tells whether a confirmed name of the peer is in a domain.
func (c *check) ptr(target string) bool {
	for _, n := range c.names() {
		if inDomain(n, target) {
			return true
		}
	}
	return false
}

// names gives the confirmed names of the peer; failures are no names.
// RFC 7208 §5.5
func (c *check) names() []string {
	names, err := c.r.PTR(c.ctx, c.q.IP)
	if err != nil {
		return nil
	}
	var out []string
	for i, n := range names {
		if i == maxHosts {
			break
		}
		ips, err := c.addresses(n)
		if err != nil {
			continue
		}
		for _, ip := range ips {
			if ip.Unmap() == c.q.IP {
				out = append(out, n)
				break
			}
		}
	}
	return out
}

func inDomain(name, domain string) bool {
	name, domain = strings.ToLower(strings.TrimSuffix(name, ".")), strings.ToLower(strings.TrimSuffix(domain, "."))
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// isDomain tells whether a name can be asked for: at least two labels, none
// empty or too long.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 || !strings.Contains(s, ".") || strings.HasPrefix(s, "[") {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if l == "" || len(l) > 63 {
			return false
		}
	}
	return true
}

package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

// egressFor gives the addresses that mail of a domain may go out from: of the pool for
// its senders, or else of the default one, and of those that routes name.
func (h *House) egressFor(d mail.Domain) (out []config.EgressAddress) {
	own := slices.ContainsFunc(h.c.Egress, func(e config.Egress) bool { return slices.Contains(e.From, string(d)) })
	for _, e := range h.c.Egress {
		routed := slices.ContainsFunc(h.c.Routes, func(r config.Route) bool {
			return r.Egress == e.Name && (r.From == "" || r.From == string(d))
		})
		if routed || slices.Contains(e.From, string(d)) || !own && e.Name == config.EgressDefault {
			out = append(out, e.Addresses...)
		}
	}
	return out
}

// senders gives them as an SPF record names them. RFC 7208 §5.6
func (h *House) senders(d mail.Domain) string {
	var out strings.Builder
	for _, a := range h.egressFor(d) {
		if a.IPv4.IsValid() {
			out.WriteString(" ip4:" + a.IPv4.String())
		}
		if a.IPv6.IsValid() {
			out.WriteString(" ip6:" + a.IPv6.String())
		}
	}
	return out.String()
}

// nameChecks bounds how long the DNS is asked about all names.
const nameChecks = 10 * time.Second

// names gives the records by which the names that we call ourselves lead to their
// addresses and back, and says which of them are not there.
func (h *House) names(ctx context.Context, host, d mail.Domain) (out []admind.Record) {
	ctx, cancel := context.WithTimeout(ctx, nameChecks)
	defer cancel()
	seen := map[string]bool{}
	for _, a := range h.egressFor(d) {
		name := mail.Domain(a.Hello)
		if seen[a.Hello] {
			continue
		}
		seen[a.Hello] = true
		for _, ip := range []netip.Addr{a.IPv4, a.IPv6} {
			if !ip.IsValid() {
				continue
			}
			kind := "A"
			if ip.Is6() {
				kind = "AAAA"
			}
			out = append(out,
				admind.Record{Name: a.Hello, Type: kind, Value: ip.String(), Why: "mail goes out from there under this name", Wrong: h.leads(ctx, name, ip)},
				admind.Record{Name: reverse(ip), Type: "PTR", Value: a.Hello + ".", Why: "the address leads back to its name; whoever gave you the address sets this", Wrong: h.leadsBack(ctx, name, ip)})
		}
		if name != host {
			out = append(out, admind.Record{Name: a.Hello, Type: "TXT", Value: dns.Quote("v=spf1 a -all"), Why: "SPF for reports, which have no sender: they are judged by this name"})
		}
	}
	return out
}

// reverse gives the name under which an address has its own. RFC 1035 §3.5, RFC 3596 §2.5
func reverse(ip netip.Addr) string {
	b := ip.AsSlice()
	slices.Reverse(b)
	var out strings.Builder
	for _, c := range b {
		if ip.Is4() {
			fmt.Fprintf(&out, "%d.", c)
		} else {
			fmt.Fprintf(&out, "%x.%x.", c&15, c>>4)
		}
	}
	if ip.Is4() {
		return out.String() + "in-addr.arpa"
	}
	return out.String() + "ip6.arpa"
}

// leads says why a name does not lead to an address; "" if it does.
func (h *House) leads(ctx context.Context, name mail.Domain, ip netip.Addr) string {
	ans, err := h.o.DNS.Addresses(ctx, name)
	switch {
	case dns.IsAbsent(err):
		return fmt.Sprintf("%s has no address", name)
	case err != nil:
		return fmt.Sprintf("it cannot be found out just now: %v", err)
	case !slices.ContainsFunc(ans.Records, func(a netip.Addr) bool { return a.Unmap() == ip }):
		return fmt.Sprintf("%s leads to %v only", name, ans.Records)
	}
	return ""
}

// leadsBack says why an address does not lead to a name; "" if it does.
func (h *House) leadsBack(ctx context.Context, name mail.Domain, ip netip.Addr) string {
	ans, err := h.o.DNS.PTR(ctx, ip)
	switch {
	case dns.IsAbsent(err):
		return fmt.Sprintf("%s has no name", ip)
	case err != nil:
		return fmt.Sprintf("it cannot be found out just now: %v", err)
	case !slices.ContainsFunc(ans.Records, func(n mail.Domain) bool { return strings.EqualFold(string(n), string(name)) }):
		return fmt.Sprintf("%s leads to %v only", ip, ans.Records)
	}
	return ""
}

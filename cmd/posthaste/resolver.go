package main

import (
	"fmt"
	"log/slog"
	"strings"

	mdns "github.com/miekg/dns"

	"posthaste/internal/base/dns"
	"posthaste/internal/server/config"
	"posthaste/internal/server/resolver"
	"posthaste/internal/server/resolver/dnssec"
	"posthaste/internal/server/resolver/recursor"
)

// newResolver makes the resolver that the configuration wants.
func newResolver(c config.DNS, log *slog.Logger) (dns.Resolver, error) {
	r := &resolver.Resolver{Log: log}
	if c.Recursive {
		roots := c.RootServers
		if len(roots) == 0 {
			roots = recursor.Roots()
		}
		r.Source = &recursor.Recursor{Roots: roots, Exchange: resolver.Ask}
	} else {
		servers := c.Servers
		if len(servers) == 0 {
			var err error
			if servers, err = resolver.System(); err != nil {
				return nil, err
			}
		}
		r.Source = &resolver.Forward{Servers: servers}
		r.Probe = c.DNSSEC == "auto"
	}
	if c.DNSSEC == "never" {
		return r, nil
	}
	anchors, err := trustAnchors(c.TrustAnchors)
	if err != nil {
		return nil, err
	}
	r.Validator = &dnssec.Validator{Source: r.Source, Anchors: anchors}
	return r, nil
}

func trustAnchors(lines []string) ([]*mdns.DS, error) {
	if len(lines) == 0 {
		return recursor.Anchors(), nil
	}
	var out []*mdns.DS
	for _, l := range lines {
		rr, err := mdns.NewRR(strings.TrimSpace(l))
		if err != nil {
			return nil, fmt.Errorf("dns.trust_anchors: %q: %w", l, err)
		}
		ds, ok := rr.(*mdns.DS)
		if !ok || ds.Hdr.Name != "." {
			return nil, fmt.Errorf("dns.trust_anchors: %q is no DS record of the root: write \". DS 12345 13 2 ab12...\"", l)
		}
		out = append(out, ds)
	}
	return out, nil
}

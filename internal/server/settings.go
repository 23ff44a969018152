package server

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

// settingsOf gives the settings of a domain of ours for mail programs.
func (h *House) settingsOf(ctx context.Context, d mail.Domain) (discovery.Settings, error) {
	dom, err := h.directory.Domain(ctx, d)
	return discovery.Settings{Domain: string(d), Main: string(dom.AliasOf), Services: services(h.c)}, err
}

// services gives where mail programs read, send and filter: the ports with TLS. Those that only
// this machine reaches count if there are no others for the protocol.
func services(c config.Config) []discovery.Service {
	name, err := mail.ParseDomain(c.Hostname)
	if err != nil {
		return nil // Build has said so
	}
	var near, far []discovery.Service
	for _, l := range c.Listeners {
		p := discovery.Protocol(l.Protocol)
		if p != discovery.IMAP && p != discovery.POP3 && p != discovery.Submission && p != discovery.Sieve || l.TLS == "none" {
			continue
		}
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue
		}
		n, err := strconv.Atoi(port)
		if err != nil || n == 0 {
			continue
		}
		s := discovery.Service{Protocol: p, Host: string(name), Port: n, STARTTLS: l.TLS == "starttls"}
		if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
			near = append(near, s)
		} else {
			far = append(far, s)
		}
	}
	all := far
	for _, s := range near {
		if !slices.ContainsFunc(far, func(f discovery.Service) bool { return f.Protocol == s.Protocol }) {
			all = append(all, s)
		}
	}
	return discovery.Sort(all)
}

// signposts gives the records by which mail programs find the settings of a domain.
func (h *House) signposts(host, d mail.Domain) (out []admind.Record) {
	for _, r := range discovery.SRVRecords(discovery.Settings{Domain: string(d), Services: services(h.c)}) {
		out = append(out, admind.Record{Name: r.Name, Type: "SRV", Value: r.Value, Why: r.Why})
	}
	if !h.servesWeb() {
		return out
	}
	return append(out,
		admind.Record{Name: discovery.AutoconfigHost + string(d), Type: "CNAME", Value: string(host) + ".", Why: "Thunderbird and others find the settings there; one of the certificates must have this name"},
		admind.Record{Name: discovery.AutodiscoverHost + string(d), Type: "CNAME", Value: string(host) + ".", Why: "Outlook and others find the settings there; one of the certificates must have this name"},
		admind.Record{Name: "_autodiscover._tcp." + string(d), Type: "SRV", Value: "0 1 443 " + string(host) + ".", Why: "Outlook finds the settings by it, too"})
}

package mx

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
)

const (
	// clientTime bounds what is asked about a client.
	clientTime = 5 * time.Second
	// unknownHalf is when half of the unknown recipients of a network is forgotten.
	unknownHalf = time.Hour
	networks    = 50_000 // that are remembered
	maxListText = 200    // bytes of what a list says
)

// Counts is what is remembered of clients from one transaction to the next. It is
// made by NewCounts.
type Counts struct {
	rate    *limit.Rate[netip.Prefix]
	unknown *limit.Score[netip.Prefix]
	// complained are lists that do not answer us, of which the log has heard.
	complained *limit.Rate[mail.Domain]
	perHour    int // of the rate
}

// NewCounts makes the counts for a policy. What was counted before, for another one or the
// same, goes on; nil: nothing was.
func NewCounts(p Policy, before *Counts) *Counts {
	c := &Counts{perHour: p.PerHour}
	if before != nil {
		c.unknown, c.complained = before.unknown, before.complained
	} else {
		c.unknown, c.complained = limit.NewScore[netip.Prefix](unknownHalf, networks), limit.NewRate[mail.Domain](1, time.Hour, 100)
	}
	switch {
	case before != nil && before.perHour == p.PerHour:
		c.rate = before.rate
	case p.PerHour > 0:
		c.rate = limit.NewRate[netip.Prefix](p.PerHour, time.Hour/time.Duration(p.PerHour), networks)
	}
	return c
}

// client finds out what can be known of who is about to bring a message.
func (a *Agent) client(ctx context.Context, peer mail.Peer, now time.Time) Client {
	if !a.judges(peer) {
		return Client{}
	}
	c := Client{Judged: true, Addr: peer.Addr.Addr().Unmap(), Hello: peer.Hello}
	if a.Counts != nil {
		network := limit.Network(c.Addr)
		c.Unknown = int(a.Counts.unknown.Score(network, now))
		if a.Counts.rate != nil {
			c.Wait = a.Counts.rate.Take(network, 1, now)
		}
	}
	if c.Wait > 0 {
		return c // what else there is does not matter
	}
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { c.Iprev = a.iprev(ctx, peer) })
	found := make([]*Listing, len(a.Policy.Lists))
	for i, l := range a.Policy.Lists {
		wg.Go(func() { found[i] = a.listed(ctx, l, c.Addr, now) })
	}
	wg.Wait()
	for _, l := range found {
		if l != nil {
			c.Lists = append(c.Lists, *l)
		}
	}
	return c
}

// unknown counts a recipient that nobody is.
func (a *Agent) unknown(peer mail.Peer, now time.Time) {
	if a.Counts != nil && a.judges(peer) {
		a.Counts.unknown.Add(limit.Network(peer.Addr.Addr()), 1, now)
	}
}

// iprev tells why the peer has no confirmed name. RFC 8601 §2.7.3
func (a *Agent) iprev(ctx context.Context, peer mail.Peer) Iprev {
	if peer.Name != "" {
		return IprevPass
	}
	_, err := a.DNS.PTR(ctx, peer.Addr.Addr().Unmap())
	switch {
	case err == nil:
		return IprevFail
	case dns.IsAbsent(err):
		return IprevPermError
	}
	return IprevTempError
}

// refusals are the answers of a list that does not answer us: that it is asked
// over a public resolver, or too often.
var refusals = netip.MustParsePrefix("127.255.255.0/24")

// listed asks a list for an address; nil if the list does not have it, or does not
// answer. RFC 5782 §2.1, §2.4
func (a *Agent) listed(ctx context.Context, l List, ip netip.Addr, now time.Time) *Listing {
	name := mail.Domain(listName(ip) + "." + string(l.Zone))
	ans, err := a.DNS.Addresses(ctx, name)
	if err != nil {
		return nil
	}
	hit := false
	for _, code := range ans.Records {
		code = code.Unmap()
		switch {
		case !code.Is4() || !code.IsLoopback(): // a domain that somebody has bought
		case refusals.Contains(code):
			if a.Counts != nil && a.Counts.complained.Take(l.Zone, 1, now) == 0 {
				a.Log.Warn("a list does not answer us: ask it over a resolver of your own, or leave it out", "list", string(l.Zone), "answer", code.String())
			}
		case len(l.Codes) == 0 || slices.ContainsFunc(l.Codes, func(p netip.Prefix) bool { return p.Contains(code) }):
			hit = true
		}
	}
	if !hit {
		return nil
	}
	out := &Listing{List: l}
	if txt, err := a.DNS.TXT(ctx, string(name)); err == nil {
		out.Text = trace.Plain(txt.Records[0], maxListText)
	}
	return out
}

// listName gives an address as lists have it: turned round. RFC 5782 §2.1, §2.4
func listName(ip netip.Addr) string {
	var b []byte
	if ip.Is4() {
		v := ip.As4()
		return fmt.Sprintf("%d.%d.%d.%d", v[3], v[2], v[1], v[0])
	}
	v := ip.As16()
	for i := len(v) - 1; i >= 0; i-- {
		const hex = "0123456789abcdef"
		b = append(b, hex[v[i]&15], '.', hex[v[i]>>4], '.')
	}
	return string(b[:len(b)-1])
}

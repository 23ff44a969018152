package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/server/config"
	"posthaste/internal/store/queue"
)

// byMX is the way that an operator asks for who wants mail to go to its domain's MX
// whatever the routes say.
const byMX = config.RouteMX

// maxOwnWays is how many hosts are remembered that operators had mail go to.
const maxOwnWays = 100

// A route is one of the configuration.
type route struct {
	config.Route
	t mta.Transport
}

// ways are all that mail may go by: our own mailboxes, the accounts that people have
// elsewhere, the routes of the configuration, the hosts that operators name, and the
// domain's MX.
type ways struct {
	house  *House
	local  mta.Transport
	open   map[string]*mta.Remote // to the MX, by the name of the pool; "" is without one
	pools  map[string]string      // by domain of the sender
	routes []route                // the narrowest first
	byName map[string]mta.Transport

	mu      sync.Mutex
	remotes []*mta.Remote
	own     map[string]*mta.Remote
}

func (w *ways) build(routes []config.Route) error {
	pools, err := w.egress(w.house.c.Egress)
	if err != nil {
		return err
	}
	w.open = map[string]*mta.Remote{}
	for name, pool := range pools {
		// Opportunistic, if a domain does not say more: any TLS is better than none.
		r := w.remote(nil, &tls.Config{InsecureSkipVerify: true, RootCAs: w.house.o.Roots, MinVersion: tls.VersionTLS12})
		r.STS, r.Tell, r.Egress = w.house.sts.Policy, w.house.tell, pool
		w.open[name] = r
	}
	w.byName, w.own = map[string]mta.Transport{}, map[string]*mta.Remote{}
	for _, r := range routes {
		t, err := w.fixed(r)
		if err != nil {
			return err
		}
		t.Egress = pools[r.Egress]
		if r.Name != "" {
			w.byName[r.Name] = t
		}
		if r.Domain != "" {
			w.routes = append(w.routes, route{r, t})
		}
	}
	slices.SortStableFunc(w.routes, func(a, b route) int { return b.narrow() - a.narrow() })
	return nil
}

// egress makes the pools, by name; "" is none.
func (w *ways) egress(list []config.Egress) (map[string]*mta.Egress, error) {
	pools := map[string]*mta.Egress{"": nil}
	w.pools = map[string]string{}
	if len(list) > 0 && w.house.o.DialFrom == nil {
		return nil, errors.New("server: [[egress]]: this server cannot choose the address that it dials from")
	}
	for _, e := range list {
		pool := &mta.Egress{Name: e.Name, Dial: w.house.o.DialFrom}
		for _, a := range e.Addresses {
			pool.Sources = append(pool.Sources, mta.Source{Hello: a.Hello, IPv4: a.IPv4, IPv6: a.IPv6, Weight: a.Weight})
		}
		pools[e.Name] = pool
		for _, d := range e.From {
			w.pools[d] = e.Name
		}
	}
	return pools, nil
}

// pool names the pool that an item's mail to an MX goes out from, and whether it is one
// for its sender; "" is none.
func (w *ways) pool(it *queue.Item) (name string, own bool) {
	if name, own = w.pools[string(it.Envelope.Sender.Domain)]; own {
		return name, true
	}
	if w.open[config.EgressDefault] != nil {
		name = config.EgressDefault
	}
	return name, false
}

// narrow is greater for what concerns less: a domain goes before a sender, and a
// sender before how often it was tried.
func (r *route) narrow() (n int) {
	n = r.After
	if r.From != "" {
		n += 1 << 20
	}
	if r.Domain != "*" {
		n += 1 << 21
	}
	return n
}

// match gives the route of an item; nil if there is none for it.
func (w *ways) match(it *queue.Item) *route {
	for i := range w.routes {
		r := &w.routes[i]
		if (r.Domain == "*" || r.Domain == string(it.Domain)) && (r.From == "" || r.From == string(it.Envelope.Sender.Domain)) && it.Attempts >= r.After {
			return r
		}
	}
	return nil
}

// of names the way of an item, if it is not the same for all mail to its domain.
func (w *ways) of(it *queue.Item) string {
	switch {
	case it.Via != "" && it.Via != byMX:
		return it.Via
	case it.Errand.Is():
		return it.Errand.Way()
	}
	r := w.match(it)
	switch {
	case r == nil || it.Via == byMX:
		if name, own := w.pool(it); own {
			return strings.TrimSpace(it.Via + " from " + name)
		}
		return it.Via
	case r.From == "" && r.After == 0:
		return ""
	case r.Name != "":
		return r.Name
	}
	return r.Host
}

// route gives the transport of an item.
func (w *ways) route(ctx context.Context, it *queue.Item) (mta.Transport, error) {
	switch {
	case it.Via != "" && it.Via != byMX:
		return w.told(it.Via)
	case it.Via == byMX && it.Errand.Is(): // it has recipients of several domains
		return nil, mail.Refuse("4.3.5", "send-as "+it.Errand.As.String()+": an administrator had this go to the MX of its recipients, and mail of an account elsewhere goes by that account (default), or to one host", "")
	case it.Errand.Is():
		return w.house.envoy.Route(ctx, it)
	}
	r := w.match(it)
	if it.Via == byMX {
		r = nil
	}
	if r != nil && r.Domain != "*" {
		return r.t, nil
	}
	ours, err := w.house.directory.HasDomain(ctx, it.Domain)
	switch {
	case err != nil:
		return nil, err
	case ours:
		return w.local, nil
	case r != nil:
		return r.t, nil
	}
	name, _ := w.pool(it)
	return w.open[name], nil
}

// told gives the transport that an operator has asked for.
func (w *ways) told(via string) (mta.Transport, error) {
	if t := w.byName[via]; t != nil {
		return t, nil
	}
	host, port, err := hostPort(via)
	if err != nil {
		return nil, mail.Refuse("4.3.5", "an administrator had this go by the route "+via+", which the configuration no longer has", "")
	}
	w.mu.Lock()
	r := w.own[via]
	w.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r = w.remote(&mta.Host{Name: host, Port: port}, &tls.Config{InsecureSkipVerify: true})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.own) < maxOwnWays {
		w.own[via] = r
	}
	return r, nil
}

// named gives a way as an item has it, for what an operator calls it: "default", "mx",
// the name of a route, or host:port.
func (w *ways) named(name string) (via string, err error) {
	switch {
	case name == config.RouteDefault:
		return "", nil
	case name == byMX || w.byName[name] != nil:
		return name, nil
	case strings.Contains(name, ":"):
		host, port, err := hostPort(name)
		if err != nil {
			return "", err
		}
		return net.JoinHostPort(host, port), nil
	}
	have := "no [[route]] in the configuration has a name"
	if len(w.byName) > 0 {
		have = "there are " + strings.Join(slices.Sorted(maps.Keys(w.byName)), ", ")
	}
	return "", fmt.Errorf("no route is called %q (%s): write a route's name, host:port, mx, or default", name, have)
}

// hostPort reads what an operator writes of a host.
func hostPort(s string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(s)
	if err == nil {
		if _, err = netip.ParseAddr(host); err != nil {
			var d mail.Domain
			d, err = mail.ParseDomain(host)
			host = string(d)
		}
	}
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return "", "", fmt.Errorf("%q is not host:port: write for example smtp.example.org:25, or [2001:db8::1]:25", s)
	}
	return host, port, nil
}

func (w *ways) remote(to *mta.Host, cfg *tls.Config) *mta.Remote {
	h := w.house
	r := &mta.Remote{Hostname: h.c.Hostname, DNS: h.o.DNS, Dial: h.o.Dial, Log: h.o.Log, TLS: cfg, Fixed: to, Shape: h.shape}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.remotes) < maxOwnWays+len(h.c.Routes)+len(h.c.Egress)+1 {
		w.remotes = append(w.remotes, r)
	}
	return r
}

// close ends the sessions that wait.
func (w *ways) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.remotes {
		r.Close()
	}
}

// fixed makes the transport of a route.
func (w *ways) fixed(r config.Route) (*mta.Remote, error) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		return nil, fmt.Errorf("server: route to %q: %w", r.Host, err)
	}
	to := &mta.Host{Name: host, Port: port}
	if r.Protocol == "lmtp" {
		to.Dialect = smtp.LMTP
	}
	var cfg *tls.Config
	switch r.TLS {
	case "opportunistic":
		cfg = &tls.Config{InsecureSkipVerify: true}
	case "required":
		cfg, to.RequireTLS = &tls.Config{RootCAs: w.house.o.Roots}, true
	case "implicit":
		cfg, to.RequireTLS, to.ImplicitTLS = &tls.Config{RootCAs: w.house.o.Roots}, true, true
	}
	if r.Username != "" {
		to.Login = w.house.login(r)
	}
	return w.remote(to, cfg), nil
}

package config

import (
	"fmt"
	"net"
	"strings"

	"posthaste/internal/base/mail"
)

// A Route sends a domain, or everything ("*"), to a given host. Of several that fit,
// the narrowest counts: one with a domain, then one with a sender, then the one
// that applies after the most attempts.
type Route struct {
	// Name is what "posthaste queue reroute" knows it by. A route that has nothing
	// else is for that only.
	Name   string `toml:"name"`
	Domain string `toml:"domain"`
	// From is the domain of the senders whose mail it is for; none: all senders.
	From string `toml:"from"`
	// After is how often other ways must have failed before.
	After int    `toml:"after"`
	Host  string `toml:"host"` // host:port
	// Egress is the pool of addresses that it goes out from; none: as the system
	// chooses.
	Egress string `toml:"egress"`
	// Protocol is smtp or lmtp.
	Protocol string `toml:"protocol"`
	// TLS is none, opportunistic, required (with a certificate that is checked)
	// or implicit (the same, from the first byte).
	TLS          string `toml:"tls"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// OAuth2 gets tokens to log in with, in place of the password.
	OAuth2 *OAuth2 `toml:"oauth2"`
}

// What an operator calls the ways that no route is needed for.
const (
	RouteMX      = "mx"
	RouteDefault = "default"
)

// maxAfter is how often a message is tried at most, and more.
const maxAfter = 1000

func checkRoutes(routes []Route) error {
	names := map[string]bool{}
	type who struct {
		domain, from string
		after        int
	}
	have := map[who]bool{}
	for i := range routes {
		r := &routes[i]
		if err := checkRoute(r); err != nil {
			return err
		}
		if r.Name != "" && names[r.Name] {
			return fmt.Errorf("two [[route]]s are called %q: give each its own name", r.Name)
		}
		names[r.Name] = true
		w := who{r.Domain, r.From, r.After}
		if r.Domain != "" && have[w] {
			return fmt.Errorf("two [[route]]s are for the same mail, that for the domain %q: leave one out, or set them apart by from or after", r.Domain)
		}
		have[w] = true
	}
	return nil
}

func checkRoute(r *Route) error {
	if r.Protocol == "" {
		r.Protocol = "smtp"
	}
	if r.TLS == "" {
		r.TLS = "opportunistic"
	}
	if err := r.checkMatch(); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil || host == "" {
		return fmt.Errorf("[[route]] %s: host %q: write host:port", r.label(), r.Host)
	}
	if !oneOf(r.Protocol, "smtp", "lmtp") || !oneOf(r.TLS, "none", "opportunistic", "required", "implicit") {
		return fmt.Errorf("[[route]] %s: protocol is smtp or lmtp; tls is none, opportunistic, required or implicit", r.label())
	}
	if (r.Username == "") != (r.PasswordFile == "" && r.OAuth2 == nil) || r.PasswordFile != "" && r.OAuth2 != nil {
		return fmt.Errorf("[[route]] %s: username and password_file belong together, or username and oauth2", r.label())
	}
	if r.Username != "" && (r.TLS == "none" || r.TLS == "opportunistic") {
		return fmt.Errorf("[[route]] %s: a password or a token is sent only with tls required or implicit", r.label())
	}
	if r.OAuth2 != nil {
		if err := r.OAuth2.check(); err != nil {
			return fmt.Errorf("[[route]] %s: oauth2: %w", r.label(), err)
		}
	}
	return nil
}

// isName tells whether something can be called so in a file and on a command line.
func isName(s string) bool {
	return s != "" && len(s) <= 60 && !strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", c)
	})
}

// label is what the route is called in what is said of it.
func (r *Route) label() string {
	if r.Domain == "" {
		return r.Name
	}
	return r.Domain
}

// checkMatch checks which mail the route is for.
func (r *Route) checkMatch() error {
	if r.Name != "" && !isName(r.Name) {
		return fmt.Errorf("[[route]] name %q: use small letters, digits, dots, - and _ only", r.Name)
	}
	if r.Name == RouteMX || r.Name == RouteDefault {
		return fmt.Errorf("[[route]] name %q has a meaning of its own: choose another", r.Name)
	}
	if r.After < 0 || r.After > maxAfter {
		return fmt.Errorf("[[route]] %s: after is a number of attempts, from 0 to %d", r.label(), maxAfter)
	}
	if r.From != "" {
		d, err := mail.ParseDomain(r.From)
		if err != nil {
			return fmt.Errorf("[[route]] from %q is no domain name", r.From)
		}
		if r.From = string(d); r.Domain == "" {
			r.Domain = "*"
		}
	}
	if r.Domain == "" && r.Name != "" && r.After == 0 || r.Domain == "*" {
		return nil
	}
	d, err := mail.ParseDomain(r.Domain)
	if err != nil {
		return fmt.Errorf("[[route]] domain %q is no domain name, and not \"*\"", r.Domain)
	}
	r.Domain = string(d)
	return nil
}

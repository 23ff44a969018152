package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"posthaste/internal/base/mail"
)

// EgressDefault is the pool of all mail that no other is for.
const EgressDefault = "default"

// maxWeight bounds how much more one address of a pool is used than another.
const maxWeight = 1000

// An Egress is a pool of addresses that mail to the MX of other domains goes out from.
type Egress struct {
	// Name is what a route says; "default" is for all mail that no other pool is for.
	Name string `toml:"name"`
	// From are the domains of the senders whose mail it is for.
	From      []string        `toml:"from"`
	Addresses []EgressAddress `toml:"address"`
}

// An EgressAddress is a name, and the addresses of this machine that it has.
type EgressAddress struct {
	Hello  string     `toml:"hello"`
	IPv4   netip.Addr `toml:"ipv4"`
	IPv6   netip.Addr `toml:"ipv6"`
	Weight int        `toml:"weight"` // compared to the others; 0 is 1
}

func (c *Config) checkEgress() error {
	names, from := map[string]bool{}, map[string]string{}
	for i := range c.Egress {
		e := &c.Egress[i]
		if !isName(e.Name) {
			return fmt.Errorf("[[egress]] name %q: use small letters, digits, dots, - and _ only", e.Name)
		}
		if names[e.Name] {
			return fmt.Errorf("two [[egress]] are called %q: give each its own name", e.Name)
		}
		names[e.Name] = true
		for j, f := range e.From {
			d, err := mail.ParseDomain(f)
			if err != nil {
				return fmt.Errorf("[[egress]] %s: from: %q is no domain name", e.Name, f)
			}
			e.From[j] = string(d)
			if other := from[string(d)]; other != "" {
				return fmt.Errorf("[[egress]] %s: mail from %s goes out by %s already: name it in one of them", e.Name, d, other)
			}
			from[string(d)] = e.Name
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("[[egress]] %s: %w", e.Name, err)
		}
		used := slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Egress == e.Name })
		if len(e.From) == 0 && e.Name != EgressDefault && !used {
			return fmt.Errorf("[[egress]] %s is for no mail: give it senders (from), name it in a [[route]], or call it \"default\"", e.Name)
		}
	}
	for _, r := range c.Routes {
		if r.Egress != "" && !names[r.Egress] {
			return fmt.Errorf("[[route]] %s: there is no [[egress]] called %q", r.label(), r.Egress)
		}
	}
	return nil
}

func (e *Egress) check() error {
	if e.Name == EgressDefault && len(e.From) > 0 {
		return errors.New("it is for all mail: leave out from, or call it otherwise")
	}
	if len(e.Addresses) == 0 {
		return errors.New("it needs at least one [[egress.address]]")
	}
	hellos := map[string]bool{}
	for i := range e.Addresses {
		a := &e.Addresses[i]
		d, err := mail.ParseDomain(a.Hello)
		if err != nil {
			return fmt.Errorf("hello %q is no domain name: write the name that leads to the address and back", a.Hello)
		}
		if a.Hello = string(d); hellos[a.Hello] {
			return fmt.Errorf("two addresses are called %s: give each a name of its own", d)
		}
		hellos[a.Hello] = true
		if !a.IPv4.IsValid() && !a.IPv6.IsValid() || a.IPv4.IsValid() && !a.IPv4.Is4() || a.IPv6.IsValid() && !a.IPv6.Is6() {
			return fmt.Errorf("%s: say ipv4 = \"192.0.2.1\", ipv6 = \"2001:db8::1\", or both", d)
		}
		if a.Weight < 0 || a.Weight > maxWeight {
			return fmt.Errorf("%s: weight is a number from 1 to %d", d, maxWeight)
		}
		if a.Weight == 0 {
			a.Weight = 1
		}
	}
	return nil
}

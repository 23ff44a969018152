package mx

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/mailbox"
)

// A Policy says what speaks against a client, and how much: points are added, and
// decide. Zero fields say nothing.
type Policy struct {
	Lists []List
	// NoName is for an address without a name that leads back to it, BadHello for a
	// client that calls itself what it cannot be.
	NoName, BadHello int
	// Junk and Refuse are the points from which on mail goes to Junk or is refused.
	Junk, Refuse int
	// PerHour is how many messages a network may bring in an hour, Unknown how many
	// recipients it may name that nobody is before it must wait.
	PerHour, Unknown int
	// Greylist says which strangers are asked to come again.
	Greylist Greylist
}

// A List is a list of addresses that somebody keeps in the DNS. RFC 5782
type List struct {
	Zone   mail.Domain
	Points int
	// Codes are the answers that count; none: all but 127.255.255.0/24, by which
	// lists say that they do not answer us.
	Codes []netip.Prefix
}

// A Listing is what a list says of an address.
type Listing struct {
	List List
	Text string // its reason, one line
}

// A Client is what is known of who brings mail before he has brought it.
type Client struct {
	Judged bool // the rest was looked for
	Addr   netip.Addr
	Hello  string
	Iprev  Iprev
	Lists  []Listing // that have the address
	// Wait is how long his network must wait until it may bring more, Unknown how
	// many recipients it has named lately that nobody is.
	Wait    time.Duration
	Unknown int
}

// An Iprev is whether an address has a name that leads back to it. RFC 8601 §2.7.3
type Iprev string

// The results.
const (
	IprevPass      Iprev = "pass"
	IprevFail      Iprev = "fail"      // it has names, and none leads back
	IprevPermError Iprev = "permerror" // it has no name
	IprevTempError Iprev = "temperror" // it could not be found out just now
)

// A point speaks against a client.
type point struct {
	points int
	why    string
}

// against gives what speaks against a client.
func (p Policy) against(c Client) (out []point) {
	add := func(n int, format string, args ...any) {
		if n != 0 {
			out = append(out, point{n, fmt.Sprintf(format, args...)})
		}
	}
	for _, l := range c.Lists {
		why := "it is on the list " + string(l.List.Zone)
		if l.Text != "" {
			why += " (" + l.Text + ")"
		}
		add(l.List.Points, "%s", why)
	}
	switch c.Iprev {
	case IprevPermError:
		add(p.NoName, "it has no name in the DNS")
	case IprevFail:
		add(p.NoName, "its name in the DNS does not lead back to it")
	}
	if bad := c.badHello(); bad != "" {
		add(p.BadHello, "%s", bad)
	}
	return out
}

// badHello tells what is wrong about what the client calls itself. RFC 5321 §4.1.1.1
func (c Client) badHello() string {
	d, err := mail.ParseDomain(c.Hello)
	ip, literal := d.IP()
	switch {
	case err != nil:
		return "it calls itself what is no name"
	case literal && ip.Unmap() != c.Addr.Unmap():
		return "it calls itself an address that it has not"
	case !literal && !strings.Contains(string(d), "."):
		return "it calls itself by a name without a domain"
	}
	if _, err := netip.ParseAddr(string(d)); err == nil && !literal {
		return "it calls itself by a number, which is no name"
	}
	return ""
}

// Weigh gives the points against a client, and why, in words.
func (p Policy) Weigh(c Client) (points int, why string) {
	var words []string
	for _, a := range p.against(c) {
		points += a.points
		words = append(words, a.why)
	}
	return points, strings.Join(words, ", and ")
}

// Admit says at the first recipient whether a client may bring a message at all. It
// asks nobody, as Judge does not.
func (p Policy) Admit(c Client) Verdict {
	if !c.Judged {
		return Verdict{}
	}
	network := c.Addr.String()
	switch {
	case c.Wait > 0:
		return Verdict{Refusal: mail.Refuse("4.7.1", fmt.Sprintf("too many messages from %s, try again in %s", network, c.Wait.Round(time.Second)), "")}
	case p.Unknown > 0 && c.Unknown >= p.Unknown:
		return Verdict{Refusal: mail.Refuse("4.7.1", fmt.Sprintf("too many recipients that nobody is here were named from %s, try again later", network), "")}
	}
	points, why := p.Weigh(c)
	switch {
	case p.Refuse > 0 && points >= p.Refuse:
		return Verdict{Refusal: mail.Refuse("5.7.1", "mail from "+network+" is not taken here: "+why, "")}
	case p.Junk > 0 && points >= p.Junk:
		return Verdict{Mailbox: mailbox.JunkRole, Reason: "junk because of where it comes from: " + why}
	}
	return Verdict{}
}

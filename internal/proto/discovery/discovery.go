// Package discovery writes what mail programs read to find out how a domain's mail is
// read and sent, so that people need to type no more than their address: the
// configuration file of Thunderbird (draft-ietf-mailmaint-autoconfig), Microsoft's
// Autodiscover, Apple's profiles, and SRV records (RFC 6186, RFC 8314).
//
// None of it depends on who asks, and nothing tells whether an address exists.
package discovery

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Protocol is one that mail programs speak.
type Protocol string

// The protocols.
const (
	IMAP       Protocol = "imap"
	POP3       Protocol = "pop3"
	Submission Protocol = "submission"
	Sieve      Protocol = "sieve" // ManageSieve
)

// A Service is a port where a protocol is spoken.
type Service struct {
	Protocol Protocol
	Host     string
	Port     int
	STARTTLS bool // else TLS from the first byte
}

// Settings are those of a domain.
type Settings struct {
	Domain string
	// Main is the domain of the user names to tell, if Domain is only another name of it.
	Main     string
	Services []Service // the best of a protocol first, as Sort has it
}

// login gives the user name of an address.
func (s Settings) login(address string) string {
	if i := strings.LastIndexByte(address, '@'); s.Main != "" && i >= 0 {
		return address[:i+1] + s.Main
	}
	return address
}

// Sort brings services into the order in which programs should try them: IMAP before
// POP3, TLS from the first byte before STARTTLS (RFC 8314 §3.3), and each once.
func Sort(list []Service) []Service {
	order := []Protocol{IMAP, POP3, Submission, Sieve}
	rank := func(s Service) int {
		n := 2 * slices.Index(order, s.Protocol)
		if s.STARTTLS {
			n++
		}
		return n
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Service) int { return rank(a) - rank(b) })
	return slices.CompactFunc(list, func(a, b Service) bool { return rank(a) == rank(b) })
}

// first gives the best service of a protocol.
func (s Settings) first(p Protocol) (Service, bool) {
	i := slices.IndexFunc(s.Services, func(x Service) bool { return x.Protocol == p })
	if i < 0 {
		return Service{}, false
	}
	return s.Services[i], true
}

// document writes XML behind its declaration.
func document(write func(x *element)) []byte {
	x := &element{}
	x.b.WriteString(xml.Header)
	write(x)
	return x.b.Bytes()
}

// An element writes XML, indented.
type element struct {
	b     bytes.Buffer
	depth int
}

func (x *element) line(format string, args ...any) {
	for range x.depth {
		x.b.WriteString("  ")
	}
	fmt.Fprintf(&x.b, format+"\n", args...)
}

// in writes an element with what inside writes; start may have attributes.
func (x *element) in(name, attributes string, inside func()) {
	if attributes != "" {
		attributes = " " + attributes
	}
	x.line("<%s%s>", name, attributes)
	x.depth++
	inside()
	x.depth--
	x.line("</%s>", name)
}

// text writes an element with text in it.
func (x *element) text(name, text string) { x.line("<%s>%s</%[1]s>", name, escape(text)) }

func (x *element) number(name string, n int) { x.text(name, strconv.Itoa(n)) }

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) // it writes to memory
	return b.String()
}

// Package mtasts reads and writes what a domain says of how its mail servers use
// TLS: the TXT record and the policy of RFC 8461.
package mtasts

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"posthaste/internal/base/mail"
)

// MaxPolicy is the longest policy that is read, in bytes. RFC 8461 §3.3
const MaxPolicy = 64 << 10

// A Mode says what a sender does with a server that does not fit the policy.
type Mode string

// The modes. RFC 8461 §5
const (
	Enforce Mode = "enforce" // do not deliver
	Testing Mode = "testing" // deliver, and report
	None    Mode = "none"    // the domain no longer has a policy
)

// The longest time that a policy may be kept is a year. RFC 8461 §3.2
const maxAge = 31557600 * time.Second

// A Policy is what the domain's web server says.
type Policy struct {
	Mode   Mode
	MaxAge time.Duration // how long it may be kept
	MX     []string      // names, or "*." and a name
}

// Name gives the name that has the domain's TXT record. RFC 8461 §3.1
func Name(d mail.Domain) string { return "_mta-sts." + string(d) }

// Host gives the name of the web server that has the policy. RFC 8461 §3.3
func Host(d mail.Domain) string { return "mta-sts." + string(d) }

// Path is where on that server it is.
const Path = "/.well-known/mta-sts.txt"

// ID reads the id of the policy from the domain's TXT records: none if there is
// no record, or more than one. RFC 8461 §3.1
func ID(texts []string) (id string, ok bool) {
	records := 0
	for _, t := range texts {
		version, rest, _ := strings.Cut(t, ";")
		if strings.TrimRight(version, " \t") != "v=STSv1" {
			continue
		}
		records++
		for part := range strings.SplitSeq(rest, ";") {
			name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
			if strings.TrimRight(name, " \t") == "id" && id == "" {
				id = strings.TrimLeft(value, " \t")
			}
		}
	}
	if records != 1 || !validID(id) {
		return "", false
	}
	return id, true
}

func validID(id string) bool {
	if id == "" || len(id) > 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Record gives our own TXT record.
func Record(id string) string { return "v=STSv1; id=" + id + ";" }

// Parse reads a policy. RFC 8461 §3.2
func Parse(b []byte) (Policy, error) {
	if len(b) > MaxPolicy {
		return Policy{}, fmt.Errorf("mtasts: the policy has more than %d bytes", MaxPolicy)
	}
	if !utf8.Valid(b) {
		return Policy{}, errors.New("mtasts: the policy is no text")
	}
	var p Policy
	seen := map[string]bool{}
	for line := range bytes.Lines(b) {
		key, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n \t"), ":")
		if !ok {
			if strings.TrimSpace(key) == "" {
				continue
			}
			return Policy{}, fmt.Errorf("mtasts: the line %.80q has no colon", key)
		}
		key, value = strings.TrimRight(key, " \t"), strings.TrimLeft(value, " \t")
		if seen[key] && key != "mx" {
			continue // the first counts
		}
		seen[key] = true
		if err := p.set(key, value); err != nil {
			return Policy{}, err
		}
	}
	switch {
	case !seen["version"] || !seen["mode"] || !seen["max_age"]:
		return Policy{}, errors.New("mtasts: the policy lacks version, mode or max_age")
	case len(p.MX) == 0 && p.Mode != None:
		return Policy{}, errors.New("mtasts: the policy names no mail server")
	}
	return p, nil
}

func (p *Policy) set(key, value string) error {
	switch key {
	case "version":
		if value != "STSv1" {
			return fmt.Errorf("mtasts: the version is %.80q, not STSv1", value)
		}
	case "mode":
		if p.Mode = Mode(value); p.Mode != Enforce && p.Mode != Testing && p.Mode != None {
			return fmt.Errorf("mtasts: there is no mode %.80q", value)
		}
	case "max_age":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || len(value) > 10 {
			return fmt.Errorf("mtasts: max_age %.80q is no number of seconds", value)
		}
		p.MaxAge = time.Duration(min(n, uint64(maxAge/time.Second))) * time.Second
	case "mx":
		d, err := mail.ParseDomain(strings.TrimPrefix(value, "*."))
		if err != nil {
			return fmt.Errorf("mtasts: %.80q is no name of a server", value)
		}
		name := string(d)
		if strings.HasPrefix(value, "*.") {
			name = "*." + name
		}
		p.MX = append(p.MX, name)
	}
	return nil
}

// Allows tells whether a server's name is among those of the policy. A "*" stands
// for one label. RFC 8461 §4.1
func (p Policy) Allows(host mail.Domain) bool {
	for _, m := range p.MX {
		above, wild := strings.CutPrefix(m, "*.")
		if !wild {
			if m == string(host) {
				return true
			}
			continue
		}
		if _, rest, ok := strings.Cut(string(host), "."); ok && rest == above {
			return true
		}
	}
	return false
}

// Append writes the policy as the web server gives it.
func (p Policy) Append(b []byte) []byte {
	b = fmt.Appendf(b, "version: STSv1\r\nmode: %s\r\n", p.Mode)
	for _, m := range p.MX {
		b = fmt.Appendf(b, "mx: %s\r\n", m)
	}
	return fmt.Appendf(b, "max_age: %d\r\n", int64(p.MaxAge/time.Second))
}

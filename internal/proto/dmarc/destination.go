package dmarc

import (
	"net/url"
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
)

// A Destination is where a domain wants reports to be sent.
type Destination struct {
	Address mail.Address
	Max     int64 // bytes of a message that it takes; 0: it does not say
}

// ParseDestination reads a URI of rua= or ruf=: an address behind "mailto:", and
// after a "!" the largest message that it takes, as in RFC 7489 §6.2. It tells
// nothing of other schemes, and of what is no address.
func ParseDestination(uri string) (Destination, bool) {
	var d Destination
	scheme, rest, ok := strings.Cut(strings.TrimSpace(uri), ":")
	if !ok || !strings.EqualFold(scheme, "mailto") {
		return d, false
	}
	if i := strings.LastIndexByte(rest, '!'); i >= 0 { // in an address it is written %21
		if d.Max, ok = size(rest[i+1:]); !ok {
			return d, false
		}
		rest = rest[:i]
	}
	rest, _, _ = strings.Cut(rest, "?")
	text, err := url.PathUnescape(rest)
	if err != nil {
		return d, false
	}
	d.Address, err = mail.ParseAddress(text)
	return d, err == nil && d.Address.IsASCII() && d.Address.Domain != ""
}

// size reads a number of bytes with one of the units k, m, g and t.
func size(s string) (int64, bool) {
	unit := int64(1)
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			unit, s = 1<<(10*(i+1)), s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 22)
	return int64(n) * unit, err == nil && n > 0
}

// AgreementName gives the name that has the TXT record by which a host agrees to
// take the reports on a policy domain that is not its own. RFC 9990 §4
func AgreementName(policy, host mail.Domain) string {
	return string(policy) + "._report._dmarc." + string(host)
}

// Agreed tells whether one of the TXT records of an AgreementName agrees, and
// where the reports are to go instead, if they say so. RFC 9990 §4
func Agreed(texts []string) (instead []string, ok bool) {
	for _, t := range texts {
		version, rest, _ := strings.Cut(t, ";")
		name, value, _ := strings.Cut(version, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "v") || strings.TrimSpace(value) != "DMARC1" {
			continue
		}
		ok = true
		for part := range strings.SplitSeq(rest, ";") {
			if name, value, _ := strings.Cut(part, "="); strings.EqualFold(strings.TrimSpace(name), "rua") && instead == nil {
				instead = addresses(value)
			}
		}
	}
	return instead, ok
}

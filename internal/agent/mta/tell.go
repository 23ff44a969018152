package mta

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dane"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/tlsrpt"
)

// A Session is what came of a session with a host of a domain, as far as TLS
// goes: what reports of RFC 8460 count.
type Session struct {
	Domain mail.Domain
	Kind   tlsrpt.Kind
	Policy []string // its lines, or the TLSA records
	MX     []string // the names in an MTA-STS policy
	Host   string   // "" if it came to no host
	IP     netip.Addr
	Result tlsrpt.Result // "" is success
	Reason string        // in words
}

// policy gives what gives a domain's MTA-STS policy: it is asked for once, and
// only if somebody wants to know.
func (r *Remote) policy(ctx context.Context, d mail.Domain) func() mtasts.Policy {
	return sync.OnceValue(func() mtasts.Policy {
		if r.STS == nil {
			return mtasts.Policy{}
		}
		p, wrong := r.STS(ctx, d)
		if wrong != "" && r.Tell != nil {
			r.Tell(Session{Domain: d, Kind: tlsrpt.STS, Result: wrong, Reason: "the MTA-STS policy of the domain could not be had"})
		}
		return p
	})
}

// tell tells of a session with a host of a domain, or of why there was none. A
// host that was not reached, or would not have us, says nothing of TLS.
func (r *Remote) tell(d mail.Domain, t target, s *session, err error) {
	if r.Tell == nil || t.need == nil {
		return
	}
	var bad *insecure
	switch {
	case s != nil && s.doubt != nil:
		err = s.doubt
	case s != nil && !s.secure:
		err = smtp.ErrNoTLS
	}
	if ins, ok := errors.AsType[*insecure](err); ok {
		bad = ins
	} else if err != nil && s == nil {
		return
	}
	out := t.need.session()
	out.Domain, out.Host, out.IP = d, t.name, t.ip
	switch {
	case bad != nil:
		out.Result, out.Reason = bad.result, plain(bad)
	case errors.Is(err, smtp.ErrNoTLS):
		out.Result, out.Reason = tlsrpt.NoSTARTTLS, plain(err)
	case err != nil:
		out.Result, out.Reason = tlsrpt.Validation, plain(err)
	}
	r.Tell(out)
}

// session gives what a report says of the protection.
func (p *protection) session() Session {
	s := Session{Kind: p.kind}
	switch p.kind {
	case "":
		s.Kind = tlsrpt.NoPolicy
	case tlsrpt.STS:
		s.MX = p.sts.MX
		for line := range strings.Lines(string(p.sts.Append(nil))) {
			s.Policy = append(s.Policy, strings.TrimRight(line, "\r\n"))
		}
	case tlsrpt.TLSA:
		for _, rec := range p.records {
			s.Policy = append(s.Policy, dane.Text(rec))
		}
	}
	return s
}

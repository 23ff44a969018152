package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dane"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/tlsrpt"
)

// A protection is what a session with a host must have. The zero protection is
// opportunistic TLS: any is better than none, and none is better than no mail.
type protection struct {
	kind tlsrpt.Kind // what asks for it; "" is nobody
	// testing: whatever is wrong is only told of. RFC 8461 §5
	testing bool
	// lax: the same, as the message asks for no protection; wrong is what is known
	// to be wrong before there is a session. RFC 8689 §4.2.2
	lax   bool
	wrong error
	sts   mtasts.Policy
	// records describe the host's certificate; without any, nobody looks at it.
	records []dns.TLSA
	// base is the name that they stand under, which the host hears in the
	// handshake; names are those that a certificate of theirs may have.
	// RFC 7672 §3.2.2, 8.1
	base  string
	names []string
	// good is until when what it was made of holds.
	good time.Time
}

// must tells whether nothing may be sent without it.
func (p *protection) must() bool { return p.kind != "" && !p.testing && !p.lax }

// label begins what is said of a host that lacks the protection.
func (p *protection) label() string {
	if p.kind == tlsrpt.STS {
		return "MTA-STS: "
	}
	return "DANE: "
}

// An insecure is a host that cannot be spoken to as safely as it must.
type insecure struct {
	result tlsrpt.Result
	label  string
	err    error
}

func (e *insecure) Error() string { return e.label + e.err.Error() }
func (e *insecure) Unwrap() error { return e.err }

// protect finds out how a host of a domain must be spoken to: as its TLSA records
// say, or else as the domain's MTA-STS policy does, which sts gives. An error is
// that the host is not used. RFC 7672 §2.2, RFC 8461 §2, 5
func (r *Remote) protect(ctx context.Context, d, host mail.Domain, mx dns.Answer[mail.Domain], ips dns.Answer[netip.Addr], sts func() mtasts.Policy) (*protection, error) {
	if r.TLS == nil {
		return nil, nil
	}
	// Answers that hold no longer than a session waits do so long enough for one.
	p := &protection{good: time.Now().Add(max(min(mx.TTL, ips.TTL), maxIdle))}
	if mx.Secure && (ips.Secure || ips.Alias != "") {
		if err := r.dane(ctx, p, d, host, ips); err != nil {
			return p, err
		}
		if len(p.records) > 0 {
			return p, nil // the policy cannot make up for it
		}
	}
	policy := sts()
	if policy.Mode != mtasts.Enforce && (policy.Mode != mtasts.Testing || p.kind == tlsrpt.TLSA) {
		return p, nil
	}
	p.kind, p.sts, p.base, p.names = tlsrpt.STS, policy, string(host), []string{string(host)}
	p.testing = policy.Mode == mtasts.Testing
	if !policy.Allows(host) && !p.testing {
		return p, &insecure{result: tlsrpt.Validation, label: p.label(), err: errNotNamed}
	}
	return p, nil
}

// errNotNamed is a host that somebody may have put into the DNS.
var errNotNamed = errors.New("the policy of the domain does not name this server")

// dane looks for the TLSA records of the name that a host's own is an alias of,
// or else of its own. An error is that this cannot be found out: whoever can hold
// the answer back could do so to have the mail in clear. RFC 7672 §2.2.2
func (r *Remote) dane(ctx context.Context, p *protection, d, host mail.Domain, ips dns.Answer[netip.Addr]) error {
	bases := []string{string(host)}
	if ips.Alias != "" && ips.Secure {
		bases = []string{ips.Alias, string(host)}
	}
	for _, base := range bases {
		ans, err := r.DNS.TLSA(ctx, dane.Name(base, 25))
		switch {
		case dns.IsAbsent(err):
			continue
		case err != nil:
			p.kind = tlsrpt.TLSA
			return &insecure{result: tlsrpt.DNSSECInvalid, label: "DANE: ", err: fmt.Errorf("what certificate it must have cannot be found out: %w", err)}
		case !ans.Secure:
			continue
		}
		p.kind, p.base, p.records = tlsrpt.TLSA, base, dane.Usable(ans.Records)
		p.names = []string{base, string(host), string(d)}
		p.good = earlier(p.good, time.Now().Add(max(ans.TTL, maxIdle)))
		return nil
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// secure begins TLS as the protection asks for. After an error the session is of
// no use, except that it may go on in clear after smtp.ErrNoTLS if it need not
// be protected.
func (r *Remote) secure(ctx context.Context, s *session) error {
	p := s.target.need
	if p == nil || p.kind == "" {
		return s.startTLS(ctx, r.TLS, s.target.name)
	}
	cfg := r.TLS.Clone()
	cfg.InsecureSkipVerify = true // it is verified here
	var why error
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if why = p.verify(cs.PeerCertificates, r.TLS.RootCAs, time.Now()); !p.must() {
			return nil
		}
		return why
	}
	err := s.startTLS(ctx, cfg, p.base)
	if err == nil {
		if s.doubt = p.doubt(why); s.doubt == nil {
			s.proof = p.proof()
		}
		return nil
	}
	if !p.must() || ctx.Err() != nil {
		return err
	}
	return p.blame(why, err)
}

// doubt gives what is wrong with a host that is used nevertheless.
func (p *protection) doubt(why error) error {
	switch {
	case p.must():
		return nil
	case p.wrong != nil:
		return p.wrong
	case p.kind == tlsrpt.STS && !p.sts.Allows(mail.Domain(p.base)):
		return &insecure{result: tlsrpt.Validation, label: p.label(), err: errNotNamed}
	case why != nil:
		return &insecure{result: resultOf(why), label: p.label(), err: why}
	}
	return nil
}

// blame says why a host cannot be used.
func (p *protection) blame(why, err error) error {
	if why != nil {
		return &insecure{result: resultOf(why), label: p.label(), err: why}
	}
	if errors.Is(err, smtp.ErrNoTLS) {
		return &insecure{result: tlsrpt.NoSTARTTLS, label: p.label(), err: err}
	}
	if re, ok := errors.AsType[*smtp.ReplyError](err); ok && re.Command == "STARTTLS" {
		return &insecure{result: tlsrpt.NoSTARTTLS, label: p.label(), err: fmt.Errorf("%w: %s", smtp.ErrNoTLS, re.Reply.String())}
	}
	return &insecure{result: tlsrpt.Validation, label: p.label(), err: err}
}

// verify checks the certificates that a host has shown.
func (p *protection) verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if p.kind == tlsrpt.STS {
		return trusted(chain, roots, p.base, now)
	}
	if len(p.records) == 0 {
		return nil
	}
	return dane.Verify(p.records, chain, p.names, now)
}

// trusted checks a host's certificate as a web browser does. RFC 8461 §4.2
func trusted(chain []*x509.Certificate, roots *x509.CertPool, host string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the server has shown no certificate")
	}
	opts := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(opts)
	return err
}

// proof says how a host has shown that it is the right one.
func (p *protection) proof() string {
	switch {
	case p.kind == tlsrpt.STS:
		return "verified by MTA-STS"
	case len(p.records) > 0:
		return "verified by DANE"
	}
	return ""
}

// resultOf gives the name that reports have for a certificate that is not good.
func resultOf(err error) tlsrpt.Result {
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
		return tlsrpt.Expired
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return tlsrpt.HostMismatch
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return tlsrpt.NotTrusted
	}
	return tlsrpt.Validation
}

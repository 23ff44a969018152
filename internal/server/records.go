package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/agent/reporter"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dane"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/keyring"
)

// records gives what a domain whose mail we serve should have in the DNS.
func (h *House) records(ctx context.Context, keys *keyring.Keyring, host, d mail.Domain, o admind.RecordOptions) ([]admind.Record, error) {
	out := []admind.Record{
		{Name: string(d), Type: "MX", Value: fmt.Sprintf("10 %s.", host), Why: "mail for the domain comes to this server"},
		{Name: string(d), Type: "TXT", Value: text("v=spf1 mx -all"), Why: "SPF: only this server sends mail for the domain"},
	}
	signers, err := keys.Signers(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, s := range signers {
		rec, err := s.Record()
		if err != nil {
			return nil, err
		}
		out = append(out, admind.Record{Name: s.Name(), Type: "TXT", Value: text(rec), Why: "DKIM: a key that signs the domain's mail"})
	}
	out = append(out, h.safety(host, d)...)
	dmarc := "v=DMARC1; p=none; rua=mailto:" + reporter.DMARCMailbox + "@" + string(d)
	if o.Failures {
		dmarc += "; ruf=mailto:" + reporter.FailureMailbox + "@" + string(d) + "; fo=1"
	}
	return append(out, admind.Record{
		Name: "_dmarc." + string(d), Type: "TXT", Value: text(dmarc),
		Why: "DMARC: begin with p=none; change it to p=quarantine, then p=reject, when all who send for the domain pass, as \"posthaste reports dmarc\" shows",
	}), nil
}

// safety gives the records by which others know how to send to the domain
// safely.
func (h *House) safety(host, d mail.Domain) (out []admind.Record) {
	if h.o.TLS != nil {
		seen := map[string]bool{}
		for _, c := range h.o.TLS.Certificates {
			leaf, err := x509.ParseCertificate(c.Certificate[0])
			if err != nil {
				continue
			}
			rec := dane.Text(dane.Record(leaf))
			if !seen[rec] {
				seen[rec] = true
				out = append(out, admind.Record{
					Name: dane.Name(string(host), 25), Type: "TLSA", Value: rec,
					Why: "DANE: the key of this server's certificate, if DNSSEC signs the zone; publish the record of a new key a day before the server uses it",
				})
			}
		}
	}
	out = append(out, admind.Record{
		Name: tlsrpt.Name(d), Type: "TXT", Value: text("v=TLSRPTv1; rua=mailto:" + reporter.Mailbox + "@" + string(d)),
		Why: "TLSRPT: others report what was wrong with TLS; \"posthaste reports tls\" shows it",
	})
	if policy := h.policy(); policy != nil {
		out = append(out,
			admind.Record{Name: mtasts.Name(d), Type: "TXT", Value: text(mtasts.Record(policyID(policy))), Why: "MTA-STS: the domain has a policy; a new one has a new id"},
			admind.Record{Name: mtasts.Host(d), Type: "CNAME", Value: string(host) + ".", Why: "MTA-STS: where the policy is; one of the certificates must have this name"})
	}
	return out
}

// policy gives our MTA-STS policy as text, the same for all domains; nil if it is
// not served.
func (h *House) policy() []byte {
	if !slices.ContainsFunc(h.c.Listeners, func(l config.Listener) bool { return l.Protocol == "https" }) {
		return nil
	}
	p := mtasts.Policy{Mode: mtasts.Mode(h.c.MTASTS.Mode), MaxAge: time.Duration(h.c.MTASTS.MaxAge)}
	if host, err := mail.ParseDomain(h.c.Hostname); err == nil {
		p.MX = []string{string(host)}
	}
	return p.Append(nil)
}

// policyFor gives the policy of a domain of ours.
func (h *House) policyFor(ctx context.Context, d mail.Domain) ([]byte, error) {
	ours, err := h.directory.HasDomain(ctx, d)
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, mail.ErrNotFound
	}
	return h.policy(), nil
}

// policyID gives the id of a policy: another text has another.
func policyID(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:10])
}

// maxString is the longest string of a TXT record. RFC 1035 §3.3.14
const maxString = 255

// text gives a TXT record's value in quotes, in as many strings as it needs.
func text(s string) string {
	var parts []string
	for len(s) > maxString {
		parts, s = append(parts, `"`+s[:maxString]+`"`), s[maxString:]
	}
	return strings.Join(append(parts, `"`+s+`"`), " ")
}

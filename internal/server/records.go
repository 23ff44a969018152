package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/agent/keys"
	"posthaste/internal/agent/reporter"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dane"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/keyring"
)

// records gives what a domain whose mail we serve should have in the DNS.
func (h *House) records(ctx context.Context, ring *keyring.Keyring, host, d mail.Domain, o admind.RecordOptions) ([]admind.Record, error) {
	out := []admind.Record{
		{Name: string(d), Type: "MX", Value: fmt.Sprintf("10 %s.", host), Why: "mail for the domain comes to this server"},
		{Name: string(d), Type: "TXT", Value: dns.Quote("v=spf1 mx" + h.senders(d) + " -all"), Why: "SPF: only this server sends mail for the domain"},
	}
	signers, err := signerRecords(ctx, ring, d)
	if err != nil {
		return nil, err
	}
	out = append(out, signers...)
	out = append(out, h.names(ctx, host, d)...)
	out = append(out, h.safety(host, d)...)
	out = append(out, h.signposts(host, d)...)
	dmarc := "v=DMARC1; p=none; rua=mailto:" + reporter.DMARCMailbox + "@" + string(d)
	if o.Failures {
		dmarc += "; ruf=mailto:" + reporter.FailureMailbox + "@" + string(d) + "; fo=1"
	}
	return append(out, admind.Record{
		Name: "_dmarc." + string(d), Type: "TXT", Value: dns.Quote(dmarc),
		Why: "DMARC: begin with p=none; change it to p=quarantine, then p=reject, when all who send for the domain pass, as \"posthaste reports dmarc\" shows",
	}), nil
}

// signers makes what looks after the keys that sign mail.
func (h *House) signers(ring *keyring.Keyring) *keys.Agent {
	return &keys.Agent{Keys: ring, Directory: h.directory, DNS: h.o.DNS, Log: h.o.Log}
}

// signerRecords gives those of the keys that sign a domain's mail, will sign it, or
// have signed it lately.
func signerRecords(ctx context.Context, ring *keyring.Keyring, d mail.Domain) (out []admind.Record, err error) {
	list, err := ring.Keys(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		why := "DKIM: a key that signs the domain's mail"
		switch k.State {
		case keyring.Prepared:
			why = "DKIM: a new key, which signs the domain's mail once it is published"
		case keyring.Retired:
			until := k.Since.Add(keys.KeepTime)
			if time.Now().After(until) {
				continue
			}
			why = "DKIM: a key that signs no more; it must stay until " + until.Format(time.DateOnly)
		}
		rec, err := k.Record()
		if err != nil {
			return nil, err
		}
		out = append(out, admind.Record{Name: k.Name(), Type: "TXT", Value: dns.Quote(rec), Why: why})
	}
	return out, nil
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
		Name: tlsrpt.Name(d), Type: "TXT", Value: dns.Quote("v=TLSRPTv1; rua=mailto:" + reporter.Mailbox + "@" + string(d)),
		Why: "TLSRPT: others report what was wrong with TLS; \"posthaste reports tls\" shows it",
	})
	if policy := h.policy(); policy != nil {
		out = append(out,
			admind.Record{Name: mtasts.Name(d), Type: "TXT", Value: dns.Quote(mtasts.Record(policyID(policy))), Why: "MTA-STS: the domain has a policy; a new one has a new id"},
			admind.Record{Name: mtasts.Host(d), Type: "CNAME", Value: string(host) + ".", Why: "MTA-STS: where the policy is; one of the certificates must have this name"})
	}
	return out
}

// policy gives our MTA-STS policy as text, the same for all domains; nil if it is
// not served.
func (h *House) policy() []byte {
	if !h.servesWeb() {
		return nil
	}
	p := mtasts.Policy{Mode: mtasts.Mode(h.c.MTASTS.Mode), MaxAge: time.Duration(h.c.MTASTS.MaxAge)}
	if host, err := mail.ParseDomain(h.c.Hostname); err == nil {
		p.MX = []string{string(host)}
	}
	return p.Append(nil)
}

func (h *House) servesWeb() bool {
	return slices.ContainsFunc(h.c.Listeners, func(l config.Listener) bool { return l.Protocol == "https" })
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

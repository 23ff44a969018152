package server

import (
	"context"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/keyring"
)

// records gives what a domain whose mail we serve should have in the DNS.
func records(ctx context.Context, keys *keyring.Keyring, host, d mail.Domain) ([]admind.Record, error) {
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
	return append(out, admind.Record{
		Name: "_dmarc." + string(d), Type: "TXT", Value: text("v=DMARC1; p=none"),
		Why: "DMARC: begin with p=none; change it to p=quarantine, then p=reject, when all who send for the domain pass",
	}), nil
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

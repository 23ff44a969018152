package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"posthaste/internal/agent/issuer"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/server/config"
)

// offer gives which mechanisms are announced to people.
func (h *House) offer() (o sasl.Offer) {
	if h.c.Auth.OfferChannelBinding {
		o |= sasl.Bound
	}
	if len(h.c.Auth.Issuers) > 0 {
		o |= sasl.Tokens
	}
	return o
}

// issuers makes those whose tokens are believed.
func issuers(list []config.Issuer, client *http.Client, log *slog.Logger) (out issuer.List) {
	for _, c := range list {
		i := &issuer.Issuer{
			URL: c.URL, Audiences: c.Audience, Claim: c.Claim, Scopes: c.Scopes, Algorithms: c.Algorithms,
			Ask: c.Introspect, ClientID: c.ClientID, Secret: secret(c.SecretFile), Client: client, Log: log,
		}
		for _, d := range c.Domains {
			i.Domains = append(i.Domains, mail.Domain(d))
		}
		out = append(out, i)
	}
	return out
}

// secret reads a secret from its file each time: it may have been changed.
func secret(file string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("server: a secret cannot be read: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
}

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"posthaste/internal/agent/issuer"
	"posthaste/internal/agent/token"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/server/config"
)

// offer gives which mechanisms are announced to people.
func (h *House) offer() (o sasl.Offer) {
	if h.c.Auth.OfferChannelBinding {
		o |= sasl.Bound
	}
	if h.c.Auth.ScramSHA1 {
		o |= sasl.SHA1
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

// login proves who we are to a route's host, by the strongest mechanism that it
// offers. The password is read anew each time: it may have been changed.
func (h *House) login(r config.Route) func(context.Context, []string) (smtp.Authenticator, error) {
	if r.OAuth2 != nil {
		return h.loginByToken(r)
	}
	password := secret(r.PasswordFile)
	return func(_ context.Context, offered []string) (smtp.Authenticator, error) {
		p, err := password()
		if err != nil {
			return nil, err
		}
		if mech := sasl.Best(offered, sasl.ChannelBinding{}); mech != "" {
			return sasl.NewClient(mech, sasl.Credentials{User: r.Username, Password: p}, sasl.ChannelBinding{})
		}
		return nil, fmt.Errorf("server: %s offers no way to log in that we know, only %v", r.Host, offered)
	}
}

// loginByToken does so with an access token.
func (h *House) loginByToken(r config.Route) func(context.Context, []string) (smtp.Authenticator, error) {
	src := h.tokens("route "+r.Host+" "+r.Username, *r.OAuth2)
	return func(ctx context.Context, offered []string) (smtp.Authenticator, error) {
		mech := sasl.BestForToken(offered)
		if mech == "" {
			return nil, fmt.Errorf("server: %s takes no OAuth2 token to log in with, it offers only %v", r.Host, offered)
		}
		t, err := src.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("server: route to %s: %w", r.Host, err)
		}
		c, err := sasl.NewClient(mech, sasl.Credentials{User: r.Username, Password: t}, sasl.ChannelBinding{})
		return &bearer{c, func() { src.Refused(t) }}, err
	}
}

// tokens makes what gets the access tokens of an account elsewhere. name is under
// which its refresh token is kept when it has changed.
func (h *House) tokens(name string, c config.OAuth2) *token.Source {
	src := &token.Source{URL: c.TokenURL, ClientID: c.ClientID, Scope: c.Scope, Client: h.web}
	if c.SecretFile != "" {
		src.Secret = secret(c.SecretFile)
	}
	if c.RefreshFile == "" {
		return src
	}
	first := secret(c.RefreshFile)
	src.Refresh = func(ctx context.Context) (string, error) {
		f, err := first()
		if err != nil {
			return "", err
		}
		return h.keys.RefreshToken(ctx, name, f)
	}
	src.Rotated = func(ctx context.Context, refresh string) error {
		f, err := first()
		if err != nil {
			return err
		}
		return h.keys.KeepRefreshToken(ctx, name, f, refresh)
	}
	return src
}

// A bearer is a client with a token, and tells if it was not taken.
type bearer struct {
	sasl.Client
	refused func()
}

// Next is as of sasl.Client: a challenge is how a token is refused.
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	if len(challenge) > 0 {
		b.refused()
	}
	return b.Client.Next(challenge)
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

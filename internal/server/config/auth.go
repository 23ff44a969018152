package config

import (
	"errors"
	"fmt"
	"strings"

	"posthaste/internal/agent/issuer"
	"posthaste/internal/base/fetch"
	"posthaste/internal/base/mail"
)

// An Issuer gives tokens that people log in with.
type Issuer struct {
	// URL is what it calls itself in its tokens.
	URL string `toml:"url"`
	// Audience is whom its tokens for us are for.
	Audience []string `toml:"audience"`
	// Claim names the account.
	Claim string `toml:"claim"`
	// Domains are those that it speaks for; none: all.
	Domains []string `toml:"domains"`
	// Scopes are what a token must all be good for.
	Scopes []string `toml:"scopes"`
	// Algorithms are those that it signs with.
	Algorithms []string `toml:"algorithms"`
	// Introspect asks the issuer about each token, as this client.
	Introspect bool   `toml:"introspect"`
	ClientID   string `toml:"client_id"`
	SecretFile string `toml:"client_secret_file"`
}

func (i *Issuer) check() error {
	if i.URL == "" {
		return errors.New("[[auth.issuer]] needs a url: what the issuer calls itself in its tokens (iss)")
	}
	if err := fetch.CheckURL(i.URL); err != nil {
		return fmt.Errorf("[[auth.issuer]] url %w", err)
	}
	if strings.Contains(i.URL, "?") {
		return fmt.Errorf("[[auth.issuer]] url %q: an issuer has no query", i.URL)
	}
	if len(i.Audience) == 0 && !i.Introspect {
		return fmt.Errorf("[[auth.issuer]] %s: say as audience whom tokens for us are for (aud), else any of its tokens would open mail", i.URL)
	}
	if i.Introspect != (i.ClientID != "") || i.Introspect != (i.SecretFile != "") {
		return fmt.Errorf("[[auth.issuer]] %s: introspect, client_id and client_secret_file belong together", i.URL)
	}
	if i.Claim == "" {
		i.Claim = "email"
	}
	for n, d := range i.Domains {
		p, err := mail.ParseDomain(d)
		if err != nil {
			return fmt.Errorf("[[auth.issuer]] %s: %q in domains is no domain name", i.URL, d)
		}
		i.Domains[n] = string(p)
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
	}
	for _, a := range i.Algorithms {
		if !oneOf(a, issuer.Algorithms...) {
			return fmt.Errorf("[[auth.issuer]] %s: algorithms are some of %s, not %q", i.URL, strings.Join(issuer.Algorithms, ", "), a)
		}
	}
	return nil
}

// OAuth2 says how we get tokens to log in elsewhere with.
type OAuth2 struct {
	TokenURL   string `toml:"token_url"`
	ClientID   string `toml:"client_id"`
	SecretFile string `toml:"client_secret_file"`
	// RefreshFile has the refresh token; none: the client acts for itself.
	RefreshFile string `toml:"refresh_token_file"`
	Scope       string `toml:"scope"`
}

func (o *OAuth2) check() error {
	if err := fetch.CheckURL(o.TokenURL); err != nil {
		return fmt.Errorf("token_url %w", err)
	}
	if o.ClientID == "" {
		return errors.New("client_id is what the provider calls this server")
	}
	if o.RefreshFile == "" && o.SecretFile == "" {
		return errors.New("name a refresh_token_file, or a client_secret_file if the server acts for itself")
	}
	return nil
}

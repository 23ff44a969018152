// Package issuer believes those who give tokens: it tells whose an access token
// is. A token is either signed by its issuer (a JWT, RFC 7519, as RFC 9068
// profiles it), or the issuer is asked about it (RFC 7662).
//
// It promises:
//
//   - What is believed is what the configuration says, and nothing that the token
//     says: by which algorithms it is signed, by whom, for whom.
//   - Keys are only those that the issuer publishes. They are kept while the issuer
//     is down, and a token with an unknown key makes us look for new ones, but not
//     more often than twice a minute.
//   - A token is not good for ever: what has no end is refused.
package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

// leeway is how far our clock and the issuer's may be apart.
const leeway = time.Minute

// Algorithms are those that a token may be signed with. None of them has a secret
// that both sides know.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// An Issuer is one that is believed. URL, Claim, Client and Log must be set; no
// field may change once it is used, and it must not be copied after that.
type Issuer struct {
	// URL is what it calls itself, to the letter.
	URL string
	// Audiences are what tokens may be for; none: that is not looked at, which is
	// safe only if the issuer is asked.
	Audiences []string
	// Claim is what names the account: "email" counts only if it was verified.
	Claim string
	// Domains are those that it speaks for; none: all. A name without a domain is one
	// of the first.
	Domains []mail.Domain
	// Scopes are what a token must all be good for.
	Scopes []string
	// Algorithms are those that it signs with; some of the package's.
	Algorithms []string
	// Ask asks the issuer about each token: they are not signed, or not for us to
	// read. ClientID and Secret are how we log in there.
	Ask      bool
	ClientID string
	Secret   func() (string, error)
	Client   *http.Client
	Log      *slog.Logger

	mu     sync.Mutex
	about  about
	keys   []jose.JSONWebKey
	tried  time.Time // when it was asked for its keys last
	had    time.Time // and when it had some
	flight *flight
	seen   map[[32]byte]answer
}

// A List is all issuers that are believed.
type List []*Issuer

// Whose tells which name a token is of: an address, or what the issuer has in its
// place. A *sasl.TokenError is a no to the token; any other error means that we
// could not find out.
func (l List) Whose(ctx context.Context, token string) (string, error) {
	if len(l) == 0 || token == "" {
		return "", l.refuse("no token")
	}
	var c jwt.Claims
	if signed, err := jwt.ParseSigned(token, algorithms(Algorithms)); err == nil {
		if err := signed.UnsafeClaimsWithoutVerification(&c); err != nil {
			return "", l.refuse("its claims cannot be read")
		}
		for _, i := range l {
			if !i.Ask && i.URL == c.Issuer {
				return i.signed(ctx, token)
			}
		}
	}
	last := l.refuse("of no issuer that is believed")
	for _, i := range l {
		if !i.Ask || c.Issuer != "" && c.Issuer != i.URL { // another's token is not for its eyes
			continue
		}
		name, err := i.asked(ctx, token)
		if _, refused := errors.AsType[*sasl.TokenError](err); !refused {
			return name, err
		}
		last = err
	}
	return "", last
}

func (l List) refuse(why string) error {
	if len(l) == 0 {
		return &sasl.TokenError{Status: sasl.TokenInvalid, Err: errors.New(why)}
	}
	return l[0].refuse(why)
}

func (i *Issuer) refuse(why string) error {
	return &sasl.TokenError{Status: sasl.TokenInvalid, Scope: strings.Join(i.Scopes, " "), Configuration: i.configuration(), Err: fmt.Errorf("token of %s: %s", i.URL, why)}
}

// signed believes a JWT if it is signed by the issuer's key.
func (i *Issuer) signed(ctx context.Context, token string) (string, error) {
	t, err := jwt.ParseSigned(token, algorithms(i.Algorithms))
	if err != nil {
		return "", i.refuse("signed by an algorithm that is not taken from it")
	}
	h := t.Headers[0]
	if kind, _ := h.ExtraHeaders["typ"].(string); !accessType(kind) {
		return "", i.refuse(fmt.Sprintf("a %.40q is no access token", kind))
	}
	keys, err := i.keysFor(ctx, h)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		var c claims
		if err := t.Claims(k.Key, &c); err == nil {
			return i.believe(c, true)
		}
	}
	return "", i.refuse("signed with none of its keys")
}

// accessType tells what the header of an access token may call it. RFC 9068 §2.1
func accessType(s string) bool {
	switch strings.ToLower(s) {
	case "", "jwt", "at+jwt", "application/at+jwt":
		return true
	}
	return false
}

func algorithms(names []string) (out []jose.SignatureAlgorithm) {
	for _, n := range names {
		out = append(out, jose.SignatureAlgorithm(n))
	}
	return out
}

// believe looks at what a token says that its issuer stands for. whole: it must
// also say whose and for how long, since nobody else has looked.
func (i *Issuer) believe(c claims, whole bool) (string, error) {
	switch kind, _ := c.All["typ"].(string); {
	case c.Issuer != i.URL && (whole || c.Issuer != ""):
		return "", i.refuse("of another issuer")
	case c.Expiry == nil && whole:
		return "", i.refuse("without an end")
	case kind == "ID" || kind == "Refresh" || kind == "Logout" || c.All["token_use"] == "id":
		return "", i.refuse("no access token")
	case len(i.Audiences) > 0 && !slices.ContainsFunc(i.Audiences, c.Audience.Contains):
		return "", i.refuse(fmt.Sprintf("for %.200q, not for us", []string(c.Audience)))
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Time: time.Now()}, leeway); err != nil {
		return "", i.refuse(err.Error())
	}
	has := append(words(c.All["scope"]), words(c.All["scp"])...)
	for _, s := range i.Scopes {
		if !slices.Contains(has, s) {
			err := i.refuse("not good for " + s)
			err.(*sasl.TokenError).Status = sasl.TokenScope
			return "", err
		}
	}
	return i.name(c.All)
}

// name gives the name that the token is of.
func (i *Issuer) name(all map[string]any) (string, error) {
	name, _ := all[i.Claim].(string)
	if name == "" {
		return "", i.refuse("without the claim " + i.Claim)
	}
	if i.Claim == "email" && all["email_verified"] != true && all["email_verified"] != "true" {
		return "", i.refuse("the address in email is not verified (email_verified)")
	}
	if !strings.Contains(name, "@") && len(i.Domains) > 0 {
		name += "@" + string(i.Domains[0])
	}
	a, err := mail.ParseAddress(name)
	if err != nil {
		return "", i.refuse(fmt.Sprintf("%.100q is no address", name))
	}
	if len(i.Domains) > 0 && !slices.Contains(i.Domains, a.Domain) {
		return "", i.refuse("it does not speak for " + string(a.Domain))
	}
	return name, nil
}

// words reads a list, in one string or as JSON has it.
func words(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, w := range v {
			if s, ok := w.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

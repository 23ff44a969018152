package issuer

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"posthaste/internal/base/fetch"
)

const (
	fetchTime = 10 * time.Second
	// fresh is how long keys are good before we look whether there are others.
	fresh = time.Hour
	// again is how soon we look again.
	again = 30 * time.Second
	// Limits of what an issuer may tell.
	maxAbout = 256 << 10
	maxKeys  = 100
	// rsaBits is what a key must have at least. RFC 7518 §3.3
	rsaBits = 2048
)

// about is what an issuer tells of itself. RFC 8414 §2
type about struct {
	Issuer     string `json:"issuer"`
	Keys       string `json:"jwks_uri"`
	Introspect string `json:"introspection_endpoint"`
}

// claims are those that we know of, and all as JSON has them.
type claims struct {
	jwt.Claims
	All map[string]any
}

// UnmarshalJSON reads claims.
func (c *claims) UnmarshalJSON(b []byte) error {
	return errors.Join(json.Unmarshal(b, &c.Claims), json.Unmarshal(b, &c.All))
}

// A flight is the issuer being asked for its keys; done is closed at its end, and
// err is what came of it.
type flight struct {
	done chan struct{}
	err  error
}

// configuration gives where the issuer tells of itself. OpenID Connect Discovery
// §4
func (i *Issuer) configuration() string {
	return strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration"
}

// metadata gives the other place. RFC 8414 §3
func (i *Issuer) metadata() string {
	u, err := url.Parse(i.URL)
	if err != nil {
		return ""
	}
	u.Path = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
	return u.String()
}

// keysFor gives the keys that can be the one which a header names. If none is
// known the issuer is asked, unless it was just before.
func (i *Issuer) keysFor(ctx context.Context, h jose.Header) ([]jose.JSONWebKey, error) {
	i.mu.Lock()
	have := i.matching(h)
	if len(have) > 0 && time.Since(i.had) < fresh {
		i.mu.Unlock()
		return have, nil
	}
	f := i.look()
	none := i.had.IsZero()
	i.mu.Unlock()
	if len(have) > 0 {
		return have, nil // the newer ones are for the next
	}
	if f == nil && !none {
		return nil, nil
	}
	if f == nil {
		return nil, fmt.Errorf("issuer %s: its keys could not be had a moment ago", i.URL)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("issuer %s: %w", i.URL, ctx.Err())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.had.IsZero() {
		return nil, fmt.Errorf("issuer %s: %w", i.URL, f.err)
	}
	return i.matching(h), nil
}

// matching gives the keys that a header can mean. mu is held.
func (i *Issuer) matching(h jose.Header) (out []jose.JSONWebKey) {
	for _, k := range i.keys {
		if (h.KeyID == "" || k.KeyID == h.KeyID) && (k.Algorithm == "" || k.Algorithm == h.Algorithm) {
			out = append(out, k)
		}
	}
	return out
}

// look asks the issuer for its keys, if it was not just before, and gives that
// it is under way, or nil. mu is held.
func (i *Issuer) look() *flight {
	if i.flight != nil || time.Since(i.tried) < again {
		return i.flight
	}
	f := &flight{done: make(chan struct{})}
	i.flight, i.tried = f, time.Now()
	go func() {
		// Others may wait for the same: it does not end with who needs it first.
		ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
		defer cancel()
		about, keys, err := i.learn(ctx)
		if err != nil {
			i.Log.Warn("an issuer of tokens does not tell its keys; those it had are good", "issuer", i.URL, "error", err)
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if err == nil {
			i.about, i.keys, i.had = about, keys, time.Now()
		}
		f.err, i.flight = err, nil
		close(f.done)
	}()
	return f
}

// learn asks the issuer what it is, and for its keys.
func (i *Issuer) learn(ctx context.Context) (a about, keys []jose.JSONWebKey, err error) {
	if a, err = i.describe(ctx); err != nil {
		return a, nil, err
	}
	if i.Ask {
		if err := fetch.CheckURL(a.Introspect); err != nil {
			return a, nil, fmt.Errorf("introspection_endpoint: %w", err)
		}
		return a, nil, nil
	}
	if err := fetch.CheckURL(a.Keys); err != nil {
		return a, nil, fmt.Errorf("jwks_uri: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, a.Keys, &set); err != nil {
		return a, nil, err
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) == nil && usable(k) && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return a, nil, fmt.Errorf("%s has no key that tokens can be signed with", a.Keys)
	}
	return a, keys, nil
}

// usable tells whether a key can be one that proves anything.
func usable(k jose.JSONWebKey) bool {
	if r, ok := k.Key.(*rsa.PublicKey); ok && r.N.BitLen() < rsaBits {
		return false
	}
	return k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig")
}

// describe gives what the issuer tells of itself. It must call itself what we do:
// else it is another. RFC 8414 §3.3
func (i *Issuer) describe(ctx context.Context) (about, error) {
	var failed error
	for _, where := range []string{i.configuration(), i.metadata()} {
		var a about
		err := i.get(ctx, where, &a)
		if err == nil && a.Issuer != i.URL {
			err = fmt.Errorf("%s is of the issuer %q: [[auth.issuer]] url must be that, to the letter", where, a.Issuer)
		}
		if err == nil {
			return a, nil
		}
		failed = errors.Join(failed, err)
	}
	return about{}, failed
}

// get reads JSON.
func (i *Issuer) get(ctx context.Context, where string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	b, err := fetch.Body(i.Client, req, http.StatusOK, maxAbout)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

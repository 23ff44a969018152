package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/fetch"
)

const (
	// remembered is how long an answer about a token counts: so long goes on what was
	// withdrawn.
	remembered = time.Minute
	// refused is how long a no does.
	refused    = 10 * time.Second
	maxSeen    = 10_000
	maxAnswer  = 64 << 10
	maxWaiting = 5 * time.Second
)

// An answer is what an issuer said of a token.
type answer struct {
	name  string
	err   error // a no
	until time.Time
}

// asked asks the issuer about a token. RFC 7662
func (i *Issuer) asked(ctx context.Context, token string) (string, error) {
	key := sha256.Sum256([]byte(token))
	i.mu.Lock()
	a, ok := i.seen[key]
	i.mu.Unlock()
	if ok && time.Now().Before(a.until) {
		return a.name, a.err
	}
	where, err := i.endpoint(ctx)
	if err != nil {
		return "", err
	}
	c, active, err := i.introspect(ctx, where, token)
	if err != nil {
		return "", fmt.Errorf("issuer %s: %w", i.URL, err)
	}
	now := time.Now()
	a = answer{until: now.Add(remembered)}
	if active {
		a.name, a.err = i.believe(c, false)
	} else {
		a.err = i.refuse("no longer good, or never was")
	}
	if a.err != nil {
		a.until = now.Add(refused)
	}
	if c.Expiry != nil && c.Expiry.Time().Before(a.until) {
		a.until = c.Expiry.Time()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen == nil || len(i.seen) >= maxSeen {
		i.seen = map[[32]byte]answer{}
	}
	i.seen[key] = a
	return a.name, a.err
}

// endpoint gives where the issuer is asked.
func (i *Issuer) endpoint(ctx context.Context) (string, error) {
	i.mu.Lock()
	where := i.about.Introspect
	if where != "" && time.Since(i.had) < fresh {
		i.mu.Unlock()
		return where, nil
	}
	f := i.look()
	i.mu.Unlock()
	if where != "" {
		return where, nil
	}
	if f == nil {
		return "", fmt.Errorf("issuer %s: where to ask about tokens could not be had a moment ago", i.URL)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", fmt.Errorf("issuer %s: %w", i.URL, ctx.Err())
	}
	if f.err != nil {
		return "", fmt.Errorf("issuer %s: %w", i.URL, f.err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.about.Introspect, nil
}

func (i *Issuer) introspect(ctx context.Context, where, token string) (c claims, active bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxWaiting)
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(form))
	if err != nil {
		return c, false, err
	}
	secret, err := i.Secret()
	if err != nil {
		return c, false, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(secret)) // RFC 6749 §2.3.1
	b, err := fetch.Body(i.Client, req, http.StatusOK, maxAnswer)
	if err != nil {
		return c, false, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, false, fmt.Errorf("%s: %w", where, err)
	}
	active, _ = c.All["active"].(bool)
	return c, active, nil
}

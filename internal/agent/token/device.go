package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/fetch"
)

const (
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code"
	// usualPoll is how often it is asked whether somebody has allowed it, if the issuer
	// does not say; slower, by how much less often when it says that is too often; and
	// maxPoll how seldom at most. RFC 8628 §3.2, §3.5
	usualPoll = 5 * time.Second
	slower    = 5 * time.Second
	maxPoll   = 5 * time.Minute
	// maxCode is how long a code is good at most, whatever the issuer says.
	maxCode = time.Hour
)

// A Device gets the first refresh token of an account elsewhere: it shows a code, which
// somebody enters in a browser, wherever that is, and allows the access there. RFC 8628
type Device struct {
	URL      string // the device authorization endpoint
	TokenURL string // the token endpoint
	ClientID string
	// Secret is the client's; "": it has none, as programs that people install.
	Secret string
	Scope  string // what the tokens shall be good for; may be empty
	Client *http.Client
}

// A Code is what somebody is to enter, and where.
type Code struct {
	User string
	URL  string
	// Whole is URL with the code in it; "" if there is none such.
	Whole string
	Until time.Time // it is good

	device string
	every  time.Duration
}

func (d *Device) client() *client {
	return &client{id: d.ClientID, secret: d.Secret, known: d.Secret != "", web: d.Client}
}

// Begin asks for a code.
func (d *Device) Begin(ctx context.Context) (c Code, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	form := url.Values{"client_id": {d.ClientID}} // §3.1: also if the client proves who it is
	if d.Scope != "" {
		form.Set("scope", d.Scope)
	}
	status, body, err := d.client().send(ctx, d.URL, form)
	if err != nil {
		return c, fmt.Errorf("token: %w", err)
	}
	var a struct {
		Device      string  `json:"device_code"`
		User        string  `json:"user_code"`
		URL         string  `json:"verification_uri"`
		OldURL      string  `json:"verification_url"` // as drafts had it, and Google has
		Whole       string  `json:"verification_uri_complete"`
		Expires     any     `json:"expires_in"`
		Interval    float64 `json:"interval"`
		Error       string  `json:"error"`
		Description string  `json:"error_description"`
	}
	err = json.Unmarshal(body, &a)
	switch {
	case a.Error != "":
		return c, fmt.Errorf("token: %w", &Error{URL: d.URL, Code: words(a.Error), Description: words(a.Description)})
	case status != http.StatusOK:
		return c, fmt.Errorf("token: %w", &statusError{d.URL, status})
	case err != nil:
		return c, fmt.Errorf("token: %s: %w", d.URL, err)
	}
	if a.URL == "" {
		a.URL = a.OldURL
	}
	c = Code{User: words(a.User), URL: a.URL, Whole: a.Whole, device: a.Device, every: usualPoll, Until: time.Now().Add(min(life(a.Expires), maxCode))}
	if a.Interval >= 1 {
		c.every = time.Duration(min(a.Interval, maxPoll.Seconds()) * float64(time.Second))
	}
	if c.device == "" || strings.TrimSpace(c.User) == "" || !shown(c.URL) {
		return c, fmt.Errorf("token: %s gave no code, or not where to enter it", d.URL)
	}
	if c.Whole != "" && !shown(c.Whole) {
		c.Whole = ""
	}
	return c, nil
}

// shown tells whether an address can be shown to somebody who is to open it.
func shown(s string) bool { return s == words(s) && fetch.CheckURL(s) == nil }

// Wait waits until somebody has entered the code and allowed the access, and gives the
// refresh token. An *Error tells that he has not, or too late.
func (d *Device) Wait(ctx context.Context, c Code) (refresh string, err error) {
	for every := c.every; ; {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return "", fmt.Errorf("token: %w", ctx.Err())
		}
		a, err := d.ask(ctx, c)
		no, said := errors.AsType[*Error](err)
		switch {
		case err == nil && a.Refresh == "":
			return "", fmt.Errorf("token: %s gave no refresh token: as a rule the scope must have offline_access in it", d.TokenURL)
		case err == nil:
			return a.Refresh, nil
		case said && no.Code == "authorization_pending":
		case said && no.Code == "slow_down":
			every = min(every+slower, maxPoll)
		case passes(err):
			every = min(2*every, maxPoll) // §3.5
		default:
			return "", fmt.Errorf("token: %w", err)
		}
		if time.Now().After(c.Until) {
			if !said {
				return "", fmt.Errorf("token: %w", err)
			}
			return "", fmt.Errorf("token: %w", &Error{URL: d.TokenURL, Code: "expired_token"})
		}
	}
}

// passes tells that the token endpoint cannot be asked just now.
func passes(err error) bool {
	if odd, ok := errors.AsType[*statusError](err); ok {
		return odd.status >= 500 || odd.status == http.StatusTooManyRequests
	}
	_, ok := errors.AsType[*url.Error](err)
	return ok
}

func (d *Device) ask(ctx context.Context, c Code) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return d.client().tokens(ctx, d.TokenURL, url.Values{"grant_type": {grantDevice}, "device_code": {c.device}})
}

// Endpoints are where an issuer is asked for tokens. RFC 8414 §2, RFC 8628 §4
type Endpoints struct {
	Issuer string `json:"issuer"`
	Token  string `json:"token_endpoint"`
	Device string `json:"device_authorization_endpoint"` // "": it has none
}

// Discover asks an issuer where it is asked for tokens.
func Discover(ctx context.Context, web *http.Client, issuer string) (e Endpoints, err error) {
	if err := fetch.CheckURL(issuer); err != nil {
		return e, fmt.Errorf("token: issuer: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	u, err := url.Parse(strings.TrimSuffix(issuer, "/"))
	if err != nil {
		return e, fmt.Errorf("token: issuer: %w", err)
	}
	old := *u
	old.Path += "/.well-known/openid-configuration" // OpenID Connect Discovery §4
	u.Path = "/.well-known/oauth-authorization-server" + u.Path
	var body []byte
	var errs []error
	for _, at := range []*url.URL{&old, u} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err == nil {
			body, err = fetch.Body(web, req, http.StatusOK, maxAnswer)
		}
		if err == nil {
			errs = nil
			break
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return e, fmt.Errorf("token: %s does not tell where tokens are got: %w", issuer, err)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("token: what %s tells of itself: %w", issuer, err)
	}
	if strings.TrimSuffix(e.Issuer, "/") != strings.TrimSuffix(issuer, "/") { // RFC 8414 §3.3
		return e, fmt.Errorf("token: %s says that it is %q: name it so", issuer, words(e.Issuer))
	}
	for _, where := range []string{e.Token, e.Device} {
		if where == "" {
			continue
		}
		if err := fetch.CheckURL(where); err != nil {
			return e, fmt.Errorf("token: what %s tells of itself: %w", issuer, err)
		}
	}
	return e, nil
}

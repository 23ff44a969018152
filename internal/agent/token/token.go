// Package token gets us the access tokens that we log in elsewhere with, where
// passwords are no longer taken (RFC 6749): a smarthost, or an account whose mail
// is collected.
//
//	src := &token.Source{URL: ..., ClientID: ..., Refresh: ..., Rotated: ..., Client: web.Client()}
//	t, err := src.Token(ctx)    // good for a while; asks only if it has to
//	sasl.NewClient(sasl.BestForToken(offered), sasl.Credentials{User: ..., Password: t}, ...)
//	src.Refused(t)              // the other side did not take it: the next is another
//
// It asks by a refresh token (§6), or, if it has none, as a client on its own
// behalf (§4.4). An access token is kept, in memory only, until shortly before its
// end. A refresh token that is given in place of the old one is kept before the
// access token that came with it is used: the old one may be good no more. The first
// refresh token a Device can get (RFC 8628).
package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/fetch"
)

const (
	askTime = 20 * time.Second
	// early is how long before its end a token is no longer used.
	early = time.Minute
	// unknown is how long a token is used that does not say how long it is good.
	unknown = 5 * time.Minute
	// again is how long after a failure nobody is asked.
	again = 30 * time.Second
	// maxAnswer bounds an answer, maxWords what of it is told.
	maxAnswer = 64 << 10
	maxWords  = 300
)

// A Source gives access tokens of one account elsewhere. URL, ClientID and Client
// must be set; no field may change once it is used, and it must not be copied after
// that. It may be used by many at once.
type Source struct {
	URL      string // the token endpoint
	ClientID string
	// Secret gives the client's; nil: it has none, as programs that people install.
	Secret func() (string, error)
	// Refresh gives the refresh token as it is now; nil: there is none.
	Refresh func(ctx context.Context) (string, error)
	// Rotated keeps a refresh token durably that replaces the old one.
	Rotated func(ctx context.Context, refresh string) error
	Scope   string // what the tokens shall be good for; may be empty
	Client  *http.Client

	once   sync.Once
	asking chan struct{} // one at a time
	mu     sync.Mutex
	token  string
	until  time.Time
	failed error
	retry  time.Time

	unkept string // a refresh token that could not be kept yet; its own is who asks
}

// An Error is what a token endpoint refuses with. RFC 6749 §5.2
type Error struct {
	URL         string
	Code        string // "invalid_grant" and so on
	Description string // for people; may be empty
}

// Error gives what was answered, and what can be done.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s answered %s", e.URL, e.Code)
	if e.Description != "" {
		s += " (" + e.Description + ")"
	}
	switch e.Code {
	case "invalid_grant":
		s += ": the refresh token is no longer good; allow the access anew, and put in the new one"
	case "invalid_client", "unauthorized_client":
		s += ": look at client_id and the client's secret"
	case "invalid_scope":
		s += ": look at scope"
	case "access_denied":
		s += ": it was not allowed"
	case "expired_token":
		s += ": nobody has entered the code in time; begin anew"
	case "unsupported_grant_type":
		s += ": it does not let programs ask by a code (RFC 8628)"
	}
	return s
}

// Token gives an access token.
func (s *Source) Token(ctx context.Context) (string, error) {
	s.once.Do(func() { s.asking = make(chan struct{}, 1) })
	if t, err := s.have(); t != "" || err != nil {
		return t, err
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("token: %w", ctx.Err())
	}
	if t, err := s.have(); t != "" || err != nil { // since we waited
		return t, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	t, life, err := s.ask(ctx)
	if err != nil {
		err = fmt.Errorf("token: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			s.failed, s.retry = err, now.Add(again)
		}
		return "", err
	}
	s.token, s.until, s.failed = t, now.Add(life-min(early, life/2)), nil
	return t, nil
}

// have gives the token that is still good, or the failure that is still fresh.
func (s *Source) have() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.token != "" && now.Before(s.until) {
		return s.token, nil
	}
	if s.failed != nil && now.Before(s.retry) {
		return "", s.failed
	}
	return "", nil
}

// Refused tells that an access token was not taken, whatever it said of its end.
func (s *Source) Refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// An answer is that of a token endpoint. RFC 6749 §5.1, §5.2
type answer struct {
	Token       string `json:"access_token"`
	Type        string `json:"token_type"`
	Expires     any    `json:"expires_in"` // a number, though some write it as a string
	Refresh     string `json:"refresh_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// ask asks the endpoint for a token.
func (s *Source) ask(ctx context.Context) (string, time.Duration, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	var refresh string
	if s.Refresh != nil {
		var err error
		if refresh, err = s.Refresh(ctx); err != nil {
			return "", 0, err
		}
		if s.unkept != "" {
			refresh = s.unkept
		}
		form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
	}
	if s.Scope != "" {
		form.Set("scope", s.Scope)
	}
	a, err := s.post(ctx, form)
	if err != nil {
		return "", 0, err
	}
	if a.Refresh != "" && a.Refresh != refresh {
		s.unkept = a.Refresh
	}
	if err := s.keep(ctx); err != nil {
		return "", 0, err
	}
	return a.Token, life(a.Expires), nil
}

// keep keeps the newest refresh token.
func (s *Source) keep(ctx context.Context) error {
	if s.unkept == "" || s.Rotated == nil {
		return nil
	}
	if err := s.Rotated(ctx, s.unkept); err != nil {
		return fmt.Errorf("a new refresh token could not be kept: %w", err)
	}
	s.unkept = ""
	return nil
}

func (s *Source) post(ctx context.Context, form url.Values) (a answer, err error) {
	c := client{id: s.ClientID, web: s.Client, known: s.Secret != nil}
	if c.known {
		if c.secret, err = s.Secret(); err != nil {
			return a, err
		}
	}
	return c.tokens(ctx, s.URL, form)
}

// A client is who asks for tokens.
type client struct {
	id, secret string
	known      bool // it has a secret, which may be ""
	web        *http.Client
}

// send sends a form to an endpoint, and gives what it answers.
func (c *client) send(ctx context.Context, to string, form url.Values) (status int, body []byte, err error) {
	if !c.known {
		form.Set("client_id", c.id)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	if c.known {
		req.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(c.secret)) // §2.3.1
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	return fetch.Answer(c.web, req, maxAnswer)
}

// tokens asks a token endpoint.
func (c *client) tokens(ctx context.Context, to string, form url.Values) (a answer, err error) {
	status, body, err := c.send(ctx, to, form)
	if err != nil {
		return a, err
	}
	err = json.Unmarshal(body, &a)
	switch {
	case a.Error != "":
		return a, &Error{URL: to, Code: words(a.Error), Description: words(a.Description)}
	case status != http.StatusOK:
		return a, &statusError{to, status}
	case err != nil:
		return a, fmt.Errorf("%s: %w", to, err)
	case a.Token == "" || !strings.EqualFold(a.Type, "Bearer"):
		return a, fmt.Errorf("%s gave no bearer token", to)
	}
	return a, nil
}

// A statusError is an answer that says no more than its status.
type statusError struct {
	url    string
	status int
}

// Error gives what was answered.
func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.url, e.status, http.StatusText(e.status))
}

// words makes what others wrote fit to be shown.
func words(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return s[:min(len(s), maxWords)]
}

// life reads for how long a token is good.
func life(v any) time.Duration {
	var n float64
	switch v := v.(type) {
	case float64:
		n = v
	case string:
		n, _ = strconv.ParseFloat(v, 64)
	}
	if n <= 0 || n > 365*24*3600 {
		return unknown
	}
	return time.Duration(n * float64(time.Second))
}

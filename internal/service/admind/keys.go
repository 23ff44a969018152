package admind

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"posthaste/internal/agent/keys"
	"posthaste/internal/base/dns"
	"posthaste/internal/store/keyring"
)

// A Key signs, will sign, or has signed a domain's mail (DKIM).
type Key struct {
	Selector string    `json:"selector"`
	Name     string    `json:"name"` // where its record is
	Value    string    `json:"value"`
	State    string    `json:"state"` // prepared, signing or retired
	Since    time.Time `json:"since,omitzero"`
	// Until is when a prepared key that is published signs, and how long a retired
	// one must stay published.
	Until time.Time `json:"until,omitzero"`
	Fault string    `json:"fault,omitempty"` // what is wrong with what is published
}

func (s *Server) domainKeys(r *http.Request) (any, error) {
	d, err := domain(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	list, err := s.Keys.List(r.Context(), d)
	if err != nil {
		return nil, err
	}
	return keysOf(list)
}

func keysOf(list []keys.Key) ([]Key, error) {
	out := []Key{}
	for _, k := range list {
		rec, err := k.Record()
		if err != nil {
			return nil, err
		}
		out = append(out, Key{Selector: k.Selector, Name: k.Name(), Value: dns.Quote(rec), State: k.State.String(), Since: k.Since, Until: k.Until(), Fault: k.Fault})
	}
	return out, nil
}

func (s *Server) prepareKeys(r *http.Request) (any, error) {
	d, err := domain(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	list, err := s.Keys.Prepare(r.Context(), d)
	if errors.Is(err, keys.ErrPrepared) {
		return nil, bad("%v: publish what \"posthaste domain keys list %s\" shows, or have them sign with \"posthaste domain keys use %s\"", err, d, d)
	}
	return plain(list, err)
}

// plain gives keys without asking the DNS for them.
func plain(list []keyring.Key, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	some := make([]keys.Key, len(list))
	for i, k := range list {
		some[i].Key = k
	}
	return keysOf(some)
}

func (s *Server) useKeys(r *http.Request) (any, error) {
	d, err := domain(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	list, err := s.Keys.Use(r.Context(), d)
	if errors.Is(err, keys.ErrNotPrepared) {
		return nil, bad("%v for %s: make them with \"posthaste domain keys rotate %s\"", err, d, d)
	}
	if no, ok := errors.AsType[*keys.ErrUnpublished](err); ok {
		return nil, bad("nobody could verify what a new key signs: %v; publish it first, as \"posthaste domain keys list %s\" shows it", no, d)
	}
	return plain(list, err)
}

func keysPath(domain string) string { return "/v1/domains/" + url.PathEscape(domain) + "/keys" }

// Keys gives the keys of a domain, as they stand in the DNS.
func (c *Client) Keys(ctx context.Context, domain string) (out []Key, err error) {
	return out, c.do(ctx, http.MethodGet, keysPath(domain), nil, &out)
}

// PrepareKeys makes new keys for a domain, which sign once they are published.
func (c *Client) PrepareKeys(ctx context.Context, domain string) (out []Key, err error) {
	return out, c.do(ctx, http.MethodPost, keysPath(domain), nil, &out)
}

// UseKeys has a domain's new keys sign at once.
func (c *Client) UseKeys(ctx context.Context, domain string) (out []Key, err error) {
	return out, c.do(ctx, http.MethodPost, keysPath(domain)+"/use", nil, &out)
}

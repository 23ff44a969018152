package admind

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"posthaste/internal/store/directory"
)

// A Capability of IMAP, which an account is not offered.
type Capability struct {
	Name string `json:"name"`
}

func (s *Server) withheld(r *http.Request) (any, error) {
	a, err := s.account(r)
	out := []Capability{}
	for _, name := range strings.Fields(a.Without) {
		out = append(out, Capability{name})
	}
	return out, err
}

func (s *Server) switchOff(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	in, err := decode[Capability](r)
	if err != nil {
		return nil, err
	}
	if !s.CanWithhold(in.Name) {
		return nil, bad("IMAP here has no capability %q that could be switched off", in.Name)
	}
	if err = s.Registrar.SwitchOff(r.Context(), addr, in.Name); errors.Is(err, directory.ErrCapability) {
		err = errRequest{err}
	}
	return in, err
}

func (s *Server) switchOn(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	return Capability{name}, s.Registrar.SwitchOn(r.Context(), addr, name)
}

func capabilitiesPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/withheld-capabilities"
}

// Withheld gives the capabilities that an account is not offered.
func (c *Client) Withheld(ctx context.Context, address string) (out []Capability, err error) {
	return out, c.do(ctx, http.MethodGet, capabilitiesPath(address), nil, &out)
}

// SwitchOff withholds a capability from an account.
func (c *Client) SwitchOff(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodPost, capabilitiesPath(address), Capability{name}, nil)
}

// SwitchOn offers a capability again.
func (c *Client) SwitchOn(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodDelete, capabilitiesPath(address)+"/"+url.PathEscape(name), nil, nil)
}

package admind

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
)

// A Renaming gives an account, or a shared folder, another address.
type Renaming struct {
	To      string `json:"to"`
	NoAlias bool   `json:"no_alias,omitempty"` // nothing leads from the old address to it
	Led     int    `json:"led,omitempty"`      // in the answer: aliases and forwards that lead to the new address now
}

func (s *Server) renameAccount(r *http.Request) (any, error) {
	from, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	in, err := decode[Renaming](r)
	if err != nil {
		return nil, err
	}
	to, err := address(in.To)
	if err != nil {
		return nil, err
	}
	if err := fits(to); err != nil {
		return nil, err
	}
	ours, err := s.Directory.HasDomain(r.Context(), to.Domain)
	switch {
	case err != nil:
		return nil, err
	case !ours:
		return nil, noDomain(to.Domain)
	}
	a, led, err := s.Registrar.RenameAccount(r.Context(), registrar.Rename{From: from, To: to, Alias: !in.NoAlias})
	if errors.Is(err, mail.ErrNotFound) {
		err = s.notByAlias(r.Context(), from, err)
	}
	return Renaming{To: a.Address.String(), NoAlias: in.NoAlias, Led: led}, err
}

// notByAlias says so if an address that names no account was that of one, or is one in
// another name of the domain.
func (s *Server) notByAlias(ctx context.Context, addr mail.Address, err error) error {
	if a, kerr := s.Directory.Known(ctx, addr); kerr == nil {
		if main, err := s.Directory.Main(ctx, addr); err == nil && main != addr {
			return bad("%s is another name of %s", addr, a.Address)
		}
		return bad("%s is %s now", addr, a.Address)
	}
	return err
}

// RenameAccount gives an account another address.
func (c *Client) RenameAccount(ctx context.Context, from string, to Renaming) (out Renaming, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(from)+"/rename", to, &out)
}

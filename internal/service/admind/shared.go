package admind

import (
	"context"
	"net/http"
	"net/url"

	"posthaste/internal/store/mailbox"
)

// Rights are what somebody may do with a shared folder. RFC 4314 §2.1
type Rights struct {
	Who    string `json:"who"` // an address, "anyone" or "authenticated"; "-" before it takes rights
	Rights string `json:"rights"`
}

func (s *Server) rights(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	list, err := s.Registrar.Rights(r.Context(), addr)
	out := []Rights{}
	for _, g := range list {
		out = append(out, Rights(g))
	}
	return out, err
}

func (s *Server) share(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	in, err := decode[Rights](r)
	if err != nil {
		return nil, err
	}
	return in, s.Registrar.Share(r.Context(), addr, in.Who, in.Rights)
}

// A SeenMode says whose it is that mail is read in a mailbox for several people:
// "own" (each reader's) or "common".
type SeenMode struct {
	Mailbox string `json:"mailbox,omitempty"` // of a person; empty: a shared folder and all below it
	Mode    string `json:"mode"`
}

func (s *Server) seenMode(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	out := SeenMode{Mailbox: r.FormValue("mailbox")}
	if err := out.parse(); err != nil {
		return nil, err
	}
	out.Mode, err = s.Registrar.SeenMode(r.Context(), addr, out.Mailbox)
	return out, err
}

// parse brings the mailbox's name to its one form.
func (m *SeenMode) parse() (err error) {
	if m.Mailbox == "" {
		return nil
	}
	if m.Mailbox, err = mailbox.ParseName(m.Mailbox); err != nil {
		return bad("%v", err)
	}
	return nil
}

func (s *Server) setSeenMode(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	in, err := decode[SeenMode](r)
	if err != nil {
		return nil, err
	}
	if err := in.parse(); err != nil {
		return nil, err
	}
	return in, s.Registrar.SetSeenMode(r.Context(), addr, in.Mailbox, in.Mode)
}

func (s *Server) setAdmin(r *http.Request) (any, error)   { return s.admin(r, true) }
func (s *Server) unsetAdmin(r *http.Request) (any, error) { return s.admin(r, false) }

func (s *Server) admin(r *http.Request, admin bool) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	return Account{Address: addr.String(), Admin: admin}, s.Registrar.SetAdmin(r.Context(), addr, admin)
}

// AddAdmin makes an account an administrator's.
func (c *Client) AddAdmin(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodPut, "/v1/accounts/"+url.PathEscape(address)+"/admin", nil, nil)
}

// RemoveAdmin makes it an ordinary one again.
func (c *Client) RemoveAdmin(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodDelete, "/v1/accounts/"+url.PathEscape(address)+"/admin", nil, nil)
}

// Rights gives who may do what with a shared folder.
func (c *Client) Rights(ctx context.Context, address string) (out []Rights, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/shared/"+url.PathEscape(address)+"/rights", nil, &out)
}

// Share says what somebody may do with a shared folder.
func (c *Client) Share(ctx context.Context, address, who, rights string) error {
	return c.do(ctx, http.MethodPut, "/v1/shared/"+url.PathEscape(address)+"/rights", Rights{who, rights}, nil)
}

// SeenMode tells whose it is that mail is read: in a mailbox of a person, or if that
// is empty, in a shared folder.
func (c *Client) SeenMode(ctx context.Context, address, mailbox string) (string, error) {
	var out SeenMode
	err := c.do(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/seen?mailbox="+url.QueryEscape(mailbox), nil, &out)
	return out.Mode, err
}

// SetSeenMode says whose it is to be.
func (c *Client) SetSeenMode(ctx context.Context, address string, m SeenMode) error {
	return c.do(ctx, http.MethodPut, "/v1/accounts/"+url.PathEscape(address)+"/seen", m, nil)
}

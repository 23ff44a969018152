package admind

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

// An AppPassword opens an account for one device or program.
type AppPassword struct {
	Name      string    `json:"name"`
	Protocols string    `json:"protocols"`          // "all", or names divided by commas
	Password  string    `json:"password,omitempty"` // in the answer to adding it only
	APOP      bool      `json:"apop,omitempty"`     // it goes with APOP, and with nothing else
	Created   time.Time `json:"created,omitzero"`
}

func (s *Server) appPasswords(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	list, err := s.Directory.AppPasswords(r.Context(), a.ID)
	out := []AppPassword{}
	for _, p := range list {
		out = append(out, AppPassword{Name: p.Name, Protocols: p.Protocols.String(), APOP: p.APOP != "", Created: p.Created})
	}
	return out, err
}

// withoutSHA1 gives an account's passwords that do not go with SCRAM-SHA-1, if
// that is switched on.
func (s *Server) withoutSHA1(ctx context.Context, a directory.Account) (out []string, err error) {
	if !s.SHA1 || a.Shared {
		return nil, nil
	}
	_, c, err := s.Directory.Credentials(ctx, a.Address)
	if errors.Is(err, mail.ErrNotFound) { // removed meanwhile
		return nil, nil
	}
	if len(c.StoredKey) > 0 && len(c.StoredKey1) == 0 {
		out = append(out, "")
	}
	for _, p := range c.Apps {
		if len(p.StoredKey1) == 0 && p.APOP == "" {
			out = append(out, p.Name)
		}
	}
	return out, err
}

// account gives the account that the path names.
func (s *Server) account(r *http.Request) (directory.Account, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return directory.Account{}, err
	}
	a, err := s.Directory.AccountOf(r.Context(), addr)
	if errors.Is(err, mail.ErrNotFound) {
		err = s.notByAlias(r.Context(), addr, err)
	}
	return a, err
}

func (s *Server) addAppPassword(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[AppPassword](r)
	if err != nil {
		return nil, err
	}
	opens, err := directory.ParseProtocols(in.Protocols)
	if err != nil {
		return nil, errRequest{err}
	}
	var password string
	switch {
	case in.APOP && opens != 0 && opens != directory.POP3:
		return nil, bad("APOP is of POP3 only")
	case in.APOP:
		opens = directory.POP3
		password, err = s.Owner.AddAPOPDevice(r.Context(), a, in.Name)
	default:
		password, err = s.Owner.AddDevice(r.Context(), a, in.Name, opens)
	}
	return AppPassword{Name: in.Name, Protocols: opens.String(), APOP: in.APOP, Password: password}, err
}

func (s *Server) removeAppPassword(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	return AppPassword{Name: name}, s.Owner.RemoveDevice(r.Context(), a, name)
}

func passwordsPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/passwords"
}

// AppPasswords gives an account's app passwords.
func (c *Client) AppPasswords(ctx context.Context, address string) (out []AppPassword, err error) {
	return out, c.do(ctx, http.MethodGet, passwordsPath(address), nil, &out)
}

// AddAppPassword makes an app password and gives it.
func (c *Client) AddAppPassword(ctx context.Context, address, name, protocols string) (p AppPassword, err error) {
	return p, c.do(ctx, http.MethodPost, passwordsPath(address), AppPassword{Name: name, Protocols: protocols}, &p)
}

// AddAPOPPassword makes an app password for APOP and gives it.
func (c *Client) AddAPOPPassword(ctx context.Context, address, name string) (p AppPassword, err error) {
	return p, c.do(ctx, http.MethodPost, passwordsPath(address), AppPassword{Name: name, Protocols: "pop3", APOP: true}, &p)
}

// RemoveAppPassword removes an app password.
func (c *Client) RemoveAppPassword(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodDelete, passwordsPath(address)+"/"+url.PathEscape(name), nil, nil)
}

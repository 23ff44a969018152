package admind

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A Limit says to how many an account may write within a day.
type Limit struct {
	Address  string    `json:"address"`
	Sent     int       `json:"sent"`              // within a day
	Busiest  int       `json:"busiest"`           // on a day of the last 30
	Limit    int       `json:"limit"`             // 0: there is none
	Usual    bool      `json:"usual,omitempty"`   // it has been learned
	Released time.Time `json:"released,omitzero"` // until when what has been learned does not count
	Stopped  time.Time `json:"stopped,omitzero"`  // when more was refused, within a day
	Wanted   int       `json:"wanted,omitempty"`  // how many it would have been then
}

// limits gives the limits of all accounts that somebody logs in to, or of one.
func (s *Server) limits(r *http.Request) (any, error) {
	only := r.URL.Query().Get("address")
	list, err := s.Directory.Accounts(r.Context())
	if err != nil {
		return nil, err
	}
	if only != "" {
		addr, err := address(only)
		if err != nil {
			return nil, err
		}
		a, err := s.Directory.AccountOf(r.Context(), addr)
		if err != nil {
			return nil, err
		}
		list = append(list[:0], a)
	}
	out := []Limit{}
	for _, a := range list {
		if a.Shared {
			continue
		}
		st, err := s.Allowance.Of(r.Context(), a.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, Limit{
			Address: a.Address.String(), Sent: st.Sent, Busiest: st.Busiest, Limit: st.Limit, Usual: st.Usual,
			Released: st.Released, Stopped: st.Stopped, Wanted: st.Wanted,
		})
	}
	return out, nil
}

func (s *Server) releaseLimit(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.Allowance.Release(r.Context(), a.ID)
}

// strange tells of accounts whose mail was stopped within a day.
func (s *Server) strange(ctx context.Context, note func(string)) error {
	list, err := s.Directory.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		st, err := s.Allowance.Of(ctx, a.ID)
		if err != nil {
			return err
		}
		if st.Stopped.IsZero() {
			continue
		}
		do := "more than recipients_per_day of [limits] lets anybody; somebody may have its password."
		if st.Usual {
			do = "far more than it usually does. If that is right: posthaste account limit " + a.Address.String() + " --release; if not, somebody may have its password."
		}
		note(fmt.Sprintf("%s was stopped at %s: it wanted to write to %d people within a day, %s", a.Address, st.Stopped.Local().Format("2006-01-02 15:04"), st.Wanted, do))
	}
	return nil
}

func (s *Server) setDisabled(r *http.Request, disabled bool) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	return struct{}{}, s.Registrar.SetDisabled(r.Context(), addr, disabled)
}

func (s *Server) disable(r *http.Request) (any, error) { return s.setDisabled(r, true) }
func (s *Server) enable(r *http.Request) (any, error)  { return s.setDisabled(r, false) }

// Limits gives the limits of all accounts; of one, if an address is given.
func (c *Client) Limits(ctx context.Context, address string) (out []Limit, err error) {
	path := "/v1/limits"
	if address != "" {
		path += "?address=" + url.QueryEscape(address)
	}
	return out, c.do(ctx, http.MethodGet, path, nil, &out)
}

// ReleaseLimit has an account write to more people than usual, for a day.
func (c *Client) ReleaseLimit(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodPost, "/v1/accounts/"+url.PathEscape(address)+"/limit/release", nil, nil)
}

// SetDisabled says whether an account may log in.
func (c *Client) SetDisabled(ctx context.Context, address string, disabled bool) error {
	method := http.MethodDelete
	if disabled {
		method = http.MethodPut
	}
	return c.do(ctx, method, "/v1/accounts/"+url.PathEscape(address)+"/disabled", nil, nil)
}

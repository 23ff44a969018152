package admind

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"posthaste/internal/proto/dmarc"
	"posthaste/internal/store/directory"
)

// A Forward sends an account's mail on.
type Forward struct {
	To   []string `json:"to"`
	Keep bool     `json:"keep"` // the account gets it as well
	// Force saves it whatever speaks against it.
	Force bool `json:"force,omitempty"`
	// Warnings are what speaks against it, in answers; without Force it was not
	// saved then.
	Warnings []string `json:"warnings,omitempty"`
}

func (s *Server) forward(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f, err := s.Directory.Forward(r.Context(), a)
	out := Forward{To: []string{}}
	if f != nil {
		out.Keep = f.Keep
		for _, t := range f.To {
			out.To = append(out.To, t.String())
		}
	}
	return out, err
}

func (s *Server) setForward(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[Forward](r)
	if err != nil {
		return nil, err
	}
	if a.Shared {
		return nil, bad("a shared folder's mail is not sent on; make an alias that leads to the folder and to others")
	}
	if len(in.To) == 0 || len(in.To) > directory.MaxForwards {
		return nil, bad("mail is sent on to 1 to %d addresses", directory.MaxForwards)
	}
	f := &directory.Forward{Keep: in.Keep}
	if f.To, err = addresses(in.To); err != nil {
		return nil, err
	}
	elsewhere := false
	for _, to := range f.To {
		if directory.Canonical(to) == directory.Canonical(a.Address) {
			return nil, bad("%s cannot send its mail on to itself", a.Address)
		}
		ours, err := s.Directory.HasDomain(r.Context(), to.Domain)
		if err != nil {
			return nil, err
		}
		elsewhere = elsewhere || !ours
	}
	if elsewhere {
		if in.Warnings, err = s.against(r.Context(), a); err != nil {
			return nil, err
		}
		if len(in.Warnings) > 0 && !in.Force {
			return in, nil
		}
	}
	return in, s.Registrar.SetForward(r.Context(), a.Address, f)
}

// against tells what of an account's mail other servers would not take from us.
func (s *Server) against(ctx context.Context, a directory.Account) (out []string, err error) {
	if s.Forecast.DNS == nil {
		return nil, nil
	}
	looked, losses, err := s.Forecast.Forward(ctx, a.ID)
	for _, l := range losses {
		what := "refuse it"
		if l.Policy == dmarc.Quarantine {
			what = "put it into junk"
		}
		out = append(out, fmt.Sprintf("Of the last %d messages %d came from %s, whose mail proves where it comes from only by the server that sends it, and not by a signature (DKIM). "+
			"%s asks other servers to %s when it comes from us (DMARC).", looked, l.Messages, l.Domain, l.Domain, what))
	}
	return out, err
}

func (s *Server) clearForward(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return Forward{To: []string{}}, s.Registrar.SetForward(r.Context(), a.Address, nil)
}

func forwardPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/forward"
}

// Forward gives where an account's mail is sent on to.
func (c *Client) Forward(ctx context.Context, address string) (f Forward, err error) {
	return f, c.do(ctx, http.MethodGet, forwardPath(address), nil, &f)
}

// SetForward says where an account's mail is sent on to. The answer has warnings
// if something speaks against it.
func (c *Client) SetForward(ctx context.Context, address string, in Forward) (f Forward, err error) {
	return f, c.do(ctx, http.MethodPut, forwardPath(address), in, &f)
}

// ClearForward has an account's mail no longer sent on.
func (c *Client) ClearForward(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodDelete, forwardPath(address), nil, nil)
}

package admind

import (
	"context"
	"net/http"
	"net/url"

	"posthaste/internal/agent/owner"
)

func (s *Server) pop3Plan(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.Owner.POP3(r.Context(), a.ID)
}

// setPOP3Policy sets a policy; with ?preview=true it only tells what would be then.
func (s *Server) setPOP3Policy(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[owner.Policy](r)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("preview") == "true" {
		return s.Owner.Preview(r.Context(), a.ID, in)
	}
	return s.Owner.SetPolicy(r.Context(), a.ID, in)
}

func (s *Server) clearPOP3Policy(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.Owner.ClearPolicy(r.Context(), a.ID, r.URL.Query().Get("device"))
}

func (s *Server) pop3Ledger(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.Owner.Ledger(r.Context(), a.ID)
}

func pop3Path(address string) string { return "/v1/accounts/" + url.PathEscape(address) + "/pop3" }

// POP3 gives an account's policies for POP3, and what will go by them.
func (c *Client) POP3(ctx context.Context, address string) (out owner.Plan, err error) {
	return out, c.do(ctx, http.MethodGet, pop3Path(address), nil, &out)
}

// SetPOP3Policy sets a policy, and gives what will go now.
func (c *Client) SetPOP3Policy(ctx context.Context, address string, p owner.Policy) (out owner.Plan, err error) {
	return out, c.do(ctx, http.MethodPut, pop3Path(address), p, &out)
}

// PreviewPOP3Policy gives what SetPOP3Policy would, and sets nothing.
func (c *Client) PreviewPOP3Policy(ctx context.Context, address string, p owner.Policy) (out owner.Plan, err error) {
	return out, c.do(ctx, http.MethodPut, pop3Path(address)+"?preview=true", p, &out)
}

// ClearPOP3Policy takes a device's policy away.
func (c *Client) ClearPOP3Policy(ctx context.Context, address, device string) (out owner.Plan, err error) {
	return out, c.do(ctx, http.MethodDelete, pop3Path(address)+"?device="+url.QueryEscape(device), nil, &out)
}

// POP3Ledger gives what an account's devices have collected, the last visit first.
func (c *Client) POP3Ledger(ctx context.Context, address string) (out []owner.Visit, err error) {
	return out, c.do(ctx, http.MethodGet, pop3Path(address)+"/ledger", nil, &out)
}

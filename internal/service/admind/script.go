package admind

import (
	"context"
	"net/http"
	"net/url"

	"posthaste/internal/agent/owner"
)

// maxTrial is how large a request may be that has a message in it.
const maxTrial = 100 << 20

// A ScriptName is the name of a Sieve script, and another one for it.
type ScriptName struct {
	Name string `json:"name"` // "" is none
	To   string `json:"to,omitempty"`
}

// Told is what was told, line by line.
type Told struct {
	Lines []string `json:"lines"`
}

func (s *Server) scripts(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.Owner.Scripts(r.Context(), a.ID)
}

func (s *Server) script(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.Owner.Script(r.Context(), a.ID, r.URL.Query().Get("name"))
}

func (s *Server) saveScript(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[owner.Script](r)
	if err != nil {
		return nil, err
	}
	if a.Shared {
		return nil, bad("%s is a folder for many: rules are of people", a.Address)
	}
	warnings, err := s.Owner.SaveScript(r.Context(), a.ID, in)
	if err != nil {
		return nil, err
	}
	out, err := s.Owner.Scripts(r.Context(), a.ID)
	out.Warnings = warnings
	return out, err
}

func (s *Server) activateScript(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[ScriptName](r)
	if err != nil {
		return nil, err
	}
	return in, s.Owner.ActivateScript(r.Context(), a.ID, in.Name)
}

func (s *Server) renameScript(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[ScriptName](r)
	if err != nil {
		return nil, err
	}
	return in, s.Owner.RenameScript(r.Context(), a.ID, in.Name, in.To)
}

func (s *Server) removeScript(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	name := r.URL.Query().Get("name")
	return ScriptName{Name: name}, s.Owner.RemoveScript(r.Context(), a.ID, name)
}

func (s *Server) tryScript(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[owner.Trial](r)
	if err != nil {
		return nil, err
	}
	lines, err := s.Owner.TryScript(r.Context(), a, in)
	return Told{lines}, err
}

func (s *Server) away(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	return s.Owner.Away(r.Context(), a.ID)
}

func (s *Server) setAway(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	in, err := decode[owner.Away](r)
	if err != nil {
		return nil, err
	}
	if a.Shared {
		return nil, bad("%s is a folder for many: people are away", a.Address)
	}
	return in, s.Owner.SetAway(r.Context(), a.ID, in)
}

// Away gives what those hear who write to an account while somebody is away.
func (c *Client) Away(ctx context.Context, address string) (out owner.Away, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/away", nil, &out)
}

// SetAway says it.
func (c *Client) SetAway(ctx context.Context, address string, w owner.Away) error {
	return c.do(ctx, http.MethodPut, "/v1/accounts/"+url.PathEscape(address)+"/away", w, nil)
}

func scriptsPath(address, more string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/scripts" + more
}

// Scripts lists the Sieve scripts of an account.
func (c *Client) Scripts(ctx context.Context, address string) (out owner.Scripts, err error) {
	return out, c.do(ctx, http.MethodGet, scriptsPath(address, ""), nil, &out)
}

// Script gives a script; name "" is the active one.
func (c *Client) Script(ctx context.Context, address, name string) (out owner.Script, err error) {
	return out, c.do(ctx, http.MethodGet, scriptsPath(address, "/one?name="+url.QueryEscape(name)), nil, &out)
}

// SaveScript saves a script, and makes it the active one if it says so.
func (c *Client) SaveScript(ctx context.Context, address string, s owner.Script) (out owner.Scripts, err error) {
	return out, c.do(ctx, http.MethodPut, scriptsPath(address, ""), s, &out)
}

// ActivateScript makes a script the active one; "": none is.
func (c *Client) ActivateScript(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodPost, scriptsPath(address, "/active"), ScriptName{Name: name}, nil)
}

// RenameScript gives a script another name.
func (c *Client) RenameScript(ctx context.Context, address, name, to string) error {
	return c.do(ctx, http.MethodPost, scriptsPath(address, "/name"), ScriptName{name, to}, nil)
}

// RemoveScript removes a script.
func (c *Client) RemoveScript(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodDelete, scriptsPath(address, "/one?name="+url.QueryEscape(name)), nil, nil)
}

// TryScript tells what a script would do with a message.
func (c *Client) TryScript(ctx context.Context, address string, t owner.Trial) ([]string, error) {
	var out Told
	err := c.do(ctx, http.MethodPost, scriptsPath(address, "/trial"), t, &out)
	return out.Lines, err
}

package admind

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

// What the API says of addresses.
type (
	// A Domain is one that mail is received for.
	Domain struct {
		Name    string `json:"name"`
		AliasOf string `json:"alias_of,omitempty"` // the domain that it is another name of
		// Separators stand between an address and its detail; "" is none. In a
		// request to add a domain they are "+".
		Separators string    `json:"separators"`
		Created    time.Time `json:"created,omitzero"`
	}
	// A DomainChange is what is to be different about a domain.
	DomainChange struct {
		Separators string `json:"separators"`
	}
	// An Alias leads to other addresses.
	Alias struct {
		Address string   `json:"address"`
		Targets []string `json:"targets"`
		// Login says that the account to which it leads may log in with it, as it had this
		// address before it was renamed.
		Login bool `json:"login,omitempty"`
	}
	// An Explanation tells where mail to an address goes, and why.
	Explanation struct {
		Lines   []string `json:"lines"`
		Refused bool     `json:"refused,omitempty"` // nobody gets it
	}
)

func (s *Server) domains(r *http.Request) (any, error) {
	list, err := s.Directory.Domains(r.Context())
	if err != nil {
		return nil, err
	}
	out := []Domain{}
	for _, d := range list {
		out = append(out, Domain{Name: d.Name.Unicode(), AliasOf: d.AliasOf.Unicode(), Separators: d.Separators, Created: d.Created})
	}
	return out, nil
}

func (s *Server) addDomain(r *http.Request) (any, error) {
	in, err := decode[Domain](r)
	if err != nil {
		return nil, err
	}
	d, err := domain(in.Name)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(strings.Trim(in.Name, "[]")); err == nil {
		return nil, bad("%s is an address, no domain name", in.Name)
	}
	if _, literal := d.IP(); literal {
		return nil, bad("%s is an address, no domain name", d)
	}
	if in.AliasOf == "" {
		return Domain{Name: d.Unicode()}, s.Registrar.AddDomain(r.Context(), d)
	}
	of, err := domain(in.AliasOf)
	if err != nil {
		return nil, err
	}
	err = s.Registrar.AddDomainAlias(r.Context(), d, of)
	if errors.Is(err, mail.ErrNotFound) {
		return nil, noDomain(of)
	}
	return Domain{Name: d.Unicode(), AliasOf: of.Unicode()}, err
}

func noDomain(d mail.Domain) error {
	return bad("the domain %s is not served here; add it first: posthaste domain add %s", d, d)
}

func (s *Server) changeDomain(r *http.Request) (any, error) {
	d, err := domain(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	in, err := decode[DomainChange](r)
	if err != nil {
		return nil, err
	}
	err = s.Registrar.SetSeparators(r.Context(), d, in.Separators)
	if errors.Is(err, directory.ErrSeparators) {
		return nil, errRequest{err}
	}
	return in, err
}

func (s *Server) removeDomain(r *http.Request) (any, error) {
	d, err := domain(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return Domain{Name: d.Unicode()}, s.Registrar.RemoveDomain(r.Context(), d)
}

func (s *Server) aliases(r *http.Request) (any, error) {
	list, err := s.Directory.Aliases(r.Context())
	if err != nil {
		return nil, err
	}
	out := []Alias{}
	for _, a := range list {
		v := Alias{Address: a.Address.String(), Login: a.Of != 0}
		if a.Address.Local == "" {
			v.Address = "@" + a.Address.Domain.String()
		}
		for _, t := range a.Targets {
			v.Targets = append(v.Targets, t.String())
		}
		out = append(out, v)
	}
	return out, nil
}

// aliasAddress also takes "@domain", the catch-all.
func aliasAddress(s string) (mail.Address, error) {
	if len(s) > 1 && s[0] == '@' {
		d, err := domain(s[1:])
		return mail.Address{Domain: d}, err
	}
	return address(s)
}

// alias reads an alias that is meant.
func (in Alias) read() (al directory.Alias, err error) {
	if al.Address, err = aliasAddress(in.Address); err != nil {
		return al, err
	}
	if len(in.Targets) == 0 {
		return al, bad("an alias leads to at least one address")
	}
	if err = fits(al.Address); err != nil {
		return al, err
	}
	al.Targets, err = addresses(in.Targets)
	return al, err
}

func addresses(list []string) (out []mail.Address, err error) {
	for _, s := range list {
		a, err := address(s)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (s *Server) addAlias(r *http.Request) (any, error) {
	in, err := decode[Alias](r)
	if err != nil {
		return nil, err
	}
	al, err := in.read()
	if err != nil {
		return nil, err
	}
	if in.Login {
		if al.Of, err = s.ledTo(r.Context(), al); err != nil {
			return nil, err
		}
	}
	err = s.Registrar.AddAlias(r.Context(), al)
	if errors.Is(err, mail.ErrNotFound) {
		return nil, noDomain(al.Address.Domain)
	}
	return in, err
}

// ledTo gives the one account that an alias leads to.
func (s *Server) ledTo(ctx context.Context, al directory.Alias) (mail.AccountID, error) {
	a, err := s.Directory.AccountOf(ctx, al.Targets[0])
	if errors.Is(err, mail.ErrNotFound) || err == nil && (len(al.Targets) > 1 || al.Address.Local == "") {
		return 0, bad("only an alias that leads to one account logs in")
	}
	return a.ID, err
}

func (s *Server) setAlias(r *http.Request) (any, error) {
	in, err := decode[Alias](r)
	if err != nil {
		return nil, err
	}
	in.Address = r.PathValue("address")
	al, err := in.read()
	if err != nil {
		return nil, err
	}
	return in, s.Registrar.SetAlias(r.Context(), al)
}

func (s *Server) removeAlias(r *http.Request) (any, error) {
	addr, err := aliasAddress(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	return Alias{Address: r.PathValue("address")}, s.Registrar.RemoveAlias(r.Context(), addr)
}

func (s *Server) explain(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	lines, taken, err := s.Delivery.Explain(r.Context(), addr)
	return Explanation{Lines: lines, Refused: err == nil && !taken}, err
}

// Domains gives all domains.
func (c *Client) Domains(ctx context.Context) (out []Domain, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/domains", nil, &out)
}

// AddDomain adds a domain.
func (c *Client) AddDomain(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodPost, "/v1/domains", Domain{Name: name}, nil)
}

// AddDomainAlias adds a domain as another name of one that is there.
func (c *Client) AddDomainAlias(ctx context.Context, name, of string) error {
	return c.do(ctx, http.MethodPost, "/v1/domains", Domain{Name: name, AliasOf: of}, nil)
}

// SetSeparators says what stands between a domain's addresses and their details.
func (c *Client) SetSeparators(ctx context.Context, name, chars string) error {
	return c.do(ctx, http.MethodPatch, "/v1/domains/"+url.PathEscape(name), DomainChange{Separators: chars}, nil)
}

// RemoveDomain removes a domain without addresses.
func (c *Client) RemoveDomain(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/domains/"+url.PathEscape(name), nil, nil)
}

// Aliases gives all aliases.
func (c *Client) Aliases(ctx context.Context) (out []Alias, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/aliases", nil, &out)
}

// AddAlias adds an alias.
func (c *Client) AddAlias(ctx context.Context, a Alias) error {
	return c.do(ctx, http.MethodPost, "/v1/aliases", a, nil)
}

// SetAlias gives an alias other targets.
func (c *Client) SetAlias(ctx context.Context, address string, targets []string) error {
	return c.do(ctx, http.MethodPut, "/v1/aliases/"+url.PathEscape(address), Alias{Address: address, Targets: targets}, nil)
}

// RemoveAlias removes an alias.
func (c *Client) RemoveAlias(ctx context.Context, address string) error {
	return c.do(ctx, http.MethodDelete, "/v1/aliases/"+url.PathEscape(address), nil, nil)
}

// Explain tells where mail to an address goes, and why.
func (c *Client) Explain(ctx context.Context, address string) (out Explanation, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/addresses/"+url.PathEscape(address), nil, &out)
}

package admind

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"posthaste/internal/base/fetch"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/outpost"
)

// How people send with the addresses that they have elsewhere.
type (
	// A SendAs is how one does, and how it stands.
	SendAs struct {
		Address  string `json:"address"`
		Host     string `json:"host"`
		Port     string `json:"port"`
		Security string `json:"security"`       // tls, starttls or none
		User     string `json:"user,omitempty"` // "": that of the outpost
		OAuth2   bool   `json:"oauth2,omitempty"`
		Untried  bool   `json:"untried,omitempty"` // it is not to be used yet
		Stopped  bool   `json:"stopped,omitempty"` // only a change can help
		Error    string `json:"error,omitempty"`   // what is wrong, and what to do
	}
	// SendAsSettings are what can be said of it. What is nil stays, or is as usual.
	SendAsSettings struct {
		Address  *string `json:"address,omitempty"` // "": no more
		Host     *string `json:"host,omitempty"`
		Port     *string `json:"port,omitempty"`
		Security *string `json:"security,omitempty"`
		// User logs in there by Secret, and OAuth2 if it has such; "": the outpost's own do.
		User   *string        `json:"user,omitempty"`
		Secret *string        `json:"secret,omitempty"`
		OAuth2 *OutpostOAuth2 `json:"oauth2,omitempty"`
	}
)

func sendAsOf(e *outpost.Entry) *SendAs {
	s := e.SendAs
	if s == nil {
		return nil
	}
	return &SendAs{
		Address: s.Address.String(), Host: s.Host, Port: s.Port, Security: securityName(s.Security), User: s.User, OAuth2: s.OAuth2 != nil,
		Untried: s.Proven.IsZero(), Stopped: e.SendStopped, Error: e.SendError,
	}
}

// applySendAs changes how the address of an outpost is sent with, if what is said can be
// meant.
func (s *Server) applySendAs(ctx context.Context, in *SendAsSettings, o *outpost.Outpost) error {
	if in == nil {
		return nil
	}
	if in.Address != nil && *in.Address == "" {
		o.SendAs = nil
		return nil
	}
	var to outpost.SendAs
	if o.SendAs != nil {
		to = *o.SendAs
	}
	if in.Address != nil {
		a, err := mail.ParseAddress(*in.Address)
		if err != nil {
			return bad("%q is no address", *in.Address)
		}
		to.Address = a
	}
	if to.Address.IsZero() {
		return bad("with what address is sent must be said, too")
	}
	ours, err := s.Directory.HasDomain(ctx, to.Address.Domain)
	if err != nil {
		return err
	}
	if ours {
		return bad("%s is a domain of this server: whose %s is, no server elsewhere can say; make it an alias", to.Address.Domain, to.Address)
	}
	if err := in.applyServer(&to); err != nil {
		return err
	}
	if err := in.applyLogin(&to); err != nil {
		return err
	}
	o.SendAs = &to
	return nil
}

// applyServer changes where it goes.
func (in *SendAsSettings) applyServer(to *outpost.SendAs) (err error) {
	if in.Host != nil {
		if to.Host, err = hostOf(*in.Host); err != nil {
			return err
		}
	}
	if to.Host == "" {
		return bad("the provider's submission server must be said, too")
	}
	switch {
	case in.Security != nil:
		if to.Security = securities[*in.Security]; to.Security == 0 {
			return bad("security is tls, starttls or none, not %q", *in.Security)
		}
		if in.Port == nil {
			to.Port = ""
		}
	case in.Port != nil && (*in.Port == "587" || *in.Port == "25"):
		to.Security = outpost.StartTLS
	case to.Security == 0 || in.Port != nil && *in.Port == "465":
		to.Security = outpost.TLS
	}
	set(&to.Port, in.Port)
	if to.Port == "" {
		if to.Port = "587"; to.Security == outpost.TLS {
			to.Port = "465"
		}
	}
	return checkPort(to.Port)
}

// applyLogin changes who logs in.
func (in *SendAsSettings) applyLogin(to *outpost.SendAs) error {
	if in.User != nil {
		to.User, to.Secret, to.OAuth2 = *in.User, "", nil
	}
	set(&to.Secret, in.Secret)
	if to.User == "" && (to.Secret != "" || in.OAuth2 != nil) {
		return bad("a password or tokens of its own go with a user of its own")
	}
	if to.User != "" && to.Secret == "" {
		return bad("a password is needed for %s", to.User)
	}
	if t := in.OAuth2; t != nil {
		var err error
		to.OAuth2, err = t.read()
		return err
	}
	return nil
}

// hostOf reads the name or the address of a host.
func hostOf(name string) (string, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.String(), nil
	}
	d, err := mail.ParseDomain(name)
	if err != nil {
		return "", bad("%q is no name of a host", name)
	}
	return string(d), nil
}

func checkPort(port string) error {
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return bad("%q is no port", port)
	}
	return nil
}

// read gives how access tokens are got.
func (t *OutpostOAuth2) read() (*outpost.OAuth2, error) {
	if err := fetch.CheckURL(t.URL); err != nil {
		return nil, bad("where tokens are got: %v", err)
	}
	return &outpost.OAuth2{URL: t.URL, ClientID: t.ClientID, ClientSecret: t.ClientSecret, Scope: t.Scope}, nil
}

// proven tries to log in at the submission server, and notes that this was seen.
// Without a try the address is not to be used.
func (s *Server) proven(ctx context.Context, o *outpost.Outpost, in OutpostSettings) error {
	if o.SendAs == nil {
		return nil
	}
	to := *o.SendAs
	o.SendAs = &to
	if to.Proven = (time.Time{}); in.Untried {
		return nil
	}
	if err := s.Envoy.Check(ctx, o); err != nil {
		return errRequest{fmt.Errorf("sending as %s: %w", to.Address, err)}
	}
	o.SendAs.Proven = time.Now()
	return nil
}

// newest gives how an address is to be sent with, with the refresh token that has come
// meanwhile in place of the one that was.
func newest(to, was, meanwhile *outpost.SendAs) *outpost.SendAs {
	if to == nil || was == nil || meanwhile == nil || to.User == "" || to.User != meanwhile.User || to.Secret != was.Secret {
		return to
	}
	out := *to
	out.Secret = meanwhile.Secret
	return &out
}

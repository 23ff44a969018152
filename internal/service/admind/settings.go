package admind

import (
	"context"
	"net/http"
	"net/url"

	"posthaste/internal/proto/discovery"
)

// Settings are what a mail program needs to know of an account.
type Settings struct {
	Login    string            `json:"login"`
	Name     string            `json:"name,omitempty"`
	Disabled bool              `json:"disabled,omitempty"`
	Services []SettingsService `json:"services"`
	// Pages are where people look after their own accounts; "" if there are none.
	Pages string `json:"pages,omitempty"`
}

// A SettingsService is a port where a program reads or sends mail, or looks after rules;
// the best of each protocol first.
type SettingsService struct {
	Protocol string `json:"protocol"` // "imap", "pop3", "submission" or "sieve"
	Host     string `json:"host"`
	Port     int    `json:"port"`
	TLS      string `json:"tls"` // "implicit" or "starttls"
}

func (s *Server) settings(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	if a.Shared {
		return nil, bad("%s is a folder for many, to which nobody logs in: those who may read it see it in their own accounts, over IMAP", a.Address)
	}
	set, err := s.Settings(r.Context(), a.Address.Domain)
	if err != nil {
		return nil, err
	}
	out := Settings{Login: a.Address.Unicode(), Name: a.Name, Disabled: a.Disabled, Pages: s.AccountPage}
	for _, v := range set.Services {
		tls := "implicit"
		if v.STARTTLS {
			tls = "starttls"
		}
		out.Services = append(out.Services, SettingsService{Protocol: string(v.Protocol), Host: v.Host, Port: v.Port, TLS: tls})
	}
	return out, nil
}

// Discovery gives them in the form that programs are told.
func (s Settings) Discovery(domain string) discovery.Settings {
	out := discovery.Settings{Domain: domain}
	for _, v := range s.Services {
		out.Services = append(out.Services, discovery.Service{Protocol: discovery.Protocol(v.Protocol), Host: v.Host, Port: v.Port, STARTTLS: v.TLS == "starttls"})
	}
	return out
}

// MailSettings gives what a mail program needs to know of an account.
func (c *Client) MailSettings(ctx context.Context, address string) (out Settings, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/accounts/"+url.PathEscape(address)+"/settings", nil, &out)
}

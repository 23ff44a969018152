package server

import (
	"net"
	"net/http"
	"strings"

	"posthaste/internal/service/accountd"
)

// accountPages makes the pages where people look after their own accounts; nil if they are
// switched off.
func (h *House) accountPages() http.Handler {
	if !h.c.Web.AccountPages {
		return nil
	}
	return &accountd.Server{
		Owner: h.owner, Sessions: h.signedIn, SignIn: h.auth.SignIn, Stands: h.auth.Stands, Settings: h.settingsOf,
		Outposts: h.posts, Log: h.o.Log,
	}
}

// accountPage tells where the pages for people are; "" if they are nowhere.
func (h *House) accountPage() string {
	if !h.c.Web.AccountPages {
		return ""
	}
	for _, l := range h.c.Listeners {
		_, port, err := net.SplitHostPort(l.Address)
		if l.Protocol != "https" || err != nil {
			continue
		}
		host := strings.TrimSuffix(h.c.Hostname, ".")
		if port != "443" && port != "https" {
			host = net.JoinHostPort(host, port)
		}
		return "https://" + host + accountd.Path
	}
	return ""
}

// Package fetch is how the server asks others over HTTPS: it finds hosts by our
// own resolver, follows no redirect, and takes no more than it wants.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
)

// maxTries is how many addresses of a web server are tried.
const maxTries = 4

// A Web fetches over HTTPS. Without DNS and Dial it goes by the system's, as commands
// do.
type Web struct {
	DNS  dns.Resolver
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are the authorities that are trusted; nil: those of the system.
	Roots *x509.CertPool
}

// Client gives a client that finds hosts by the Web's resolver, follows no
// redirect and keeps no connection. How long it may take, the context of a
// request says.
func (w *Web) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: w.Reach, TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 32 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Reach connects to a host by its name or address, at the first of its addresses that
// answers.
func (w *Web) Reach(ctx context.Context, network, addr string) (net.Conn, error) {
	if w.DNS == nil || w.Dial == nil {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	list, err := w.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	err = errors.New("no address")
	for i, ip := range list {
		if i == maxTries || ctx.Err() != nil {
			break
		}
		var conn net.Conn
		if conn, err = w.Dial(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (w *Web) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if host == "localhost" { // RFC 6761 §6.3
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	d, err := mail.ParseDomain(host)
	if err != nil {
		return nil, err
	}
	ans, err := w.DNS.Addresses(ctx, d)
	return ans.Records, err
}

// CheckURL tells what is wrong with the address of something that secrets are
// sent to, or believed from: it is https, or http on this machine.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is no URL: write https://host/path", s)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q: leave out user names and what is behind #", s)
	case u.Scheme == "https":
		return nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("%q: only https, or http to this machine itself, is safe", s)
}

// Body sends a request, and gives the body of an answer of the wanted status, if
// it is no longer than limit bytes.
func Body(c *http.Client, req *http.Request, want int, limit int64) ([]byte, error) {
	status, body, err := Answer(c, req, limit)
	if err == nil && status != want {
		err = fmt.Errorf("%s answered %d %s", req.URL.Host, status, http.StatusText(status))
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Answer sends a request, and gives the status and the body of the answer, if it
// is no longer than limit bytes.
func Answer(c *http.Client, req *http.Request, limit int64) (status int, body []byte, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s answered more than %d bytes", req.URL.Host, limit)
	}
	return resp.StatusCode, body, err
}

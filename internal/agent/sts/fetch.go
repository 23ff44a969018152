package sts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/mtasts"
)

// maxTries is how many addresses of a web server are tried.
const maxTries = 4

// A Web fetches over HTTPS. DNS and Dial must be set.
type Web struct {
	DNS  dns.Resolver
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are the authorities that are trusted; nil: those of the system.
	Roots *x509.CertPool
}

// Client gives a client that finds hosts by the Web's resolver, follows no
// redirect and keeps no connection.
func (w *Web) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: w.dial, TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 32 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (w *Web) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d, err := mail.ParseDomain(host)
	if err != nil {
		return nil, err
	}
	ans, err := w.DNS.Addresses(ctx, d)
	if err != nil {
		return nil, err
	}
	err = errors.New("no address")
	for i, ip := range ans.Records {
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

// Policy gives the text of the policy at a host: only as it is, from a host with
// a certificate of that name. RFC 8461 §3.3
func (w *Web) Policy(ctx context.Context, host string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+mtasts.Path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sts: %s answered %s", host, resp.Status)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "text/plain" {
		return nil, fmt.Errorf("sts: the policy at %s is no text/plain", host)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, mtasts.MaxPolicy+1))
	if err == nil && len(text) > mtasts.MaxPolicy {
		err = fmt.Errorf("sts: the policy at %s is too long", host)
	}
	return text, err
}

// untrusted tells whether an error is about the web server's certificate.
func untrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

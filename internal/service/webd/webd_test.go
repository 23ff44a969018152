package webd_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/proto/mtasts"
	"posthaste/internal/service/webd"
	"posthaste/test/network"
)

const policy = "version: STSv1\r\nmode: enforce\r\nmx: mx.a.example\r\nmax_age: 86400\r\n"

// TestPolicy: the policy is given for the names that have it, and nothing else is.
func TestPolicy(t *testing.T) {
	s := &webd.Server{Policy: func(_ context.Context, d mail.Domain) ([]byte, error) {
		if d != "a.example" {
			return nil, mail.ErrNotFound
		}
		return []byte(policy), nil
	}}
	c, at, end := web(t, s, "mta-sts.a.example", "mta-sts.b.example", "other.example")
	for _, q := range []struct {
		method, url string
		code        int
	}{
		{"GET", "https://mta-sts.a.example" + mtasts.Path, 200},
		{"GET", "https://MTA-STS.A.example:443" + mtasts.Path, 200},
		{"GET", "https://mta-sts.b.example" + mtasts.Path, 404},
		{"GET", "https://other.example" + mtasts.Path, 404},
		{"GET", "https://mta-sts.a.example/", 404},
		{"GET", "https://mta-sts.a.example/.well-known/../.well-known/mta-sts.txt/x", 404},
		{"POST", "https://mta-sts.a.example" + mtasts.Path, 405},
		{"HEAD", "https://mta-sts.a.example" + mtasts.Path, 200},
	} {
		req, err := http.NewRequest(q.method, q.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", q.method, q.url, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != q.code || q.code == 200 && (!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || q.method == "GET" && string(b) != policy) {
			t.Errorf("%s %s: %s %q", q.method, q.url, resp.Status, b)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("it still listens")
	}
}

// TestAccount: the pages for owners are where people look for them, and not where programs
// and other servers look things up.
func TestAccount(t *testing.T) {
	s := &webd.Server{
		Policy: func(context.Context, mail.Domain) ([]byte, error) { return nil, mail.ErrNotFound },
		Settings: func(context.Context, mail.Domain) (discovery.Settings, error) {
			return discovery.Settings{}, mail.ErrNotFound
		},
		Account: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page "+r.URL.Path) }),
	}
	names := []string{"mail.a.example", "mta-sts.a.example", "autoconfig.a.example", "autodiscover.a.example"}
	c, _, end := web(t, s, names...)
	for url, want := range map[string]string{
		"mail.a.example/":                            "page /account/",
		"mail.a.example/account":                     "page /account/",
		"mail.a.example/account/pop3":                "page /account/pop3",
		"mail.a.example/.well-known/change-password": "page /account/security",
		"mail.a.example/elsewhere":                   "404",
		"mail.a.example/accounts":                    "404",
		"mta-sts.a.example/account/":                 "404",
		"autoconfig.a.example/account/":              "404",
		"autodiscover.a.example/":                    "404",
	} {
		resp, err := c.Get("https://" + url)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(b), want) && !strings.Contains(resp.Status, want) {
			t.Errorf("%s: %s %q, want %s", url, resp.Status, b, want)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// web runs a server with a certificate for names; all that the client asks for, it asks
// there.
func web(t *testing.T, s *webd.Server, names ...string) (c *http.Client, at string, end func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, roots := network.Certificate(names...)
	s.TLS, s.Log, s.Limits = &tls.Config{Certificates: []tls.Certificate{cert}}, slog.New(slog.DiscardHandler), webd.Limits{Connections: 2, PerAddress: 2}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	at = ln.Addr().String()
	c = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, at)
	}}}
	return c, at, func() error {
		cancel()
		return <-done
	}
}

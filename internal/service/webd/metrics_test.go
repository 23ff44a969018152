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

	"posthaste/internal/service/webd"
	"posthaste/test/network"
)

// TestMetrics: they are given at one place, by GET, and nothing else is; in clear and
// over TLS.
func TestMetrics(t *testing.T) {
	cert, roots := network.Certificate("here.example")
	for scheme, cfg := range map[string]*tls.Config{"http": nil, "https": {Certificates: []tls.Certificate{cert}}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := &webd.Metrics{TLS: cfg, Log: slog.New(slog.DiscardHandler), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "letters_total 7\n")
		})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Serve(ctx, ln) }()
		c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
		}}}
		for _, q := range []struct {
			method, path string
			code         int
			text         string
		}{
			{"GET", "/metrics", 200, "letters_total 7\n"},
			{"GET", "/", 200, "/metrics"},
			{"GET", "/metrics/x", 404, ""},
			{"GET", "/debug/pprof/", 404, ""},
			{"POST", "/metrics", 405, ""},
		} {
			req, err := http.NewRequest(q.method, scheme+"://here.example"+q.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Errorf("%s %s: %v", q.method, req.URL, err)
				continue
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != q.code || !strings.Contains(string(b), q.text) {
				t.Errorf("%s %s: %s %q", q.method, req.URL, resp.Status, b)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

package server

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/server/config"
)

// hooks makes the hooks of the configuration, each with connections of its own.
func (h *House) hooks(list []config.Hook) (out []mx.Hook) {
	for _, c := range list {
		web := &http.Client{
			Transport: &http.Transport{
				DialContext: hookDialer(c.URL).DialContext, TLSClientConfig: &tls.Config{RootCAs: h.o.Roots, MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DisableCompression: true, MaxResponseHeaderBytes: 32 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		key := func() (string, error) { return "", nil }
		if c.SecretFile != "" {
			key = secret(c.SecretFile)
		}
		out = append(out, mx.Hook{
			Name: c.URL, Stage: c.Stage, Timeout: time.Duration(c.Timeout), Optional: c.OnFailure == "accept", Body: int64(c.Body),
			Ask: func(ctx context.Context, request []byte) ([]byte, error) {
				return askHook(ctx, web, c.URL, key, request)
			},
		})
	}
	return out
}

// hookDialer reaches the host of a URL. What is told in clear does not leave our own
// networks, whatever the DNS says of a name.
func hookDialer(to string) *net.Dialer {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if u, err := url.Parse(to); err == nil && u.Scheme == "https" {
		return d
	}
	d.Control = func(_, addr string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return err
		}
		if ip := ap.Addr().Unmap(); !ip.IsLoopback() && !ip.IsPrivate() {
			return fmt.Errorf("server: %s is not in a network of our own: use https", ip)
		}
		return nil
	}
	return d
}

// askHook posts a request, signed if there is a key.
func askHook(ctx context.Context, web *http.Client, to string, key func() (string, error), request []byte) ([]byte, error) {
	k, err := key()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Posthaste")
	if k != "" {
		r.Header.Set("Posthaste-Signature", hookSignature(k, time.Now(), request))
	}
	resp, err := web.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("server: the hook answers %s", strings.TrimSpace(resp.Status))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, mx.MaxHookAnswer+1))
	if err == nil && len(b) > mx.MaxHookAnswer {
		err = mx.ErrHookAnswer
	}
	return b, err
}

// hookSignature signs a request and the second it was made in, so that an old one
// cannot be used again.
func hookSignature(key string, now time.Time, request []byte) string {
	at := strconv.FormatInt(now.Unix(), 10)
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(at + "."))
	m.Write(request)
	return "t=" + at + ",v1=" + hex.EncodeToString(m.Sum(nil))
}

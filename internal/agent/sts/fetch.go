package sts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"posthaste/internal/proto/mtasts"
)

// Policies gives what fetches the text of the policy at a host by a client: only
// as it is, from a host with a certificate of that name. RFC 8461 §3.3
func Policies(c *http.Client) func(ctx context.Context, host string) ([]byte, error) {
	return func(ctx context.Context, host string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+mtasts.Path, nil)
		if err != nil {
			return nil, err
		}
		resp, err := c.Do(req)
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
}

// untrusted tells whether an error is about the web server's certificate.
func untrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

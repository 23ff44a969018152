package admind

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"time"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/store/directory"
)

// A Certificate opens an account by the key that it has.
type Certificate struct {
	Name      string    `json:"name"`
	Protocols string    `json:"protocols"`     // "all", or names divided by commas
	PEM       string    `json:"pem,omitempty"` // in requests only
	Key       string    `json:"key,omitempty"` // SHA-256 of the public key, in hex
	Created   time.Time `json:"created,omitzero"`
}

func (s *Server) certificates(r *http.Request) (any, error) {
	a, err := s.account(r)
	if err != nil {
		return nil, err
	}
	list, err := s.Directory.Certificates(r.Context(), a.ID)
	out := []Certificate{}
	for _, c := range list {
		out = append(out, certificate(c))
	}
	return out, err
}

func certificate(c directory.Certificate) Certificate {
	return Certificate{Name: c.Name, Protocols: c.Protocols.String(), Key: hex.EncodeToString(c.Key), Created: c.Created}
}

func (s *Server) addCertificate(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	in, err := decode[Certificate](r)
	if err != nil {
		return nil, err
	}
	opens, err := directory.ParseProtocols(in.Protocols)
	if err != nil {
		return nil, errRequest{err}
	}
	c, err := s.Registrar.AddCertificate(r.Context(), addr, in.Name, opens, []byte(in.PEM))
	if errors.Is(err, registrar.ErrCertificate) || errors.Is(err, registrar.ErrCertificateName) {
		err = errRequest{err}
	}
	return certificate(c), err
}

func (s *Server) removeCertificate(r *http.Request) (any, error) {
	addr, err := address(r.PathValue("address"))
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	return Certificate{Name: name}, s.Registrar.RemoveCertificate(r.Context(), addr, name)
}

func certificatesPath(address string) string {
	return "/v1/accounts/" + url.PathEscape(address) + "/certificates"
}

// Certificates gives the certificates that open an account.
func (c *Client) Certificates(ctx context.Context, address string) (out []Certificate, err error) {
	return out, c.do(ctx, http.MethodGet, certificatesPath(address), nil, &out)
}

// AddCertificate lets a certificate, in PEM, open an account.
func (c *Client) AddCertificate(ctx context.Context, address string, in Certificate) (out Certificate, err error) {
	return out, c.do(ctx, http.MethodPost, certificatesPath(address), in, &out)
}

// RemoveCertificate removes a certificate.
func (c *Client) RemoveCertificate(ctx context.Context, address, name string) error {
	return c.do(ctx, http.MethodDelete, certificatesPath(address)+"/"+url.PathEscape(name), nil, nil)
}

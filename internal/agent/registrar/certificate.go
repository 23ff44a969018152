package registrar

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
)

// ErrCertificate: a file has no certificate in it.
var ErrCertificate = errors.New("this is no certificate: it begins with -----BEGIN CERTIFICATE-----")

// ErrCertificateName: what a certificate is called is empty, too long, or no text.
var ErrCertificateName = fmt.Errorf("a certificate's name has 1 to %d letters, such as laptop", directory.MaxAppName)

// parseCertificate gives the first certificate of a PEM file.
func parseCertificate(file []byte) (*x509.Certificate, error) {
	for {
		var b *pem.Block
		if b, file = pem.Decode(file); b == nil {
			return nil, ErrCertificate
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w; %v", ErrCertificate, err)
		}
		return c, nil
	}
}

// AddCertificate lets the key of a certificate open an account, for the given
// protocols only. name "" is the certificate's own. mail.ErrExists if the account
// has one of that name, or the key opens any account.
func (r *Registrar) AddCertificate(ctx context.Context, addr mail.Address, name string, opens directory.Protocols, file []byte) (directory.Certificate, error) {
	cert, err := parseCertificate(file)
	if err != nil {
		return directory.Certificate{}, err
	}
	if name == "" {
		name = cert.Subject.CommonName
	}
	if name == "" || len(name) > directory.MaxAppName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return directory.Certificate{}, ErrCertificateName
	}
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return directory.Certificate{}, err
	}
	if a.Shared {
		return directory.Certificate{}, ErrShared
	}
	c := directory.Certificate{Key: r.KeyOf(cert), Name: name, Protocols: opens}
	return c, r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.PutCertificate(tx, a.ID, c) })
}

// RemoveCertificate removes a certificate by its name.
func (r *Registrar) RemoveCertificate(ctx context.Context, addr mail.Address, name string) error {
	a, err := r.Directory.AccountOf(ctx, addr)
	if err != nil {
		return err
	}
	return r.DB.Update(ctx, locked, func(tx kv.Tx) error { return r.Directory.DeleteCertificate(tx, a.ID, name) })
}

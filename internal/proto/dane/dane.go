// Package dane tells whether a mail server has the certificate that its owner
// has published in the DNS: TLSA records (RFC 6698, 7671) as SMTP uses them
// (RFC 7672). Whether the records are secure is the caller's to know.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"posthaste/internal/base/dns"
)

// Usages that count between mail servers. RFC 7672 §3.1
const (
	TrustAnchor = 2 // DANE-TA: the chain leads to this certificate or key
	EndEntity   = 3 // DANE-EE: the server's own
)

// Selectors and matching types. RFC 6698 §2.1.2, 2.1.3
const (
	WholeCertificate = 0
	PublicKey        = 1

	Exact  = 0
	SHA256 = 1
	SHA512 = 2
)

// ErrMismatch is a server whose certificate no record describes.
var ErrMismatch = errors.New("the server's certificate is none of those in its TLSA records")

// Name gives the name under which a server's records stand. RFC 6698 §3
func Name(host string, port int) string {
	return "_" + strconv.Itoa(port) + "._tcp." + host
}

// Usable gives the records that can be used. If a host has records and none is
// usable, TLS is required and no certificate is checked. RFC 7672 §2.2, 3.1.3
func Usable(records []dns.TLSA) []dns.TLSA {
	var out []dns.TLSA
	for _, r := range records {
		if r.Usage != TrustAnchor && r.Usage != EndEntity || r.Selector > PublicKey {
			continue
		}
		switch r.Matching {
		case Exact:
			if !readable(r) {
				continue
			}
		case SHA256:
			if len(r.Data) != sha256.Size {
				continue
			}
		case SHA512:
			if len(r.Data) != sha512.Size {
				continue
			}
		default:
			continue
		}
		out = append(out, r)
	}
	return out
}

func readable(r dns.TLSA) bool {
	var err error
	if r.Selector == WholeCertificate {
		_, err = x509.ParseCertificate(r.Data)
	} else {
		_, err = x509.ParsePKIXPublicKey(r.Data)
	}
	return err == nil
}

// Matches tells whether a record describes a certificate.
func Matches(r dns.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == PublicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case SHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case SHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// Verify checks the certificates that a server has shown, its own first, by
// usable records. A record of the server's own certificate is enough by itself:
// names and dates in it do not count. What a trust anchor has signed must be
// valid now and for one of the names. RFC 7672 §3.1.1, 3.1.2, 3.2
func Verify(records []dns.TLSA, chain []*x509.Certificate, names []string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the server has shown no certificate")
	}
	why := ErrMismatch
	for _, r := range records {
		if r.Usage == EndEntity {
			if Matches(r, chain[0]) {
				return nil
			}
			continue
		}
		for _, anchor := range anchors(r, chain) {
			err := chains(anchor, chain, names, now)
			if err == nil {
				return nil
			}
			why = fmt.Errorf("the trust anchor is that of the TLSA record, but: %w", err)
		}
	}
	return why
}

// anchors gives the certificates that a record of a trust anchor means: of those
// that were shown, or itself.
func anchors(r dns.TLSA, chain []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range chain[1:] {
		if Matches(r, c) {
			out = append(out, c)
		}
	}
	if len(out) == 0 && r.Selector == WholeCertificate && r.Matching == Exact {
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			out = append(out, c)
		}
	}
	return out
}

func chains(anchor *x509.Certificate, chain []*x509.Certificate, names []string, now time.Time) error {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	opts.Roots.AddCert(anchor)
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return err
	}
	err := errors.New("there is no name to check")
	for _, n := range names {
		if err = chain[0].VerifyHostname(n); err == nil {
			return nil
		}
	}
	return err
}

// Record gives the record that we publish for a certificate of ours: "3 1 1", its
// public key, which stays when the certificate is renewed with the same key.
// RFC 7672 §3.1
func Record(c *x509.Certificate) dns.TLSA {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return dns.TLSA{Usage: EndEntity, Selector: PublicKey, Matching: SHA256, Data: sum[:]}
}

// Text gives a record as it stands in a zone file.
func Text(r dns.TLSA) string {
	return fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.Matching, hex.EncodeToString(r.Data))
}

// Package listen opens what the server is reached by: sockets that outlive a
// reload, and certificates, from files or made by itself.
package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"posthaste/internal/server/config"
)

// Certificates makes the TLS configuration for the files. The first pair
// answers for names that no other has.
func Certificates(pairs []config.KeyPair) (*tls.Config, error) {
	var certs []tls.Certificate
	for _, p := range pairs {
		c, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", p.Certificate, p.Key, err)
		}
		certs = append(certs, c)
	}
	return &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS12}, nil
}

// Expired says of which of the files the certificate has expired. They are used all the
// same: other servers encrypt with whatever certificate there is, and to take no mail at
// all is worse than programs that complain.
func Expired(cfg *tls.Config, pairs []config.KeyPair) (err error) {
	for i, c := range cfg.Certificates {
		if time.Now().After(c.Leaf.NotAfter) {
			err = errors.Join(err, fmt.Errorf("certificate %s has expired on %s", pairs[i].Certificate, c.Leaf.NotAfter.Format(time.DateOnly)))
		}
	}
	return err
}

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 825 * 24 * time.Hour // what Apple's systems accept of a private CA
	renewAt  = 30 * 24 * time.Hour
)

// SelfMade gives a certificate for the names, signed by a CA of our own, and
// the file with that CA's certificate. Both are made in dir at first use, and
// the certificate anew when it is about to expire or a name is missing.
func SelfMade(dir string, names ...string) (pair config.KeyPair, ca string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return pair, "", fmt.Errorf("listen: %w", err)
	}
	ca = filepath.Join(dir, "ca.pem")
	pair = config.KeyPair{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	root, err := authority(ca, filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		return pair, "", err
	}
	if good(pair, root.Leaf, names) {
		return pair, ca, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, "", fmt.Errorf("listen: make a key: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, root.Leaf, &key.PublicKey, root.PrivateKey)
	if err != nil {
		return pair, "", fmt.Errorf("listen: make a certificate: %w", err)
	}
	return pair, ca, write(pair.Certificate, pair.Key, der, key)
}

// authority loads our CA, or makes it.
func authority(certFile, keyFile string) (tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil && time.Until(c.Leaf.NotAfter) > renewAt {
		return c, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("listen: our own CA: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, fmt.Errorf("listen: make a key: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Posthaste local CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return c, fmt.Errorf("listen: make a CA: %w", err)
	}
	if err := write(certFile, keyFile, der, key); err != nil {
		return c, err
	}
	return tls.LoadX509KeyPair(certFile, keyFile)
}

func good(p config.KeyPair, ca *x509.Certificate, names []string) bool {
	c, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
	if err != nil || time.Until(c.Leaf.NotAfter) < renewAt || c.Leaf.CheckSignatureFrom(ca) != nil {
		return false
	}
	return !slices.ContainsFunc(names, func(n string) bool { return c.Leaf.VerifyHostname(n) != nil })
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func write(certFile, keyFile string, der []byte, key *ecdsa.PrivateKey) error {
	pk, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// The certificate goes first and comes last: with one that is not its key's
	// the server would not start, and a power cut may come at any time.
	if err := os.Remove(certFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listen: %w", err)
	}
	if err := writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}), 0o600); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// writeFile writes a file that is there whole or not at all, and stays.
func writeFile(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

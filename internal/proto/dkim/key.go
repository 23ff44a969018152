package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A publicKey is a key record. RFC 6376 §3.6.1
type publicKey struct {
	key     crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	bits    int
	hashes  []string // h=; nil allows all
	testing bool     // t=y
	strict  bool     // t=s: i= must be d= itself
}

// parseKey reads a key record.
func parseKey(txt string) (*publicKey, error) {
	tags, err := parseTags(txt)
	if err != nil {
		return nil, err
	}
	if v, ok := value(tags, "v"); ok && (v != "DKIM1" || tags[0].name != "v") {
		return nil, fmt.Errorf("the key record is of version %q", cut(v))
	}
	k := &publicKey{}
	if s, ok := value(tags, "s"); ok && !slices.Contains(list(s), "*") && !slices.Contains(list(s), "email") {
		return nil, fmt.Errorf("the key is not for mail")
	}
	if h, ok := value(tags, "h"); ok {
		k.hashes = list(h)
	}
	if t, ok := value(tags, "t"); ok {
		k.testing, k.strict = slices.Contains(list(t), "y"), slices.Contains(list(t), "s")
	}
	p, ok := value(tags, "p")
	if !ok {
		return nil, fmt.Errorf("the key record has no key")
	}
	p = unspaced(p)
	if p == "" {
		return nil, fmt.Errorf("the key has been revoked")
	}
	raw, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(p)
	}
	if err != nil {
		return nil, fmt.Errorf("the key is no base64")
	}
	kind, ok := value(tags, "k")
	if !ok {
		kind = "rsa"
	}
	return k, k.parse(kind, raw)
}

func (k *publicKey) parse(kind string, raw []byte) error {
	switch kind {
	case "rsa":
		pub, err := x509.ParsePKIXPublicKey(raw)
		if err != nil {
			pub, err = x509.ParsePKCS1PublicKey(raw)
		}
		r, ok := pub.(*rsa.PublicKey)
		if err != nil || !ok {
			return fmt.Errorf("the RSA key is unreadable")
		}
		if k.bits = r.N.BitLen(); k.bits > maxBits {
			return fmt.Errorf("the RSA key of %d bits is too large", k.bits)
		}
		k.key = r
	case "ed25519": // RFC 8463 §4
		if len(raw) != ed25519.PublicKeySize {
			return fmt.Errorf("the Ed25519 key is unreadable")
		}
		k.key, k.bits = ed25519.PublicKey(raw), 256
	default:
		return fmt.Errorf("keys of the kind %q are unknown", cut(kind))
	}
	return nil
}

// Record gives the text of the key record to be published at
// selector._domainkey.domain.
func (s *Signer) Record() (string, error) {
	switch pub := s.Key.Public().(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return "", fmt.Errorf("dkim: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub), nil
	}
	return "", fmt.Errorf("dkim: no such kind of key: %T", s.Key)
}

// Published tells what is wrong with the TXT records at Name: nil if others can verify
// by them what is signed.
func (s *Signer) Published(texts []string) error {
	if len(texts) == 0 {
		return errors.New("it is not published yet")
	}
	if len(texts) > 1 {
		return fmt.Errorf("there are %d TXT records of its name, and must be one", len(texts))
	}
	k, err := parseKey(texts[0])
	if err != nil {
		return fmt.Errorf("what is published is no such key: %w", err)
	}
	if mine, ok := s.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !mine.Equal(k.key) {
		return errors.New("another key is published")
	}
	return nil
}

// Name gives where the key record is published.
func (s *Signer) Name() string { return recordName(s.Selector, string(s.Domain)) }

func recordName(selector, domain string) string {
	return strings.ToLower(selector + "._domainkey." + domain)
}

package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/dns"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func issue(t *testing.T, by *issued, edit func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "somebody"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	edit(c)
	signer, parent := key, c
	if by != nil {
		signer, parent = by.key, by.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{out, key}
}

func server(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.DNSNames, c.ExtKeyUsage = false, x509.KeyUsageDigitalSignature, names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
}

func record(usage, selector, matching uint8, c *issued) dns.TLSA {
	data := c.Raw
	if selector == PublicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case SHA256:
		s := sha256.Sum256(data)
		data = s[:]
	case SHA512:
		s := sha512.Sum512(data)
		data = s[:]
	}
	return dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

func TestVerify(t *testing.T) {
	nothing := func(*x509.Certificate) {}
	root := issue(t, nil, nothing)
	middle := issue(t, root, nothing)
	leaf := issue(t, middle, server("mx.example.org"))
	wild := issue(t, middle, server("*.example.org"))
	old := issue(t, middle, func(c *x509.Certificate) {
		server("mx.example.org")(c)
		c.NotAfter = now.Add(-time.Minute)
	})
	stranger := issue(t, nil, nothing)
	alone := issue(t, nil, server("elsewhere.example"))
	names := []string{"mx.example.org", "example.org"}
	for _, c := range []struct {
		what  string
		recs  []dns.TLSA
		chain []*issued
		ok    bool
	}{
		{"own key", []dns.TLSA{record(3, 1, 1, leaf)}, []*issued{leaf, middle}, true},
		{"own key, SHA-512", []dns.TLSA{record(3, 1, 2, leaf)}, []*issued{leaf}, true},
		{"own certificate", []dns.TLSA{record(3, 0, 1, leaf)}, []*issued{leaf}, true},
		{"own certificate, whole", []dns.TLSA{record(3, 0, 0, leaf)}, []*issued{leaf}, true},
		{"own key, other name", []dns.TLSA{record(3, 1, 1, alone)}, []*issued{alone}, true},
		{"own key, expired", []dns.TLSA{record(3, 1, 1, old)}, []*issued{old}, true},
		{"another's key", []dns.TLSA{record(3, 1, 1, stranger)}, []*issued{leaf, middle}, false},
		{"own key as second", []dns.TLSA{record(3, 1, 1, stranger), record(3, 1, 1, leaf)}, []*issued{leaf}, true},
		{"the issuer's key as own", []dns.TLSA{record(3, 1, 1, middle)}, []*issued{leaf, middle}, false},
		{"anchor, middle", []dns.TLSA{record(2, 1, 1, middle)}, []*issued{leaf, middle}, true},
		{"anchor, root", []dns.TLSA{record(2, 0, 1, root)}, []*issued{leaf, middle, root}, true},
		{"anchor that is not shown", []dns.TLSA{record(2, 0, 1, root)}, []*issued{leaf, middle}, false},
		{"anchor that is the record", []dns.TLSA{record(2, 0, 0, root)}, []*issued{leaf, middle}, true},
		{"anchor, wildcard", []dns.TLSA{record(2, 1, 1, middle)}, []*issued{wild, middle}, true},
		{"anchor, expired", []dns.TLSA{record(2, 1, 1, middle)}, []*issued{old, middle}, false},
		{"anchor beside the chain", []dns.TLSA{record(2, 1, 1, stranger)}, []*issued{leaf, middle, stranger}, false},
		{"the own key as anchor", []dns.TLSA{record(2, 1, 1, leaf)}, []*issued{leaf, middle}, false},
		{"no chain", []dns.TLSA{record(3, 1, 1, leaf)}, nil, false},
		{"no records", nil, []*issued{leaf}, false},
	} {
		var chain []*x509.Certificate
		for _, i := range c.chain {
			chain = append(chain, i.Certificate)
		}
		if err := Verify(Usable(c.recs), chain, names, now); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	other := []*x509.Certificate{leaf.Certificate, middle.Certificate}
	if err := Verify([]dns.TLSA{record(2, 1, 1, middle)}, other, []string{"mx.evil.example"}, now); err == nil || errors.Is(err, ErrMismatch) {
		t.Error("another name under the anchor:", err)
	}
	if r := Record(leaf.Certificate); !Matches(r, leaf.Certificate) || !strings.HasPrefix(Text(r), "3 1 1 ") || len(Text(r)) != 6+64 {
		t.Error(Text(r))
	}
}

func TestUsable(t *testing.T) {
	long := make([]byte, 64)
	for _, c := range []struct {
		r  dns.TLSA
		ok bool
	}{
		{dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: long[:32]}, true},
		{dns.TLSA{Usage: 2, Selector: 0, Matching: 2, Data: long}, true},
		{dns.TLSA{Usage: 0, Selector: 1, Matching: 1, Data: long[:32]}, false},
		{dns.TLSA{Usage: 1, Selector: 1, Matching: 1, Data: long[:32]}, false},
		{dns.TLSA{Usage: 3, Selector: 2, Matching: 1, Data: long[:32]}, false},
		{dns.TLSA{Usage: 3, Selector: 1, Matching: 3, Data: long[:32]}, false},
		{dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: long[:31]}, false},
		{dns.TLSA{Usage: 3, Selector: 1, Matching: 2, Data: long[:32]}, false},
		{dns.TLSA{Usage: 3, Selector: 0, Matching: 0, Data: long}, false},
		{dns.TLSA{Usage: 3, Selector: 1, Matching: 0, Data: long}, false},
	} {
		if got := len(Usable([]dns.TLSA{c.r})) == 1; got != c.ok {
			t.Errorf("%d %d %d of %d bytes: %v", c.r.Usage, c.r.Selector, c.r.Matching, len(c.r.Data), got)
		}
	}
	if n := Name("mx.example.org", 25); n != "_25._tcp.mx.example.org" {
		t.Error(n)
	}
}

func FuzzUsable(f *testing.F) {
	f.Add(uint8(3), uint8(1), uint8(1), make([]byte, 32))
	f.Add(uint8(2), uint8(0), uint8(0), []byte{0x30, 0x82})
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		r := dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
		if u := Usable([]dns.TLSA{r}); len(u) > 0 && Verify(u, []*x509.Certificate{{Raw: []byte("x")}}, []string{"a.example"}, now) == nil && len(data) == 0 {
			t.Error("nothing matches")
		}
	})
}

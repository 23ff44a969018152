package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"posthaste/internal/server/config"
)

func TestSelfMade(t *testing.T) {
	dir := t.TempDir()
	pair, ca, err := SelfMade(dir, "mail.example.org", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Certificates([]config.KeyPair{pair})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, name := range []string{"mail.example.org", "127.0.0.1"} {
		c, s := net.Pipe()
		go tls.Server(s, cfg).Handshake()
		if err := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: name}).Handshake(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	before, _ := os.ReadFile(pair.Certificate)
	if _, _, err := SelfMade(dir, "mail.example.org"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(pair.Certificate); string(before) != string(after) {
		t.Error("a good certificate was made anew")
	}
	if _, _, err := SelfMade(dir, "other.example.org"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(pair.Certificate); string(before) == string(after) {
		t.Error("a certificate for another name was kept")
	}
	if again, _ := os.ReadFile(ca); string(again) != string(pem) {
		t.Error("the CA was made anew")
	}
	if info, _ := os.Stat(pair.Key); info.Mode().Perm() != 0o600 {
		t.Error("the key's mode is", info.Mode())
	}
}

func TestCertificatesSaysWhatIsWrong(t *testing.T) {
	_, err := Certificates([]config.KeyPair{{Certificate: "nowhere.pem", Key: "nowhere.key"}})
	if err == nil || !strings.Contains(err.Error(), "nowhere.pem") {
		t.Error(err)
	}
}

// TestExpired: a certificate that has expired is told, and used.
func TestExpired(t *testing.T) {
	dir := t.TempDir()
	ca, err := authority(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	old := &x509.Certificate{SerialNumber: serial(), DNSNames: []string{"x.example"}, NotBefore: past.Add(-time.Hour), NotAfter: past}
	der, err := x509.CreateCertificate(rand.Reader, old, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pairs := []config.KeyPair{{Certificate: filepath.Join(dir, "ca.pem"), Key: filepath.Join(dir, "ca.key")}, {Certificate: filepath.Join(dir, "old.pem"), Key: filepath.Join(dir, "old.key")}}
	if err := write(pairs[1].Certificate, pairs[1].Key, der, key); err != nil {
		t.Fatal(err)
	}
	cfg, err := Certificates(pairs)
	if err != nil {
		t.Fatal(err)
	}
	if err := Expired(cfg, pairs); err == nil || !strings.Contains(err.Error(), "old.pem has expired") || strings.Contains(err.Error(), "ca.pem") {
		t.Error(err)
	}
}

// TestPortThatCannotBeHad: what stands in the way is said.
func TestPortThatCannotBeHad(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var s Sockets
	defer s.Close()
	for address, want := range map[string]string{ln.Addr().String(): "another program has this port", "192.0.2.1:25": "does not have this address"} {
		if _, err := s.Listen(address); err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestSocketsOutliveLeases: a port stays open, and connections wait, while one
// listener gives it to the next.
func TestSocketsOutliveLeases(t *testing.T) {
	var s Sockets
	defer s.Close()
	first, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := first.Addr().String()
	first.Close()
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("accept after close:", err)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal("the port is closed between leases:", err)
	}
	defer c.Close()
	second, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got.RemoteAddr().String() != c.LocalAddr().String() {
		t.Error("another connection came")
	}
	got.Close()
	s.Keep(nil)
	if _, err := second.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("accept after the port was closed:", err)
	}
	if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

//go:build interop

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"posthaste/test/network"
)

// A street has our server and a neighbour's, which send to each other.
type street struct {
	us       *house
	kind     kind
	smtp     string // the neighbour's door that routes lead to
	wrapper  string // the one with TLS from the first byte
	dull     string // the one without any extension, if it has one
	mx       string // the address that its MX leads to
	boxes    string // its Maildirs, user-domain
	lmtp     string // our door for LMTP
	caOfPost string
}

// A kind is a program that a neighbour runs, and what is different with it.
type kind struct {
	name   string
	start  func(s *street, t *testing.T, dir string)
	ways   []string // domains whose routes it can take mail on, besides by MX
	tls    string   // what its Received fields say of a session with TLS; "" if it can have none
	login  string   // and of one with a login
	utf8   bool     // it has SMTPUTF8
	old    bool     // it has a door without any extension
	silent bool     // its reports repeat neither ENVID nor ORCPT
	no     string   // what we tell of its refusal of nobody
	told   string   // what it tells of ours
}

// way gives one of the domains that routes lead to.
func (s *street) way(i int) string { return s.kind.ways[i%len(s.kind.ways)] }

// Users and domains at the neighbour's; jürgen is one of them where it has SMTPUTF8.
var (
	users   = []string{"post", "two", "three", "four", "five", "six", "seven"}
	domains = []string{byMX, routed, wrapped, clear, old, proved, false_}
)

// Domains at the neighbour's, by the way that leads there.
const (
	byMX    = "neighbour.example"
	routed  = "routed.example"  // with TLS that is verified
	wrapped = "wrapped.example" // with TLS from the first byte
	clear   = "clear.example"   // without TLS
	old     = "old.example"     // without anything that is younger than 1993
	proved  = "proved.example"  // with TLS and a login
	false_  = "false.example"   // with TLS, by a name that its certificate has not
)

func newStreet(t *testing.T, k kind) *street {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal(k.name + " must be started by root")
	}
	dir, err := os.MkdirTemp("", "posthaste-street-") // sockets must have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &street{kind: k, smtp: network.FreePort(), wrapper: network.FreePort(), dull: network.FreePort(), mx: freeAddress(t), lmtp: network.FreePort(), boxes: filepath.Join(dir, "mail")}
	s.caOfPost = certificate(t, dir)
	s.us = s.serve(t, dir)
	if err := os.MkdirAll(s.boxes, 0o755); err != nil {
		t.Fatal(err)
	}
	k.start(s, t, dir)
	eventually(t, func() error {
		for _, at := range []string{s.smtp, s.mx + ":25", s.wrapper, s.dull} {
			if at == s.dull && !k.old {
				continue
			}
			c, err := net.Dial("tcp", at)
			if err != nil {
				return fmt.Errorf("%s does not come up: %w", k.name, err)
			}
			c.Close()
		}
		return nil
	})
	return s
}

// serve starts our side, as an operator does.
func (s *street) serve(t *testing.T, dir string) *house {
	t.Helper()
	data := filepath.Join(dir, "us")
	w := world{SMTP: network.FreePort(), Submission: network.FreePort(), IMAPS: network.FreePort(), IMAP: network.FreePort(), POP3: network.FreePort(), CA: filepath.Join(data, "tls", "ca.pem"), Data: data}
	write(t, filepath.Join(dir, "password"), "host's secret\n")
	conf := write(t, filepath.Join(dir, "posthaste.toml"), fmt.Sprintf(`hostname = "mail.hill.example"
data = "us"
[dns]
servers = [%q]
[limits]
trusted_networks = ["127.0.0.0/8"]
[queue]
first_retry = "1s"
[[listener]]
address = %q
protocol = "smtp"
[[listener]]
address = %q
protocol = "submission"
[[listener]]
address = %q
protocol = "imap"
tls = "implicit"
[[listener]]
address = %q
protocol = "imap"
[[listener]]
address = %q
protocol = "pop3"
[[listener]]
address = %q
protocol = "lmtp"
tls = "none"
[[route]]
domain = %q
host = "localhost:%s"
tls = "required"
[[route]]
domain = %q
host = "localhost:%s"
tls = "implicit"
[[route]]
domain = %q
host = %q
tls = "none"
[[route]]
domain = %q
host = %q
[[route]]
domain = %q
host = "localhost:%s"
tls = "implicit"
username = "smart@neighbour.example"
password_file = "password"
[[route]]
domain = %q
host = %q
tls = "required"
`, nameServer(t, s.mx), w.SMTP, w.Submission, w.IMAPS, w.IMAP, w.POP3, s.lmtp, routed, port(s.smtp), wrapped, port(s.wrapper), clear, s.smtp, old, s.dull, proved, port(s.wrapper), false_, s.smtp))
	h, err := start(data+".log", []string{"SSL_CERT_FILE=" + s.caOfPost}, io.Discard, "serve", "--config", conf)
	if err != nil {
		t.Fatal(err)
	}
	h.world = w
	t.Cleanup(func() {
		if t.Failed() {
			queue, _ := h.tool("queue", "list")
			log, _ := os.ReadFile(h.log)
			t.Logf("our queue:\n%s\nour log:\n%s", queue, log)
		}
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error {
		log, err := os.ReadFile(h.log)
		if err == nil && !bytes.Contains(log, []byte("msg=ready")) {
			err = fmt.Errorf("the server is not ready:\n%s", log)
		}
		return err
	})
	for _, d := range []string{"hill.example", "vale.example"} {
		if out, err := h.tool("domain", "add", d); err != nil {
			t.Fatalf("add domain: %v\n%s", err, out)
		}
	}
	return h
}

// certificate makes a CA and a certificate for localhost, as Postfix reads them.
func certificate(t *testing.T, dir string) (ca string) {
	t.Helper()
	now := time.Now()
	sign := func(name string, tmpl, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, by = tmpl, key
		}
		tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(now.UnixNano()), now.Add(-time.Hour), now.Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+"-key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
		return cert, key, write(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	root, key, ca := sign("post-ca", &x509.Certificate{Subject: pkix.Name{CommonName: "Neighbour's CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	sign("post", &x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature}, root, key)
	return ca
}

// nameServer answers for the street on a port of its own.
func nameServer(t *testing.T, mx string) string {
	t.Helper()
	var records []dns.RR
	for _, text := range []string{byMX + ". 60 IN MX 10 mx." + byMX + ".", "mx." + byMX + ". 60 IN A " + mx} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		known := false
		for _, rr := range records {
			if strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
				known = true
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})}
	go srv.ActivateAndServe()
	t.Cleanup(func() { srv.Shutdown() })
	return pc.LocalAddr().String()
}

// freeAddress gives a loopback address whose port 25, the only one that an MX
// has, is nobody's.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		b := make([]byte, 2)
		rand.Read(b)
		ip := fmt.Sprintf("127.44.%d.%d", b[0], b[1]|1)
		if ln, err := net.Listen("tcp", ip+":25"); err == nil {
			ln.Close()
			return ip
		}
	}
	t.Fatal("no address has a free port 25")
	return ""
}

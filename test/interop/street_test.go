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
)

// A street has our server and a Postfix, which send to each other.
type street struct {
	us       *house
	smtp     string // the door of Postfix that routes lead to
	mx       string // the address that its MX leads to
	boxes    string // its Maildirs
	lmtp     string // our door for LMTP
	caOfPost string
}

// Domains at Postfix, by the way that leads there.
const (
	byMX    = "neighbour.example"
	routed  = "routed.example"  // with TLS that is verified
	wrapped = "wrapped.example" // with TLS from the first byte
	clear   = "clear.example"   // without TLS
	old     = "old.example"     // without anything that is younger than 1993
	proved  = "proved.example"  // with TLS and a login
	false_  = "false.example"   // with TLS, by a name that its certificate has not
)

func newStreet(t *testing.T) *street {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Postfix must be started by root")
	}
	dir, err := os.MkdirTemp("", "posthaste-postfix-") // Postfix's sockets must have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &street{smtp: freePort(t), mx: freeAddress(t), lmtp: freePort(t), boxes: filepath.Join(dir, "mail")}
	door, dull := freePort(t), freePort(t)
	s.caOfPost = certificate(t, dir)
	s.us = s.serve(t, dir, door, dull)
	s.postfix(t, dir, door, dull)
	return s
}

// serve starts our side, as an operator does.
func (s *street) serve(t *testing.T, dir, wrapper, dull string) *house {
	t.Helper()
	data := filepath.Join(dir, "us")
	w := world{SMTP: freePort(t), Submission: freePort(t), IMAPS: freePort(t), IMAP: freePort(t), POP3: freePort(t), CA: filepath.Join(data, "tls", "ca.pem"), Data: data}
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
`, nameServer(t, s.mx), w.SMTP, w.Submission, w.IMAPS, w.IMAP, w.POP3, s.lmtp, routed, port(s.smtp), wrapped, port(wrapper), clear, s.smtp, old, dull, proved, port(wrapper), false_, s.smtp))
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

// postfix starts a Postfix of its own folder.
func (s *street) postfix(t *testing.T, dir, wrapper, dull string) {
	t.Helper()
	etc := filepath.Join(dir, "etc")
	for _, d := range []string{etc, filepath.Join(dir, "queue"), filepath.Join(dir, "data"), s.boxes} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(s.boxes, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for d, who := range map[string]string{"data": "postfix"} {
		job{name: "chown", args: []string{who, filepath.Join(dir, d)}}.ok(t)
	}
	ca, err := os.ReadFile(s.us.CA)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(etc, "ours.pem"), string(ca))
	var boxes strings.Builder
	for _, d := range []string{byMX, routed, wrapped, clear, old, proved, false_} {
		for _, u := range []string{"post", "two", "three", "jürgen"} {
			fmt.Fprintf(&boxes, "%s@%s %s-%s/\n", u, d, u, d)
		}
	}
	write(t, filepath.Join(etc, "boxes"), boxes.String())
	write(t, filepath.Join(etc, "aliases"), "back@"+byMX+" nobody@hill.example\n")
	write(t, filepath.Join(etc, "transport"), fmt.Sprintf("hill.example smtp:[localhost]:%s\nvale.example lmtp:inet:[127.0.0.1]:%s\n", port(s.us.SMTP), port(s.lmtp)))
	write(t, filepath.Join(etc, "policy"), fmt.Sprintf("[localhost]:%s verify match=localhost\n", port(s.us.SMTP)))
	write(t, filepath.Join(etc, "main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = /dev/stdout
myhostname = mx.%[2]s
mydomain = %[2]s
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_header_rewrite_clients =
virtual_mailbox_domains = %[2]s %[3]s %[4]s %[5]s %[8]s %[9]s %[10]s
virtual_mailbox_base = %[6]s
virtual_mailbox_maps = texthash:%[1]s/etc/boxes
virtual_alias_maps = texthash:%[1]s/etc/aliases
virtual_uid_maps = static:%[7]d
virtual_gid_maps = static:%[7]d
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 50000000
transport_maps = texthash:%[1]s/etc/transport
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = may
smtp_tls_CAfile = %[1]s/etc/ours.pem
smtp_tls_policy_maps = texthash:%[1]s/etc/policy
smtp_tls_loglevel = 1
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[1]s/post.pem
smtpd_tls_key_file = %[1]s/post-key.pem
smtpd_tls_received_header = yes
smtputf8_enable = yes
minimal_backoff_time = 2s
maximal_backoff_time = 5s
queue_run_delay = 2s
`, dir, byMX, routed, wrapped, clear, s.boxes, nobody, old, proved, false_))
	write(t, filepath.Join(etc, "master.cf"), fmt.Sprintf(`%s inet n - n - - smtpd
%s:25 inet n - n - - smtpd
%s inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_local_domain=neighbour.example
  -o smtpd_sasl_authenticated_header=yes
  -o cyrus_sasl_config_path=%s
%s inet n - n - - smtpd
  -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8,chunking,pipelining,dsn,size,enhancedstatuscodes,starttls
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`, s.smtp, s.mx, wrapper, filepath.Join(etc, "sasl"), dull))
	accounts := filepath.Join(dir, "sasldb2")
	write(t, filepath.Join(etc, "sasl", "smtpd.conf"), "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: "+accounts+"\nmech_list: PLAIN SCRAM-SHA-256\n")
	job{name: "saslpasswd2", args: []string{"-p", "-c", "-f", accounts, "-u", "neighbour.example", "smart"}, in: "host's secret"}.ok(t)
	job{name: "chown", args: []string{"-R", "postfix", accounts, filepath.Join(etc, "sasl")}}.ok(t)
	if err := os.Chmod(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"main.cf", "master.cf", "boxes", "aliases", "transport", "policy", "ours.pem"} {
		if err := os.Chmod(filepath.Join(etc, f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wait := background(t, job{name: "postfix", home: dir, args: []string{"-c", etc, "start-fg"}})
	t.Cleanup(func() {
		job{name: "postfix", home: dir, args: []string{"-c", etc, "stop"}}.cleanup(t)
		wait()
	})
	eventually(t, func() error {
		for _, at := range []string{s.smtp, s.mx + ":25", wrapper, dull} {
			c, err := net.Dial("tcp", at)
			if err != nil {
				return fmt.Errorf("Postfix does not come up: %w", err)
			}
			c.Close()
		}
		return nil
	})
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

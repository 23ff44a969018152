//go:build interop

package interop

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"posthaste/internal/proto/dane"
	"posthaste/internal/server/resolver"
	"posthaste/internal/server/resolver/dnssec"
	"posthaste/internal/server/resolver/recursor"
	"posthaste/test/network"
)

// A valley is a small Internet: a root and a domain that are signed, one that is
// not, all served by Knot, and somebody on the way who can change what is said.
type valley struct {
	dir    string
	net    string // the first three numbers of all addresses
	anchor string // the DS record of the root

	mu     sync.Mutex
	change func(*dns.Msg) // what the one on the way does
}

func (v *valley) ip(n int) string { return fmt.Sprintf("%s.%d", v.net, n) }

// Who is where in the valley.
const (
	rootAt   = 1  // the root's server
	hiddenAt = 2  // the domains' server, behind the one on the way
	seenAt   = 3  // where the root says that it is
	unboundA = 5  // another resolver
	mxAt     = 10 // the other mail server
	strippAt = 11 // the way to it on which STARTTLS is taken out
)

func newValley(t *testing.T, tlsa string) *valley {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("port 53 is for root")
	}
	v := &valley{net: freeAddress(t)}
	v.net = v.net[:strings.LastIndexByte(v.net, '.')]
	var err error
	if v.dir, err = os.MkdirTemp("", "posthaste-knot-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(v.dir) })
	zone := "example. 60 SOA ns.example. post.example. 1 3600 600 86400 30\nexample. 60 NS ns.example.\nns.example. 60 A " + v.ip(seenAt) + "\n"
	for _, d := range []string{"dane", "stripped", "wrong", "spoofed", "alias", "taken", "bare"} {
		zone += d + ".example. 5 MX 10 mx." + d + ".example.\n"
	}
	zone += "mx.dane.example. 5 A " + v.ip(mxAt) + "\nmx.stripped.example. 5 A " + v.ip(strippAt) + "\nmx.taken.example. 5 A " + v.ip(mxAt) + "\nmx.bare.example. 5 A " + v.ip(mxAt) + "\nmx.wrong.example. 5 A " + v.ip(mxAt) + "\nmx.spoofed.example. 5 A " + v.ip(mxAt) + "\n"
	zone += "mx.alias.example. 5 CNAME mx.dane.example.\nevil.example. 5 A " + v.ip(mxAt) + "\n"
	for _, d := range []string{"dane", "stripped", "spoofed", "taken", "bare"} {
		zone += "_25._tcp.mx." + d + ".example. 5 TLSA " + tlsa + "\n"
	}
	zone += "_25._tcp.mx.wrong.example. 5 TLSA 3 1 1 " + strings.Repeat("0123", 16) + "\n"
	ds := v.sign(t, "example.", zone)
	plain := "plain. 60 SOA ns.example. post.example. 1 3600 600 86400 30\nplain. 60 NS ns.example.\n"
	for _, d := range []string{"sts", "moved"} {
		plain += d + ".plain. 5 MX 10 mx." + d + ".plain.\nmx." + d + ".plain. 5 A " + v.ip(mxAt) + "\nmta-sts." + d + ".plain. 5 A " + v.ip(mxAt) + "\n_mta-sts." + d + ".plain. 5 TXT \"v=STSv1; id=1;\"\n"
	}
	plain = strings.ReplaceAll(plain, "10 mx.sts.plain.", "10 mx.dane.example.") // which the policy names
	plain += "open.plain. 5 MX 10 mx.sts.plain.\n"
	write(t, filepath.Join(v.dir, "signed", "plain.zone"), plain)
	root := ". 60 SOA root. post.example. 1 3600 600 86400 30\n. 60 NS root.\nroot. 60 A " + v.ip(rootAt) + "\nexample. 60 NS ns.example.\nns.example. 60 A " + v.ip(seenAt) + "\nplain. 60 NS ns.example.\n" + ds
	v.anchor = strings.TrimSpace(v.sign(t, ".", root))
	v.serve(t, rootAt, ".")
	v.serve(t, hiddenAt, "example.", "plain.")
	v.intercept(t)
	return v
}

func zoneFile(name string) string {
	if name == "." {
		return "root.zone"
	}
	return name + "zone"
}

// sign signs a zone, and gives its DS records.
func (v *valley) sign(t *testing.T, name, text string) string {
	t.Helper()
	write(t, filepath.Join(v.dir, "plain", zoneFile(name)), text)
	conf := write(t, filepath.Join(v.dir, "sign.conf"), fmt.Sprintf(`database:
  storage: %[1]s/keys
policy:
  - id: small
    algorithm: ecdsap256sha256
    single-type-signing: on
zone:
  - domain: %[2]s
    storage: %[1]s/plain
    file: %[3]s
    dnssec-signing: on
    dnssec-policy: small
`, v.dir, name, zoneFile(name)))
	for _, d := range []string{"keys", "signed"} {
		if err := os.MkdirAll(filepath.Join(v.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	job{name: "kzonesign", args: []string{"-c", conf, "-o", filepath.Join(v.dir, "signed"), name}}.ok(t)
	var out strings.Builder
	for line := range strings.Lines(job{name: "keymgr", args: []string{"-c", conf, name, "ds"}}.ok(t)) {
		if f := strings.Fields(line); len(f) >= 6 && f[1] == "DS" && f[4] == "2" {
			out.WriteString(line)
		}
	}
	if out.Len() == 0 {
		t.Fatal("no DS record of " + name)
	}
	return out.String()
}

// serve runs Knot for zones.
func (v *valley) serve(t *testing.T, at int, zones ...string) {
	t.Helper()
	run := filepath.Join(v.dir, fmt.Sprintf("run%d", at))
	if err := os.MkdirAll(run, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("server:\n  rundir: %[1]s\n  listen: %[2]s@53\n  user: root:root\ndatabase:\n  storage: %[1]s\nlog:\n  - target: stderr\n    any: warning\nzone:\n", run, v.ip(at))
	for _, z := range zones {
		conf += fmt.Sprintf("  - domain: %s\n    storage: %s/signed\n    file: %s\n    journal-content: none\n    zonefile-sync: -1\n", z, v.dir, zoneFile(z))
	}
	stop := background(t, job{name: "knotd", args: []string{"-c", write(t, filepath.Join(run, "knot.conf"), conf)}, home: run})
	t.Cleanup(stop)
	eventually(t, func() error {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(zones[0], dns.TypeSOA), v.ip(at)+":53")
		if err == nil && len(m.Answer) == 0 {
			err = fmt.Errorf("no SOA of %s: %v", zones[0], m)
		}
		return err
	})
}

// intercept puts somebody on the way to the domains' server.
func (v *valley) intercept(t *testing.T) {
	t.Helper()
	handle := func(network string) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			c := dns.Client{Net: network, UDPSize: 4096, Timeout: 5 * time.Second}
			m, _, err := c.Exchange(q, v.ip(hiddenAt)+":53")
			if err != nil {
				return
			}
			v.mu.Lock()
			if v.change != nil {
				v.change(m)
			}
			v.mu.Unlock()
			w.WriteMsg(m)
		})
	}
	for _, network := range []string{"udp", "tcp"} {
		up := make(chan struct{})
		srv := &dns.Server{Addr: v.ip(seenAt) + ":53", Net: network, Handler: handle(network), NotifyStartedFunc: func() { close(up) }}
		go srv.ListenAndServe()
		select {
		case <-up:
		case <-time.After(patience):
			t.Fatal("no port 53")
		}
		t.Cleanup(func() { srv.Shutdown() })
	}
}

// meanwhile changes what is said about names on the way.
func (v *valley) meanwhile(change func(*dns.Msg)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.change = change
}

// without takes records away that drop wants gone.
func without(m *dns.Msg, drop func(dns.RR) bool) {
	for _, s := range []*[]dns.RR{&m.Answer, &m.Ns} {
		var kept []dns.RR
		for _, rr := range *s {
			if !drop(rr) {
				kept = append(kept, rr)
			}
		}
		*s = kept
	}
}

// pki makes an authority, and a certificate of it for names.
func pki(t *testing.T, dir string, names ...string) (ca, cert, key string, leaf *x509.Certificate) {
	t.Helper()
	now := time.Now()
	sign := func(tmpl, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, by = tmpl, k
		}
		tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(time.Now().UnixNano()), now.Add(-time.Hour), now.Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &k.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, k
	}
	root, by := sign(&x509.Certificate{Subject: pkix.Name{CommonName: "The valley's CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, k := sign(&x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, root, by)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	out := func(name, typ string, der []byte) string {
		return write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})))
	}
	return out("ca.pem", "CERTIFICATE", root.Raw), out("cert.pem", "CERTIFICATE", leaf.Raw), out("key.pem", "PRIVATE KEY", der), leaf
}

// run starts a server that finds answers by itself in the valley.
func (v *valley) run(t *testing.T, name, host, ca, conf string, domains ...string) *house {
	t.Helper()
	dir := filepath.Join(v.dir, name)
	file := write(t, filepath.Join(dir, "posthaste.toml"), fmt.Sprintf("hostname = %q\ndata = \"data\"\n[dns]\nrecursive = true\ndnssec = \"always\"\nroot_servers = [%q]\ntrust_anchors = [%q]\n[queue]\nfirst_retry = \"1s\"\n%s", host, v.ip(rootAt), v.anchor, conf))
	h, err := start(dir+".log", []string{"SSL_CERT_FILE=" + ca}, io.Discard, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	h.Data = filepath.Join(dir, "data")
	t.Cleanup(func() {
		if t.Failed() {
			queue, _ := h.tool("queue", "list")
			log, _ := os.ReadFile(h.log)
			t.Logf("queue of %s:\n%s\nlog:\n%s", name, queue, log)
		}
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error {
		log, err := os.ReadFile(h.log)
		if err == nil && !strings.Contains(string(log), "msg=ready") {
			err = fmt.Errorf("the server is not ready:\n%s", log)
		}
		return err
	})
	for _, d := range domains {
		if out, err := h.tool("domain", "add", d); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if out, err := h.toolWith("a long password", "account", "add", "post@"+d, "--password-stdin"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return h
}

// strip is a way to a mail server on which STARTTLS is taken out.
func strip(t *testing.T, at, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer s.Close()
				go io.Copy(s, c)
				for r := bufio.NewReader(s); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					io.WriteString(c, strings.Replace(line, "STARTTLS", "XNOTHING", 1))
				}
			}()
		}
	}()
}

// TestSafely sends through the valley: by DANE and by MTA-STS, and against those
// who would rather have the mail in clear, or themselves.
func TestSafely(t *testing.T) {
	keys, err := os.MkdirTemp("", "posthaste-keys-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(keys) })
	ca, cert, key, leaf := pki(t, keys, "mx.dane.example", "mta-sts.sts.plain", "mta-sts.moved.plain")
	v := newValley(t, dane.Text(dane.Record(leaf)))
	domains := []string{"dane.example", "stripped.example", "wrong.example", "spoofed.example", "alias.example", "taken.example", "bare.example", "sts.plain", "moved.plain", "open.plain"}
	far := v.run(t, "far", "mx.dane.example", ca, fmt.Sprintf("[mta_sts]\nmode = \"enforce\"\n[[tls]]\ncertificate = %q\nkey = %q\n[[listener]]\naddress = \"%s:25\"\nprotocol = \"smtp\"\n[[listener]]\naddress = \"%s:443\"\nprotocol = \"https\"\n", cert, key, v.ip(mxAt), v.ip(mxAt)), domains...)
	strip(t, v.ip(strippAt)+":25", v.ip(mxAt)+":25")
	if out, err := far.tool("domain", "dns", "dane.example", "--config", filepath.Join(v.dir, "far", "posthaste.toml")); err != nil || !strings.Contains(out, "_25._tcp.mx.dane.example.  IN  TLSA  "+dane.Text(dane.Record(leaf))) || !strings.Contains(out, "_mta-sts.dane.example.") {
		t.Errorf("%v\n%s", err, out)
	}
	door := network.FreePort()
	near := v.run(t, "near", "mx.near.example", ca, fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = \"lmtp\"\ntls = \"none\"\n[[listener]]\naddress = %q\nprotocol = \"submission\"\ntls = \"none\"\nplaintext_login = true\n", network.FreePort(), door), "near.example")

	taken := func(typ uint16) func(*dns.Msg) {
		return func(m *dns.Msg) {
			if m.Question[0].Qtype == typ {
				m.Answer, m.Ns = nil, nil
			}
		}
	}
	bare := func(m *dns.Msg) {
		without(m, func(rr dns.RR) bool { _, sig := rr.(*dns.RRSIG); return sig && m.Question[0].Qtype == dns.TypeMX })
	}
	spoof := func(m *dns.Msg) {
		for _, rr := range m.Answer {
			if mx, ok := rr.(*dns.MX); ok {
				mx.Mx = "evil.example."
			}
		}
	}
	moved := func(m *dns.Msg) {
		for _, rr := range m.Answer {
			if mx, ok := rr.(*dns.MX); ok {
				mx.Mx = "mx.moved.plain."
			}
		}
	}
	for _, c := range []struct {
		name, to string
		change   func(*dns.Msg)
		words    string // in the story
		arrives  bool
	}{
		{"DANE", "dane.example", nil, "to a server that has proved to be the right one (DANE)", true},
		{"DANE of an alias", "alias.example", nil, "to a server that has proved to be the right one (DANE)", true},
		{"MTA-STS", "sts.plain", nil, "to a server that has proved to be the right one (MTA-STS)", true},
		{"neither", "open.plain", nil, "over an encrypted connection (TLS 1.3).", true},
		{"STARTTLS stripped", "stripped.example", nil, "it did not offer to: somebody may sit in between", false},
		{"another certificate", "wrong.example", nil, "another certificate than its domain says in the DNS (DANE)", false},
		{"TLSA stripped", "taken.example", taken(dns.TypeTLSA), "cannot be found out just now, or is not properly signed", false},
		{"signatures stripped", "bare.example", bare, "the signature is wrong: the answer may be forged", false},
		{"MX spoofed", "spoofed.example", spoof, "the signature is wrong: the answer may be forged", false},
		{"MX spoofed, not signed", "sts.plain", moved, "not among those that its policy (MTA-STS) names", false},
		{"MX not in the policy", "moved.plain", nil, "not among those that its policy (MTA-STS) names", false},
		{"policy taken away", "sts.plain", func(m *dns.Msg) { taken(dns.TypeTXT)(m); moved(m) }, "not among those that its policy (MTA-STS) names", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v.meanwhile(c.change)
			defer v.meanwhile(nil)
			if c.change != nil {
				time.Sleep(6 * time.Second) // what was known before is over
			}
			mark := fmt.Sprintf("Subject: %s\r\nFrom: <post@near.example>\r\n\r\nHello.\r\n", c.name)
			id := submit(t, door, "post@near.example", "a long password", mark, "post@"+c.to)
			eventually(t, func() error {
				story, err := near.tool("why", id)
				if err != nil || !strings.Contains(story, c.words) {
					return fmt.Errorf("%v\n%s", err, story)
				}
				return nil
			})
			if !c.arrives {
				if out, err := near.tool("queue", "drop", id); err != nil {
					t.Errorf("it does not wait: %v\n%s", err, out)
				}
			}
		})
	}
	for _, d := range domains {
		want := map[string]int{"dane.example": 1, "alias.example": 1, "sts.plain": 1, "open.plain": 1}[d]
		if got := messages(t, far, "post@"+d); got != want {
			t.Errorf("%s has got %d messages, not %d", d, got, want)
		}
	}
	if out, err := near.tool("tls"); err != nil || !strings.Contains(out, "wrong.example") || !strings.Contains(out, "none of those in its TLSA records") || !strings.Contains(out, "does not name this server") || strings.Contains(out, "open.plain") {
		t.Errorf("%v\n%s", err, out)
	}
	v.compare(t)
}

// submit hands a message in, and gives its id.
func submit(t *testing.T, at, user, password, text, to string) string {
	t.Helper()
	c, err := textproto.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	login := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	last := ""
	for _, s := range []struct {
		say  string
		code int
	}{{"", 220}, {"EHLO here", 250}, {"AUTH PLAIN " + login, 235}, {"MAIL FROM:<" + user + ">", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354}, {text + ".", 250}} {
		if s.say != "" {
			if err := c.PrintfLine("%s", s.say); err != nil {
				t.Fatal(err)
			}
		}
		if _, last, err = c.ReadResponse(s.code); err != nil {
			t.Fatalf("%q: %v", s.say, err)
		}
	}
	return last[strings.LastIndexByte(last, ' ')+1:]
}

// messages counts what somebody has got.
func messages(t *testing.T, h *house, address string) int {
	t.Helper()
	out, err := h.tool("account", "list")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == address {
			n := 0
			fmt.Sscan(f[1], &n)
			return n
		}
	}
	t.Fatalf("%s is not in\n%s", address, out)
	return 0
}

// compare asks Unbound what it thinks of what our resolver answers.
func (v *valley) compare(t *testing.T) {
	anchor := write(t, filepath.Join(v.dir, "anchor"), v.anchor+"\n")
	hints := write(t, filepath.Join(v.dir, "hints"), ". 3600 NS root.\nroot. 3600 A "+v.ip(rootAt)+"\n")
	conf := write(t, filepath.Join(v.dir, "unbound.conf"), fmt.Sprintf(`server:
  interface: %[1]s
  username: ""
  chroot: ""
  directory: %[2]s
  pidfile: ""
  use-syslog: no
  trust-anchor-file: %[3]s
  root-hints: %[4]s
  module-config: "validator iterator"
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  local-zone: plain. nodefault
remote-control:
  control-enable: no
`, v.ip(unboundA), v.dir, anchor, hints))
	var said []dns.RR // by Unbound
	ask := func(name string, typ uint16) (verdict string, err error) {
		q := new(dns.Msg).SetQuestion(name, typ)
		q.SetEdns0(1232, false)
		q.AuthenticatedData = true
		m, _, err := (&dns.Client{Timeout: 4 * time.Second}).Exchange(q, v.ip(unboundA)+":53")
		switch {
		case err != nil:
			return "", err
		case m.Rcode == dns.RcodeServerFailure:
			return "bogus", nil
		}
		said = m.Answer
		return fmt.Sprintf("%s, %d records, secure %v", dns.RcodeToString[m.Rcode], len(m.Answer), m.AuthenticatedData), nil
	}
	ds, err := dns.NewRR(v.anchor)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*dns.Msg){
		"as it is": nil,
		"without signatures": func(m *dns.Msg) {
			without(m, func(rr dns.RR) bool { _, sig := rr.(*dns.RRSIG); return sig && m.Question[0].Qtype != dns.TypeDNSKEY })
		},
		"without TLSA": func(m *dns.Msg) {
			without(m, func(rr dns.RR) bool { _, ok := rr.(*dns.TLSA); return ok })
		},
		"other addresses": func(m *dns.Msg) {
			for _, rr := range append(m.Answer, m.Extra...) {
				if a, ok := rr.(*dns.A); ok && strings.HasPrefix(strings.ToLower(a.Hdr.Name), "mx.") {
					a.A = net.IPv4(127, 0, 0, 9)
				}
			}
		},
	} {
		v.meanwhile(change)
		stop := background(t, job{name: "unbound", args: []string{"-d", "-c", conf}, home: v.dir})
		eventually(t, func() error { _, err := ask(".", dns.TypeSOA); return err })
		src := &recursor.Recursor{Roots: []netip.Addr{netip.MustParseAddr(v.ip(rootAt))}, Exchange: resolver.Ask}
		val := &dnssec.Validator{Source: src, Anchors: []*dns.DS{ds.(*dns.DS)}}
		for _, q := range []struct {
			name string
			typ  uint16
		}{
			{"dane.example.", dns.TypeMX},
			{"mx.dane.example.", dns.TypeA},
			{"mx.alias.example.", dns.TypeA},
			{"_25._tcp.mx.dane.example.", dns.TypeTLSA},
			{"_25._tcp.mx.alias.example.", dns.TypeTLSA},
			{"nobody.example.", dns.TypeMX},
			{"dane.example.", dns.TypeTXT},
			{"sts.plain.", dns.TypeMX},
			{"_mta-sts.sts.plain.", dns.TypeTXT},
			{"nobody.plain.", dns.TypeA},
		} {
			want, err := ask(q.name, q.typ)
			switch {
			case err != nil && change == nil:
				t.Error(err)
				continue
			case err != nil: // it asks again and again for something better
				want = "bogus"
			}
			got := "bogus"
			m, err := src.Message(t.Context(), q.name, q.typ)
			if err == nil {
				secure, bogus := val.Validate(t.Context(), m)
				if bogus == nil {
					got = fmt.Sprintf("%s, %d records, secure %v", dns.RcodeToString[m.Rcode], len(unsigned(m.Answer)), secure)
				}
			}
			if got != want {
				t.Errorf("%s: %s %s: %s, and Unbound says %s %v (%v)", name, dns.TypeToString[q.typ], q.name, got, want, said, err)
			}
		}
		stop()
	}
	v.meanwhile(nil)
}

func unsigned(list []dns.RR) (out []dns.RR) {
	for _, rr := range list {
		if _, sig := rr.(*dns.RRSIG); !sig {
			out = append(out, rr)
		}
	}
	return out
}

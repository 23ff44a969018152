//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"posthaste/test/network"
)

// gate is a server that is configured for other ways to log in than passwords.
type gate struct {
	*house
	person // who has an account
}

// newGate starts a server with the listeners of all three protocols, each with
// more in its part of the configuration.
func newGate(t *testing.T, conf, listener string, env ...string) *gate {
	t.Helper()
	dir := t.TempDir()
	w := world{Submission: network.FreePort(), Submissions: network.FreePort(), IMAP: network.FreePort(), IMAPS: network.FreePort(), POP3: network.FreePort(), POP3S: network.FreePort(), Data: filepath.Join(dir, "data")}
	w.CA = filepath.Join(w.Data, "tls", "ca.pem")
	conf = "hostname = \"mail.hill.example\"\ndata = \"data\"\n" + conf
	for _, l := range [][3]string{
		{w.Submission, "submission", "starttls"},
		{w.Submissions, "submission", "implicit"},
		{w.IMAP, "imap", "starttls"},
		{w.IMAPS, "imap", "implicit"},
		{w.POP3, "pop3", "starttls"},
		{w.POP3S, "pop3", "implicit"},
	} {
		conf += fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = %q\ntls = %q\n%s\n", l[0], l[1], l[2], listener)
	}
	h, err := start(filepath.Join(dir, "log"), env, io.Discard, "serve", "--config", write(t, filepath.Join(dir, "posthaste.toml"), conf))
	if err != nil {
		t.Fatal(err)
	}
	h.world = w
	t.Cleanup(func() {
		log, _ := os.ReadFile(h.log)
		if err := h.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	eventually(t, func() error {
		log, err := os.ReadFile(h.log)
		if err == nil && !strings.Contains(string(log), "msg=ready") {
			err = fmt.Errorf("the server is not ready:\n%s", log)
		}
		return err
	})
	g := &gate{house: h, person: person{h: h, address: "ada@hill.example", password: "a long password"}}
	g.do(t, "", "domain", "add", "hill.example")
	g.do(t, g.password, "account", "add", g.address, "--password-stdin")
	return g
}

// do runs one of our commands.
func (g *gate) do(t *testing.T, in string, args ...string) string {
	t.Helper()
	out, err := g.toolWith(in, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

// newIssuer serves an issuer of tokens, and gives its URL and what makes tokens.
func newIssuer(t *testing.T) (url string, token func(email string, life time.Duration) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refresh := 0 // "refresh N" is good, once
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token":
			if r.PostFormValue("refresh_token") != fmt.Sprint("refresh ", refresh) || r.PostFormValue("client_id") != "c" {
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, `{"error":"invalid_grant"}`)
				return
			}
			refresh++
			json.NewEncoder(w).Encode(map[string]any{"access_token": token("ada@hill.example", time.Hour), "token_type": "Bearer", "expires_in": 2, "refresh_token": fmt.Sprint("refresh ", refresh)})
		case "/.well-known/openid-configuration":
			json.NewEncoder(w).Encode(map[string]string{"issuer": url, "jwks_uri": url + "/keys"})
		case "/keys":
			json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k"}}})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	url = s.URL
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return url, func(email string, life time.Duration) string {
		out, err := jwt.Signed(signer).Claims(map[string]any{"iss": url, "aud": "mail", "exp": time.Now().Add(life).Unix(), "email": email, "email_verified": true}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// TestTokens: curl, msmtp, mpop, mbsync and Python log in with a token, over all protocols.
func TestTokens(t *testing.T) {
	t.Parallel()
	url, token := newIssuer(t)
	g := newGate(t, fmt.Sprintf("[[auth.issuer]]\nurl = %q\naudience = [\"mail\"]\n", url), "")
	letter := "From: <ada@hill.example>\r\nTo: <ada@hill.example>\r\nSubject: by token\r\n\r\nhello\r\n"
	file := write(t, filepath.Join(t.TempDir(), "m"), letter)
	good, old, other := token(g.address, time.Hour), token(g.address, -time.Hour), token("bob@hill.example", time.Hour)
	curl := func(tok string, args ...string) (string, int) {
		return job{name: "curl", args: append([]string{"-sSv", "--ssl-reqd", "--cacert", g.CA, "-u", g.address + ":", "--oauth2-bearer", tok}, args...)}.run(t)
	}
	for _, c := range [][]string{
		{local("imap", g.IMAP, "/")},
		{local("imaps", g.IMAPS, "/")},
		{local("pop3", g.POP3, "/")},
		{local("pop3s", g.POP3S, "/")},
		{local("smtp", g.Submission, "/x"), "--mail-from", g.address, "--mail-rcpt", g.address, "-T", file},
		{local("smtps", g.Submissions, "/x"), "--mail-from", g.address, "--mail-rcpt", g.address, "-T", file},
	} {
		if out, code := curl(good, c...); code != 0 || !regexp.MustCompile(`> .*AUTH.* OAUTHBEARER`).MatchString(out) {
			t.Errorf("%s: curl ended with %d\n%s", c[0], code, out)
		}
		for _, bad := range []string{old, other, "x"} {
			if out, code := curl(bad, c...); code != 67 {
				t.Errorf("%s with a bad token: curl ended with %d, not 67\n%s", c[0], code, out)
			}
		}
	}
	for _, mech := range []string{"oauthbearer", "xoauth2"} {
		rc := fmt.Sprintf("defaults\ntls on\ntls_starttls on\ntls_trust_file %s\naccount a\nhost localhost\nauth %s\nuser %s\n", g.CA, mech, g.address)
		home := t.TempDir()
		send := func(tok string) (string, int) {
			file := write(t, filepath.Join(home, "msmtprc"), rc+fmt.Sprintf("port %s\nfrom %s\npassword %s\n", port(g.Submission), g.address, tok))
			return job{name: "msmtp", home: home, in: letter, args: []string{"-C", file, "-a", "a", g.address}}.run(t)
		}
		if out, code := send(good); code != 0 {
			t.Errorf("msmtp with %s ended with %d\n%s", mech, code, out)
		}
		if out, code := send(old); code != 77 {
			t.Errorf("msmtp with %s and an old token ended with %d, not 77\n%s", mech, code, out)
		}
		into := filepath.Join(home, "in")
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(into, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		conf := write(t, filepath.Join(home, "mpoprc"), rc+fmt.Sprintf("port %s\npassword %s\nkeep on\nuidls_file %s/uidls\ndelivery maildir %s\n", port(g.POP3), good, home, into))
		job{name: "mpop", home: home, args: []string{"-C", conf, "a"}}.ok(t)
		if got, err := filepath.Glob(filepath.Join(into, "new", "*")); err != nil || len(got) < 3 {
			t.Errorf("mpop with %s brought %d messages, %v", mech, len(got), err)
		}
	}
	home := t.TempDir()
	rc := write(t, filepath.Join(home, "mbsyncrc"), fmt.Sprintf(`IMAPAccount a
Host localhost
Port %s
User %s
Pass %s
SSLType IMAPS
CertificateFile %s
AuthMechs XOAUTH2

IMAPStore far
Account a

MaildirStore near
Path %s/m/
Inbox %s/m/INBOX

Channel c
Far :far:
Near :near:
Create Near
Patterns INBOX
`, port(g.IMAPS), g.address, good, g.CA, home, home))
	if err := os.Mkdir(filepath.Join(home, "m"), 0o700); err != nil {
		t.Fatal(err)
	}
	job{name: "mbsync", home: home, args: []string{"-c", rc, "c"}}.ok(t)
	if got, err := filepath.Glob(filepath.Join(home, "m", "INBOX", "*", "*")); err != nil || len(got) != 4 {
		t.Errorf("mbsync brought %d messages, not those 4 that curl and msmtp sent, %v", len(got), err)
	}
	script := fmt.Sprintf(`import imaplib, poplib, ssl, base64
c = ssl.create_default_context(cafile=%q)
m = imaplib.IMAP4_SSL("localhost", %s, ssl_context=c)
heard = []
def say(challenge):
    heard.append(challenge)
    return b"\x01" if len(heard) > 1 else b"n,a=ada@hill.example,\x01auth=Bearer %s\x01\x01"
try:
    m.authenticate("OAUTHBEARER", say)
    raise SystemExit("an old token is good")
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
assert b'"status":"invalid_token"' in heard[1] and b"openid-configuration" in heard[1], heard
m.authenticate("XOAUTH2", lambda _: b"user=ada@hill.example\x01auth=Bearer %s\x01\x01")
assert m.select()[1] == [b"4"]
`, g.CA, port(g.IMAPS), old, good)
	job{name: "python3", args: []string{write(t, filepath.Join(home, "t.py"), script)}}.ok(t)
}

// TestTokenSmarthost: one server of ours sends through another with tokens, whose
// refresh tokens change each time, also over a start.
func TestTokenSmarthost(t *testing.T) {
	t.Parallel()
	url, _ := newIssuer(t)
	far := newGate(t, fmt.Sprintf("[[auth.issuer]]\nurl = %q\naudience = [\"mail\"]\n", url), "")
	far.do(t, "", "domain", "add", "vale.example")
	bob := person{h: far.house, address: "bob@vale.example", password: "a long password"}
	far.do(t, bob.password, "account", "add", bob.address, "--password-stdin")
	first := write(t, filepath.Join(t.TempDir(), "refresh"), "refresh 0\n")
	near := newGate(t, fmt.Sprintf(`[[route]]
domain = "vale.example"
host = "localhost:%s"
tls = "required"
username = "ada@hill.example"
oauth2 = { token_url = %q, client_id = "c", refresh_token_file = %q }
`, port(far.Submission), url+"/token", first), "", "SSL_CERT_FILE="+far.CA)
	rc := write(t, filepath.Join(t.TempDir(), "msmtprc"), fmt.Sprintf("account a\nhost localhost\nport %s\ntls on\ntls_starttls on\ntls_trust_file %s\nauth on\nuser %s\npassword %s\nfrom %s\n", port(near.Submission), near.CA, near.address, near.password, near.address))
	for i := range 3 {
		job{name: "msmtp", in: fmt.Sprintf("From: ada@hill.example\r\nTo: bob@vale.example\r\nSubject: %d\r\n\r\nhello\r\n", i), args: []string{"-C", rc, "-a", "a", bob.address}}.ok(t)
		eventually(t, func() error {
			if n := len(bob.judge(t).letters("INBOX")); n != i+1 {
				return fmt.Errorf("%d messages have arrived", n)
			}
			return nil
		})
		time.Sleep(1100 * time.Millisecond) // the token ends
	}
}

// TestCertificates: openssl, curl and Python log in with a certificate where it is
// asked for, in a resumed session too, and no longer when it has been removed.
func TestCertificates(t *testing.T) {
	t.Parallel()
	g := newGate(t, "", "client_certificates = true")
	dir := t.TempDir()
	pair := func(name string) (key, cert string) {
		key, cert = filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pem")
		job{name: "openssl", args: []string{"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", key, "-out", cert}}.ok(t)
		return key, cert
	}
	key, cert := pair("laptop")
	strangeKey, strange := pair("strange")
	if out, err := g.tool("account", "certificate", "add", g.address, key); err == nil || !strings.Contains(out, "private key") {
		t.Errorf("a private key was added: %s", out)
	}
	g.do(t, "", "account", "certificate", "add", g.address, cert)
	if out := g.do(t, "", "account", "certificate", "list", g.address); !strings.Contains(out, "laptop") {
		t.Error(out)
	}
	letter := write(t, filepath.Join(dir, "m"), "From: <ada@hill.example>\r\nTo: <ada@hill.example>\r\n\r\nhello\r\n")
	curl := func(key, cert string, args ...string) (string, int) {
		return job{name: "curl", args: append([]string{"-sSv", "--ssl-reqd", "--cacert", g.CA, "--cert", cert, "--key", key, "-u", g.address + ":", "--login-options", "AUTH=EXTERNAL"}, args...)}.run(t)
	}
	ways := [][]string{
		{local("imap", g.IMAP, "/")},
		{local("imaps", g.IMAPS, "/")},
		{local("pop3", g.POP3, "/")},
		{local("pop3s", g.POP3S, "/")},
		{local("smtp", g.Submission, "/x"), "--mail-from", g.address, "--mail-rcpt", g.address, "-T", letter},
		{local("smtps", g.Submissions, "/x"), "--mail-from", g.address, "--mail-rcpt", g.address, "-T", letter},
	}
	for _, c := range ways {
		if out, code := curl(key, cert, c...); code != 0 || !regexp.MustCompile(`> .*AUTH.* EXTERNAL`).MatchString(out) {
			t.Errorf("%s: curl ended with %d\n%s", c[0], code, out)
		}
		if out, code := curl(strangeKey, strange, c...); code != 67 {
			t.Errorf("%s with a strange certificate: curl ended with %d, not 67\n%s", c[0], code, out)
		}
	}
	// The second time the session is resumed, and no certificate is given to openssl.
	session := filepath.Join(dir, "session")
	for i, more := range [][]string{{"-sess_out", session, "-cert", cert, "-key", key}, {"-sess_in", session}} {
		for _, tls := range []string{"-tls1_2", "-tls1_3"} {
			if i == 1 && tls == "-tls1_2" {
				continue // the session is that of TLS 1.3
			}
			in := "a AUTHENTICATE EXTERNAL =\r\nb LOGOUT\r\n"
			out, _ := job{name: "sh", in: in, args: append([]string{"-c", `(sleep 1; cat; sleep 1) | exec openssl s_client "$@"`, "sh", "-quiet", "-connect", g.IMAPS, tls}, more...)}.run(t)
			if !strings.Contains(out, "AUTH=EXTERNAL") || !strings.Contains(out, "a OK") {
				t.Errorf("openssl %s, %v:\n%s", tls, more, out)
			}
		}
	}
	script := fmt.Sprintf(`import imaplib, poplib, smtplib, ssl
c = ssl.create_default_context(cafile=%q)
m = imaplib.IMAP4_SSL("localhost", %s, ssl_context=c)
assert "AUTH=EXTERNAL" not in m.capabilities, m.capabilities
c.load_cert_chain(%q, %q)
m = imaplib.IMAP4("localhost", %s)
m.starttls(c)
assert "AUTH=EXTERNAL" in m.capabilities, m.capabilities
m.authenticate("EXTERNAL", lambda _: b"ada@hill.example")
assert m.select()[1] == [b"2"]
p = poplib.POP3_SSL("localhost", %s, context=c)
assert "EXTERNAL" in p.capa()["SASL"], p.capa()
s = smtplib.SMTP("localhost", %s)
s.starttls(context=c)
s.ehlo()
assert s.auth("EXTERNAL", lambda challenge=None: "", initial_response_ok=False)[0] == 235
`, g.CA, port(g.IMAPS), cert, key, port(g.IMAP), port(g.POP3S), port(g.Submission))
	job{name: "python3", args: []string{write(t, filepath.Join(dir, "t.py"), script)}}.ok(t)
	g.do(t, "", "account", "certificate", "remove", g.address, "laptop")
	for _, c := range ways {
		if out, code := curl(key, cert, c...); code != 67 {
			t.Errorf("%s with a removed certificate: curl ended with %d, not 67\n%s", c[0], code, out)
		}
	}
}

// TestScramSHA1: msmtp and mpop log in by SCRAM-SHA-1 where it is switched on, with
// a password and an app password.
func TestScramSHA1(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[auth]\nscram_sha_1 = true\n", "")
	app := strings.TrimSpace(g.do(t, "", "account", "password", "add", g.address, "phone"))
	if out := g.do(t, "", "account", "list"); strings.Contains(out, "SCRAM-SHA-1") {
		t.Errorf("a new password does not go with it:\n%s", out)
	}
	home := t.TempDir()
	into := filepath.Join(home, "in")
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(into, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, password := range []string{g.password, app, "wrong"} {
		rc := fmt.Sprintf("defaults\ntls on\ntls_starttls on\ntls_trust_file %s\naccount a\nhost localhost\nauth scram-sha-1\nuser %s\npassword %s\n", g.CA, g.address, password)
		send := job{name: "msmtp", home: home, in: "Subject: hello\r\n\r\nhello\r\n", args: []string{"-C", write(t, filepath.Join(home, fmt.Sprint("msmtprc", i)), rc+fmt.Sprintf("port %s\nfrom %s\n", port(g.Submission), g.address)), "-a", "a", g.address}}
		fetch := job{name: "mpop", home: home, args: []string{"-C", write(t, filepath.Join(home, fmt.Sprint("mpoprc", i)), rc+fmt.Sprintf("port %s\nkeep off\nuidls_file %s/uidls\ndelivery maildir %s\n", port(g.POP3), home, into)), "a"}}
		if password != "wrong" {
			send.ok(t)
			fetch.ok(t)
			continue
		}
		if out, code := send.run(t); code != 77 {
			t.Errorf("a wrong password: msmtp ended with %d\n%s", code, out)
		}
		if out, code := fetch.run(t); code != 77 {
			t.Errorf("a wrong password: mpop ended with %d\n%s", code, out)
		}
	}
	if got, err := filepath.Glob(filepath.Join(into, "new", "*")); err != nil || len(got) != 2 {
		t.Errorf("%d messages, %v", len(got), err)
	}
}

// TestAPOP: mpop, fetchmail, curl and Python log in by APOP, with the password that
// was made for it and no other.
func TestAPOP(t *testing.T) {
	t.Parallel()
	g := newGate(t, "", "")
	capa := func() string {
		out, _ := job{name: "curl", args: []string{"-sSv", "--cacert", g.CA, "-u", g.address + ":" + g.password, local("pop3s", g.POP3S, "/")}}.run(t)
		return out
	}
	if out := capa(); strings.Contains(out, "@posthaste>") {
		t.Errorf("a stamp for nobody:\n%s", out)
	}
	apop := strings.TrimSpace(g.do(t, "", "account", "password", "add", g.address, "old scanner", "--apop"))
	if out := g.do(t, "", "account", "password", "list", g.address); !strings.Contains(out, "APOP only") {
		t.Error(out)
	}
	if out := capa(); !strings.Contains(out, "@posthaste>") {
		t.Errorf("no stamp:\n%s", out)
	}
	home := t.TempDir()
	letter := write(t, filepath.Join(home, "m"), "From: <ada@hill.example>\r\nTo: <ada@hill.example>\r\n\r\nhello\r\n")
	job{name: "curl", args: []string{"-sS", "--cacert", g.CA, "-u", g.address + ":" + g.password, local("smtps", g.Submissions, "/x"), "--mail-from", g.address, "--mail-rcpt", g.address, "-T", letter}}.ok(t)
	into := filepath.Join(home, "in")
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(into, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for password, want := range map[string]int{apop: 0, g.password: 77} {
		rc := write(t, filepath.Join(home, fmt.Sprint("mpoprc", want)), fmt.Sprintf("account a\nhost localhost\nport %s\ntls on\ntls_starttls on\ntls_trust_file %s\nauth apop\nuser %s\npassword %s\nkeep on\nuidls_file %s/uidls\ndelivery maildir %s\n", port(g.POP3), g.CA, g.address, password, home, into))
		if out, code := (job{name: "mpop", home: home, args: []string{"-C", rc, "a"}}).run(t); code != want {
			t.Errorf("mpop ended with %d, not %d\n%s", code, want, out)
		}
	}
	if got, err := filepath.Glob(filepath.Join(into, "new", "*")); err != nil || len(got) != 1 {
		t.Errorf("mpop brought %d messages, %v", len(got), err)
	}
	rc := write(t, filepath.Join(home, "fetchmailrc"), fmt.Sprintf("set invisible\npoll localhost service %s protocol APOP uidl\nuser %q password %q ssl sslcertck sslcertfile %q keep mda \"cat >%s/fetched\"\n", port(g.POP3S), g.address, apop, g.CA, home))
	if err := os.Chmod(rc, 0o600); err != nil {
		t.Fatal(err)
	}
	job{name: "fetchmail", home: home, args: []string{"-f", rc, "-i", home + "/fetchids", "--nosyslog", "--pidfile", home + "/pid"}}.ok(t)
	if b, err := os.ReadFile(home + "/fetched"); err != nil || !strings.Contains(string(b), "hello") {
		t.Errorf("fetchmail brought %q, %v", b, err)
	}
	job{name: "curl", args: []string{"-sS", "--cacert", g.CA, "-u", g.address + ":" + apop, "--login-options", "AUTH=+APOP", local("pop3s", g.POP3S, "/1")}}.ok(t)
	script := fmt.Sprintf(`import poplib, ssl
c = ssl.create_default_context(cafile=%q)
p = poplib.POP3_SSL("localhost", %s, context=c)
for user, secret in ("ada@hill.example", %q), ("nobody@hill.example", %q):
    try:
        p.apop(user, secret)
        raise SystemExit(user + " is in")
    except poplib.error_proto as e:
        assert b"[AUTH]" in e.args[0], e
try:
    p.user("ada@hill.example"); p.pass_(%q)
    raise SystemExit("a password for APOP opens by PASS")
except poplib.error_proto as e:
    pass
p.apop("ada@hill.example", %q)
assert p.stat()[0] == 1
`, g.CA, port(g.POP3S), g.password, apop, apop, apop)
	job{name: "python3", args: []string{write(t, filepath.Join(home, "t.py"), script)}}.ok(t)
}

// TestRevoked: sessions of all protocols end when the password changes, those of an
// app password when it is taken away, and others go on.
func TestRevoked(t *testing.T) {
	t.Parallel()
	g := newGate(t, "", "")
	app := strings.TrimSpace(g.do(t, "", "account", "password", "add", g.address, "phone"))
	dir := t.TempDir()
	script := fmt.Sprintf(`import imaplib, poplib, smtplib, ssl, os, socket, sys, time
c = ssl.create_default_context(cafile=%q)
user, main, app, dir = %q, %q, %q, %q
def imap(password):
    m = imaplib.IMAP4_SSL("localhost", %s, ssl_context=c, timeout=20)
    m.login(user, password)
    return m
idle, phone, quiet = imap(main), imap(app), imap(main)
idle.select()
idle.send(b"i IDLE\r\n")
assert idle.readline().startswith(b"+ ")
p = poplib.POP3_SSL("localhost", %s, context=c, timeout=20)
p.user(user); p.pass_(main)
s = smtplib.SMTP_SSL("localhost", %s, context=c, timeout=20)
s.login(user, main)
def step(name):
    open(dir + "/" + name, "w").close()
    for _ in range(300):
        if os.path.exists(dir + "/" + name + ".done"):
            return
        time.sleep(0.1)
    raise SystemExit("nothing happens after " + name)
step("in")
line = idle.readline()
assert line.startswith(b"* BYE [EXPIRED]"), line
line = quiet.readline()
assert line.startswith(b"* BYE [EXPIRED]"), line
line = p.file.readline()
assert line.startswith(b"-ERR [AUTH]"), line
line = s.getreply()
assert line[0] == 421 and b"no longer good" in line[1], line
assert phone.noop()[0] == "OK"
step("changed")
line = phone.readline()
assert line.startswith(b"* BYE [EXPIRED]"), line
`, g.CA, g.address, g.password, app, dir, port(g.IMAPS), port(g.POP3S), port(g.Submissions))
	file := write(t, filepath.Join(dir, "t.py"), script)
	change := func(name string, fn func()) {
		eventually(t, func() error {
			_, err := os.Stat(filepath.Join(dir, name))
			return err
		})
		fn()
		write(t, filepath.Join(dir, name+".done"), "")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		change("in", func() { g.do(t, "another long password", "account", "password", g.address, "--password-stdin") })
		change("changed", func() { g.do(t, "", "account", "password", "remove", g.address, "phone") })
	}()
	job{name: "python3", args: []string{file}}.ok(t)
	<-ended
}

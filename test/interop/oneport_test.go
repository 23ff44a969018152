//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"posthaste/test/network"
)

// TestOnePort: openssl gets mail and the web from one port, by ALPN, and curl the web.
func TestOnePort(t *testing.T) {
	at := network.FreePort()
	cert := webHouse(t, fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = \"https\"\nalpn = [\"imap\", \"pop3\", \"sieve\", \"submission\"]\n", at), at).CA
	for alpn, c := range map[string]struct{ say, want string }{
		"imap":        {"a LOGOUT\r\n", "* BYE"},
		"pop3":        {"QUIT\r\n", "+OK"},
		"managesieve": {"LOGOUT\r\n", `"VERSION" "1.0"`},
		"smtp":        {"QUIT\r\n", "221 2.0.0"},
		"http/1.1":    {"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "302 Found"},
		"xmpp":        {"", "no application protocol"},
	} {
		out, _ := job{name: "sh", in: c.say, args: []string{"-c", `(sleep 1; cat; sleep 1) | exec openssl s_client "$@"`, "sh", "-quiet", "-CAfile", cert, "-verify_return_error", "-servername", "localhost", "-alpn", alpn, "-connect", at}}.run(t)
		if !strings.Contains(out, c.want) {
			t.Errorf("%s: %s", alpn, out)
		}
	}
	out, code := job{name: "curl", args: []string{"-s", "--cacert", cert, "-o", "/dev/null", "-w", "%{http_code}", "https://localhost:" + port(at) + "/"}}.run(t)
	if code != 0 || out != "302" {
		t.Errorf("curl: %s, %d", out, code)
	}
}

// webHouse starts a server of its own that is called localhost, as the certificate of the
// demonstration is, with such listeners; it waits for that at the address.
func webHouse(t *testing.T, listeners, at string) *house {
	t.Helper()
	dir := t.TempDir()
	tls := filepath.Dir(small.CA)
	conf := write(t, filepath.Join(dir, "posthaste.toml"), fmt.Sprintf("hostname = \"localhost\"\ndata = %q\n[[tls]]\ncertificate = %q\nkey = %q\n%s", filepath.Join(dir, "data"), filepath.Join(tls, "cert.pem"), filepath.Join(tls, "key.pem"), listeners))
	h, err := start(filepath.Join(dir, "log"), nil, os.Stderr, "serve", "--config", conf)
	if err != nil {
		t.Fatal(err)
	}
	h.Data, h.CA = filepath.Join(dir, "data"), small.CA
	t.Cleanup(func() {
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err
	})
	return h
}

//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenSMTPD exchanges mail with an OpenSMTPD, in both directions. That of Debian
// 12 offers TLS and then fails each handshake (it is older than the OpenSSL that it
// is built with): mail to it must arrive all the same, in clear, where nobody asks
// for more.
func TestOpenSMTPD(t *testing.T) {
	t.Parallel()
	s := newStreet(t, kind{
		name: "OpenSMTPD", start: (*street).openSMTPD, ways: []string{clear}, silent: true,
		no: "Status: 5.2.4", told: "Status: 5.0.0",
	})
	s.exchange(t)
}

// openSMTPD starts an OpenSMTPD of its own folder. Where it looks for what cannot be
// configured, there is a view of that folder.
func (s *street) openSMTPD(t *testing.T, dir string) {
	t.Helper()
	n := beside(t, dir, "usr/sbin/smtpd", "opensmtpd", "opensmtpq")
	n.bind(filepath.Join(n.root, "usr/libexec"), "/usr/libexec")
	ca, err := os.ReadFile(s.us.CA)
	if err != nil {
		t.Fatal(err)
	}
	trusted := write(t, filepath.Join(dir, "ours.pem"), string(ca))
	if err := os.Chmod(trusted, 0o644); err != nil {
		t.Fatal(err)
	}
	n.bind(trusted, "/etc/ssl/certs/ca-certificates.crt")
	for path, mode := range map[string]os.FileMode{"lib/opensmtpd/empty": 0o755, "spool/smtpd": 0o711, "run": 0o755} {
		if err := os.MkdirAll(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	for at, sub := range map[string]string{"/var/lib": "lib", "/var/spool": "spool", "/run": "run"} {
		n.bind(filepath.Join(dir, sub), at)
	}
	if err := os.Chown(s.boxes, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	conf := write(t, filepath.Join(dir, "smtpd.conf"), s.openSMTPDConf(dir))
	t.Cleanup(background(t, n.job(dir, filepath.Join(n.root, "usr/sbin/smtpd"), "-d", "-v", "-f", conf)))
}

func (s *street) openSMTPDConf(dir string) string {
	var people strings.Builder
	for _, d := range domains {
		for _, u := range users {
			fmt.Fprintf(&people, ", \"%s@%s\" = nobody", u, d)
		}
	}
	return strings.NewReplacer(
		"DIR", dir, "MX", s.mx, "DOOR", port(s.smtp), "WRAPPER", port(s.wrapper), "SMTP", port(s.us.SMTP), "LMTP", port(s.lmtp),
		"DOMAINS", `"`+strings.Join(domains, `", "`)+`"`, "BACK", "back@"+byMX, ", PEOPLE", people.String(),
	).Replace(`pki localhost cert "DIR/post.pem"
pki localhost key "DIR/post-key.pem"
smtp max-message-size "50M"
table people { "BACK" = "nobody@hill.example", PEOPLE }
table domains { DOMAINS }
listen on 127.0.0.1 port DOOR hostname mx.neighbour.example tls pki localhost
listen on MX port 25 hostname mx.neighbour.example tls pki localhost
listen on 127.0.0.1 port WRAPPER hostname mx.neighbour.example smtps pki localhost
action box maildir "DIR/mail/%{rcpt.user}-%{rcpt.domain}" virtual <people>
action us relay host "smtp+tls://localhost:SMTP" helo mx.neighbour.example
action us_by_lmtp relay host "lmtp://127.0.0.1:LMTP" helo mx.neighbour.example
match from any for domain <domains> action box
match from any for domain "hill.example" action us
match from any for domain "vale.example" action us_by_lmtp
`)
}

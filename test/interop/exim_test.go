//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExim exchanges mail with an Exim, in both directions.
func TestExim(t *testing.T) {
	t.Parallel()
	s := newStreet(t, kind{
		name: "Exim", start: (*street).exim, tls: "esmtps ", login: "esmtpsa ",
		ways: []string{routed, wrapped, clear}, utf8: true, no: "Status: 5.1.1", told: "Status: 5.0.0",
	})
	s.exchange(t)
	log, err := os.ReadFile(filepath.Join(filepath.Dir(s.boxes), "mainlog"))
	if err != nil {
		t.Fatal(err)
	}
	// It notes how messages came and went: with TLS (X), pipelined (L), in chunks (K).
	// We send none in chunks (RFC 3030): nobody needs that of us.
	for _, line := range []string{`<= \S+@hill\.example .* L\.? X=TLS`, `=> \S+@hill\.example .* X=TLS.* L.* K`} {
		if !regexp.MustCompile(`(?m) ` + line).Match(log) {
			t.Errorf("not in its log: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("its log:\n%s", log)
	}
}

// exim starts an Exim of its own folder.
func (s *street) exim(t *testing.T, dir string) {
	t.Helper()
	n := beside(t, dir, "usr/sbin/exim4", "Debian-exim")
	for _, d := range []string{filepath.Join(dir, "spool"), s.boxes} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d, uidBeside, uidBeside); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := os.ReadFile(s.us.CA)
	if err != nil {
		t.Fatal(err)
	}
	files := []string{
		write(t, filepath.Join(dir, "ours.pem"), string(ca)),
		write(t, filepath.Join(dir, "mainlog"), ""),
		write(t, filepath.Join(dir, "exim.conf"), s.eximConf(dir, filepath.Join(n.root, "usr/sbin/exim4"))),
		filepath.Join(dir, "post.pem"), filepath.Join(dir, "post-key.pem"),
	}
	for _, f := range files {
		if err := os.Chown(f, 0, uidBeside); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "mainlog"), uidBeside, uidBeside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(background(t, n.job(dir, filepath.Join(n.root, "usr/sbin/exim4"), "-C", filepath.Join(dir, "exim.conf"), "-bdf", "-q2s")))
}

func (s *street) eximConf(dir, program string) string {
	return strings.NewReplacer(
		"DIR", dir, "PROGRAM", program, "MX", s.mx, "DOOR", port(s.smtp), "WRAPPER", port(s.wrapper),
		"SMTP", port(s.us.SMTP), "LMTP", port(s.lmtp), "DOMAINS", strings.Join(domains, " : "), "USERS", strings.Join(append([]string{"jürgen"}, users...), " : "),
		"BACK", fmt.Sprintf("${if eq{$local_part@$domain}{back@%s}{nobody@hill.example}}", byMX),
	).Replace(`primary_hostname = mx.neighbour.example
spool_directory = DIR/spool
log_file_path = DIR/%slog
pid_file_path = DIR/spool/pid
exim_path = PROGRAM
deliver_drop_privilege = true
keep_environment =
dkim_verify_signers =
disable_ipv6 = true
local_interfaces = <; 127.0.0.1.DOOR ; 127.0.0.1.WRAPPER ; MX.25
tls_on_connect_ports = WRAPPER
tls_advertise_hosts = *
tls_certificate = DIR/post.pem
tls_privatekey = DIR/post-key.pem
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
message_size_limit = 50M
smtp_accept_queue_per_connection = 0
log_selector = +pipelining
domainlist ours = DOMAINS
acl_smtp_rcpt = rcpt
acl_smtp_data = accept

begin acl
rcpt:
  accept domains = +ours
         verify = recipient
  deny   domains = +ours
         message = unknown user
  accept domains = hill.example : vale.example
  deny   message = relay not permitted

begin routers
back:
  driver = redirect
  domains = +ours
  data = BACK
boxes:
  driver = accept
  domains = +ours
  local_parts = USERS
  transport = box
us:
  driver = manualroute
  domains = hill.example
  transport = us
  route_list = * localhost::SMTP byname
  self = send
us_by_lmtp:
  driver = manualroute
  domains = vale.example
  transport = us_by_lmtp
  route_list = * localhost byname
  self = send

begin transports
us:
  driver = smtp
  hosts_require_tls = *
  tls_verify_certificates = DIR/ours.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *
us_by_lmtp:
  driver = smtp
  protocol = lmtp
  port = LMTP
box:
  driver = appendfile
  directory = DIR/mail/${local_part_data}-${domain_data}
  maildir_format
  create_directory
  return_path_add

begin retry
* * F,1h,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${if def:tls_in_cipher}
  server_condition = ${if and{{eq{$auth2}{smart@neighbour.example}}{eq{$auth3}{host's secret}}}}
  server_set_id = $auth2
`)
}

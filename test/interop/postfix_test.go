//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPostfix exchanges mail with a Postfix, in both directions.
func TestPostfix(t *testing.T) {
	t.Parallel()
	s := newStreet(t, kind{
		name: "Postfix", start: (*street).postfix, tls: "SMTPS id", login: "(Authenticated sender: smart@neighbour.example)",
		ways: []string{routed, wrapped, clear}, utf8: true, old: true, no: "Status: 5.1.1", told: "Status: 5.1.1",
	})
	t.Run("nothing in clear", s.noPasswordInClear)
	s.exchange(t)
}

// postfix starts a Postfix of its own folder.
func (s *street) postfix(t *testing.T, dir string) {
	t.Helper()
	etc := filepath.Join(dir, "etc")
	for _, d := range []string{etc, filepath.Join(dir, "queue"), filepath.Join(dir, "data")} {
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
	for _, d := range domains {
		for _, u := range append([]string{"jürgen"}, users...) {
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
`, s.smtp, s.mx, s.wrapper, filepath.Join(etc, "sasl"), s.dull))
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
}

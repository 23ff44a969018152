//go:build bench

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"posthaste/test/network"
)

// startDovecot starts a Dovecot with mailboxes of a format, and a Postfix in
// front of it.
func startDovecot(format string) func(string, *sink) (*server, error) {
	return func(dir string, to *sink) (s *server, err error) {
		s = &server{name: "Postfix+Dovecot " + format, smtp: network.FreePort(), imap: network.FreePort(), pop3: network.FreePort(), far: "someone@" + abroad}
		for _, d := range []string{dir, filepath.Join(dir, "postfix"), filepath.Join(dir, "run"), filepath.Join(dir, "mail")} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return nil, err
			}
		}
		if err := os.Chown(filepath.Join(dir, "mail"), mailUID, mailUID); err != nil {
			return nil, err
		}
		if s.group, err = newGroup(format); err != nil {
			return nil, err
		}
		conf := filepath.Join(dir, "dovecot.conf")
		if err := writeFile(conf, dovecotConf(dir, format, s)); err != nil {
			return nil, err
		}
		c, err := s.group.start("/usr/sbin/dovecot", "-F", "-c", conf)
		if err != nil {
			return nil, err
		}
		s.stop = func() error {
			err := errors.Join(c.Process.Signal(syscall.SIGTERM), c.Wait())
			return errors.Join(err, s.group.remove())
		}
		stopPostfix, err := startPostfix(filepath.Join(dir, "postfix"), filepath.Join(dir, "run", "lmtp-in"), s, to)
		if err != nil {
			return s, err
		}
		stopDovecot := s.stop
		s.stop = func() error { return errors.Join(stopPostfix(), stopDovecot()) }
		return s, answers(s.smtp, s.imap, s.pop3)
	}
}

// mailUID is who owns Dovecot's mail; nobody need have the number.
const mailUID = 5000

func dovecotConf(dir, format string, s *server) string {
	location := "mdbox:~/mdbox"
	if format == "maildir" {
		location = "maildir:~/Maildir"
	}
	r := strings.NewReplacer("DIR", dir, "LOCATION", location, "IMAP", portOf(s.imap), "POP3", portOf(s.pop3), "PASSWORD", password, "UID", fmt.Sprint(mailUID))
	return r.Replace(`
base_dir = DIR/run
state_dir = DIR/run
log_path = /dev/null
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 10M
first_valid_uid = 1
mail_location = LOCATION
mail_fsync = optimized
maildir_very_dirty_syncs = yes
mail_max_userip_connections = 0
default_client_limit = 30000
default_process_limit = 20000
default_vsz_limit = 0
passdb {
  driver = static
  args = password=PASSWORD
}
userdb {
  driver = static
  args = uid=UID gid=UID home=DIR/mail/%n allow_all_users=yes
}
namespace inbox {
  inbox = yes
}
service imap-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 30000
  inet_listener imap {
    port = IMAP
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 30000
  inet_listener pop3 {
    port = POP3
  }
  inet_listener pop3s {
    port = 0
  }
}
service imap {
  service_count = 1000
  process_limit = 20000
}
service pop3 {
  service_count = 1000
}
service lmtp {
  process_min_avail = 8
  service_count = 1000
  unix_listener lmtp-in {
    mode = 0666
  }
}
service anvil {
  client_limit = 60000
}
service auth {
  client_limit = 60000
}
service stats {
  client_limit = 60000
}
`)
}

// startPostfix starts a Postfix of its own, with its own queue.
func startPostfix(dir, lmtp string, s *server, to *sink) (stop func() error, err error) {
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.%[2]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = %[2]s
virtual_mailbox_maps = static:ok
virtual_transport = lmtp:unix:%[3]s
relayhost = [127.0.0.1]:%[4]s
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
smtpd_peername_lookup = no
smtp_host_lookup = native
disable_dns_lookups = yes
in_flow_delay = 0
initial_destination_concurrency = 50
default_destination_concurrency_limit = 50
default_process_limit = 300
smtputf8_enable = no
biff = no
`, dir, domain, lmtp, portOf(to.addr()))
	master := `127.0.0.1:` + portOf(s.smtp) + ` inet n - n - - smtpd
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
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
	if err := errors.Join(writeFile(filepath.Join(dir, "main.cf"), main), writeFile(filepath.Join(dir, "master.cf"), master), os.Mkdir(filepath.Join(dir, "queue"), 0o755), os.Mkdir(filepath.Join(dir, "data"), 0o700)); err != nil {
		return nil, err
	}
	if out, err := exec.Command("chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	c, err := s.group.start("/usr/sbin/postfix", "-c", dir, "start-fg")
	if err != nil {
		return nil, err
	}
	return func() error {
		out, err := exec.Command("/usr/sbin/postfix", "-c", dir, "stop").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("stop Postfix: %w: %s", err, out)
		}
		_ = c.Wait() // the script ends with the signal that has stopped the server
		return err
	}, nil
}

//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"posthaste/test/network"
)

// startCyrus starts Debian's Cyrus, unpacked, with ada and bob, who have the password
// "old". It gives its ports and the partition.
func startCyrus(t *testing.T, more string) (imap, pop, spool string) {
	t.Helper()
	unpackedAt, libs := unpacked(t, "usr/lib/cyrus/bin/master")
	if os.Getuid() != 0 {
		t.Skip("Cyrus changes users: this needs root")
	}
	dir, err := os.MkdirTemp("", "posthaste-cyrus-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	n := beside(t, dir, "usr/lib/cyrus/bin/master") // where it was unpacked, only we may go
	imap, pop, spool = port(network.FreePort()), port(network.FreePort()), filepath.Join(dir, "spool")
	for _, sub := range []string{"conf", "spool", "run"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	in := strings.NewReplacer("DIR", dir, "BIN", filepath.Join(n.root, "usr/lib/cyrus/bin"), "IMAPPORT", imap, "POPPORT", pop)
	write(t, filepath.Join(dir, "imapd.conf"), in.Replace(`configdirectory: DIR/conf
partition-default: DIR/spool
defaultpartition: default
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: DIR/sasldb
sasl_mech_list: PLAIN LOGIN
cyrus_user: nobody
cyrus_group: nogroup
proc_path: DIR/run/proc
lock_path: DIR/run/lock
mboxname_lockpath: DIR/run/lock
duplicate_db_path: DIR/run/deliver.db
statuscache_db_path: DIR/run/statuscache.db
servername: old.example
defaultdomain: old.example
autocreate_quota: -1
autocreate_post: 1
`)+more)
	conf := write(t, filepath.Join(dir, "cyrus.conf"), in.Replace(`START {
  recover cmd="BIN/ctl_cyrusdb -C DIR/imapd.conf -r"
}
SERVICES {
  imap cmd="BIN/imapd -C DIR/imapd.conf" listen="127.0.0.1:IMAPPORT" prefork=0
  pop3 cmd="BIN/pop3d -C DIR/imapd.conf" listen="127.0.0.1:POPPORT" prefork=0
}
EVENTS {
}
`))
	for _, user := range []string{"ada", "bob"} {
		job{name: "saslpasswd2", args: []string{"-c", "-p", "-f", filepath.Join(dir, "sasldb"), "-u", "old.example", user}, in: "old\n"}.ok(t)
	}
	if out, err := exec.Command("chown", "-R", "nobody:nogroup", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	os.Chmod(filepath.Join(dir, "imapd.conf"), 0o644)
	t.Cleanup(background(t, n.job(dir, "env", "LD_LIBRARY_PATH="+strings.ReplaceAll(libs, unpackedAt, n.root), filepath.Join(n.root, "usr/lib/cyrus/bin/master"), "-C", filepath.Join(dir, "imapd.conf"), "-M", conf, "-p", filepath.Join(dir, "run/master.pid"), "-D")))
	eventually(t, func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+imap)
		if err == nil {
			c.Close()
		}
		return err
	})
	uidls(t, pop, "ada", "old") // her INBOX is made by that
	return imap, pop, spool
}

// TestMoveCyrus brings what Debian's Cyrus has in its spool, in both of its layouts: all
// is as Cyrus itself says.
func TestMoveCyrus(t *testing.T) {
	for layout, how := range map[string]struct {
		conf string
		from []string
	}{
		"ids":     {"", []string{"", "--user", "ada"}},
		"folders": {"mailbox_legacy_dirs: yes\nsubscription_db: twoskip\n", []string{"user/ada"}},
	} {
		t.Run(layout, func(t *testing.T) {
			imapPort, popPort, spool := startCyrus(t, how.conf)
			ada, bob := small.person(t), small.person(t)
			fill := `import imaplib,sys
c=imaplib.IMAP4('127.0.0.1',int(sys.argv[1])); c.login('ada','old')
for name in ['"W&APw-rk"','"W&APw-rk/Sub one.x"','Gone']: c.create(name)
for box in ['INBOX','"W&APw-rk/Sub one.x"']:
    for i in range(40):
        flags=['()','(\\Seen)','(\\Seen \\Flagged work)','(\\Answered $Label1)','(\\Draft \\Deleted home)'][i%5]
        typ,r=c.append(box,flags,'"%02d-Feb-2020 04:05:06 +0000"'%(1+i%28),('Subject: %d\r\n\r\n'%i+'Line with \u00fc\r\n'*(i*i)).encode())
        if typ!='OK': sys.exit(str(r))
c.select('INBOX'); c.store('3:5','+FLAGS','(\\Deleted)'); c.expunge()
for name in ['INBOX','"W&APw-rk/Sub one.x"','Gone','"W&APw-rk"']: c.subscribe(name)
c.unsubscribe('"W&APw-rk"')
c.setacl('"W&APw-rk"',sys.argv[2],'lrs'); c.setacl('"W&APw-rk"','-anyone','i')
c.logout()`
			job{name: "python3", args: []string{"-c", fill, imapPort, userOf(bob)}}.ok(t)
			args := append([]string{"import", "cyrus", filepath.Join(spool, how.from[0]), ada.address, "--configdirectory", filepath.Join(filepath.Dir(spool), "conf")}, how.from[1:]...)
			out, err := small.tool(args...)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := whole(t, imapPort, "ada", "old")
			if len(want) < 70 {
				t.Fatal(len(want), want)
			}
			sameMail(t, "after the import", sorted(whole(t, small.imapPort(), ada.address, ada.password)), sorted(want))
			sameMail(t, "POP3 ids", uidls(t, port(small.POP3), ada.address, ada.password), uidls(t, popPort, "ada", "old"))
			contains(t, strings.Join(imapLines(t, small.imapPort(), ada.address, ada.password, `GETACL "W&APw-rk"`), ""), fmt.Sprintf("%q lrs", bob.address), `"-anyone" i`)
			subscribed := strings.Join(imapLines(t, small.imapPort(), ada.address, ada.password, `LSUB "" "W*"`), "")
			if contains(t, subscribed, "Sub one.x"); strings.Contains(subscribed, "W&APw-rk\"") || strings.HasSuffix(subscribed, "W&APw-rk") {
				t.Errorf("what is not subscribed there is here: %s", subscribed)
			}
			if out, err = small.tool(args...); err != nil || !strings.Contains(out, "brought 0 messages") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"posthaste/test/network"
)

// TestCollect collects from Debian's Dovecot, over POP3 and IMAP, and from a server of
// ours, while the collecting server is killed ten times: each message comes once, and
// is gone there only if it is to be.
func TestCollect(t *testing.T) {
	const messages = 3000
	d := startDovecot(t)
	d.fill(t, "pop", 1, messages)
	d.fill(t, "imap", 1, messages)
	ours := small.person(t)
	for n := range 20 {
		job{name: "curl", args: []string{"-s", "--url", "smtp://" + small.SMTP, "--mail-from", "x@far.example", "--mail-rcpt", ours.address, "-T", "-"}, in: fmt.Sprintf("From: x@far.example\r\nSubject: Letter %d\r\n\r\nhello\r\n", n)}.ok(t)
	}
	dir := t.TempDir()
	data, imap := filepath.Join(dir, "data"), network.FreePort()
	conf := write(t, filepath.Join(dir, "posthaste.toml"), fmt.Sprintf("hostname = \"collector.example\"\ndata = %q\n[[listener]]\naddress = %q\nprotocol = \"imap\"\ntls = \"none\"\nplaintext_login = true\n", data, imap))
	h := &house{world: world{Data: data}}
	must := func(in string, args ...string) string {
		t.Helper()
		out, err := h.toolWith(in, append(args, "--config", conf)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	must("", "domain", "add", "hill.example")
	old := write(t, filepath.Join(dir, "old"), "old\n")
	mine := write(t, filepath.Join(dir, "mine"), ours.password)
	people := map[string][]string{
		"pop":   {"--pop3", "127.0.0.1", "--port", d.pop, "--user", "pop", "--password-file", old, "--after", "delete"},
		"imap":  {"--imap", "127.0.0.1", "--port", d.imap, "--user", "imap", "--password-file", old, "--after", "delete", "--folder", "INBOX"},
		"leave": {"--imap", "127.0.0.1", "--port", d.imap, "--user", "pop2", "--password-file", old},
		"ours":  {"--pop3", "127.0.0.1", "--port", port(small.POP3), "--user", ours.address, "--password-file", mine, "--after", "delete"},
	}
	d.fill(t, "pop2", 1, messages)
	for name, args := range people {
		must("secret-words", "account", "add", name+"@hill.example", "--password-stdin")
		out := must("", append([]string{"collect", "add", name + "@hill.example", "far", "--tls", "none"}, args...)...)
		contains(t, out, "collects the mail of", "not visited yet")
	}
	if out, err := h.tool("collect", "add", "pop@hill.example", "wrong", "--config", conf, "--tls", "none", "--pop3", "127.0.0.1", "--port", d.pop, "--user", "pop", "--password-file", mine); err == nil || !strings.Contains(out, "refuses the user name pop or its password") {
		t.Errorf("a wrong password: %v %s", err, out)
	}
	serve := func() *house {
		run, err := start(filepath.Join(dir, "log"), nil, os.Stderr, "serve", "--config", conf)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			c, err := net.Dial("tcp", imap)
			if err == nil {
				c.Close()
			}
			return err
		})
		return run
	}
	for n := range 10 {
		run := serve()
		// The clock says when to kill, never whether the test is good.
		time.Sleep(time.Duration(700+20*n) * time.Millisecond)
		run.cmd.Process.Signal(syscall.SIGKILL)
		<-run.exited
		t.Logf("killed, with %s", must("", "account", "list"))
		for name := range people { // the lease of who is dead need not be waited for
			must("", "collect", "now", name+"@hill.example", "far")
		}
	}
	run := serve()
	run.Data = data
	defer func() {
		if err := run.end(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, func() error {
		out := must("", "collect", "list")
		if strings.Count(out, "all is well")+strings.Count(out, "waits for new mail") != len(people) {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	list := must("", "collect", "list")
	t.Log(list)
	for line := range strings.Lines(list) { // each that has come is counted, whoever was killed when
		for name, want := range map[string]int{"pop": messages, "imap": messages * 9 / 10, "leave": messages * 9 / 10, "ours": 20} {
			if strings.HasPrefix(line, name+"@") && !slices.Contains(strings.Fields(line), strconv.Itoa(want)) {
				t.Errorf("%d have come, and it says: %s", want, line)
			}
		}
	}
	// All get other UIDs, and one is new: that comes, at once, and nothing else.
	root := filepath.Join(d.dir, "mail", "pop2", "Maildir")
	lists, err := filepath.Glob(filepath.Join(root, "dovecot*"))
	if err != nil || len(lists) == 0 {
		t.Fatal(lists, err)
	}
	for _, f := range lists {
		if filepath.Base(f) != "dovecot-keywords" {
			os.Remove(f)
		}
	}
	fresh := write(t, filepath.Join(root, "tmp", "1900000000.M1P1.new"), "From: a@old.example\nSubject: new\nMessage-ID: <new@old.example>\n\nnew\n")
	os.Chown(fresh, dovecotUID, dovecotUID)
	if err := os.Rename(fresh, filepath.Join(root, "new", filepath.Base(fresh))); err != nil {
		t.Fatal(err)
	}
	must("", "collect", "now", "leave@hill.example", "far")
	eventually(t, func() error {
		if out := must("", "account", "list"); !strings.Contains(out, fmt.Sprintf(" %d ", messages*9/10+1)) {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	for name, want := range map[string]int{"pop": messages, "imap": messages * 9 / 10, "leave": messages*9/10 + 1, "ours": 20} {
		lines := whole(t, port(imap), name+"@hill.example", "secret-words")
		slices.Sort(lines)
		if got := len(slices.Compact(slices.Clone(lines))); len(lines) != want || got != want {
			t.Errorf("%s: %d messages, %d different ones, of %d", name, len(lines), got, want)
		}
	}
	for name, want := range map[string]int{"pop": 0, "imap": messages / 10, "pop2": messages + 1} {
		if got := len(slices.DeleteFunc(whole(t, d.imap, name, "old"), func(s string) bool { return s == "" })); got != want {
			t.Errorf("Dovecot's %s has %d messages left, want %d", name, got, want)
		}
	}
}

// TestCollectMany collects a large maildrop over POP3 and IMAP at once, of the size that
// POSTHASTE_COLLECT says: all of it comes, and memory is bounded.
func TestCollectMany(t *testing.T) {
	messages, err := strconv.Atoi(os.Getenv("POSTHASTE_COLLECT"))
	if err != nil {
		t.Skip("it takes minutes; say how many messages by POSTHASTE_COLLECT")
	}
	d := startDovecot(t)
	d.fill(t, "many", 1, messages)
	whole(t, d.imap, "many", "old") // so that Dovecot knows its own mail
	dir := t.TempDir()
	data, imap := filepath.Join(dir, "data"), network.FreePort()
	conf := write(t, filepath.Join(dir, "posthaste.toml"), fmt.Sprintf("hostname = \"collector.example\"\ndata = %q\n[[listener]]\naddress = %q\nprotocol = \"imap\"\ntls = \"none\"\nplaintext_login = true\n", data, imap))
	h := &house{world: world{Data: data}}
	must := func(in string, args ...string) string {
		t.Helper()
		out, err := h.toolWith(in, append(args, "--config", conf)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	must("", "domain", "add", "hill.example")
	old := write(t, filepath.Join(dir, "old"), "old\n")
	for name, at := range map[string][]string{"pop": {"--pop3", "127.0.0.1", "--port", d.pop}, "imap": {"--imap", "127.0.0.1", "--port", d.imap}} {
		must("secret-words", "account", "add", name+"@hill.example", "--password-stdin")
		must("", append([]string{"collect", "add", name + "@hill.example", "far", "--tls", "none", "--user", "many", "--password-file", old}, at...)...)
	}
	begun := time.Now()
	run, err := start(filepath.Join(dir, "log"), nil, os.Stderr, "serve", "--config", conf)
	if err != nil {
		t.Fatal(err)
	}
	run.Data = data
	defer func() {
		if err := run.end(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, func() error {
		c, err := net.Dial("tcp", imap)
		if err == nil {
			c.Close()
		}
		return err
	})
	for stop := time.Now().Add(15 * time.Minute); ; time.Sleep(time.Second) {
		out := must("", "collect", "list")
		if strings.Count(out, "all is well")+strings.Count(out, "waits for new mail") == 2 {
			t.Logf("after %s:\n%s", time.Since(begun).Round(time.Second), out)
			break
		}
		if time.Now().After(stop) {
			t.Fatal(out)
		}
	}
	t.Log(must("", "account", "list"))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", run.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kb := 0
	fmt.Sscan(peak, &kb)
	t.Logf("at most %d MB of memory", kb>>10)
	if kb > 600<<10 {
		t.Errorf("%d MB of memory", kb>>10)
	}
}

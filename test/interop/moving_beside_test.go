//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMoveBesideMbsync moves the same account from Dovecot here twice: with the
// import, and with mbsync between the two servers. What it prints is in
// docs/benchmarks.md; it needs POSTHASTE_MOVE, the number of messages.
func TestMoveBesideMbsync(t *testing.T) {
	if os.Getenv("POSTHASTE_MOVE") == "" {
		t.Skip("POSTHASTE_MOVE does not say how many messages")
	}
	d := startDovecot(t)
	folders, messages := moveSize(t)
	d.fill(t, "ada", folders, messages)
	want := whole(t, d.imap, "ada", "old") // which makes Dovecot number them
	ada, bob := small.person(t), small.person(t)
	password := write(t, filepath.Join(t.TempDir(), "password"), "old\n")
	timed := func(name string, cmd *exec.Cmd) {
		t.Helper()
		before := cpu(t, small.cmd.Process.Pid)
		begin := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		took := time.Since(begin)
		client := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		server := cpu(t, small.cmd.Process.Pid) - before
		t.Logf("%-10s %6.1f s, %5.0f messages/s; CPU of the program %.1f s, of our server %.1f s", name, took.Seconds(), float64(messages)/took.Seconds(), client.Seconds(), server.Seconds())
	}
	timed("import", exec.Command(program, "import", "imap", "127.0.0.1", ada.address, "--user", "ada", "--password-file", password, "--tls", "none", "--port", d.imap, "--data", small.Data))
	conf := write(t, filepath.Join(t.TempDir(), "mbsyncrc"), fmt.Sprintf(`IMAPAccount old
Host 127.0.0.1
Port %s
User ada
Pass old
SSLType None
AuthMechs LOGIN

IMAPStore old
Account old
Path INBOX.

IMAPAccount new
Host 127.0.0.1
Port %s
User %s
Pass %s
SSLType None

IMAPStore new
Account new

Channel all
Far :old:
Near :new:
Patterns *
Create Both
Sync Pull
CopyArrivalDate yes
SyncState %s/
`, d.imap, small.imapPort(), bob.address, bob.password, t.TempDir()))
	timed("mbsync", exec.Command(need(t, "mbsync"), "-q", "-c", conf, "-a"))
	sameMail(t, "imported", sorted(whole(t, small.imapPort(), ada.address, ada.password)), ourNames(want))
}

// cpu is what a process has used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var user, system int64
	text := string(b)
	fields := text[strings.LastIndexByte(text, ')')+2:]
	var skip string
	n, err := fmt.Sscan(fields, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
	if n != 13 || err != nil {
		t.Fatal(n, err)
	}
	return time.Duration(user+system) * time.Second / 100
}

//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// courier gives commands that run programs of Courier's, unpacked, on a Maildir.
func courier(t *testing.T, maildir string) (imap, pop string) {
	t.Helper()
	root, libs := unpacked(t, "usr/lib/courier/courier/courierpop3d")
	run := "cd " + filepath.Dir(maildir) + " && LD_LIBRARY_PATH=" + libs + ` AUTHENTICATED=ada IMAP_KEYWORDS=1 IMAP_CAPABILITY='IMAP4rev1 NAMESPACE CHILDREN UIDPLUS' exec `
	return run + root + "/usr/bin/imapd " + filepath.Base(maildir) + " 2>/dev/null", run + root + "/usr/lib/courier/courier/courierpop3d " + filepath.Base(maildir) + " 2>/dev/null"
}

// unpacked gives where programs are that are not installed, and their libraries; the
// test is skipped where the program is missing.
func unpacked(t *testing.T, program string) (root, libs string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	root = filepath.Join(cache, "posthaste", "beside")
	if _, err := os.Stat(filepath.Join(root, program)); err != nil {
		t.Skipf("%s is not unpacked: run test/packages.sh", program)
	}
	list := []string{filepath.Join(root, "usr/lib")}
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		more, _ := filepath.Glob(filepath.Join(root, pattern))
		list = append(list, more...)
	}
	return root, strings.Join(list, ":")
}

// say sends lines to a command and gives what it answers.
func say(t *testing.T, command string, lines ...string) string {
	t.Helper()
	return job{name: "sh", args: []string{"-c", command}, in: strings.Join(lines, "\r\n") + "\r\n"}.ok(t)
}

// TestMoveCourier brings a Maildir that Courier has numbered, with keywords that it has
// set, and what its POP3 has shown: all is as Courier itself says.
func TestMoveCourier(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Maildir")
	imapd, pop3d := courier(t, dir)
	for f, folder := range []string{dir, filepath.Join(dir, ".Work.ßx"), filepath.Join(dir, ".Sent")} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(folder, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 30 {
			name := filepath.Join(folder, "cur", fmt.Sprintf("%d.M%dP1.old,S=9:2,%s", 1500000000+i*7%30, i, []string{"", "S", "RS", "FT"}[i%4]))
			write(t, name, fmt.Sprintf("Subject: %d of %d\n\nLine\n", i, f))
			at := time.Unix(int64(1500000000+i*977), 0)
			os.Chtimes(name, at, at)
		}
	}
	say(t, imapd, "1 SELECT INBOX", `2 STORE 1:20 +FLAGS (work $Label1)`, `3 STORE 5 -FLAGS (work)`, "4 STORE 7 FLAGS (home)", "5 SUBSCRIBE INBOX.Sent",
		"6 SELECT INBOX.Sent", "7 STORE 3:4 +FLAGS (sent)", "8 SELECT INBOX", "9 STORE 2:3,30 -FLAGS (work $Label1)", "10 LOGOUT")
	contains(t, say(t, pop3d, "UIDL", "QUIT"), "30 UID30-")
	ada := small.person(t)
	out, err := small.tool("import", "maildir", dir, ada.address)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := wholeOf(t, imapd)
	if len(want) != 90 || !strings.Contains(strings.Join(want, "\n"), "$Label1") {
		t.Fatal(len(want), want)
	}
	sameMail(t, "after the import", sorted(whole(t, small.imapPort(), ada.address, ada.password)), sorted(germanNames(want)))
	there := map[string]bool{}
	for line := range strings.Lines(say(t, pop3d, "UIDL", "QUIT")) {
		if _, id, ok := strings.Cut(strings.TrimSpace(line), " UID"); ok {
			there["UID"+id] = true
		}
	}
	for _, id := range uidls(t, port(small.POP3), ada.address, ada.password) {
		if !there[id] {
			t.Errorf("POP3 shows %s, which Courier did not", id)
		}
		delete(there, id)
	}
	if len(there) > 0 {
		t.Error("POP3 does not show", there)
	}
	lines := strings.Join(imapLines(t, small.imapPort(), ada.address, ada.password, `LSUB "" "*"`), "\n")
	contains(t, lines, `"/" "Sent"`)
}

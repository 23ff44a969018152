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

// newOffline gives a device that offlineimap keeps the same.
func newOffline(t *testing.T, p person) (d *device, sync func()) {
	t.Helper()
	d = &device{t: t, dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(d.dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.conf = write(t, filepath.Join(d.dir, "rc"), fmt.Sprintf(`[general]
accounts = a
metadata = %[1]s/meta
socktimeout = 30
maxsyncaccounts = 1
[Account a]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = %[1]s/mail
utime_from_header = no
[Repository there]
type = IMAP
remotehost = localhost
remoteport = %[2]s
remoteuser = %[3]s
remotepass = %[4]s
ssl = yes
sslcacertfile = %[5]s
maxconnections = 2
`, d.dir, port(p.h.IMAPS), p.address, p.password, p.h.CA))
	return d, func() {
		t.Helper()
		job{name: "offlineimap", home: d.dir, args: []string{"-c", d.conf, "-o", "-u", "basic"}}.ok(t)
	}
}

// TestOfflineIMAP keeps two devices the same, both ways.
func TestOfflineIMAP(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	one, syncOne := newOffline(t, ada)
	two, syncTwo := newOffline(t, ada)
	j := ada.judge(t)
	texts := append(plain(corpus()), large(3<<20)) // it writes messages of several parts anew
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, text := range texts {
		j.put("INBOX", "", day, text)
	}
	syncOne()
	syncTwo()
	_, got := one.files("INBOX")
	sameBytes(t, "first device", got, texts)

	one.mark(one.find("INBOX", "Subject: Plain\r\n"), "FRS")
	if err := os.Remove(one.find("INBOX", "Subject: Latin")); err != nil {
		t.Fatal(err)
	}
	folder := "Entw&APw-rfe &- &ZeVnLA-"
	fresh := [][]byte{compose("On one", "", "First.\n"), large(3<<20 + 1)}
	for i, text := range fresh {
		one.put(folder, []string{"D", "S"}[i], text)
		time.Sleep(time.Millisecond)
	}
	syncOne()
	syncTwo()
	if err := os.Remove(two.find("INBOX", "Subject: Dots")); err != nil {
		t.Fatal(err)
	}
	syncTwo()
	syncOne()
	var want [][]byte
	for _, text := range texts {
		if !strings.Contains(string(text), "Subject: Latin") && !strings.Contains(string(text), "Subject: Dots") {
			want = append(want, text)
		}
	}
	for i, d := range []*device{one, two} {
		_, got := d.files("INBOX")
		sameBytes(t, fmt.Sprintf("INBOX of device %d", i+1), got, want)
		_, got = d.files(folder)
		sameBytes(t, fmt.Sprintf("new folder of device %d", i+1), got, fresh)
		if f := d.find("INBOX", "Subject: Plain\r\n"); !strings.HasSuffix(f, ":2,FRS") {
			t.Errorf("device %d: flags are %s", i+1, filepath.Base(f))
		}
	}
	sameTexts(t, "INBOX", j.letters("INBOX"), want)
	sameTexts(t, "new folder", j.letters(folder), fresh)
	before, server := one.state()+two.state(), fmt.Sprint(uids(j.letters("INBOX")), uids(j.letters(folder)))
	syncOne()
	syncTwo()
	if after := one.state() + two.state(); after != before {
		t.Errorf("a run without changes changed\n%s\ninto\n%s", before, after)
	}
	if after := fmt.Sprint(uids(j.letters("INBOX")), uids(j.letters(folder))); after != server {
		t.Errorf("a run without changes made %s of %s", after, server)
	}
}

// TestIMAPFilter searches, marks, moves and deletes by a script.
func TestIMAPFilter(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	j := ada.judge(t)
	text := "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n"
	for _, m := range [][]byte{
		compose("List one", "List-Id: <gopher.outside.example>\n", "x\n"), compose("Buy now", "", "cheap\n"), compose("Keep", "", "kept\n"),
		compose("In base64", text, folded([]byte("a needle in the haystack\n"))), compose("Flag", "", "flag me\n"), large(200_000),
	} {
		j.put("INBOX", "", time.Now(), m)
	}
	home := t.TempDir()
	conf := write(t, filepath.Join(home, "config.lua"), fmt.Sprintf(`options.timeout = 20
options.create = true
options.subscribe = true
options.expunge = true
local a = IMAP { server = "localhost", port = %s, username = %q, password = %q, ssl = "auto" }
local i = a.INBOX
i:contain_field("List-Id", "gopher"):move_messages(a["Lists/Go"])
i:contain_subject("buy NOW"):delete_messages()
i:contain_body("needle"):copy_messages(a["Found & kept"])
i:contain_subject("Flag"):mark_flagged()
i:contain_subject("Flag"):add_flags({ "kept" })
i:is_larger(100000):mark_seen()
i:match_subject("^Ke+p$"):move_messages(a["Lists/Go"])
local boxes, folders = a:list_all("", "*")
local n = 0
for _, b in ipairs(boxes) do if b == "Lists/Go" or b == "Found & kept" then n = n + 1 end end
assert(n == 2, "the new mailboxes are not in the list: " .. table.concat(boxes, ", ") .. "; " .. table.concat(folders, ", "))
local exist, recent, unseen = a["Lists/Go"]:check_status()
assert(exist == 2 and unseen == 2, "status")
`, port(small.IMAPS), ada.address, ada.password))
	job{name: "imapfilter", home: home, args: []string{"-c", conf, "-t", small.CA}}.ok(t)
	subjects := func(box string) (out []string) {
		for _, l := range j.letters(box) {
			s := string(l.text[strings.Index(string(l.text), "Subject: ")+9:])
			out = append(out, s[:strings.Index(s, "\r\n")]+" "+strings.Join(l.flags, " "))
		}
		return out
	}
	for box, want := range map[string]string{
		"INBOX": "[In base64  Flag \\Flagged kept Big \\Seen]", "Lists/Go": "[List one  Keep ]", "Found &- kept": "[In base64 ]",
	} {
		if got := fmt.Sprint(subjects(box)); got != want {
			t.Errorf("%s has %s, not %s", box, got, want)
		}
	}
	contains(t, strings.Join(j.do(`LSUB "" *`), "\n"), "Lists/Go", "Found &- kept")
}

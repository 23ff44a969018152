//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const anMbox = `From a@far.example Mon Feb  2 10:00:00 2026
Subject: one

Hello

From b@far.example Mon Feb  2 11:00:00 2026
Subject: two
Status: RO
X-Status: F

Hello
>From me

From c@far.example Tue Feb  3 12:00:00 2026
Subject: three

Hello
`

// TestMoveUW brings mailboxes in both forms that UW imapd has, as its own library has
// written them: with UIDs, of which one is expunged, and its own message in front.
func TestMoveUW(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, filepath.Join(home, "in"), anMbox)
	give(t, home)
	mailutil := func(want string, args ...string) { // it ends with 1 now and then, whatever it did
		t.Helper()
		out, _ := job{name: "mailutil", home: home, uid: nobody, args: args}.run(t)
		contains(t, out, want)
	}
	for _, form := range []string{"unix", "mbx"} {
		mailutil("", "copy", "-kw", "in", "#driver."+form+"/"+form)
		mailutil("1 message(s) purged", "prune", form, "subject two") // which gives numbers to all
	}
	mbx, err := os.ReadFile(filepath.Join(home, "mbx"))
	if err != nil {
		t.Fatal(err)
	}
	unix, err := os.ReadFile(filepath.Join(home, "unix"))
	if err != nil {
		t.Fatal(err)
	}
	base := strings.Fields(string(unix[strings.Index(string(unix), "X-IMAP: ")+8:]))[0]
	var n uint32
	fmt.Sscan(base, &n)
	for form, validity := range map[string]string{"unix": fmt.Sprintf("%08x", n), "mbx": string(mbx[7:15])} {
		ada := small.person(t)
		for _, want := range []string{"brought 2 messages", "2 had come before"} {
			out, err := small.tool("import", "mbox", filepath.Join(home, form), ada.address, "--uidl", "%08Xv%08Xu")
			if err != nil {
				t.Fatalf("%s: %v\n%s", form, err, out)
			}
			contains(t, out, want)
		}
		list := ada.judge(t).wait(form, 2)
		if a, b := string(list[0].text), string(list[1].text); a != "Subject: one\r\n\r\nHello\r\n" || b != "Subject: three\r\n\r\nHello\r\n" {
			t.Errorf("%s: it brought %q and %q", form, a, b)
		}
		out, err := small.tool("pop3", "policy", "set", ada.address, "--mailbox", form)
		if err != nil {
			t.Fatal(err, out)
		}
		if got, want := uidls(t, port(small.POP3), ada.address, ada.password), []string{validity + "00000001", validity + "00000003"}; !slices.Equal(got, want) {
			t.Errorf("%s: POP3 shows %q, want %q", form, got, want)
		}
	}
}

// TestMoveDovecotMbox brings an mbox that a Dovecot has served over POP3: whoever has
// collected there sees the same ids here.
func TestMoveDovecotMbox(t *testing.T) {
	t.Parallel()
	d := startDovecotWith(t, "mail_location = mbox:~/mail:INBOX=~/inbox\n")
	spool := write(t, filepath.Join(d.dir, "mail", "ada", "inbox"), anMbox)
	if err := os.Chown(filepath.Dir(spool), dovecotUID, dovecotUID); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(spool, dovecotUID, dovecotUID); err != nil {
		t.Fatal(err)
	}
	want := uidls(t, d.pop, "ada", "old")
	if len(want) != 3 {
		t.Fatal("Dovecot has", want)
	}
	ada := small.person(t)
	if out, err := small.tool("import", "mbox", spool, ada.address, "--uidl", "%08Xu%08Xv"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := uidls(t, port(small.POP3), ada.address, ada.password); !slices.Equal(got, want) {
		text, _ := os.ReadFile(spool)
		t.Errorf("POP3 shows %q, and Dovecot %q\n%s", got, want, text)
	}
}

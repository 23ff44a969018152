//go:build interop

package interop

import (
	"strings"
	"testing"
)

// TestUndelete deletes mail over IMAP and POP3 with Python, and a whole mailbox,
// and gets all of it back with the operator's command.
func TestUndelete(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	want := received(t, ada, compose("One", "", "One.\n"), compose("Two", "", "Two.\n"), compose("Three", "", "Three.\n"))
	job{name: "python3", args: []string{"-c", `
import imaplib, poplib, ssl, sys
imap, pop, user, password, ca = sys.argv[1:]
ctx = ssl.create_default_context(cafile=ca)
m = imaplib.IMAP4_SSL("localhost", int(imap), ssl_context=ctx)
m.login(user, password)
m.create("Projects/Old")
m.select("INBOX")
m.store("1", "+FLAGS", "(\\Flagged \\Seen blue)")
m.copy("3", "Projects/Old")
m.store("1", "+FLAGS", "\\Deleted")
m.expunge()
m.delete("Projects/Old")
m.logout()
p = poplib.POP3_SSL("localhost", int(pop), context=ctx)
p.user(user); p.pass_(password)
p.dele(1); p.dele(2)
p.quit()
`, port(small.IMAPS), port(small.POP3S), ada.address, ada.password, small.CA}}.ok(t)
	ada.judge(t).wait("INBOX", 0)
	list, err := small.tool("mailbox", "deleted", "list", ada.address)
	if err != nil || strings.Count(list, "INBOX") != 3 || strings.Count(list, "Projects/Old") != 1 {
		t.Fatalf("deleted are %v\n%s", err, list)
	}
	contains(t, list, "One", "Two", "Three")
	if out, err := small.tool("mailbox", "deleted", "restore", ada.address, "--all"); err != nil || out != "restored 4 messages\n" {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	var got [][]byte
	for _, l := range ada.judge(t).wait("INBOX", 3) {
		got = append(got, l.text)
		if strings.Contains(string(l.text), "Subject: One") && (!l.has(`\Seen`) || !l.has(`\Flagged`) || !l.has("blue")) {
			t.Errorf("the first came back with %v", l.flags)
		}
	}
	sameBytes(t, "what was restored", got, want)
	if old := ada.judge(t).wait("Projects/Old", 1); string(old[0].text) != string(want[2]) {
		t.Errorf("the copy is\n%s", old[0].text)
	}
}

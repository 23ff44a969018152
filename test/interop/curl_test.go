//go:build interop

package interop

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// curl runs curl as a person; it takes no SCRAM as Debian builds it.
func (p person) curl(t *testing.T, args ...string) string {
	t.Helper()
	return job{name: "curl", args: append([]string{"-sS", "--cacert", p.h.CA, "-u", p.address + ":" + p.password}, args...)}.ok(t)
}

func local(scheme, addr, path string) string { return scheme + "://localhost:" + port(addr) + path }

// TestCurlIMAP lists, fetches, appends, searches and changes flags.
func TestCurlIMAP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		args []string
	}{{local("imap", small.IMAP, "/"), []string{"--ssl-reqd"}}, {local("imaps", small.IMAPS, "/"), nil}} {
		ada := small.person(t)
		do := func(args ...string) string {
			t.Helper()
			return ada.curl(t, append(args, c.args...)...)
		}
		contains(t, do(c.url), "INBOX", `\Sent`, `\Trash`, `\Drafts`)
		texts := corpus()
		for _, text := range texts {
			do(c.url+"INBOX", "-T", write(t, t.TempDir()+"/m", string(text)))
		}
		j := ada.judge(t)
		sameTexts(t, "appended by curl", j.letters("INBOX"), texts)
		j.do(`SELECT INBOX`)
		j.do(`UID STORE 1:* FLAGS ()`)
		if got := do(c.url + "INBOX;UID=5"); got != string(texts[4]) {
			t.Error(difference([]byte(got), texts[4]))
		}
		if got := do(c.url + "INBOX;MAILINDEX=3;SECTION=TEXT"); got != string(texts[2][bytes.Index(texts[2], []byte("\r\n\r\n"))+4:]) {
			t.Errorf("BODY[TEXT] is %.200q", got)
		}
		for i, l := range j.letters("INBOX") {
			if l.has(`\Seen`) != (i == 4 || i == 2) {
				t.Errorf("message %d, of which only the third and fifth were read, has the flags %v", i+1, l.flags)
			}
		}
		if got := strings.TrimSpace(do(c.url + "INBOX?SUBJECT%20dots")); got != "* SEARCH 2" {
			t.Errorf("search: %q", got)
		}
		do(c.url+"INBOX", "-X", `UID STORE 2 +FLAGS.SILENT (\Deleted $Forwarded)`)
		if l := j.letters("INBOX")[1]; !l.has(`\Deleted`) || !l.has("$Forwarded") {
			t.Error("flags are", l.flags)
		}
		do(c.url+"INBOX", "-X", "EXPUNGE")
		if n := len(j.letters("INBOX")); n != len(texts)-1 {
			t.Errorf("%d messages are left", n)
		}
		do(c.url, "-X", `CREATE "Entw&APw-rfe"`)
		contains(t, do(c.url, "-X", `LIST "" *`), "Entw&APw-rfe")
		do(c.url+"INBOX", "-X", `MOVE 1 "Entw&APw-rfe"`)
		sameTexts(t, "moved by curl", j.letters("Entw&APw-rfe"), texts[:1])
	}
}

// TestCurlPOP3 lists, fetches and deletes.
func TestCurlPOP3(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		args []string
	}{{local("pop3", small.POP3, "/"), []string{"--ssl-reqd"}}, {local("pop3s", small.POP3S, "/"), nil}} {
		ada := small.person(t)
		texts := corpus()
		for _, text := range texts {
			ada.judge(t).put("INBOX", "", time.Now(), text)
		}
		do := func(args ...string) string {
			t.Helper()
			return ada.curl(t, append(args, c.args...)...)
		}
		if list := strings.Fields(do(c.url)); len(list) != 2*len(texts) {
			t.Errorf("LIST gives %q", list)
		}
		for i, text := range texts {
			if got := do(c.url + string(rune('1'+i))); got != string(text) {
				t.Error(difference([]byte(got), text))
			}
		}
		do(c.url+"2", "-X", "DELE", "-I")
		sameTexts(t, "after DELE", ada.judge(t).wait("INBOX", len(texts)-1), append(texts[:1:1], texts[2:]...))
	}
}

// TestCurlSMTP submits, and comes in as another server.
func TestCurlSMTP(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	var texts [][]byte
	for i, text := range corpus() {
		text = ada.by(text)
		texts = append(texts, text)
		url := []string{local("smtp", small.Submission, "/there.example"), "--ssl-reqd"}
		if i%2 == 1 {
			url = []string{local("smtps", small.Submissions, "/there.example")}
		}
		if i%3 == 1 {
			url = append(url, "--login-options", "AUTH=LOGIN")
		}
		ada.curl(t, append(url, "--mail-from", ada.address, "--mail-rcpt", bob.address, "-T", write(t, t.TempDir()+"/m", string(text)))...)
	}
	got := bob.judge(t).wait("INBOX", len(texts))
	for i := range got {
		got[i].text = marked(got[i].text)
	}
	sameTexts(t, "submitted by curl", got, texts)
	// One recipient is refused, the other one gets it.
	job{name: "curl", args: []string{"-sS", "--cacert", small.CA, "--ssl-reqd", local("smtp", small.SMTP, "/there.example"), "--mail-from", "odd@outside.example", "--mail-rcpt", bob.address, "--mail-rcpt", "nobody@hill.example", "--mail-rcpt-allowfails", "-T", write(t, t.TempDir()+"/m", string(corpus()[0]))}}.ok(t)
	bob.judge(t).wait("INBOX", len(texts)+1)
}

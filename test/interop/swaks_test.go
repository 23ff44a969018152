//go:build interop

package interop

import (
	"bytes"
	"strings"
	"testing"
)

// swaks sends a message file with the given options.
func swaks(t *testing.T, file string, args ...string) (string, int) {
	t.Helper()
	return job{name: "swaks", args: append([]string{"--helo", "there.example", "--timeout", "20", "--data", "@" + file}, args...)}.run(t)
}

// TestSwaksLogin submits by each door and mechanism.
func TestSwaksLogin(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	cases := []struct {
		name string
		args []string
	}{
		{"starttls plain", []string{"--server", small.Submission, "--tls", "--auth", "PLAIN"}},
		{"starttls login", []string{"--server", small.Submission, "--tls", "--auth", "LOGIN"}},
		{"tls plain", []string{"--server", small.Submissions, "--tlsc", "--auth", "PLAIN"}},
		{"tls login", []string{"--server", small.Submissions, "--tlsc", "--auth", "LOGIN"}},
	}
	want := ada.by(corpus()[3])
	file := write(t, t.TempDir()+"/m", string(want))
	for _, c := range cases {
		args := append([]string{"--from", ada.address, "--to", bob.address, "--auth-user", ada.address, "--auth-password", ada.password}, c.args...)
		out, code := swaks(t, file, append(args, "--tls-verify", "--tls-ca-path", small.CA)...)
		if code != 0 {
			t.Errorf("%s: ended with %d\n%s", c.name, code, out)
		}
	}
	for _, l := range bob.judge(t).wait("INBOX", len(cases)) {
		if got := marked(l.text); !bytes.Equal(got, append(want, "\r\n"...)) { // swaks adds a line end of its own
			t.Error(difference(got, want))
		}
	}
	out, code := swaks(t, file, "--server", small.Submission, "--tls", "--auth", "PLAIN", "--from", ada.address, "--to", bob.address, "--auth-user", ada.address, "--auth-password", "wrong")
	if code != 28 || !strings.Contains(out, "535") {
		t.Errorf("a wrong password: swaks ended with %d, not 28 for a refused login\n%s", code, out)
	}
	out, code = swaks(t, file, "--server", small.Submission, "--from", ada.address, "--to", bob.address)
	if code == 0 || !strings.Contains(out, "530") {
		t.Errorf("no login: swaks ended with %d\n%s", code, out)
	}
}

// TestSwaksIncoming comes in as another server does.
func TestSwaksIncoming(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	dir := t.TempDir()
	texts := corpus()
	for _, text := range texts {
		file := write(t, dir+"/m", string(text))
		out, code := swaks(t, file, "--server", small.SMTP, "--tls", "--from", "odd@outside.example", "--to", ada.address)
		if code != 0 {
			t.Errorf("ended with %d\n%s", code, out)
		}
		if strings.Contains(strings.Split(out, "STARTTLS")[0], "AUTH") {
			t.Errorf("AUTH is offered to other servers\n%s", out)
		}
	}
	got := ada.judge(t).wait("INBOX", len(texts))
	for i, l := range got {
		if l.text = marked(l.text); !bytes.Equal(l.text, append(texts[i], "\r\n"...)) {
			t.Error(difference(l.text, texts[i]))
		}
	}
	file := write(t, dir+"/m", string(texts[0]))
	out, code := swaks(t, file, "--server", small.SMTP, "--from", "odd@outside.example", "--to", "nobody@hill.example,"+bob.address+",someone@elsewhere.example")
	if code != 0 || strings.Count(out, "<** 550")+strings.Count(out, "<** 554") != 2 {
		t.Errorf("two of three recipients are refused: swaks ended with %d\n%s", code, out)
	}
	if l := bob.judge(t).wait("INBOX", 1); !bytes.HasPrefix(l[0].text, []byte("Return-Path: <odd@outside.example>\r\n")) {
		t.Errorf("no Return-Path at the head of %.200s", l[0].text)
	}
	if out, code = swaks(t, file, "--server", small.SMTP, "--pipeline", "--from", "odd@outside.example", "--to", "nobody@hill.example,"+bob.address); code != 0 {
		t.Errorf("pipelined: ended with %d\n%s", code, out)
	}
	bob.judge(t).wait("INBOX", 2)
}

//go:build interop

package interop

import (
	"path/filepath"
	"testing"
)

// python runs a script of testdata, which fails where it finds something wrong.
func python(t *testing.T, script string, args ...string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(job{name: "python3", args: append([]string{path}, args...)}.ok(t))
}

// TestPythonIMAP is imaplib, with IDLE over two sessions.
func TestPythonIMAP(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	python(t, "imap.py", small.CA, port(small.IMAP), port(small.IMAPS), ada.address, ada.password)
}

// TestPythonPOP3 is poplib.
func TestPythonPOP3(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	texts := append(corpus(), large(1<<20))
	ada.deliver(t, texts...)
	ada.judge(t).wait("INBOX", len(texts))
	python(t, "pop3.py", small.CA, port(small.POP3), port(small.POP3S), ada.address, ada.password, port(small.IMAPS))
}

// TestPythonSMTP is smtplib, and pipelining by hand.
func TestPythonSMTP(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	python(t, "smtp.py", small.CA, port(small.SMTP), port(small.Submission), port(small.Submissions), ada.address, ada.password, bob.address, bob.password, port(small.IMAPS))
}

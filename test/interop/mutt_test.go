//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A screen is a terminal with a program in it, and the test at its keyboard.
type screen struct {
	t      *testing.T
	socket string
}

func newScreen(t *testing.T, home string, command string) *screen {
	t.Helper()
	dir, err := os.MkdirTemp("", "tmux") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, socket: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("on the screen at last:\n%s", s.text())
		}
		exec.Command("tmux", "-S", s.socket, "kill-server").Run()
		os.RemoveAll(dir)
	})
	cmd := exec.Command(need(t, "tmux"), "-S", s.socket, "-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", command)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	return s
}

func (s *screen) text() string {
	out, err := exec.Command("tmux", "-S", s.socket, "capture-pane", "-p").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// see waits until all the words are on the screen.
func (s *screen) see(words ...string) {
	s.t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		text, missing := s.text(), ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%q does not come on the screen:\n%s", missing, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// keys presses keys, by tmux's names for them.
func (s *screen) keys(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		if out, err := exec.Command("tmux", "-S", s.socket, "send-keys", k).CombinedOutput(); err != nil {
			s.t.Fatalf("tmux: %v\n%s", err, out)
		}
	}
}

// words types text.
func (s *screen) words(text string) {
	s.t.Helper()
	if out, err := exec.Command("tmux", "-S", s.socket, "send-keys", "-l", text).CombinedOutput(); err != nil {
		s.t.Fatalf("tmux: %v\n%s", err, out)
	}
}

// TestMutt reads, flags, moves, deletes and answers in front of a screen, with
// mutt and with neomutt.
func TestMutt(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"mutt", "neomutt"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			mutt(t, program)
		})
	}
}

func mutt(t *testing.T, program string) {
	ada, bob := small.person(t), small.person(t)
	j := ada.judge(t)
	j.do(`CREATE "Entw&APw-rfe"`)
	j.do(`SUBSCRIBE "Entw&APw-rfe"`)
	for _, subject := range []string{"Read me", "Flag me", "Move me", "Delete me", "Leave me"} {
		ada.deliver(t, bob.by(compose(subject, "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "The text of \u201e"+subject+"\u201c.\n")))
	}
	j.wait("INBOX", 5)
	home := t.TempDir()
	editor := write(t, filepath.Join(home, "editor"), "#!/bin/sh\nprintf 'Gr\\303\\274\\303\\237e!\\n.\\n..\\n' >>\"$1\"\n")
	if err := os.Chmod(editor, 0o700); err != nil {
		t.Fatal(err)
	}
	rc := write(t, filepath.Join(home, "rc"), fmt.Sprintf(`set folder="imaps://localhost:%[1]s/" spoolfile="imaps://localhost:%[1]s/INBOX"
set imap_user="%[2]s" imap_pass="%[3]s"
set smtp_url="smtp://%[2]s@localhost:%[4]s/" smtp_pass="%[3]s" ssl_starttls=yes ssl_force_tls=yes
set ssl_ca_certificates_file="%[5]s" certificate_file="%[5]s"
set from="%[2]s" realname="Ada" use_from=yes editor="%[6]s" edit_headers=no fast_reply=yes include=no
set record="=Sent" postponed="=Drafts" trash="=Trash" copy=yes move=no quit=yes delete=yes confirmappend=no confirmcreate=no
set sort=date sleep_time=0 mark_old=no wait_key=no header_cache="%[7]s" imap_idle=yes timeout=2 mail_check=2 beep=no recall=no sendmail_wait=0 abort_unmodified=no mime_forward=no
unset signature
bind index,pager q quit
`, port(small.IMAPS), ada.address, ada.password, port(small.Submission), small.CA, editor, filepath.Join(home, "cache")))
	s := newScreen(t, home, need(t, program)+" -n -F "+rc)
	s.see("Read me", "Leave me")
	s.keys("1", "Enter", "Enter")
	s.see("The text of „Read me“.")
	s.keys("i")
	s.see("Leave me")
	s.keys("2", "Enter", "F")
	s.keys("3", "Enter", "s")
	s.see("Save to mailbox")
	s.keys("C-u")
	s.words("=Entwürfe")
	s.keys("Enter")
	s.see("Leave me")
	s.keys("4", "Enter", "d", "$")
	eventually(t, func() error {
		if n := len(j.letters("INBOX")); n != 3 {
			return fmt.Errorf("%d messages are left in INBOX\n%s", n, s.text())
		}
		return nil
	})
	s.keys("1", "Enter", "r")
	s.see("y:")
	s.keys("y")
	got := bob.judge(t).wait("INBOX", 1)[0]
	if !bytes.Contains(got.text, []byte("Subject: Re: Read me\r\n")) || !bytes.Contains(got.text, []byte("In-Reply-To: <")) || !answer(got.text) {
		t.Errorf("the answer is\n%s", got.text)
	}
	sent := j.wait("Sent", 1)[0]
	if !sent.has(`\Seen`) || !answer(sent.text) {
		t.Errorf("the copy in Sent has the flags %v\n%s", sent.flags, sent.text)
	}
	// New mail is told while it looks.
	ada.deliver(t, compose("New for you", "", "Hello\n"))
	s.see("New for you")
	s.keys("q")
	eventually(t, func() error { // it writes the flags when it leaves
		for _, l := range j.wait("INBOX", 4) {
			read := bytes.Contains(l.text, []byte("Subject: Read me"))
			if l.has(`\Seen`) != read || l.has(`\Answered`) != read || l.has(`\Flagged`) != bytes.Contains(l.text, []byte("Subject: Flag me")) {
				return fmt.Errorf("flags %v of\n%s", l.flags, l.text)
			}
		}
		return nil
	})
	for box, subject := range map[string]string{"Entw&APw-rfe": "Move me", "Trash": "Delete me"} {
		if l := j.wait(box, 1)[0]; !bytes.Contains(l.text, []byte("Subject: "+subject+"\r\n")) || !bytes.HasSuffix(l.text, []byte("The text of „"+subject+"“.\r\n")) {
			t.Errorf("in %s is\n%s", box, l.text)
		}
	}
}

// answer tells whether the text that was typed is in a message, encoded in one
// of the ways that programs choose.
func answer(text []byte) bool {
	return bytes.Contains(text, []byte("Grüße!\r\n.\r\n..\r\n")) || bytes.Contains(text, []byte("Gr=C3=BC=C3=9Fe!\r\n=2E\r\n")) || bytes.Contains(text, []byte("Gr=C3=BC=C3=9Fe!\r\n.\r\n..\r\n")) ||
		bytes.Contains(text, []byte("Gr=FC=DFe!\r\n.\r\n..\r\n")) || bytes.Contains(text, []byte("Gr\xfc\xdfe!\r\n.\r\n..\r\n"))
}

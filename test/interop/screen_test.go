//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// stack fills an INBOX for programs in front of a screen.
func stack(t *testing.T, p person) *judge {
	t.Helper()
	for _, subject := range []string{"Read me", "Flag me", "Move me", "Delete me", "Leave me"} {
		p.deliver(t, compose(subject, "", "The text of "+subject+".\n"))
	}
	j := p.judge(t)
	j.wait("INBOX", 5)
	return j
}

// holds waits until a mailbox holds these messages, by subject and flags.
func (j *judge) holds(box string, want ...string) {
	j.t.Helper()
	eventually(j.t, func() error {
		var got []string
		list, err := j.look(box)
		for _, l := range list {
			s := string(l.text[bytes.Index(l.text, []byte("Subject: "))+9:])
			got = append(got, strings.TrimSpace(s[:strings.Index(s, "\r\n")]+" "+strings.Join(l.flags, " ")))
		}
		if err == nil && fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			err = fmt.Errorf("%s holds %q, not %q", box, got, want)
		}
		return err
	})
}

// TestAerc reads, flags, moves and deletes, with the IMAP of go-imap.
func TestAerc(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	j := stack(t, ada)
	home := t.TempDir()
	conf := filepath.Join(home, ".config", "aerc")
	write(t, filepath.Join(conf, "accounts.conf"), fmt.Sprintf("[ada]\nsource = imaps://%s:%s@localhost:%s\nfrom = Ada <%s>\ndefault = INBOX\ncache-headers = false\n",
		strings.Replace(ada.address, "@", "%40", 1), ada.password, port(small.IMAPS), ada.address))
	write(t, filepath.Join(conf, "aerc.conf"), "[ui]\nnew-message-bell=false\nindex-format=%-20.20s %Z\n[viewer]\npager=less -R\n[filters]\ntext/plain=cat\n")
	write(t, filepath.Join(conf, "binds.conf"), "[messages]\n<Enter> = :view<Enter>\nj = :next<Enter>\ng = :select 0<Enter>\n[view]\nq = :close<Enter>\n[view::passthrough]\n$noinherit = true\n")
	s := newScreen(t, home, "SSL_CERT_FILE="+small.CA+" "+need(t, "aerc"))
	s.see("Read me", "Leave me")
	// The newest is the first.
	do := func(command string) {
		t.Helper()
		s.keys(":")
		s.words(command)
		s.keys("Enter")
	}
	do("select 4")
	s.keys("Enter")
	s.see("The text of Read me.")
	s.keys("q")
	s.see("Leave me")
	do("select 3")
	do("flag")
	j.holds("INBOX", `Read me \Seen`, `Flag me \Flagged`, "Move me", "Delete me", "Leave me")
	do("select 2")
	do("move -p Aerc/moved")
	j.holds("Aerc/moved", "Move me")
	do("select 1")
	do("delete")
	j.holds("INBOX", `Read me \Seen`, `Flag me \Flagged`, "Leave me")
	ada.deliver(t, compose("New for you", "", "Hello\n"))
	s.see("New for you")
	do("quit")
	j.holds("INBOX", `Read me \Seen`, `Flag me \Flagged`, "Leave me", "New for you")
}

// TestAlpine reads, flags, saves and deletes, with the IMAP of UW.
func TestAlpine(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	j := stack(t, ada)
	home := t.TempDir()
	write(t, filepath.Join(home, ".pinerc"), fmt.Sprintf(`user-domain=hill.example
inbox-path={localhost:%[1]s/imap/ssl/novalidate-cert/user=%[2]s}INBOX
folder-collections=Mail {localhost:%[1]s/imap/ssl/novalidate-cert/user=%[2]s}[]
default-fcc=
feature-list=auto-open-next-unread,no-enable-full-header-cmd,enable-flag-cmd,expunge-without-confirm-everywhere,quit-without-confirm,no-save-will-quote-leading-froms,disable-take-last-comma-first,enable-aggregate-command-set
initial-keystroke-list=i
save-will-advance=
last-version-used=9.99
mail-check-interval=15
`, port(small.IMAPS), ada.address))
	s := newScreen(t, home, need(t, "alpine")+" -i")
	s.see("PASSWORD")
	s.words(ada.password)
	s.keys("Enter")
	s.see("Preserve password")
	s.words("n")
	s.see("Read me", "Leave me")
	s.words("j1")
	s.keys("Enter", "Enter")
	s.see("The text of Read me.")
	s.words("i")
	s.see("Leave me")
	s.words("j2")
	s.keys("Enter")
	s.words("*")
	s.see("Flag New")
	s.words("*")
	j.holds("INBOX", `Read me \Seen`, `Flag me \Flagged`, "Move me", "Delete me", "Leave me")
	s.words("j3")
	s.keys("Enter")
	s.words("s")
	s.see("SAVE")
	s.keys("C-u")
	s.words("Alpine saved")
	s.keys("Enter")
	s.see("exist")
	s.words("y")
	j.holds("Alpine saved", "Move me")
	s.words("j4")
	s.keys("Enter")
	s.words("dx")
	j.holds("INBOX", `Read me \Seen`, `Flag me \Flagged`, "Leave me")
	s.words("q")
}

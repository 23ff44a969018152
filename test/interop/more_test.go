//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestPerl is Mail::IMAPClient, Net::POP3 and Net::SMTP.
func TestPerl(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	script, err := filepath.Abs("testdata/client.pl")
	if err != nil {
		t.Fatal(err)
	}
	job{name: "perl", args: []string{script, small.CA, port(small.IMAPS), port(small.POP3), port(small.Submission), ada.address, ada.password, bob.address}}.ok(t)
	if l := bob.judge(t).wait("INBOX", 1)[0]; !bytes.HasSuffix(l.text, []byte("\r\nSubject: From Perl\r\nMessage-ID: <perl@here.example>\r\n\r\n.\r\n..\r\nHello\r\n")) {
		t.Errorf("sent by Net::SMTP:\n%s", l.text)
	}
}

// TestSNail sends with an attachment, and reads by IMAP and POP3.
func TestSNail(t *testing.T) {
	t.Parallel()
	ada, bob := small.person(t), small.person(t)
	home := t.TempDir()
	file := write(t, filepath.Join(home, "Grüße.txt"), "Grüße\n.\n")
	user := strings.Replace(ada.address, "@", "%40", 1)
	out := job{name: "s-nail", home: home, in: "Hello\n.\n..\n", args: []string{
		"-:/", "-Sv15-compat", "-Sttycharset=utf-8", "-Stls-ca-file=" + small.CA, "-Ssmtp-auth=plain", "-Sfrom=" + ada.address,
		fmt.Sprintf("-Smta=submission://%s:%s@localhost:%s", user, ada.password, port(small.Submission)), "-Ssmtp-use-starttls", "-s", "Grüße von s-nail", "-a", file, bob.address,
	}}.ok(t)
	l := bob.judge(t).wait("INBOX", 1)[0]
	if !bytes.Contains(l.text, []byte("multipart/mixed")) || !bytes.Contains(l.text, []byte("=?utf-8?B?R3LDvMOfZQ==?= von s-nail")) {
		t.Errorf("%s\nsent\n%s", out, l.text)
	}
	bob.deliver(t, compose("Second", "", "The second text.\n"))
	bob.judge(t).wait("INBOX", 2)
	user = strings.Replace(bob.address, "@", "%40", 1)
	for _, url := range []string{fmt.Sprintf("imaps://%s:%s@localhost:%s/INBOX", user, bob.password, port(small.IMAPS)), fmt.Sprintf("pop3s://%s:%s@localhost:%s", user, bob.password, port(small.POP3S))} {
		out := job{name: "s-nail", home: home, in: "headers\ntype 2\nsave 2 copy\nflag 1\nquit\n", args: []string{"-:/", "-Sv15-compat", "-Sttycharset=utf-8", "-Stls-ca-file=" + small.CA, "-Simap-auth=login", "-R", "-f", url}}.ok(t)
		contains(t, out, "Grüße von s-nail", "The second text.")
	}
}

// TestFdm fetches by POP3 and IMAP into a Maildir.
func TestFdm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, at string }{{"pop3s", small.POP3S}, {"imaps", small.IMAPS}} {
		ada := small.person(t)
		want := received(t, ada, append(corpus(), large(1<<20))...)
		home := t.TempDir()
		into := newDrop(t, home)
		rc := write(t, filepath.Join(home, "fdm.conf"), fmt.Sprintf("set unmatched-mail keep\nset no-received\nset lock-types flock\nset lock-file \"%s/lock\"\naction \"here\" maildir \"%s\"\naccount \"a\" %s server \"localhost\" port %s user \"%s\" pass \"%s\" no-verify\nmatch all action \"here\"\n",
			home, into, c.kind, port(c.at), ada.address, ada.password))
		give(t, home)
		job{name: "fdm", home: home, uid: nobody, args: []string{"-f", rc, "fetch"}}.ok(t)
		sameBytes(t, c.kind, into.texts(t), want)
		ada.judge(t).wait("INBOX", 0)
	}
}

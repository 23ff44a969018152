//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A drop is a Maildir that a program fetches into.
type drop string

func newDrop(t *testing.T, home string) drop {
	t.Helper()
	d := filepath.Join(home, "got")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(d, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return drop(d)
}

// texts gives what was fetched, with CRLF as on the wire.
func (d drop) texts(t *testing.T) (out [][]byte) {
	t.Helper()
	for _, sub := range []string{"cur", "new"} {
		list, err := filepath.Glob(filepath.Join(string(d), sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
		}
	}
	return out
}

// received fills a fresh INBOX, and gives its texts as the judge sees them.
func received(t *testing.T, p person, texts ...[]byte) [][]byte {
	t.Helper()
	p.deliver(t, texts...)
	var out [][]byte
	for _, l := range p.judge(t).wait("INBOX", len(texts)) {
		out = append(out, l.text)
	}
	return out
}

// nobody owns a folder, and runs programs that refuse root.
const nobody = 65534

func give(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	// The folders above belong to the test alone; they must let others through.
	for up := filepath.Dir(dir); up != filepath.Dir(os.TempDir()) && up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.Walk(dir, func(name string, _ os.FileInfo, err error) error {
		if err == nil {
			err = os.Lchown(name, nobody, nobody)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestGetmail fetches by POP3 and by IMAP, and keeps or deletes.
func TestGetmail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, at string }{{"SimplePOP3SSLRetriever", small.POP3S}, {"SimpleIMAPSSLRetriever", small.IMAPS}} {
		tries := 0
		for !getmail(t, c.kind, port(c.at)) {
			if tries++; tries == 5 {
				t.Fatalf("%s: it hung %d times", c.kind, tries)
			}
		}
	}
}

// getmail is false if the program hung. Its own handler of SIGCHLD now and then
// waits for ever for a lock that the code it interrupted holds, when the child
// that writes a message ends early; nobody but itself is waited for then.
func getmail(t *testing.T, kind, port string) bool {
	ca, err := os.ReadFile(small.CA)
	if err != nil {
		t.Fatal(err)
	}
	ada := small.person(t)
	want := received(t, ada, append(corpus(), large(1<<20))...)
	home := t.TempDir()
	into := newDrop(t, home)
	pem := write(t, filepath.Join(home, "ca.pem"), string(ca)) // the server's own folder is not for others
	fetch := func(remove bool) bool {
		t.Helper()
		rc := write(t, filepath.Join(home, "getmailrc"), fmt.Sprintf("[retriever]\ntype = %s\nserver = localhost\nport = %s\nusername = %s\npassword = %s\nca_certs = %s\n[destination]\ntype = Maildir\npath = %s/\n[options]\ndelete = %v\nread_all = false\ndelivered_to = false\nreceived = false\n",
			kind, port, ada.address, ada.password, pem, into, remove))
		give(t, home)
		out, code := job{name: "timeout", home: home, uid: nobody, args: []string{"10", need(t, "getmail"), "--getmaildir", home, "--rcfile", rc}}.run(t)
		if code != 0 && code != 124 {
			t.Fatalf("getmail ended with %d\n%s", code, out)
		}
		return code == 0
	}
	if !fetch(false) {
		return false
	}
	sameBytes(t, kind, plain(into.texts(t)), plain(want))
	if !fetch(false) {
		return false
	}
	if n := len(into.texts(t)); n != len(want) {
		t.Errorf("%s: fetched twice: %d messages", kind, n)
	}
	late := received2(t, ada, len(want), compose("Late", "", "Late.\n"))
	if !fetch(true) {
		return false
	}
	sameBytes(t, kind+" at last", plain(into.texts(t)), plain(append(want, late)))
	ada.judge(t).wait("INBOX", 0)
	return true
}

// plain leaves only messages of one part: getmail writes others anew.
func plain(texts [][]byte) (out [][]byte) {
	for _, text := range texts {
		if !bytes.Contains(text, []byte("multipart/mixed")) {
			out = append(out, text)
		}
	}
	return out
}

// received2 delivers one more, and gives its text.
func received2(t *testing.T, p person, before int, text []byte) []byte {
	t.Helper()
	p.deliver(t, text)
	return p.judge(t).wait("INBOX", before+1)[before].text
}

// TestFetchmail fetches by POP3 and by IMAP, and keeps or deletes.
func TestFetchmail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, protocol, at, options string }{
		{"pop3 with stls", "pop3 uidl", small.POP3, "sslproto 'auto'"},
		{"pop3s", "pop3 uidl", small.POP3S, "ssl"},
		{"imap with starttls", "imap", small.IMAP, "sslproto 'auto'"},
		{"imaps", "imap", small.IMAPS, "ssl"},
	} {
		ada := small.person(t)
		want := received(t, ada, append(corpus(), large(1<<20))...)
		home := t.TempDir()
		into := newDrop(t, home)
		store := write(t, filepath.Join(home, "store"), fmt.Sprintf("#!/bin/sh\nf=$(mktemp %s/tmp/XXXXXXXX) && cat > $f && mv $f %s/new/\n", into, into))
		if err := os.Chmod(store, 0o700); err != nil {
			t.Fatal(err)
		}
		fetch := func(keep string, want int) string {
			t.Helper()
			rc := write(t, filepath.Join(home, "fetchmailrc"), fmt.Sprintf("set invisible\npoll localhost service %s protocol %s\nuser %q password %q %s sslcertck sslcertfile %q %s mda %q\n",
				port(c.at), c.protocol, ada.address, ada.password, c.options, small.CA, keep, store))
			out, code := job{name: "fetchmail", home: home, args: []string{"-f", rc, "-i", filepath.Join(home, "ids"), "--pidfile", filepath.Join(home, "pid"), "--nosyslog", "-v"}}.run(t)
			if code != want {
				t.Errorf("%s: fetchmail ended with %d, not %d\n%s", c.name, code, want, out)
			}
			return out
		}
		fetch("keep", 0)
		sameBytes(t, c.name, into.texts(t), want)
		fetch("keep", 1)
		if n := len(into.texts(t)); n != len(want) {
			t.Errorf("%s: fetched twice: %d messages", c.name, n)
		}
		if l := ada.judge(t).letters("INBOX")[0]; strings.HasPrefix(c.protocol, "imap") && !l.has(`\Seen`) {
			t.Errorf("%s: what was fetched is not seen: %v", c.name, l.flags)
		}
		late := received2(t, ada, len(want), compose("Late", "", "Late.\n"))
		fetch("no keep flush", 0)
		sameBytes(t, c.name+" at last", into.texts(t), append(want, late))
		ada.judge(t).wait("INBOX", 0)
	}
}

// TestFetchmailIdle is told of new mail while it waits.
func TestFetchmailIdle(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	home := t.TempDir()
	into := newDrop(t, home)
	store := write(t, filepath.Join(home, "store"), fmt.Sprintf("#!/bin/sh\nf=$(mktemp %s/tmp/XXXXXXXX) && cat > $f && mv $f %s/new/\n", into, into))
	if err := os.Chmod(store, 0o700); err != nil {
		t.Fatal(err)
	}
	rc := write(t, filepath.Join(home, "fetchmailrc"), fmt.Sprintf("set invisible\npoll localhost service %s protocol imap\nuser %q password %q ssl sslcertck sslcertfile %q keep idle mda %q\n",
		port(small.IMAPS), ada.address, ada.password, small.CA, store))
	stop := background(t, job{name: "fetchmail", home: home, args: []string{"-f", rc, "-i", filepath.Join(home, "ids"), "--pidfile", filepath.Join(home, "pid"), "--nosyslog"}})
	defer stop()
	time.Sleep(time.Second) // so that it waits; were it late, it would see the mail without IDLE
	for n := range 3 {
		at := time.Now()
		ada.deliver(t, compose(fmt.Sprint("Number ", n), "", "Now!\n"))
		eventually(t, func() error {
			if got := len(into.texts(t)); got != n+1 {
				return fmt.Errorf("%d messages came while it waited, not %d", got, n+1)
			}
			return nil
		})
		if took := time.Since(at); took > 5*time.Second {
			t.Errorf("told of message %d after %v", n+1, took)
		}
	}
}

// TestMpop fetches by POP3, pipelined, and keeps or deletes.
func TestMpop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, at, tls, auth string }{
		{"scram", small.POP3S, "tls_starttls off", "scram-sha-256"},
		{"user", small.POP3, "tls_starttls on", "user"},
		{"plain", small.POP3, "tls_starttls on", "plain"},
		{"login", small.POP3S, "tls_starttls off", "login"},
		{"its choice", small.POP3S, "tls_starttls off", "on"},
	} {
		ada := small.person(t)
		want := received(t, ada, append(corpus(), large(1<<20))...)
		home := t.TempDir()
		into := newDrop(t, home)
		rc := write(t, filepath.Join(home, "mpoprc"), fmt.Sprintf("defaults\ntls on\n%s\ntls_trust_file %s\naccount a\nhost localhost\nport %s\nauth %s\nuser %s\npassword %s\npipelining on\nreceived_header off\nuidls_file %s/uidls\ndelivery maildir %s\n",
			c.tls, small.CA, port(c.at), c.auth, ada.address, ada.password, home, into))
		fetch := func(keep string) {
			t.Helper()
			job{name: "mpop", home: home, args: []string{"-C", rc, "--keep=" + keep, "a"}}.ok(t)
		}
		fetch("on")
		sameBytes(t, c.name, into.texts(t), want)
		fetch("on")
		if n := len(into.texts(t)); n != len(want) {
			t.Errorf("%s: fetched twice: %d messages", c.name, n)
		}
		late := received2(t, ada, len(want), compose("Late", "", "Late.\n"))
		fetch("off")
		sameBytes(t, c.name+" at last", into.texts(t), append(want, late))
		ada.judge(t).wait("INBOX", 0)
	}
}

//go:build interop

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The rules that programs put, and one that is broken in its second line.
const (
	goodRules   = "require [\"fileinto\", \"mailbox\"];\r\nif header :contains \"subject\" \"sieve\" {\r\n    fileinto :create \"Lists/Grüße\";\r\n}\r\n"
	brokenRules = "require \"fileinto\";\r\nfileinto 7;\r\n"
	fault       = "line 2: fileinto wants a string"
)

// sorts has mail delivered, and looks where it went by the rules.
func (p person) sorts(t *testing.T) {
	t.Helper()
	p.deliver(t, compose("Of sieve", "", "This has a place.\n"), compose("Of nothing", "", "This has none.\n"))
	j := p.judge(t)
	j.holds("INBOX", "Of nothing")
	j.holds("Lists/Gr&APwA3w-e", "Of sieve")
}

// TestSieveConnect puts, activates and removes rules, under TLS that is looked at.
func TestSieveConnect(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	home := t.TempDir()
	good, broken := write(t, filepath.Join(home, "good"), goodRules), write(t, filepath.Join(home, "broken"), brokenRules)
	run := func(args ...string) (string, int) {
		t.Helper()
		base := []string{"--server", "localhost", "--port", port(small.Sieve), "--user", ada.address, "--passwordfd", "0", "--tlscafile", small.CA}
		return job{name: "sieve-connect", home: home, in: ada.password + "\n", args: append(base, args...)}.run(t)
	}
	ok := func(want string, args ...string) {
		t.Helper()
		if out, code := run(args...); code != 0 || strings.TrimSpace(out) != want {
			t.Fatalf("%q: %d, %s", args, code, out)
		}
	}
	no := func(want string, args ...string) {
		t.Helper()
		if out, code := run(args...); code == 0 || !strings.Contains(out, want) {
			t.Fatalf("%q: %d, %s", args, code, out)
		}
	}
	ok("", "--upload", "--localsieve", good, "--remotesieve", "main")
	no(fault, "--upload", "--localsieve", broken, "--remotesieve", "main")
	no(fault, "--checkscript", "--localsieve", broken)
	ok("", "--checkscript", "--localsieve", good)
	ok("", "--activate", "--remotesieve", "main")
	ok(`"main" ACTIVE`, "--list")
	ok(strings.TrimSpace(goodRules), "--download", "--remotesieve", "main", "--localsieve", "-")
	ada.sorts(t)
	no("ACTIVE", "--delete", "--remotesieve", "main")
	no("NONEXISTENT", "--activate", "--remotesieve", "other")
	ok("", "--deactivate")
	ok("", "--delete", "--remotesieve", "main")
	ok("", "--list")
	ada.deliver(t, compose("Of sieve", "", "This has no place any more.\n"))
	ada.judge(t).holds("INBOX", "Of nothing", "Of sieve")
	no("authentication failed", "--list", "--user", "nobody@hill.example")
}

// TestSieveShell is that of Cyrus, which logs in with SCRAM.
func TestSieveShell(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	home := t.TempDir()
	write(t, filepath.Join(home, "good"), goodRules)
	write(t, filepath.Join(home, "broken"), brokenRules)
	run := func(script string) string {
		t.Helper()
		write(t, filepath.Join(home, "do"), script)
		out, _ := job{name: "sieveshell", home: home, args: []string{"--user=" + ada.address, "--authname=" + ada.address, "--password=" + ada.password, "--execfile=do", "localhost:" + port(small.Sieve)}}.run(t)
		return out
	}
	contains(t, run("put good main\nactivate main\nlist\nput broken other\nlist\nget main\n"), "main  <- active script", "upload failed: put script: "+fault)
	contains(t, run("get main\ndelete main\n"), "fileinto :create \"Lists/Grüße\"", "the active script")
	ada.sorts(t)
	if out := run("deactivate\ndelete main\nlist\n"); strings.Contains(out, "main") || strings.Contains(out, "failed") {
		t.Error(out)
	}
}

// TestPythonSieve is sievelib, with STARTTLS and all that it can do.
func TestPythonSieve(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	home := t.TempDir()
	python(t, "managesieve.py", port(small.Sieve), ada.address, ada.password, write(t, filepath.Join(home, "good"), goodRules), write(t, filepath.Join(home, "broken"), brokenRules), fault)
	ada.sorts(t)
}

// TestNetSieve is PHP's, with which Roundcube and Horde look after rules.
func TestNetSieve(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	script, err := filepath.Abs("testdata/managesieve.php")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	job{name: "php", home: home, args: []string{script, port(small.Sieve), small.CA, ada.address, ada.password, write(t, filepath.Join(home, "good"), goodRules), write(t, filepath.Join(home, "broken"), brokenRules), fault}}.ok(t)
	ada.sorts(t)
}

// TestSievePasswords: an app password opens ManageSieve if it is for that or for all.
func TestSievePasswords(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	for protocols, want := range map[string]bool{"": true, "sieve": true, "imap,sieve": true, "imap": false, "imap,pop3,submission": false} {
		out, err := small.tool("account", "password", "add", ada.address, "of "+protocols, "--protocols", protocols)
		if err != nil {
			t.Fatal(out)
		}
		fields := strings.Fields(out)
		password := fields[len(fields)-1]
		in := fmt.Sprintf("import sys\nfrom sievelib.managesieve import Client\nc = Client('localhost', %s)\nsys.exit(0 if c.connect(sys.argv[1], sys.argv[2], starttls=True, authmech='PLAIN') else 3)\n", port(small.Sieve))
		if out, code := (job{name: "python3", args: []string{"-c", in, ada.address, password}}).run(t); (code == 0) != want || code != 0 && code != 3 {
			t.Errorf("%q: %d, %s", protocols, code, out)
		}
		if protocols != "sieve" {
			continue
		}
		if out, code := (job{name: "curl", args: []string{"-s", "--cacert", small.CA, "-u", ada.address + ":" + password, local("imaps", small.IMAPS, "/")}}).run(t); code != 67 {
			t.Errorf("a password for rules opens the mail: %d, %s", code, out)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlainly: what strangers wrote does nothing to a terminal.
func TestPlainly(t *testing.T) {
	for in, want := range map[string]string{
		"grün, 漢字":            "grün, 漢字",
		"\x1b[2Jx\x07\u009by": "?[2Jx??y",
		"a\u202eb\u2066":      "a?b?",
		"one\n\ttwo\r":        "one\n    two?",
		"bad \xff":            "bad \ufffd",
	} {
		if got := plainly(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	letters := filepath.Join(t.TempDir(), "\x1b[31mred")
	if err := os.WriteFile(letters, []byte("From x\nSubject: \x1b[31mred\nX: "+strings.Repeat("x", 9)+"\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, "", "import", "mbox", letters, "ada@example.org", "--under", "Old", data)
	more, _ := run(t, "", "import", "mbox", letters+"x", "ada@example.org", data)
	if strings.Contains(out+more, "\x1b") {
		t.Errorf("%q", out+more)
	}
}

// TestMistakes: what cannot be meant is a failure, which says what to do.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	data := "--data=" + filepath.Join(dir, "data")
	must(t, "", "domain", "add", "example.org", "bücher.example", data)
	must(t, "secret password", "account", "add", "eve@bücher.example", "--password-stdin", data)
	mustFail(t, `is it "posthaste domain add"?`, "", "domain", "ad", "example.net", data)
	mustFail(t, `"posthaste domain frob" is no command`, "", "domain", "frob", data)
	mustFail(t, `write "posthaste domain add DOMAIN..."`, "", "domain", "add", data)
	mustFail(t, `see "posthaste domain add --help"`, "", "domain", "add", "--frob", data)
	must(t, "", "domain", "--help")
	must(t, "", "domain")
	mustFail(t, "say --yes", "", "account", "remove", "eve@bücher.example", data)
	out := filepath.Join(dir, "out")
	mustFail(t, "no folder of this name: Work", "", "export", "mbox", out, "eve@bücher.example", "--folder", "Work", data)
	mustFail(t, "not served here", "", "export", "mbox", out, "--domain", "example.net", data)
	if said := must(t, "", "export", "mbox", out, "--domain", "Bücher.example", data); !strings.Contains(said, "wrote 0 messages") {
		t.Errorf("of a domain was exported %q", said)
	}
	letters := filepath.Join(dir, "letters")
	if err := os.WriteFile(letters, []byte("From x\nSubject: x\n\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, "no folder of this name: Work", "", "import", "mbox", letters, "eve@bücher.example", "--folder", "Work", data)
	mustFail(t, "no such file", "", "import", "mbox", letters, "eve@bücher.example", "--report", filepath.Join(dir, "no", "where"), data)
	mustFail(t, "is no mbox", "", "import", "mbox", os.Args[0], "eve@bücher.example", data)
	must(t, "", "account", "quota", "eve@bücher.example", "10", data)
	mustFail(t, "no room left", "", "import", "mbox", letters, "eve@bücher.example", data)
	mustFail(t, "--keep is", "", "backup", "create", filepath.Join(dir, "backup"), "--keep", "-1", data)
	mustFail(t, "is not what posthaste export has written", "[]", "import", "people", "-", data)
	mustFail(t, "standard input: line 1", "one word\n", "import", "imap", "127.0.0.1", "--accounts", "-", data)
	nobody := filepath.Join(dir, "nobody")
	if err := os.WriteFile(nobody, []byte("# nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, "names no accounts", "", "import", "imap", "127.0.0.1", "--accounts", nobody, data)
}

// TestPeopleMistakes is the same of domains, people and aliases.
func TestPeopleMistakes(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", "bücher.example", data)
	must(t, "secret password", "account", "add", "eve@bücher.example", "--password-stdin", data)
	for _, wrong := range []string{"1.2.3.4", "[1.2.3.4]", "::1"} {
		mustFail(t, "no domain name", "", "domain", "add", wrong, data)
	}
	mustFail(t, "posthaste: domain example.org: exists already\n", "", "domain", "add", "example.org", data)
	mustFail(t, "64 characters", "secret password", "account", "add", strings.Repeat("x", 65)+"@example.org", "--password-stdin", data)
	mustFail(t, "64 characters", "", "alias", "add", strings.Repeat("x", 65)+"@example.org", "eve@bücher.example", data)
	mustFail(t, "on one line", "secret password", "account", "add", "x@example.org", "--name", "a\x1b[31m", "--password-stdin", data)
	mustFail(t, "say which", "", "queue", "drop", data)
	for _, wrong := range []string{"UIDONYL", "IMAP4rev1", ""} {
		mustFail(t, "no capability", "", "account", "capability", "off", "eve@bücher.example", wrong, data)
	}
	for _, name := range []string{"uidonly", "THREAD", "THREAD=REFS", "LITERAL+", "QUOTASET"} {
		must(t, "", "account", "capability", "off", "eve@bücher.example", name, data)
	}
	mustFail(t, "nobody@example.org has no account", "", "shared", "add", "team@example.org", "--admin", "nobody@example.org", data)
	if said := must(t, "", "shared", "list", data); said != "" {
		t.Errorf("a shared folder was left: %q", said)
	}
	if said := must(t, "", "alias", "add", "info@bücher.example", "nobody@bücher.example", data); !strings.Contains(said, "For now nobody gets mail to info@bücher.example") {
		t.Errorf("an alias to nobody: %q", said)
	}
	if said := must(t, "", "alias", "set", "info@bücher.example", "eve@bücher.example", data) + must(t, "", "alias", "list", data); said != "info@bücher.example → eve@bücher.example\n" {
		t.Errorf("aliases: %q", said)
	}
	if said := must(t, "eve@xn--bcher-kva.example\tsecret password\n", "account", "add", "--file", "-", data); !strings.Contains(said, "1 were there already") {
		t.Errorf("whom there is already: %q", said)
	}
	if said := must(t, "\ufeffeve@bücher.example\tsecret password\r\nzoe@example.org\t\tZoë\r\n", "account", "add", "--file", "-", data); !strings.Contains(said, "added 1 account, 1 were there already\n1 account without a password") {
		t.Errorf("a list of Windows: %q", said)
	}
	mustFail(t, "line 2 is no UTF-8", "# x\nm\xfcller@example.org\tsecret password\n", "account", "add", "--file", "-", data)
	mustFail(t, "line 1 is too long", strings.Repeat("x", 70_000), "account", "add", "--file", "-", data)
	if said := must(t, "\n", "account", "add", "bob@example.org", "--password-stdin", data); !strings.Contains(said, "no password") {
		t.Errorf("nothing is said of no password: %q", said)
	}
	must(t, "", "alias", "add", "bob.old@example.org", "Bob@example.org", data)
	if said := must(t, "", "account", "remove", "bob@example.org", "--yes", data); said != "removed bob@example.org\nThe alias bob.old@example.org still leads there: see \"posthaste alias set\" and \"alias remove\".\n" {
		t.Errorf("after a removal: %q", said)
	}
}

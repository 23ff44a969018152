package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSieve: scripts are checked, saved, listed, tried, activated and removed.
func TestSieve(t *testing.T) {
	dir := t.TempDir()
	data := "--data=" + filepath.Join(dir, "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := write("lists.sieve", "require [\"fileinto\"];\nif header :contains \"list-id\" \"acme\" {\n\tfileinto \"Archive\";\n}\n")
	bad := write("bad.sieve", "keep;\nfileinot \"x\";\nfileinto \"x\";\n")
	letter := write("letter.eml", "From: Bob <bob@b.example>\r\nList-Id: <acme.b.example>\r\n\r\nHello.\r\n")

	if out := must(t, "", "sieve", "list", "ada@example.org", data); out != "There are no scripts.\n" {
		t.Errorf("listed is %q", out)
	}
	must(t, "", "sieve", "check", good)
	odd := write("odd.sieve", "if exists \"subject:\" { keep; }\n")
	if out := must(t, "", "sieve", "check", odd); !strings.Contains(out, "odd.sieve: warning: line 1: \"subject:\" is no name") {
		t.Errorf("told is %q", out)
	}
	if _, err := run(t, "", "sieve", "check", good, bad); err == nil {
		t.Error("a bad script is good")
	}
	mustFail(t, "line 2: there is no command \"fileinot\"; is \"fileinto\" meant?", "", "sieve", "put", "ada@example.org", bad, data)
	mustFail(t, "say under which --name", "keep;", "sieve", "put", "ada@example.org", "-", data)
	mustFail(t, "not found", "", "sieve", "put", "bob@example.org", good, data)
	if out := must(t, "", "sieve", "put", "ada@example.org", good, "--activate", data); !strings.Contains(out, "lists") || !strings.Contains(out, "yes") {
		t.Errorf("listed is\n%s", out)
	}
	must(t, "discard;", "sieve", "put", "ada@example.org", "-", "--name", "none", data)
	if out := must(t, "", "sieve", "get", "ada@example.org", data); !strings.Contains(out, "fileinto \"Archive\";") {
		t.Errorf("got %q", out)
	}
	out := must(t, "", "sieve", "test", "ada@example.org", letter, data)
	for _, want := range []string{"line 2: the test is true\n", "line 3: put into the mailbox \"Archive\"\n", "So it is put into the mailbox \"Archive\".\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if out := must(t, "", "sieve", "test", "ada@example.org", letter, "--name", "none", data); !strings.Contains(out, "So it is put nowhere.") {
		t.Errorf("told is\n%s", out)
	}
	mustFail(t, "line 2: there is no command", "", "sieve", "test", "ada@example.org", letter, "--script", bad, data)
	mustFail(t, "is no address", "", "sieve", "test", "ada@example.org", letter, "--from", "nobody", data)

	must(t, "", "sieve", "rename", "ada@example.org", "lists", "rules", data)
	mustFail(t, "not found", "", "sieve", "activate", "ada@example.org", "lists", data)
	must(t, "", "sieve", "deactivate", "ada@example.org", data)
	mustFail(t, "not found", "", "sieve", "get", "ada@example.org", data)
	must(t, "", "sieve", "activate", "ada@example.org", "none", data)
	must(t, "", "sieve", "remove", "ada@example.org", "none", data)
	if out := must(t, "", "sieve", "list", "ada@example.org", data); !strings.Contains(out, "rules") || strings.Contains(out, "none") || strings.Contains(out, "yes") {
		t.Errorf("listed is\n%s", out)
	}

	// They leave and come with an export.
	must(t, "", "sieve", "activate", "ada@example.org", "rules", data)
	must(t, "", "export", "maildir", filepath.Join(dir, "out"), "--all", data)
	there := "--data=" + filepath.Join(dir, "there")
	must(t, "", "import", "people", filepath.Join(dir, "out", peopleName), there)
	if out := must(t, "", "sieve", "get", "ada@example.org", there); !strings.Contains(out, "fileinto \"Archive\";") {
		t.Errorf("what came is %q", out)
	}
}

// TestAway: what those hear who write is said, shown, and taken back.
func TestAway(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	if out := must(t, "", "account", "away", "ada@example.org", data); out != "Nobody is answered.\n" {
		t.Errorf("shown is %q", out)
	}
	mustFail(t, "say the --text, too", "", "account", "away", "ada@example.org", "--until", "2027-01-04", data)
	mustFail(t, "is no day", "I am away.", "account", "away", "ada@example.org", "--from", "Monday", "--text", "-", data)
	must(t, "I am away.\n", "account", "away", "ada@example.org", "--until", "2027-01-04", "--subject", "Away", "--text", "-", data)
	if out := must(t, "", "account", "away", "ada@example.org", data); out != "Who writes is answered until 2027-01-04:\n\nAway\n\nI am away.\n" {
		t.Errorf("shown is %q", out)
	}
	must(t, "", "account", "away", "ada@example.org", "--off", data)
	if out := must(t, "", "account", "away", "ada@example.org", data); out != "Nobody is answered.\n" {
		t.Errorf("shown is %q", out)
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// oldMail writes a Maildir of two folders with n messages each.
func oldMail(t *testing.T, dir string, n int) {
	t.Helper()
	for _, folder := range []string{"", ".Work.Lists"} {
		cur := filepath.Join(dir, folder, "cur")
		if err := os.MkdirAll(cur, 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			text := fmt.Sprintf("Subject: %d\nMessage-ID: <%d%s@x>\n\n%s", i, i, folder, strings.Repeat("text\n", 1+i*500))
			if err := os.WriteFile(filepath.Join(cur, fmt.Sprintf("%03d:2,S", i)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestMoving is import, backup, restore and export as people type them.
func TestMoving(t *testing.T) {
	dir := t.TempDir()
	data := "--data=" + filepath.Join(dir, "data")
	old := filepath.Join(dir, "Maildir")
	oldMail(t, old, 10)
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	contains := func(out string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("%q is missing in\n%s", w, out)
			}
		}
	}
	contains(must(t, "", "import", "maildir", old, "ada@example.org", "--dry-run", data), "would bring 20 messages")
	contains(must(t, "", "import", "maildir", old, "ada@example.org", data), "brought 20 messages")
	if err := os.WriteFile(filepath.Join(old, "cur", "x:2,"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, "INBOX, message x: it is empty", "", "import", "maildir", old, "ada@example.org", data)
	mustFail(t, "not found", "", "import", "maildir", old, "nobody@example.org", data)
	mustFail(t, "no format of unique ids", "", "import", "maildir", old, "ada@example.org", "--uidl", "%z", data)

	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(dir, "key")
	if err := os.WriteFile(identity, []byte(key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(dir, "backup")
	contains(must(t, "", "backup", "create", repo, "--recipient", key.Recipient().String(), data), "in ")
	mustFail(t, "--identity", "", "backup", "verify", repo)
	contains(must(t, "", "backup", "verify", repo, "--identity", identity), "is whole: 1 account, 20 messages")

	// The whole, an account, a folder, a message.
	other := "--data=" + filepath.Join(dir, "other")
	must(t, "", "restore", repo, "--identity", identity, other)
	mustFail(t, "not empty", "", "restore", repo, "--identity", identity, other)
	contains(must(t, "", "check", other), "as it should be")
	restore := []string{"restore", repo, "--identity", identity, "--account", "ada@example.org", data}
	contains(must(t, "", restore...), "brought 0 messages")
	must(t, "", "account", "remove", "ada@example.org", "--yes", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	contains(must(t, "", append(restore, "--message", "<3@x>")...), "brought 1 message ")
	contains(must(t, "", append(restore, "--folder", "Work/Lists")...), "brought 10 messages")
	contains(must(t, "", restore...), "brought 9 messages")
	contains(must(t, "", restore...), "brought 0 messages")

	contains(must(t, "", "backup", "create", repo, "--recipient", key.Recipient().String(), "--keep", "1", data), "forgot 1")
	if out := must(t, "", "backup", "list", repo); strings.Count(out, "\n") != 1 {
		t.Error(out)
	}
	pieces, err := filepath.Glob(filepath.Join(repo, "data", "*", "*"))
	if err != nil || len(pieces) < 3 {
		t.Fatal(pieces, err)
	}
	for _, p := range pieces {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustFail(t, "damaged", "", "backup", "verify", repo, "--identity", identity)

	// Out again.
	out := filepath.Join(dir, "out")
	contains(must(t, "", "export", "maildir", out, "--all", data), "wrote 20 messages")
	contains(must(t, "", "export", "maildir", out, "--all", data), "20 were there already")
	b, err := os.ReadFile(filepath.Join(out, "aliases"))
	if err != nil || len(b) > 0 {
		t.Errorf("%q %v", b, err)
	}
}

// TestScheduledBackup: a server makes backups by itself, and check tells of them.
func TestScheduledBackup(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "posthaste.toml")
	text := fmt.Sprintf("hostname = \"mx.example.org\"\ndata = \"data\"\n[backup]\ndirectory = \"backup\"\n[dns]\nservers = [\"127.0.0.1\"]\n[[listener]]\naddress = %q\nprotocol = \"imap\"\n", freePort(t))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, config)
	s.expect(t, "msg=backup")
	out := must(t, "", "check", "--config", config)
	if !strings.Contains(out, "Backups in "+filepath.Join(dir, "backup")+": the last is of") || !strings.Contains(out, "1 are kept") {
		t.Error(out)
	}
	if out := must(t, "", "backup", "verify", filepath.Join(dir, "backup")); !strings.Contains(out, "is whole") {
		t.Error(out)
	}
}

// TestMovePeople: who is here comes to another server, but for the passwords.
func TestMovePeople(t *testing.T) {
	dir := t.TempDir()
	here, there := "--data="+filepath.Join(dir, "here"), "--data="+filepath.Join(dir, "there")
	for _, args := range [][]string{
		{"domain", "add", "example.org"},
		{"domain", "add", "example.net", "--alias-of", "example.org"},
		{"domain", "add", "other.example"},
		{"domain", "separators", "example.org", "+-"},
		{"shared", "add", "team@example.org"},
		{"alias", "add", "@example.org", "ada@example.org"},
		{"alias", "add", "info@example.org", "ada@example.org", "x@elsewhere.example"},
	} {
		if args[0] == "shared" {
			must(t, "secret password", "account", "add", "ada@example.org", "--name", "Ada", "--quota", "1GB", "--password-stdin", here)
			must(t, "", "account", "forward", "add", "ada@example.org", "x@elsewhere.example", "--force", here)
			must(t, "", "pop3", "policy", "set", "ada@example.org", "--after", "30d", here)
		}
		must(t, "", append(args, here)...)
	}
	must(t, "", "shared", "grant", "team@example.org", "ada@example.org", "lrs", here)
	must(t, "secret password", "account", "add", "bob@example.org", "--password-stdin", here)
	old := filepath.Join(dir, "Maildir")
	oldMail(t, old, 1)
	must(t, "", "import", "maildir", old, "ada@example.org", here)
	if err := os.WriteFile(filepath.Join(old, "dovecot-acl"), []byte("user=bob@example.org lrs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "", "import", "maildir", old, "ada@example.org", "--follow-rights", here)
	must(t, "", "account", "password", "add", "ada@example.org", "scanner", "--protocols", "pop3", here)
	must(t, "", "account", "password", "add", "ada@example.org", "old", "--apop", here)
	must(t, "", "pop3", "policy", "set", "ada@example.org", "--device", "scanner", "--after", "7d", "--mailbox", "INBOX", "--mailbox", "Work/Lists", here)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{
		{"far", "--imap", "imap.far.example", "--folder", "INBOX", "--after", "30d", "--into", "Far", "--send-as", "ada.l@far.example", "--submission", "smtp.far.example:587"},
		{"big", "--pop3", "pop.big.example", "--token-url", "https://login.big.example/token", "--client-id", "abc", "--scope", "mail"},
	} {
		must(t, "", append(append([]string{"collect", "add", "ada@example.org"}, more...), "--user", "ada.l", "--untried", "--password-file", filepath.Join(dir, "secret"), here)...)
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	must(t, "", "export", "maildir", one, "--all", here)
	file := filepath.Join(one, "people.json")
	out := must(t, "", "import", "people", file, there)
	for _, want := range []string{"8 were added, 0 were here", `app passwords do not come, and neither do their policies: "scanner", "old"`, `"far" is not collected before it has a password`, `"big" is not collected`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	fresh := filepath.Join(dir, "passwords")
	out = must(t, "", "import", "people", file, "--app-passwords", fresh, there)
	if !strings.Contains(out, "0 were added, 8 were here") || !strings.Contains(out, "2 app passwords made") {
		t.Error(out)
	}
	b, err := os.ReadFile(fresh)
	if lines := strings.Split(string(b), "\n"); err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "ada@example.org\tscanner\tpop3\t") || len(lines[0]) < 45 {
		t.Errorf("%v in\n%s", err, b)
	}
	if st, err := os.Stat(fresh); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	must(t, "", "import", "people", file, "--app-passwords", fresh, there) // they are there now
	must(t, "", "account", "password", "remove", "ada@example.org", "old", there)
	mustFail(t, "file exists", "", "import", "people", file, "--app-passwords", fresh, there)
	must(t, "", "import", "people", file, "--app-passwords", fresh+"2", there)
	mustFail(t, "it has no password yet", "", "collect", "resume", "ada@example.org", "far", there)
	if out := must(t, "", "collect", "list", there); strings.Count(out, "waits for a password") != 2 {
		t.Error(out)
	}
	must(t, "", "export", "maildir", two, "--all", there)
	strip := func(dir string) string {
		b, err := os.ReadFile(filepath.Join(dir, "people.json"))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, `"created"`) {
				out = append(out, line)
			}
		}
		return strings.Join(out, "")
	}
	if a, b := strip(one), strip(two); a != b {
		t.Errorf("here\n%s\nthere\n%s", a, b)
	} else {
		for _, want := range []string{"30d", "lrs", "+-", "elsewhere", `"7d"`, "Work/Lists", "smtp.far.example", "login.big.example", "bob@example.org", `"apop": true`} {
			if !strings.Contains(a, want) {
				t.Errorf("%q is missing in\n%s", want, a)
			}
		}
		if strings.Contains(a, "sesame") {
			t.Error("a password is in it")
		}
	}
	must(t, "", "check", there)
	// The password comes, and with it the rest goes on.
	must(t, "", "collect", "set", "ada@example.org", "far", "--password-file", filepath.Join(dir, "secret"), "--untried", there)
	if out := must(t, "", "collect", "list", there); strings.Count(out, "waits for a password") != 1 || strings.Contains(out, "paused") {
		t.Error(out)
	}
	mustFail(t, "not what posthaste export has written", "", "import", "people", filepath.Join(one, "aliases"), there)
}

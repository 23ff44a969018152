package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"posthaste/test/s3"
)

// TestBucket is backup and restore with a bucket as people type them: the whole, an
// account, a folder, a message, at a time; and what is damaged is named.
func TestBucket(t *testing.T) {
	bucket := &s3.Server{Bucket: "backups"}
	web := httptest.NewServer(bucket)
	defer web.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "posthaste.toml")
	text := fmt.Sprintf("data = \"data\"\n[backup]\ndirectory = \"s3://backups/mail\"\n[backup.s3]\nendpoint = %q\ncredentials = \"key\"\n", web.URL)
	for name, b := range map[string]string{"posthaste.toml": text, "key": "[default]\naws_access_key_id = " + s3.Key + "\naws_secret_access_key = x\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want string, args ...string) {
		t.Helper()
		if out := must(t, "secret password", append(args, "--config", conf)...); !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	const repo = "s3://backups/mail"
	old := filepath.Join(dir, "Maildir")
	oldMail(t, old, 10)
	run("", "domain", "add", "example.org")
	run("", "account", "add", "ada@example.org", "--password-stdin")
	run("brought 20 messages", "import", "maildir", old, "ada@example.org")
	mustFail(t, "there are no backups there", "", "backup", "list", repo, "--config", conf)
	run("in ", "backup", "create", repo)
	run("the last is of ", "check")
	run("is whole: 1 account, 20 messages", "backup", "verify", repo)
	run("restored backup", "restore", repo, "--data", filepath.Join(dir, "other"))
	run("as it should be", "check", "--data", filepath.Join(dir, "other"))
	run("", "account", "remove", "ada@example.org", "--yes")
	run("", "account", "add", "ada@example.org", "--password-stdin")
	some := []string{"restore", repo, "--account", "ada@example.org"}
	run("brought 1 message ", append(some, "--message", "<3@x>")...)
	run("brought 10 messages", append(some, "--folder", "Work/Lists")...)
	mustFail(t, "was made at", "", append(some, "--at", "2001-01-01", "--config", conf)...)
	mustFail(t, "write it as", "", append(some, "--at", "yesterday", "--config", conf)...)
	run("brought 9 messages", append(some, "--at", "2999-01-01T10:00")...)
	run("forgot 1", "backup", "create", repo, "--keep", "1")
	for _, name := range bucket.Objects() {
		if piece := filepath.Base(name); len(piece) == 64 {
			whole := bucket.Get(name)
			bucket.Set(name, whole[:len(whole)/2])
			mustFail(t, piece, "", "backup", "verify", repo, "--config", conf)
			bucket.Set(name, nil)
			mustFail(t, piece+" is missing", "", "backup", "verify", repo, "--config", conf)
			run("", "backup", "create", repo) // has what is in it
			run("is whole", "backup", "verify", repo)
			break
		}
	}
}

//go:build interop

package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDeltaChat lets two people chat over mail: every message is a mail that is
// encrypted, sent by submission, and heard of by IDLE.
func TestDeltaChat(t *testing.T) {
	t.Parallel()
	need(t, "node")
	home := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	npm := exec.CommandContext(ctx, need(t, "npm"), "install", "--prefix", home, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "@deltachat/stdio-rpc-server@2.57.0", "@deltachat/jsonrpc-client@2.57.0")
	npm.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(home, "cache"))
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install Delta Chat's core: %v\n%s", err, out)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "deltachat.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	ada, bob := small.person(t), small.person(t)
	job{name: "node", args: []string{
		script, home, port(small.IMAP), port(small.IMAPS), port(small.Submission), port(small.Submissions),
		ada.address, ada.password, bob.address, bob.password,
	}}.ok(t)
	// It deletes what it has fetched; what it has not yet, nobody else can read.
	for _, l := range bob.judge(t).letters("INBOX") {
		if !bytes.Contains(l.text, []byte("multipart/encrypted")) {
			t.Errorf("not encrypted:\n%s", l.text)
		}
	}
}

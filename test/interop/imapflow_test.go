//go:build interop

package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestImapFlow is the library of most mail programs that run on Node.js: two
// sessions, with QRESYNC, COMPRESS and IDLE.
func TestImapFlow(t *testing.T) {
	t.Parallel()
	need(t, "node")
	home := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	npm := exec.CommandContext(ctx, need(t, "npm"), "install", "--prefix", home, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "imapflow@1.0.164")
	npm.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(home, "cache"))
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install imapflow: %v\n%s", err, out)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "imapflow.cjs"))
	if err != nil {
		t.Fatal(err)
	}
	ada := small.person(t)
	job{name: "node", args: []string{script, filepath.Join(home, "node_modules", "imapflow"), small.CA, port(small.IMAPS), ada.address, ada.password, port(small.IMAP)}}.ok(t)
	if list := ada.judge(t).letters("INBOX"); len(list) != 8 {
		t.Errorf("%d messages are left, not 8", len(list))
	}
}

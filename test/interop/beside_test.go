//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A neighbourhood is a view of the machine in which a program believes that its
// package is installed: Debian lets nobody install two mail servers, so
// test/packages.sh only unpacks them.
type neighbourhood struct {
	root   string          // where what was unpacked is seen
	script strings.Builder // what makes it so
}

// beside makes one below dir, and skips the test where the program is missing.
func beside(t *testing.T, dir, program string, users ...string) *neighbourhood {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	unpacked := filepath.Join(cache, "posthaste", "beside")
	if _, err := os.Stat(filepath.Join(unpacked, program)); err != nil {
		t.Skipf("%s is not unpacked: run test/packages.sh", program)
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine lets nobody have a view of their own (mount namespace): %v: %s", err, out)
	}
	n := &neighbourhood{root: filepath.Join(dir, "root")}
	if err := os.Mkdir(n.root, 0o755); err != nil {
		t.Fatal(err)
	}
	n.bind(unpacked, n.root)
	passwd, group := "", ""
	for i, u := range users {
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:/bin/false\n", u, uidBeside+i, uidBeside+i, filepath.Join(dir, "empty"))
		group += fmt.Sprintf("%s:x:%d:\n", u, uidBeside+i)
	}
	n.add(t, dir, "/etc/passwd", passwd)
	n.add(t, dir, "/etc/group", group)
	return n
}

// uidBeside is the first of the users who are there only in a neighbourhood.
const uidBeside = 64200

// bind has what is at one place be seen at another.
func (n *neighbourhood) bind(from, at string) {
	fmt.Fprintf(&n.script, "mount --bind '%s' '%s'\n", from, at)
}

// add has a file of the machine end with more than it does.
func (n *neighbourhood) add(t *testing.T, dir, name, more string) {
	t.Helper()
	was, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	to := write(t, filepath.Join(dir, "as"+strings.ReplaceAll(name, "/", "-")), string(was)+more)
	if err := os.Chmod(to, 0o644); err != nil {
		t.Fatal(err)
	}
	n.bind(to, name)
}

// job is a program that runs there.
func (n *neighbourhood) job(home string, args ...string) job {
	return job{name: "unshare", home: home, args: append([]string{"-m", "sh", "-ec", n.script.String() + `exec "$@"`, "sh"}, args...)}
}

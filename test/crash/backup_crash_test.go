//go:build crash

package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"posthaste/test/s3"
)

const bucketName = "s3://backups/mail"

// A depot is a bucket that the program backs up to, and that kills it.
type depot struct {
	p   *program
	s3  *s3.Server
	dir string

	mu     sync.Mutex
	ahead  time.Duration // of the bucket's clock
	asked  int           // requests since the count was set
	killAt int           // at which request the server is killed; 0: at none
	taken  bool          // that request is still done
	victim *exec.Cmd     // the command that goes with the server
}

// newDepot makes the bucket, and has the program's configuration name it.
func newDepot(p *program) *depot {
	p.t.Helper()
	d := &depot{p: p, dir: p.t.TempDir()}
	d.s3 = &s3.Server{Bucket: "backups", Page: 7, Fault: d.fault, Now: func() time.Time {
		d.mu.Lock()
		defer d.mu.Unlock()
		return time.Now().Add(d.ahead)
	}}
	web := httptest.NewServer(d.s3)
	p.t.Cleanup(web.Close)
	key := filepath.Join(d.dir, "key")
	d.must(os.WriteFile(key, []byte("[default]\naws_access_key_id = "+s3.Key+"\naws_secret_access_key = x\n"), 0o600))
	text, err := os.ReadFile(p.conf)
	d.must(err)
	d.must(os.WriteFile(p.conf, fmt.Appendf(text, "[backup.s3]\nendpoint = %q\ncredentials = %q\n", web.URL, key), 0o600))
	return d
}

func (d *depot) must(err error) {
	d.p.t.Helper()
	if err != nil {
		d.p.t.Fatal(err)
	}
}

// fault counts the requests, and at one of them kills who asks.
func (d *depot) fault(http.ResponseWriter, *http.Request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked++; d.asked != d.killAt {
		return false
	}
	d.p.l.end()
	_ = d.p.cmd.Process.Kill() // they may have ended
	_ = d.victim.Process.Kill()
	if !d.taken {
		panic(http.ErrAbortHandler)
	}
	return false
}

func (d *depot) count(killAt int, taken bool) (asked int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked, d.asked, d.killAt, d.taken = d.asked, 0, killAt, taken
	return asked
}

// create is the command of that name, which also lets old ones go.
func (d *depot) create() (out string, err error) {
	c := exec.Command(d.p.bin, "backup", "create", bucketName, "--keep", "2", "--config", d.p.conf)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	d.mu.Lock()
	d.victim = c
	err = c.Start()
	d.mu.Unlock()
	d.must(err)
	err = c.Wait()
	return said.String(), err
}

func (d *depot) under(prefix string) (out []string) {
	for _, name := range d.s3.Objects() {
		if rest, ok := strings.CutPrefix(name, "mail/"+prefix); ok {
			out = append(out, rest)
		}
	}
	return out
}

// lockTime is a little more than a lock of somebody who was killed counts.
const lockTime = 16 * time.Minute

// whole makes a backup as it should be after what went before: whose lock is still
// there is not run over, but when that has run out, the backup goes through.
func (d *depot) whole() {
	d.p.t.Helper()
	d.count(0, false)
	if held := d.under("locks/"); len(held) > 0 {
		if out, err := d.create(); err == nil || !strings.Contains(out, "another backup or prune is at work there") {
			d.p.t.Fatalf("a backup with the lock of another, who was killed a moment ago: %v: %s", err, out)
		}
		d.mu.Lock()
		d.ahead += lockTime
		d.mu.Unlock()
		d.count(0, false)
	}
	if out, err := d.create(); err != nil {
		d.p.t.Fatalf("after fault %d a backup: %v: %s\n%s", d.p.faults, err, out, d.p.err)
	}
	d.clean()
}

// clean looks that there is what the generations use, and nothing else.
func (d *depot) clean() {
	d.p.t.Helper()
	want, listed := map[string]bool{}, 0
	for _, name := range d.under("generations/") {
		g, use := strings.CutSuffix(name, ".use")
		if d.s3.Get("mail/generations/"+g) == nil {
			d.p.t.Errorf("%s is left of a backup that is not listed", name)
		}
		if !use {
			listed++
			continue
		}
		for sum := range strings.FieldsSeq(string(d.s3.Get("mail/generations/" + name))) {
			want[sum] = true
		}
	}
	if listed == 0 || listed > 2 {
		d.p.t.Errorf("%d backups are kept, not 2", listed)
	}
	have := 0
	for _, name := range d.under("data/") {
		if have++; !want[path.Base(name)] {
			d.p.t.Errorf("%s is used by no backup, and has not gone", name)
		}
	}
	if have < len(want) {
		d.p.t.Errorf("of %d pieces that are used, %d are there", len(want), have)
	}
	if left := append(d.under("locks/"), d.under("reading/")...); len(left) > 0 {
		d.p.t.Errorf("locks are left: %q", left)
	}
}

// verify verifies all that is listed.
func (d *depot) verify() {
	d.p.t.Helper()
	out, err := exec.Command(d.p.bin, "backup", "list", bucketName, "--config", d.p.conf).CombinedOutput()
	if err != nil {
		d.p.t.Fatalf("backup list: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " ")
		d.p.tool("backup", "verify", bucketName, "--generation", name, "--scratch", d.dir)
	}
}

// TestKillBackup kills the server, and the command that asked for it, at any moment of
// a backup to a bucket, under load: what was acknowledged is there, the next backup
// goes through once the lock has run out, all that is listed is whole, and nothing is
// left of what was interrupted. In the end the last one has all mail in it.
func TestKillBackup(t *testing.T) {
	r := rand.New(rand.NewPCG(newSeed(t), 11))
	data := filepath.Join(t.TempDir(), "data")
	p := newProgram(t, data)
	d := newDepot(p)
	inside := 0 // of the kills
	for p.faults = range *kills / 2 {
		p.start()
		if _, err := os.Stat(filepath.Join(data, "backup.tmp")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was being copied when the server was killed is still held: %v", err)
		}
		if p.faults > 0 {
			p.verify()
		}
		d.whole()
		w := p.clients(r)
		time.Sleep(time.Duration(100+r.IntN(300)) * time.Millisecond)
		d.count(1+r.IntN(d.count(0, false)), r.IntN(2) == 0)
		out, err := d.create()
		if err != nil {
			inside++
		}
		if p.l.cut.Load() == (err == nil) {
			t.Errorf("backup create, killed %v: %v: %s", p.l.cut.Load(), err, out)
		}
		p.l.end()
		p.kill()
		w.stop()
		p.l.cut.Store(false)
		d.count(0, false)
		if p.faults%3 == 0 {
			d.verify() // also while what is left of the other is there
		}
	}
	p.faults++
	p.start()
	p.verify()
	d.whole()
	d.verify()
	t.Logf("%d of %d kills were in the middle of a backup", inside, p.faults)
	if inside < p.faults/2 {
		t.Error("too few kills to prove anything")
	}
	p.finish()
	p.elsewhere(data)
}

// elsewhere restores the last backup in the place of the data, and holds what is there
// against what was said: clients shall see no difference.
func (p *program) elsewhere(data string) {
	p.t.Helper()
	if err := os.RemoveAll(data); err != nil {
		p.t.Fatal(err)
	}
	p.tool("restore", bucketName)
	p.tool("check")
	p.start()
	p.verify()
	p.kill()
}

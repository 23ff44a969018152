//go:build crash

package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"posthaste/internal/store/mailbox"
)

// An image is an ext4 file system in a file.
type image struct {
	t          *testing.T
	file, path string
}

// newImage makes a file system of that many megabytes and mounts it. The loop
// device goes with the mount, and the mount with the process's name space.
func newImage(t *testing.T, megabytes int64) *image {
	t.Helper()
	dir := t.TempDir()
	i := &image{t: t, file: filepath.Join(dir, "image"), path: filepath.Join(dir, "mnt")}
	f, err := os.Create(i.file)
	if err == nil {
		err = errors.Join(f.Truncate(megabytes<<20), f.Close(), os.Mkdir(i.path, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	i.run("mkfs.ext4", "-q", "-m", "0", i.file)
	i.mount()
	t.Cleanup(i.unmount)
	return i
}

func (i *image) run(name string, args ...string) {
	i.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		i.t.Skipf("%s is not installed", name)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		i.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (i *image) mount() { i.run("mount", "-o", "loop", i.file, i.path) }

func (i *image) unmount() {
	i.t.Helper()
	var out []byte
	var err error
	for range 50 { // who has just been killed may still have files open
		if out, err = exec.Command("umount", i.path).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	i.t.Fatalf("umount: %v: %s", err, out)
}

const (
	ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
	noLogFlush   = 2          // not even the journal is written
)

// cutPower makes the file system forget all that was not synced. From now on
// every operation on it fails.
func (i *image) cutPower() {
	i.t.Helper()
	d, err := os.Open(i.path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer d.Close()
	how := uint32(noLogFlush)
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, d.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&how))); e != 0 {
		i.t.Skipf("this kernel does not shut a file system down: %v", e)
	}
}

// TestPowerFailure shuts the file system down under the server. In every other
// round the server lives on: it must say that it cannot take mail, and end by
// itself, with an error.
func TestPowerFailure(t *testing.T) {
	if ownMounts(t) {
		return
	}
	r := rand.New(rand.NewPCG(newSeed(t), 9))
	disk := newImage(t, 256)
	p := newProgram(t, filepath.Join(disk.path, "data"))
	t.Cleanup(p.kill) // before the file system goes
	for p.faults = range *rounds {
		p.start()
		if p.faults > 0 {
			p.verify()
		}
		w := p.clients(r)
		time.Sleep(time.Duration(100+r.IntN(900)) * time.Millisecond)
		p.l.end()
		disk.cutPower()
		if p.faults%2 == 1 {
			p.endsByItself(r)
		}
		p.kill()
		w.stop()
		disk.unmount()
		disk.mount()
		p.l.cut.Store(false)
	}
	p.faults++
	p.start()
	p.verify()
	p.finish()
}

// endsByItself sends mail to a server whose disk has failed until it is gone.
func (p *program) endsByItself(r *rand.Rand) {
	p.t.Helper()
	later := 0
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		select {
		case <-p.ended:
			if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.err.String(), "the disk has failed") {
				p.t.Errorf("on a failed disk the server ended with %d, saying:\n%s", code, p.err)
			}
			if later == 0 {
				p.t.Error("on a failed disk nobody heard to come back later")
			}
			return
		default:
		}
		c, err := dialSMTP(p.smtp)
		if err == nil {
			err = c.send([]byte("From: <a@"+abroad+">\r\n\r\nIs anybody there?\r\n"), []string{person(1).String()})
			c.Close()
			if err == nil {
				p.t.Error("on a failed disk a letter was taken")
			}
		}
		if answer, ok := errors.AsType[no](err); ok && strings.HasPrefix(string(answer), "4") {
			later++
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Errorf("on a failed disk the server goes on:\n%s", p.err)
}

// TestDiskFull fills the file system under the server, and frees it again.
func TestDiskFull(t *testing.T) {
	if ownMounts(t) {
		return
	}
	r := rand.New(rand.NewPCG(newSeed(t), 10))
	disk := newImage(t, 160)
	p := newProgram(t, filepath.Join(disk.path, "data"))
	t.Cleanup(p.kill) // before the file system goes
	p.start()
	for p.faults = range 3 {
		w := p.clients(r)
		time.Sleep(300 * time.Millisecond)
		p.newProbe()
		if p.faults > 0 { // or the ballast may take the reserve, too
			p.signal(syscall.SIGSTOP)
		}
		ballast := disk.fill()
		if p.faults > 0 {
			p.signal(syscall.SIGCONT)
		}
		p.saysFull(r)
		w.stop()
		if p.faults > 0 {
			p.crowd(r)
			p.canDelete()
		}
		for err := range answers(w) {
			if strings.HasPrefix(string(err), "4") && !strings.HasPrefix(string(err), "452 4.3.1") || strings.HasPrefix(string(err), "NO") && !strings.HasPrefix(string(err), "NO [LIMIT]") {
				t.Errorf("on a full disk a client heard %q", err)
			}
		}
		if p.faults == 1 { // what if it is killed just then?
			p.kill()
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if p.faults == 1 {
			p.start()
		}
		p.takesAgain(r)
		p.verify()
	}
	p.faults++
	p.finish()
}

func answers(w *workload) func(func(no) bool) {
	return func(yield func(no) bool) {
		for _, err := range w.errs {
			if n, ok := errors.AsType[no](err); ok && !yield(n) {
				return
			}
		}
	}
}

// fill takes all that is free, and gives the file that has it.
func (i *image) fill() string {
	i.t.Helper()
	name := filepath.Join(i.path, "ballast")
	f, err := os.Create(name)
	if err != nil {
		i.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; size /= 2 {
		b := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(b)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			i.t.Fatal(err)
		}
	}
	return name
}

// saysFull sends mail until it is put off because there is no room.
func (p *program) saysFull(r *rand.Rand) {
	p.t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < 15*time.Second; {
		var c *smtpClient
		if c, err = dialSMTP(p.smtp); err != nil {
			p.t.Fatalf("on a full disk: %v\n%s", err, p.err)
		}
		err = p.send(r, c)
		c.Close()
		if answer, ok := errors.AsType[no](err); ok && strings.HasPrefix(string(answer), "452 4.3.1") {
			p.cannotStore()
			return
		}
	}
	p.t.Errorf("on a full disk mail is answered with %v\n%s", err, p.err)
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// newProbe puts a letter where nobody else looks.
func (p *program) newProbe() {
	p.t.Helper()
	c, err := dialIMAP(p.imap, person(1).String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.do("CREATE Probe") // it may be there
	if _, err := c.do("APPEND Probe {4+}\r\na: b"); err != nil {
		p.t.Fatal(err)
	}
}

// crowd puts small letters, which need no more than rows, until none is taken: rows
// still fit into logs that are there. Without a reserve, that is the end of all else.
func (p *program) crowd(r *rand.Rand) {
	p.t.Helper()
	c, err := dialIMAP(p.imap, person(1).String())
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	letter := make([]byte, 3000)
	for n := 0; n < 40_000; n += 100 {
		var b strings.Builder
		b.WriteString("APPEND Probe")
		for range 100 {
			for i := range letter {
				letter[i] = byte('!' + r.IntN(90))
			}
			fmt.Fprintf(&b, " {%d+}\r\n%s", len(letter), letter)
		}
		if _, err := c.do(b.String()); err != nil {
			if answer, ok := errors.AsType[no](err); !ok || !strings.HasPrefix(string(answer), "NO [LIMIT]") {
				p.t.Errorf("on a full disk APPEND is answered with %v", err)
			}
			p.t.Logf("%d letters were still taken", n)
			return
		}
	}
	p.t.Error("a full disk has room for 120 MB")
}

// canDelete expunges a letter from a full disk, which the reserve must make possible.
func (p *program) canDelete() {
	p.t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < 15*time.Second; time.Sleep(100 * time.Millisecond) {
		var c *imapClient
		if c, err = dialIMAP(p.imap, person(1).String()); err == nil {
			_, err = c.do("SELECT Probe")
			if err == nil {
				_, err = c.do(`STORE 1 +FLAGS.SILENT (\Deleted)`)
			}
			if err == nil {
				_, err = c.do("EXPUNGE")
			}
			c.Close()
		}
		if err == nil {
			return
		}
	}
	p.t.Errorf("on a full disk nothing can be deleted: %v\n%s", err, p.err)
}

// cannotStore looks at what an owner hears meanwhile: no OK that is not true,
// and an answer at all.
func (p *program) cannotStore() {
	p.t.Helper()
	c, err := dialIMAP(p.imap, person(1).String())
	if err == nil {
		defer c.Close()
		_, err = c.do("SELECT INBOX")
	}
	if err == nil {
		_, err = c.do(`UID STORE 1:* +FLAGS.SILENT ($Probe)`)
	}
	if answer, ok := errors.AsType[no](err); err != nil && (!ok || !strings.HasPrefix(string(answer), "NO [LIMIT]")) {
		p.t.Errorf("on a full disk STORE is answered with %v", err)
	}
}

// takesAgain waits until mail is taken and flags are kept again.
func (p *program) takesAgain(r *rand.Rand) {
	p.t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < 15*time.Second; time.Sleep(100 * time.Millisecond) {
		var c *smtpClient
		if c, err = dialSMTP(p.smtp); err != nil {
			p.t.Fatalf("with room again: %v\n%s", err, p.err)
		}
		err = p.send(r, c)
		c.Close()
		if err == nil {
			var o *imapClient
			if o, err = dialIMAP(p.imap, person(1).String()); err == nil {
				_, err = p.look(o, 1, mailbox.Inbox)
				o.Close()
			}
		}
		if err == nil {
			return
		}
	}
	p.t.Errorf("with room again, mail is answered with %v\n%s", err, p.err)
}

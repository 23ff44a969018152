//go:build bench

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"posthaste/test/network"
)

// A server is one that is measured, running.
type server struct {
	name             string
	smtp, imap, pop3 string
	far              string // who takes mail for elsewhere
	group            group
	stop             func() error
	// tool runs the program's command, again starts the server anew: ours only.
	tool  func(args ...string) ([]byte, error)
	again func() error
}

const (
	domain   = "bench.example"
	abroad   = "far.example"
	password = "correct-horse-battery"
	users    = 50
)

func user(i int) string { return fmt.Sprintf("u%d@%s", i, domain) }

// A group is a control group: it counts what all processes of a server use, those
// that have ended too.
type group struct{ path, usage string }

// newGroup makes one where this machine has its groups, of version 2 or 1.
func newGroup(name string) (g group, err error) {
	for _, at := range [...]group{{"/sys/fs/cgroup/cpuacct", "cpuacct.usage"}, {"/sys/fs/cgroup/unified", "cpu.stat"}, {"/sys/fs/cgroup", "cpu.stat"}} {
		g = group{filepath.Join(at.path, "posthaste-bench-"+name), at.usage}
		if err = os.Mkdir(g.path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			continue
		}
		if _, err = g.cpu(); err == nil {
			return g, nil
		}
	}
	return g, fmt.Errorf("no control group can be made: %w", err)
}

// cpu gives the time that the group's processes have run.
func (g group) cpu() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(g.path, g.usage))
	if err != nil {
		return 0, err
	}
	if g.usage == "cpuacct.usage" {
		n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
		return time.Duration(n), err
	}
	_, rest, _ := strings.Cut(string(b), "usage_usec ")
	word, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(word, 10, 64)
	return time.Duration(n) * time.Microsecond, err
}

func (g group) pids() []string {
	b, err := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// sum adds up a line of a file that each process has.
func (g group) sum(file, key string) (n int64) {
	for _, pid := range g.pids() {
		b, err := os.ReadFile(filepath.Join("/proc", pid, file))
		if err != nil {
			continue // it has just ended
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, key+":"); ok {
				v, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
				n += v
			}
		}
	}
	return n
}

// pss gives the memory of all processes in kilobytes, what they share counted
// once.
func (g group) pss() int64 { return g.sum("smaps_rollup", "Pss") }

// start starts a process in the group.
func (g group) start(name string, args ...string) (*exec.Cmd, error) {
	script := `echo $$ > "$0"/cgroup.procs && exec "$@"`
	c := exec.Command("sh", append([]string{"-c", script, g.path, name}, args...)...)
	var said bytes.Buffer
	c.Stdout, c.Stderr = os.Stderr, &said
	if path := os.Getenv("BENCH_LOG"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		c.Stdout, c.Stderr = f, f
	}
	return c, c.Start()
}

// remove ends what is left in the group, and the group.
func (g group) remove() error {
	for range 100 {
		if len(g.pids()) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, pid := range g.pids() {
		n, err := strconv.Atoi(pid)
		if err == nil {
			err = syscall.Kill(n, syscall.SIGKILL)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	for range 20 {
		if os.Remove(g.path) == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return os.Remove(g.path)
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// answers waits until all addresses greet.
func answers(addrs ...string) error {
	var err error
	for _, a := range addrs {
		for range 200 {
			var w *wire
			if w, err = dial(a); err == nil {
				_, err = w.line()
				w.Close()
			}
			if err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("%s does not answer: %w", a, err)
		}
	}
	return nil
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }

// startPosthaste starts the program of this tree.
func startPosthaste(dir string, to *sink) (s *server, err error) {
	s = &server{name: "Posthaste", smtp: network.FreePort(), imap: network.FreePort(), pop3: network.FreePort(), far: "far@" + domain}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	bin := *program
	if bin == "" {
		bin = filepath.Join(dir, "posthaste")
		if out, err := exec.Command("go", "build", "-o", bin, "posthaste/cmd/posthaste").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	text := fmt.Sprintf("hostname = \"mx.%s\"\ndata = %q\nlog.level = \"error\"\n", domain, filepath.Join(dir, "data"))
	text += "[limits]\ntrusted_networks = [\"127.0.0.0/8\"]\nconnections = 50000\nsessions_per_account = 5000\n[queue]\nper_domain = 50\n"
	text += fmt.Sprintf("[[route]]\ndomain = \"*\"\nhost = %q\ntls = \"none\"\n", to.addr())
	for _, l := range [][2]string{{s.smtp, "smtp"}, {s.imap, "imap"}, {s.pop3, "pop3"}} {
		text += fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = %q\ntls = \"none\"\nplaintext_login = %v\n", l[0], l[1], l[1] != "smtp")
	}
	conf, people := filepath.Join(dir, "posthaste.toml"), ""
	for i := range users {
		people += user(i) + "\t" + password + "\n"
	}
	if err := errors.Join(writeFile(conf, text), writeFile(filepath.Join(dir, "people"), people)); err != nil {
		return nil, err
	}
	s.tool = func(args ...string) ([]byte, error) {
		out, err := exec.Command(bin, append(args, "--config", conf)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("posthaste %v: %w: %s", args, err, out)
		}
		return out, err
	}
	for _, args := range [][]string{{"domain", "add", domain}, {"account", "add", "--file", filepath.Join(dir, "people")}, {"alias", "add", s.far, "someone@" + abroad}} {
		if _, err := s.tool(args...); err != nil {
			return nil, err
		}
	}
	if s.group, err = newGroup("posthaste"); err != nil {
		return nil, err
	}
	c, err := s.group.start(bin, "serve", "--config", conf)
	if err != nil {
		return nil, err
	}
	s.stop = func() error {
		err := errors.Join(c.Process.Signal(syscall.SIGTERM), c.Wait())
		return errors.Join(err, s.group.remove())
	}
	s.again = func() (err error) {
		c.Process.Kill()
		c.Wait()
		if c, err = s.group.start(bin, "serve", "--config", conf); err != nil {
			return err
		}
		return answers(s.smtp, s.imap, s.pop3)
	}
	return s, answers(s.smtp, s.imap, s.pop3)
}

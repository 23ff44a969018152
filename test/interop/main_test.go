//go:build interop

// Package interop drives the server with the mail programs and servers that
// people have, as Debian packages them (packages.txt), and judges by what came
// of it: bytes that are equal after the round trip, flags that another device
// sees. Programs that are missing are a failure: the tag asks for them.
package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds one program's run, and every wait for something to happen.
const patience = 60 * time.Second

var (
	program string // the server, built once
	small   *house // the demonstration that most tests share
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "posthaste-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Programs that give up being root must reach their own folders in it.
	if err := os.Chmod(dir, 0o711); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(dir, "posthaste")
	if out, err := exec.Command("go", "build", "-o", program, "posthaste/cmd/posthaste").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the server: %v\n%s", err, out)
		return 1
	}
	if small, err = startDemo(filepath.Join(dir, "demo")); err != nil {
		fmt.Fprintln(os.Stderr, "start the demonstration:", err)
		return 1
	}
	code = m.Run()
	if err := small.end(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: after all tests:", err)
		code = 1
	}
	return code
}

// A world is what the demonstration says of itself.
type world struct {
	SMTP, Submission, Submissions, IMAP, IMAPS, POP3, POP3S, Sieve, CA, Data string
}

// A house is a server that runs.
type house struct {
	world
	cmd    *exec.Cmd
	log    string
	exited chan error
}

// start runs the server with what it prints on stdout going to out.
func start(log string, env []string, out io.Writer, args ...string) (*house, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := &house{cmd: exec.Command(program, args...), log: log, exited: make(chan error, 1)}
	h.cmd.Stdout, h.cmd.Stderr, h.cmd.Env = out, f, append(os.Environ(), env...)
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { h.exited <- h.cmd.Wait() }()
	return h, nil
}

func startDemo(data string) (*house, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h, err := start(data+".log", nil, w, "demo", "--json", "--verbose", "--data", data)
	w.Close()
	if err != nil {
		return nil, err
	}
	r.SetReadDeadline(time.Now().Add(patience))
	if err := json.NewDecoder(r).Decode(&h.world); err != nil {
		return nil, errors.Join(err, h.end())
	}
	return h, nil
}

// end verifies the store, stops the server as an operator would, and tells
// what it complained of.
func (h *house) end() error {
	check, err := h.tool("check")
	if err != nil {
		err = fmt.Errorf("posthaste check: %w\n%s", err, check)
	}
	h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case stopped := <-h.exited:
		if stopped != nil {
			err = errors.Join(err, fmt.Errorf("the server ended with %w", stopped))
		}
	case <-time.After(20 * time.Second):
		h.cmd.Process.Kill()
		err = errors.Join(err, errors.New("the server does not stop at SIGTERM"))
	}
	log, readErr := os.ReadFile(h.log)
	err = errors.Join(err, readErr)
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte("level=ERROR")) || bytes.Contains(line, []byte("panic")) {
			err = errors.Join(err, fmt.Errorf("the server's log: %s", bytes.TrimSpace(line)))
		}
	}
	return err
}

// tool runs an operator's command on the house.
func (h *house) tool(args ...string) (string, error) { return h.toolWith("", args...) }

func (h *house) toolWith(in string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args, "--data", h.Data)...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A person has an account of their own, for one test.
type person struct {
	h                 *house
	address, password string
}

var people atomic.Int32

// person makes an account.
func (h *house) person(t *testing.T) person {
	t.Helper()
	return h.personAt(t, "hill.example")
}

func (h *house) personAt(t *testing.T, domain string) person {
	t.Helper()
	n := people.Add(1)
	p := person{h, fmt.Sprintf("p%d@%s", n, domain), fmt.Sprintf("secret-%d-words", n)}
	if out, err := h.toolWith(p.password, "account", "add", p.address, "--password-stdin"); err != nil {
		t.Fatalf("add account: %v\n%s", err, out)
	}
	return p
}

// port gives the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// need fails the test if a program is not installed.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if debian, derr := exec.LookPath("/usr/bin/" + name); name == "python3" && derr == nil {
		path, err = debian, nil // packages.txt brings modules for this one, whatever else is there
	}
	if err != nil {
		t.Fatalf("%s is not installed; packages.txt has what these tests need", name)
	}
	return path
}

// A job is a program's run.
type job struct {
	name string
	args []string
	in   string
	home string // working folder and $HOME; "" is a fresh one
	uid  int    // whom it runs as, if not as us
	env  []string
}

// run gives what a program printed, and how it ended.
func (j job) run(t *testing.T) (string, int) {
	t.Helper()
	path := need(t, j.name)
	if j.home == "" {
		j.home = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, j.args...)
	cmd.Dir, cmd.Stdin = j.home, strings.NewReader(j.in)
	cmd.Env = append(append(os.Environ(), "HOME="+j.home, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"), j.env...)
	cmd.WaitDelay = 2 * time.Second
	if j.uid != 0 && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(j.uid), Gid: uint32(j.uid)}}
	}
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ctx.Err() != nil {
		t.Fatalf("%s %q: %v\n%s", j.name, j.args, errors.Join(err, ctx.Err()), out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// ok gives what a program printed that must succeed.
func (j job) ok(t *testing.T) string {
	t.Helper()
	out, code := j.run(t)
	if code != 0 {
		t.Fatalf("%s %q ended with %d\n%s", j.name, j.args, code, out)
	}
	return out
}

// cleanup runs a program at the end of a test.
func (j job) cleanup(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, j.name), j.args...)
	cmd.WaitDelay = 2 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v\n%s", j.name, j.args, err, out)
	}
}

// background starts a program; stop ends it.
func background(t *testing.T, j job) (stop func()) {
	t.Helper()
	path := need(t, j.name)
	cmd := exec.Command(path, j.args...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.home, &out, &out
	cmd.Env = append(append(os.Environ(), "HOME="+j.home, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8"), j.env...)
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("%s: %s", j.name, out.Bytes())
		}
	}
}

// write makes a file with its folders.
func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// eventually waits until fn gives no error.
func eventually(t *testing.T, fn func() error) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// contains fails the test unless the text has all the words.
func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in\n%s", w, text)
		}
	}
}

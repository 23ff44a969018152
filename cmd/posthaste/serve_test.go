package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"posthaste/internal/server/demo"
)

// freePort gives an address that nobody listens on, and that nobody else will be given:
// one of the many of this machine, and a port below those that the system chooses. Where
// there are not so many addresses, the system's choice must do.
func freePort(t *testing.T) string {
	for range 10 {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
		if ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(20000+rand.N(10000)))); err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A served server, and what it logs.
type served struct {
	cmd *exec.Cmd
	log chan string
}

func serve(t *testing.T, config string) *served {
	s := &served{cmd: command("serve", "--config", config), log: make(chan string, 1000)}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.log <- lines.Text()
		}
		close(s.log)
	}()
	return s
}

// expect waits for a line of the log.
func (s *served) expect(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case line, ok := <-s.log:
			if !ok {
				t.Fatalf("the server ended without %q:\n%s", want, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if strings.Contains(line, want) {
				return
			}
		case <-timeout:
			t.Fatalf("%q is not in the log:\n%s", want, strings.Join(seen, "\n"))
		}
	}
}

func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "+OK")
}

func TestServeAndReload(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "posthaste.toml")
	first, second, third := freePort(t), freePort(t), freePort(t)
	write := func(rest string, ports ...string) {
		text := "hostname = \"mail.example.org\"\ndata = \"data\"\n" + rest
		for _, p := range ports {
			text += fmt.Sprintf("[[listener]]\naddress = %q\nprotocol = \"pop3\"\nplaintext_login = true\n", p)
		}
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("", first)
	s := serve(t, config)
	s.expect(t, "msg=ready")

	// Who is here changes while it runs.
	must(t, "", "domain", "add", "example.org", "--config", config)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", "--config", config)
	ada := demo.Person{Address: "ada@example.org", Password: "secret password"}
	open := login(t, first, ada)

	write("", first, second)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.expect(t, "msg=reloaded")
	if !answers(first) || !answers(second) {
		t.Error("after the reload a port is closed")
	}
	must(t, "", "check", "--config", config) // the admin socket reaches the new house
	if m := must(t, "", "metrics", "--config", config); !strings.Contains(m, "posthaste_auth_logins_total{outcome=\"accepted\",protocol=\"pop3\"} 1\n") {
		t.Error("the reload has lost what was counted, or it is told of otherwise:", m)
	}

	for wrong, ports := range map[string][]string{"nonsense = 1\n": {first}, "": {third, first, "192.0.2.1:1"}} {
		write(wrong, ports...)
		s.cmd.Process.Signal(syscall.SIGHUP)
		s.expect(t, "the new configuration is not used")
		if !answers(first) || !answers(second) {
			t.Error("a wrong configuration closed a port")
		}
		if c, err := net.Dial("tcp", third); err == nil {
			c.Close()
			t.Error("a wrong configuration opened a port, at which nobody answers")
		}
	}

	write("", second)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.expect(t, "msg=reloaded")
	if answers(first) || !answers(second) {
		t.Error("a port that is no longer in the file is open, or another closed")
	}
	// Who was there before all this still is, and so are those who came later.
	say(t, open, "NOOP")
	say(t, open, "QUIT")
	open = login(t, second, ada)
	defer time.AfterFunc(time.Minute, func() { open.Close() }).Stop() // so that nothing waits for ever
	for range maxLeaving + 1 {                                        // each of which has a session that goes on
		say(t, open, "NOOP")
		s.cmd.Process.Signal(syscall.SIGHUP)
		s.expect(t, "msg=reloaded")
		c, err := net.Dial("tcp", second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		bufio.NewReader(c).ReadString('\n')
	}
	if answer, err := open.ReadLine(); err != nil || !strings.HasPrefix(answer, "-ERR [SYS/TEMP]") {
		t.Errorf("a session of the oldest configuration heard %q, %v", answer, err)
	}

	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Error("the server ended with", err)
	}
	mustFail(t, "no server runs", "", "metrics", "--config", config)
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "posthaste.toml")
	for text, want := range map[string]string{
		"data = \"data\"\nhostnam = \"x\"":                                                        "hostnam",
		"data = \"data\"\n[[tls]]\ncertificate = \"c\"\nkey = \"k\"\n":                            "certificate",
		"data = \"data\"\n[[listener]]\naddress = \"192.0.2.1:1\"\nprotocol = \"smtp\"\n":         "192.0.2.1:1",
		"data = \"posthaste.toml\"\n[[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"smtp\"": "must be a folder",
	} {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mustFail(t, want, "", "serve", "--config", config)
	}
	mustFail(t, "no such file", "", "serve", "--config", filepath.Join(dir, "nowhere.toml"))
	if err := os.WriteFile(config, []byte("[[route]]\ndomain = \"*\"\nhost = \"a:1\"\ntls = \"required\"\nusername = \"u\"\npassword_file = \"none\"\n[[hook]]\nurl = \"http://127.0.0.1:1\"\nsecret_file = \"posthaste.toml\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustFail(t, "[[route]] password_file: open "+filepath.Join(dir, "none")+": no such file", "", "config", "check", "--config", config)
}

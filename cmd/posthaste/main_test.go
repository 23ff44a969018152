package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"posthaste/internal/server/demo"
)

// The test binary is the command if this is set.
const asCommand = "POSTHASTE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asCommand+"=1")
	return c
}

// run runs the command to its end.
func run(t *testing.T, in string, args ...string) (out string, err error) {
	t.Helper()
	c := command(args...)
	c.Stdin = strings.NewReader(in)
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	err = c.Run()
	return b.String(), err
}

func must(t *testing.T, in string, args ...string) string {
	t.Helper()
	out, err := run(t, in, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

func mustFail(t *testing.T, want string, in string, args ...string) {
	t.Helper()
	out, err := run(t, in, args...)
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("%v: %v\n%s\nwant a failure with %q", args, err, out, want)
	}
}

// TestDeleted is about mail that nobody deleted: how it comes back is tested with
// the store and with real clients.
func TestDeleted(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	if out := must(t, "", "mailbox", "deleted", "list", "ada@example.org", data); out != "No deleted mail.\n" {
		t.Errorf("deleted is %q", out)
	}
	mustFail(t, "no id of a deleted", "", "mailbox", "deleted", "restore", "ada@example.org", "x", data)
	mustFail(t, "0 of 1 could be restored", "", "mailbox", "deleted", "restore", "ada@example.org", "1.1", data)
	mustFail(t, "or say --all", "", "mailbox", "deleted", "restore", "ada@example.org", data)
	must(t, "", "mailbox", "deleted", "list", "ada@example.org", "--since", "2026-11-20T10:00", "--at", "2026-11-20", data)
	mustFail(t, "write it as", "", "mailbox", "deleted", "list", "ada@example.org", "--at", "x", data)
	mustFail(t, "no time span", "", "mailbox", "deleted", "list", "ada@example.org", "--since", "x", data)
	if out := must(t, "", "mailbox", "deleted", "restore", "ada@example.org", "--all", "--since", "2d", data); out != "restored 0 messages\n" {
		t.Errorf("restored: %q", out)
	}
}

// TestAddresses says where mail goes, and asks.
func TestAddresses(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "", "domain", "add", "example.net", "--alias-of", "example.org", data)
	mustFail(t, "is not served here", "", "domain", "add", "example.com", "--alias-of", "example.edu", data)
	mustFail(t, "separators are", "", "domain", "separators", "example.org", "x", data)
	must(t, "", "domain", "separators", "example.org", "+-", data)
	if out := must(t, "", "domain", "list", data); out != "example.net  another name of example.org\nexample.org  details after +-\n" {
		t.Errorf("listed are\n%s", out)
	}
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	must(t, "", "alias", "add", "info@example.org", "x@far.example", data)
	must(t, "", "alias", "set", "info@example.org", "ada@example.org", data)
	if out := must(t, "", "account", "forward", "add", "ada@example.org", "y@far.example", data); out != "Mail to ada@example.org is kept, and sent on to y@far.example.\n" {
		t.Errorf("%q", out)
	}
	must(t, "", "account", "forward", "add", "ada@example.org", "z@far.example", "--no-keep", data)
	mustFail(t, "to itself", "", "account", "forward", "add", "ada@example.org", "Ada@example.org", data)
	if out := must(t, "", "address", "explain", "info-x@example.net", data); !strings.Contains(out, "keeps only junk") || !strings.Contains(out, "    z@far.example is elsewhere") {
		t.Errorf("explained:\n%s", out)
	}
	mustFail(t, "another name of ada@example.org", "", "account", "password", "list", "ada@example.net", data)
	mustFail(t, "not sent on to q@", "", "account", "forward", "remove", "ada@example.org", "q@far.example", data)
	must(t, "", "account", "forward", "remove", "ada@example.org", "y@far.example", data)
	if out := must(t, "", "account", "forward", "show", "ada@example.org", data); out != "Mail to ada@example.org is sent on to z@far.example, and not kept.\n" {
		t.Errorf("%q", out)
	}
	must(t, "", "account", "forward", "remove", "ada@example.org", data)
	if out := must(t, "", "account", "forward", "show", "ada@example.org", data); out != "Mail to ada@example.org is not sent on.\n" {
		t.Errorf("%q", out)
	}
}

// TestAppPasswords makes them, lists them and takes them away.
func TestAppPasswords(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	one := must(t, "", "account", "password", "add", "ada@example.org", "old phone", data)
	two := must(t, "", "account", "password", "add", "ada@example.org", "archive", "--protocols", "pop3,imap", data)
	if len(one) != 20 || one == two {
		t.Errorf("app passwords %q and %q", one, two)
	}
	mustFail(t, "exists already", "", "account", "password", "add", "ada@example.org", "archive", data)
	mustFail(t, "is no protocol", "", "account", "password", "add", "ada@example.org", "x", "--protocols", "gopher", data)
	mustFail(t, "name has 1 to", "", "account", "password", "add", "ada@example.org", "", data)
	must(t, "another password", "account", "password", "ada@example.org", "--password-stdin", data)
	must(t, "", "account", "password", "remove", "ada@example.org", "old phone", data)
	list := must(t, "", "account", "password", "list", "ada@example.org", data)
	if !strings.Contains(list, "archive  imap,pop3") || strings.Contains(list, "phone") {
		t.Errorf("listed are\n%s", list)
	}
}

// TestPeople runs the commands on a store without a server.
func TestPeople(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	mustFail(t, "there is no store in", "", "account", "list", data)
	mustFail(t, "there is no store in", "", "check", data)
	must(t, "", "domain", "add", "example.com", data)
	must(t, "", "domain", "remove", "example.com", data)
	mustFail(t, "not served here; add it first: posthaste domain add example.org", "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	must(t, "", "domain", "add", "example.org", "bücher.example", data)
	mustFail(t, "exists already", "", "domain", "add", "example.org", data)
	mustFail(t, "no domain name", "", "domain", "add", "no domain", data)
	if out := must(t, "", "domain", "list", data); out != "example.org\nbücher.example\n" {
		t.Errorf("domains are %q", out)
	}
	dns := must(t, "", "domain", "dns", "example.org", data)
	for _, want := range []string{"example.org.  IN  MX  10 ", "v=spf1 mx -all", "._domainkey.example.org.  IN  TXT  \"v=DKIM1; k=rsa; p=", "_dmarc.example.org.  IN  TXT  \"v=DMARC1; p=none", "_imaps._tcp.example.org.  IN  SRV  0 1 993 "} {
		if !strings.Contains(dns, want) {
			t.Errorf("%q is not in\n%s", want, dns)
		}
	}
	if dns != must(t, "", "domain", "dns", "example.org", data) {
		t.Error("the keys are others the second time")
	}
	mustFail(t, "not found", "", "domain", "dns", "example.net", data)
	must(t, "secret password\n", "account", "add", "ada@example.org", "--name", "Ada", "--quota", "1GB", "--password-stdin", data)
	mustFail(t, "at least 8 characters", "short", "account", "add", "bob@example.org", "--password-stdin", data)
	mustFail(t, "exists already", "secret password", "account", "add", "Ada@example.org", "--password-stdin", data)
	file := "# people\nbob@example.org\tlong enough\tBob\nada@example.org\tsecret password\neve@bücher.example\tlong enough\n"
	if out := must(t, file, "account", "add", "--file", "-", data); !strings.Contains(out, "added 2 accounts, 1 were there already") {
		t.Error(out)
	}
	out := must(t, "", "account", "list", data)
	for _, want := range []string{"ada@example.org", "1.0 GB", "Bob", "eve@bücher.example"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out := must(t, "", "account", "quota", "ada@example.org", "none", data); out != "ada@example.org takes 0 B, and there is no limit.\n" {
		t.Error(out)
	}
	if out := must(t, "", "account", "quota", "ada@example.org", "2GB", data); out != "ada@example.org takes 0 B of 2.0 GB.\n" {
		t.Error(out)
	}
	mustFail(t, "is no size", "", "account", "quota", "ada@example.org", "much", data)
	mustFail(t, "not found", "", "account", "quota", "nobody@example.org", "1GB", data)
	must(t, "another password", "account", "password", "ada@example.org", "--password-stdin", data)
	must(t, "", "alias", "add", "info@example.org", "ada@example.org", "bob@elsewhere.example", data)
	must(t, "", "alias", "add", "@example.org", "ada@example.org", data)
	if out := must(t, "", "alias", "list", data); out != "@example.org → ada@example.org\ninfo@example.org → ada@example.org, bob@elsewhere.example\n" {
		t.Errorf("aliases are %q", out)
	}
	must(t, "", "alias", "remove", "info@example.org", data)
	mustFail(t, "no shared folder", "", "shared", "seen", "ada@example.org", data)
	mustFail(t, "own or common", "", "mailbox", "seen", "ada@example.org", "INBOX", "mine", data)
	mustFail(t, "no empty levels", "", "mailbox", "seen", "ada@example.org", "/", data)
	mustFail(t, "not found", "", "mailbox", "seen", "ada@example.org", "Nowhere", "own", data)
	must(t, "", "mailbox", "seen", "ada@example.org", "inbox", "common", data)
	if out := must(t, "", "mailbox", "seen", "ada@example.org", "INBOX", data); out != "common\n" {
		t.Error(out)
	}
	must(t, "", "shared", "add", "team@example.org", data)
	must(t, "", "shared", "seen", "team@example.org", "common", data)
	if out := must(t, "", "shared", "seen", "team@example.org", data); out != "common\n" {
		t.Error(out)
	}
	must(t, "", "account", "remove", "team@example.org", "--yes", data)
	mustFail(t, "in use", "", "domain", "remove", "example.org", data)
	mustFail(t, "nothing was removed", "n\n", "account", "remove", "bob@example.org", data)
	must(t, "", "account", "remove", "bob@example.org", "--yes", data)
	mustFail(t, "not found", "", "account", "remove", "bob@example.org", "--yes", data)
	if out := must(t, "", "queue", data); out != "Nothing waits.\n" {
		t.Errorf("the queue: %q", out)
	}
	if out := must(t, "", "queue", "hold", "--to", "example.net", data); out != "Nothing of that waits.\n" {
		t.Errorf("held: %q", out)
	}
	if out := must(t, "", "queue", "list", data); out != "Nothing waits.\n" {
		t.Error(out)
	}
	mustFail(t, "no message id", "", "why", "nonsense", data)
	if out := must(t, "", "check", data); !strings.Contains(out, "as it should be") {
		t.Error(out)
	}
}

// TestDemo is the README's first command, and what it says to try.
func TestDemo(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	w, stop := startDemo(t, data)
	ada, bob := w.People[0], w.People[1]
	text := "From: " + ada.Address + "\r\nSubject: Hello\r\n\r\nHello, world!\r\n"
	to := []string{bob.Address, "refuse@" + w.Outside.Domain, "anybody@" + w.Outside.Domain}
	submit(t, w, ada, to, text)
	mustFail(t, "in use by process", "", "demo", "--data", data)
	pop := login(t, w.POP3, bob)
	got := retrieve(t, pop, len(letterCount))
	id := between(got, " id ", "\r\n")
	if !strings.Contains(got, "Hello, world!") || !strings.Contains(got, "Return-Path: <"+ada.Address+">") || len(id) != 16 {
		t.Errorf("the message is\n%s", got)
	}
	waitFor(t, "the report", func() bool {
		return strings.Contains(must(t, "", "why", id, "--data", data), "We told "+ada.Address)
	})
	story := must(t, "", "why", id, "--data", data)
	for _, want := range []string{"handed us the message", "INBOX", "could not be delivered to refuse@", "there is no such person", "mx.outside.example took it for anybody@"} {
		if !strings.Contains(story, want) {
			t.Errorf("%q is not in the story\n%s", want, story)
		}
	}
	nobody := "nobody" + ada.Address[strings.IndexByte(ada.Address, '@'):]
	for range 2 {
		c, err := smtp.Dial(w.SMTP)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Mail("x@y.example"); err != nil {
			t.Error(err)
		}
		if err := c.Rcpt(nobody); err == nil {
			t.Error("nobody was taken")
		}
		c.Quit()
	}
	if out := must(t, "", "why", "--refused", nobody, "--data", data); !strings.HasPrefix(out, "2 messages to "+nobody+" were refused in the last 1d:\n2 because there is nobody called "+nobody+" here. From x@y.example; the last at ") {
		t.Errorf("refused:\n%s", out)
	}
	if out := must(t, "", "why", "--refused", ada.Address, "--since", "7d", "--data", data); out != "No mail to "+ada.Address+" was refused in the last 7d.\n" {
		t.Errorf("refused:\n%s", out)
	}
	waitFor(t, "an empty queue", func() bool { return must(t, "", "queue", "list", "--data", data) == "Nothing waits.\n" })
	if out := must(t, "", "check", "--data", data); !strings.Contains(out, "as it should be") {
		t.Error(out)
	}
	repo := filepath.Join(t.TempDir(), "backups")
	must(t, "", "backup", "create", repo, "--data", data)
	if out := must(t, "", "backup", "verify", repo, "--data", data); !strings.Contains(out, "is whole: 4 accounts") {
		t.Error(out)
	}
	stop()
	again, stop := startDemo(t, data)
	if again.People[0] != ada {
		t.Error("the people are others after a restart:", again.People)
	}
	if again.IMAP != w.IMAP || again.POP3S != w.POP3S {
		t.Error("the ports are others after a restart:", again)
	}
	stop()
}

// letterCount has the length of what the inbox holds at the first start.
var letterCount = make([]struct{}, 28)

// TestDisable: nobody logs in to a disabled account, sessions that are open end, and
// mail still comes in.
func TestDisable(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	w, stop := startDemo(t, data)
	defer stop()
	ada, bob := w.People[0], w.People[1]
	open := login(t, w.POP3, bob)
	must(t, "", "account", "disable", bob.Address, "--data", data)
	if line, err := open.ReadLine(); err == nil && strings.HasPrefix(line, "+OK") {
		t.Errorf("the session goes on: %s", line)
	}
	refused := func() bool {
		c, err := textproto.Dial("tcp", w.POP3)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.ReadLine()
		say(t, c, "USER "+bob.Address)
		c.PrintfLine("PASS %s", bob.Password)
		answer, err := c.ReadLine()
		return err == nil && strings.HasPrefix(answer, "-ERR [AUTH]")
	}
	if !refused() {
		t.Error("bob logs in though he is disabled")
	}
	if list := must(t, "", "account", "list", "--data", data); strings.Count(list, "disabled") != 1 {
		t.Error(list)
	}
	submit(t, w, ada, []string{bob.Address}, "From: "+ada.Address+"\r\nSubject: Hello\r\n\r\nStill there?\r\n")
	must(t, "", "account", "enable", bob.Address, "--data", data)
	if got := retrieve(t, login(t, w.POP3, bob), len(letterCount)); !strings.Contains(got, "Still there?") {
		t.Errorf("meanwhile came\n%s", got)
	}
	mustFail(t, "not found", "", "account", "disable", "nobody@"+w.Outside.Domain, "--data", data)
	if out := must(t, "", "account", "limit", ada.Address, "--data", data); !strings.Contains(out, "2000") {
		t.Error(out)
	}
	mustFail(t, "name the account", "", "account", "limit", "--release", "--data", data)
	if out := must(t, "", "account", "limit", ada.Address, "--release", "--data", data); !strings.Contains(out, "2000") || !strings.Contains(out, "released until") {
		t.Error(out)
	}
}

func startDemo(t *testing.T, data string) (w demo.World, stop func()) {
	c := command("demo", "--json", "--data", data)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Error("the demonstration ended with", err)
		}
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &w)
	}
	if err != nil {
		c.Process.Kill()
		t.Fatalf("%v: %q", err, line)
	}
	return w, stop
}

// submit sends over STARTTLS, with a certificate that is checked.
func submit(t *testing.T, w demo.World, from demo.Person, to []string, text string) {
	pem, err := os.ReadFile(w.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c, err := smtp.Dial(w.Submission)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	host, _, _ := net.SplitHostPort(w.Submission)
	err = errors.Join(c.StartTLS(&tls.Config{RootCAs: roots, ServerName: host}), c.Auth(smtp.PlainAuth("", from.Address, from.Password, host)), c.Mail(from.Address))
	for _, a := range to {
		err = errors.Join(err, c.Rcpt(a))
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), c.Quit()); err != nil {
		t.Fatal(err)
	}
}

func login(t *testing.T, addr string, p demo.Person) *textproto.Conn {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.ReadLine()
	say(t, c, "USER "+p.Address)
	say(t, c, "PASS "+p.Password)
	return c
}

func say(t *testing.T, c *textproto.Conn, line string) string {
	c.PrintfLine("%s", line)
	answer, err := c.ReadLine()
	if err != nil || !strings.HasPrefix(answer, "+OK") {
		t.Fatalf("%s: %s %v", line, answer, err)
	}
	return answer
}

// retrieve gives the last message, of which there must be n and one more.
func retrieve(t *testing.T, c *textproto.Conn, n int) string {
	if stat := say(t, c, "STAT"); !strings.HasPrefix(stat, fmt.Sprintf("+OK %d ", n+1)) {
		t.Error("the inbox has", stat)
	}
	say(t, c, fmt.Sprintf("RETR %d", n+1))
	lines, err := c.ReadDotLines()
	if err != nil {
		t.Fatal(err)
	}
	say(t, c, "QUIT")
	return strings.Join(lines, "\r\n")
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

func waitFor(t *testing.T, what string, done func() bool) {
	for range 100 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("waited in vain for", what)
}

// TestPOP3Policies sets, shows and clears them.
func TestPOP3Policies(t *testing.T) {
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	must(t, "", "domain", "add", "example.org", data)
	must(t, "secret password", "account", "add", "ada@example.org", "--password-stdin", data)
	must(t, "", "account", "password", "add", "ada@example.org", "archive", data)
	set := func(args ...string) string {
		return must(t, "", append([]string{"pop3", "policy", "set", "ada@example.org", data}, args...)...)
	}
	if out := set("--after", "30d", "--preview"); !strings.Contains(out, "deleted 30 days later") {
		t.Errorf("what would be is\n%s", out)
	}
	if out := must(t, "", "pop3", "policy", "show", "ada@example.org", data); !strings.Contains(out, "what is collected stays") {
		t.Errorf("looking ahead has set\n%s", out)
	}
	set("--after", "30d", "--dele", "trash")
	out := set("--device", "Archive", "--mailbox", "inbox", "--mailbox", "Sent", "--newest", "100", "--since", "2026-01-31", "--unread", "--dele", "hide")
	for _, want := range []string{
		"All devices without a policy of their own: what is collected is moved to Trash 30 days later; what the client deletes is moved to Trash; it sees INBOX.",
		"Device archive: what is collected stays; what the client deletes is hidden from this device; it sees INBOX and Sent, of that the newest 100 messages, from 2026-01-31 on, what is unread.",
		"No message is about to go.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if again := must(t, "", "pop3", "policy", "show", "ada@example.org", data); !strings.Contains(again, "Device archive") {
		t.Errorf("shown is\n%s", again)
	}
	for want, args := range map[string][]string{
		"is none of that":     {"--after", "soon"},
		"delete, trash, hide": {"--dele", "burn"},
		"is no day":           {"--since", "yesterday"},
		`app password "x"`:    {"--device", "x"},
		`mailbox "Nowhere"`:   {"--mailbox", "Nowhere"},
		"named twice":         {"--mailbox", "Sent", "--mailbox", "Sent"},
		"not negative":        {"--newest", "-1"},
	} {
		mustFail(t, want, "", append([]string{"pop3", "policy", "set", "ada@example.org", data}, args...)...)
	}
	if out := must(t, "", "pop3", "policy", "clear", "ada@example.org", data); !strings.Contains(out, "what is collected stays; what the client deletes is deleted; it sees INBOX.") {
		t.Errorf("cleared, it is\n%s", out)
	}
	must(t, "", "account", "password", "remove", "ada@example.org", "archive", data)
	if out := must(t, "", "pop3", "policy", "show", "ada@example.org", data); strings.Contains(out, "Device") {
		t.Errorf("without the device it is\n%s", out)
	}
	if out := must(t, "", "pop3", "ledger", "ada@example.org", data); out != "Nothing was collected.\n" {
		t.Errorf("the ledger is %q", out)
	}
}

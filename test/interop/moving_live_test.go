//go:build interop

package interop

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A talker speaks IMAP line by line.
type talker struct {
	net.Conn
	in *bufio.Reader
	n  int
}

func talk(t *testing.T, port string) *talker {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	k := &talker{Conn: c, in: bufio.NewReader(c)}
	if _, err := k.until("* OK"); err != nil {
		t.Fatal(err)
	}
	return k
}

// until reads up to a line that begins so.
func (k *talker) until(begin string) (all string, err error) {
	for {
		line, err := k.in.ReadString('\n')
		all += line
		if err != nil {
			return all, err
		}
		if strings.HasPrefix(line, begin) {
			return all, nil
		}
	}
}

// do sends a command, and a literal if there is one, and gives all that is answered.
func (k *talker) do(command string, literal ...string) (string, error) {
	k.n++
	tag := fmt.Sprintf("t%d", k.n)
	line := tag + " " + command + "\r\n"
	if len(literal) == 1 {
		line = fmt.Sprintf("%s %s {%d}\r\n", tag, command, len(literal[0]))
	}
	if _, err := io.WriteString(k, line); err != nil {
		return "", err
	}
	if len(literal) == 1 {
		if _, err := k.until("+"); err != nil {
			return "", err
		}
		if _, err := io.WriteString(k, literal[0]+"\r\n"); err != nil {
			return "", err
		}
	}
	all, err := k.until(tag + " ")
	if err == nil && !strings.Contains(all, tag+" OK") {
		err = errors.New(all)
	}
	return all, err
}

func (k *talker) must(t *testing.T, command string, literal ...string) string {
	t.Helper()
	out, err := k.do(command, literal...)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}

// TestMoveWhileInUse: an account at Debian's Dovecot is used through us, over IMAP,
// POP3 and submission, and flipped while clients work: what they were told is done
// is here, and nothing twice.
func TestMoveWhileInUse(t *testing.T) {
	d := startDovecotWith(t, sharingDovecot)
	d.fill(t, "ada", 4, 80)
	whole(t, d.imap, "ada", "old")
	imapLines(t, d.imap, "ada", "old", `SETACL INBOX nobody lr`)
	h := newGate(t, "[log]\nlevel = \"debug\"\n", "plaintext_login = true")
	ada := h.person
	login := fmt.Sprintf("LOGIN %s old", ada.address)
	tool := func(args ...string) string {
		t.Helper()
		out, err := h.tool(append([]string{"move"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	if out, err := h.tool("move", "begin", ada.address, "--from", "imap://127.0.0.1:1", "--tls", "none"); err == nil {
		t.Error("a server that is not there was taken:", out)
	}
	tool("begin", ada.address, "--user", "ada", "--from", "imap://127.0.0.1:"+d.imap, "--pop3", "pop3://127.0.0.1:"+d.pop, "--tls", "none", "--uidl", "%08Xu%08Xv")
	contains(t, tool("status"), ada.address, "there")

	// The former server is seen through us, and its password is what counts.
	sameMail(t, "through us", whole(t, h.imapPort(), ada.address, "old"), whole(t, d.imap, "ada", "old"))
	sameMail(t, "POP3 ids through us", uidls(t, port(h.POP3), ada.address, "old"), uidls(t, d.pop, "ada", "old"))
	k := talk(t, h.imapPort())
	if out := k.must(t, "CAPABILITY"); strings.Contains(out, "SCRAM") || !strings.Contains(out, "AUTH=PLAIN") {
		t.Error("announced:", out)
	}
	if out, err := k.do(fmt.Sprintf("LOGIN %s %q", ada.address, ada.password)); err == nil || !strings.Contains(out, "AUTHENTICATIONFAILED") {
		t.Errorf("our own password: %v %s", err, out)
	}
	if out := k.must(t, login); !strings.Contains(out, "[CAPABILITY IMAP4rev1") || strings.Contains(out, "UIDBATCHES") {
		t.Error("after the login:", out)
	}
	mayPost(t, h.Submissions, ada.address, "old")

	// IDLE.
	k.must(t, "SELECT INBOX")
	io.WriteString(k, "i IDLE\r\n")
	if _, err := k.until("+"); err != nil {
		t.Fatal(err)
	}
	other := talk(t, h.imapPort())
	// What comes behind the login in one piece is for the former server.
	io.WriteString(other, "a "+login+"\r\nb APPEND INBOX {21+}\r\nSubject: pipelined\r\n\r\n\r\nc SELECT INBOX\r\n")
	if out, err := other.until("c OK"); err != nil || !strings.Contains(out, "b OK") {
		t.Fatal(out, err)
	}
	if out, err := k.until("*"); err != nil || !strings.Contains(out, "EXISTS") {
		t.Error("IDLE heard", out, err)
	}

	// The flip, while four write.
	var work sync.WaitGroup
	var mu sync.Mutex
	done := map[string]bool{}
	for n := range 4 {
		c := talk(t, h.imapPort())
		c.must(t, login)
		work.Go(func() {
			for i := 0; ; i++ {
				subject := fmt.Sprintf("load-%d-%d", n, i)
				if _, err := c.do("APPEND INBOX (\\Flagged)", "Subject: "+subject+"\r\n\r\nx\r\n"); err != nil {
					return
				}
				mu.Lock()
				done[subject] = true
				mu.Unlock()
			}
		})
	}
	if out, err := h.tool("move", "flip", ada.address); err == nil || !strings.Contains(out, "password") {
		t.Errorf("without a password: %v %s", err, out)
	}
	t.Log(tool("flip", ada.address, "--password-file", write(t, filepath.Join(t.TempDir(), "password"), "old\n")))
	contains(t, tool("status"), "the flip has left out", "rights of nobody@hill.example: no account here has this address (\"INBOX\")")
	work.Wait()
	if out, err := k.until("* BYE"); err != nil {
		t.Errorf("the end of IDLE: %v %s", err, out)
	}
	c := talk(t, h.imapPort())
	if out := c.must(t, login); !strings.Contains(out, "UIDBATCHES") {
		t.Error("who answers after the flip?", out)
	}
	c.must(t, "SELECT INBOX")
	all := c.must(t, "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
	t.Logf("%d were written while it was flipped", len(done))
	for s := range done {
		if strings.Count(all, s+"\r\n") != 1 {
			t.Errorf("%s is there %d times", s, strings.Count(all, s+"\r\n"))
		}
	}
	sameMail(t, "after the flip", sorted(whole(t, h.imapPort(), ada.address, "old")), ourNames(whole(t, d.imap, "ada", "old")))
	sameMail(t, "POP3 ids after the flip", uidls(t, port(h.POP3), ada.address, "old"), uidls(t, d.pop, "ada", "old"))

	// And back, and forth.
	tool("back", ada.address)
	if out := talk(t, h.imapPort()).must(t, login); strings.Contains(out, "UIDBATCHES") {
		t.Error("who answers after the way back?", out)
	}
	if out, err := h.tool("move", "end", ada.address); err == nil {
		t.Error("forgotten without being flipped:", out)
	}
	tool("end", ada.address, "--yes")
	if out := talk(t, h.imapPort()).must(t, login); !strings.Contains(out, "UIDBATCHES") {
		t.Error("who answers at the end?", out)
	}
	if out := talk(t, h.imapPort()).must(t, "CAPABILITY"); !strings.Contains(out, "SCRAM") {
		t.Error("announced at the end:", out)
	}
}

// mayPost logs in to send mail.
func mayPost(t *testing.T, at, address, password string) {
	t.Helper()
	conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", address, password, "localhost")); err != nil {
		t.Error("submission:", err)
	}
	c.Quit()
}

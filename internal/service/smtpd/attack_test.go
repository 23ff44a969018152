package smtpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"posthaste/test/script"
)

// TestTLSEndsInChunk: a client that ends TLS in the middle of a chunk, and goes on in
// clear, is not heard any more: nothing is taken, and nothing is answered.
func TestTLSEndsInChunk(t *testing.T) {
	for _, last := range []string{"", " LAST"} {
		s, d, _ := newServer("mx")
		conn, stop := start(t, s)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if err := script.Play(conn, "x", "S~ 220 .*\nC: EHLO x\nS* 250 STARTTLS\nC: STARTTLS\nS~ 220 .*"); err != nil {
			t.Fatal(err)
		}
		tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := script.Play(tc, "x", "C: HELO x\nS: 250 mx.example\nC: MAIL FROM:<a@a.example>\nS~ 250 .*\nC: RCPT TO:<b@b.example>\nS~ 250 .*"); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(tc, "BDAT 90000%s\r\nSubject: half\r\n\r\n", last); err != nil {
			t.Fatal(err)
		}
		if err := tc.CloseWrite(); err != nil { // close_notify
			t.Fatal(err)
		}
		go io.WriteString(conn, "X"+strings.Repeat("\r\nNOOP", 20_000)+"\r\nMAIL FROM:<evil@a.example>\r\nRCPT TO:<b@b.example>\r\nQUIT\r\n")
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("BDAT%s: the session goes on", last)
		}
		if strings.Contains(string(answer), "250") || strings.Contains(string(answer), "221") || len(answer) > 100 { // an alert is all there may be
			t.Errorf("BDAT%s: answered in clear: %q", last, answer)
		}
		stop()
		for _, n := range d.notes() {
			if strings.Contains(n, "evil") || strings.HasPrefix(n, "data") && !strings.HasPrefix(n, "data error") {
				t.Errorf("BDAT%s: %q", last, d.notes())
			}
		}
	}
}

// TestEarlyTalker: what a client says before it is greeted is heard after that, in
// step, and gives it nothing: the greeting comes first, and what may not be pipelined
// is answered as ever.
func TestEarlyTalker(t *testing.T) {
	s, d, _ := newServer("mx")
	ours, theirs := net.Pipe()
	said := make(chan struct{})
	go func() {
		defer close(said)
		io.WriteString(ours, "EHLO early\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<refused@b.example>\r\nDATA\r\nQUIT\r\n")
	}()
	done := make(chan struct{})
	go func() { defer close(done); s.ServeConn(t.Context(), fromPeer{theirs}) }()
	var codes []string
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	for in := bufio.NewScanner(ours); in.Scan(); {
		if line := in.Text(); line[3] == ' ' {
			codes = append(codes, line[:3])
		}
	}
	<-said
	<-done
	if got := strings.Join(codes, " "); got != "220 250 250 550 503 221" && got != "220 250 250 550 554 221" {
		t.Error(got)
	}
	for _, n := range d.notes() {
		if strings.HasPrefix(n, "data") {
			t.Error(n)
		}
	}
}

// TestUnasked: a message that comes without waiting for 354 is not taken, and nothing
// behind it is heard, whether it looks like a message or like commands; commands that
// may come together are answered before.
func TestUnasked(t *testing.T) {
	const begin = "EHLO x\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n"
	for name, more := range map[string]string{
		"message": "Subject: x\r\n\r\nhello\r\n.\r\nMAIL FROM:<evil@a.example>\r\n",
		"command": "RSET\r\nMAIL FROM:<evil@a.example>\r\nQUIT\r\n",
		"a byte":  ".",
	} {
		s, d, _ := newServer("mx")
		conn, stop := start(t, s)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if err := script.Play(conn, "x", "S~ 220 .*"); err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, begin+more)
		got, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if answer := string(got); !strings.Contains(answer, "\r\n250 2.1.5 OK\r\n554 5.5.0 wait for 354") || strings.Contains(answer, "354 send") || strings.Count(answer, "\r\n554") != 1 {
			t.Errorf("%s: %q", name, answer)
		}
		stop()
		for _, n := range d.notes() {
			if strings.Contains(n, "evil") || strings.HasPrefix(n, "data") {
				t.Errorf("%s: %q", name, d.notes())
			}
		}
	}
}

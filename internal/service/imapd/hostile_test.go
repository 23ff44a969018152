package imapd

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/mailbox"
)

// TestScram logs in by SCRAM, with the wrong password and with the right one.
func TestScram(t *testing.T) {
	srv := newServer(t)
	c := &client{t: t, conn: dial(t, srv)}
	c.r = bufio.NewReader(c.conn)
	c.line()
	for _, password := range []string{"wrong", "sesame"} {
		sc, err := sasl.NewClient(sasl.Scram, sasl.Credentials{User: "ada@example.org", Password: password}, sasl.ChannelBinding{})
		if err != nil {
			t.Fatal(err)
		}
		c.send("s AUTHENTICATE SCRAM-SHA-256\r\n")
		answer := ""
		for {
			l := c.line()
			challenge, ok := strings.CutPrefix(l, "+ ")
			if !ok {
				answer = l
				break
			}
			b, err := base64.StdEncoding.DecodeString(challenge)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == 0 {
				b = nil
			}
			if b, err = sc.Next(b); err != nil {
				t.Fatal(err)
			}
			c.send(base64.StdEncoding.EncodeToString(b) + "\r\n")
		}
		want := "s NO [AUTHENTICATIONFAILED] authentication failed"
		if password == "sesame" {
			want = "s OK [CAPABILITY "
			if err := sc.Done(); err != nil {
				t.Error(err)
			}
		}
		if !strings.HasPrefix(answer, want) {
			t.Errorf("%s: %s", password, answer)
		}
	}
}

// TestHostile sends what has hurt other servers. Each must be answered, quickly,
// and the session must go on.
func TestHostile(t *testing.T) {
	srv := newServer(t)
	deliver(t, srv, mailbox.Inbox, plain, mixed)
	c := newClient(t, srv)
	c.do("CREATE " + strings.Repeat("a", 180))
	c.do("SELECT INBOX")
	ranges := make([]string, 6000)
	for i := range ranges {
		ranges[i] = fmt.Sprint(2*i + 1)
	}
	for _, tc := range []struct{ command, want string }{
		{`LIST "" ` + strings.Repeat("*a", 40), "OK"},
		{`LIST "" ` + strings.Repeat("%*", 200), "OK"},
		{`LIST "" (` + strings.Repeat("x ", 2000) + "x)", "BAD"},
		{"SEARCH " + strings.Repeat("(", 20000), "BAD"},
		{"SEARCH " + strings.Repeat("NOT ", 10000) + "ALL", "BAD"},
		{"SEARCH " + strings.Repeat("OR SEEN ", 5000) + "ALL", "BAD"},
		{"SEARCH " + strings.Repeat("BODY nothing ", 300) + "ALL", "OK"},
		{"SEARCH " + strings.Repeat("NOT BODY nothing ", 300) + "ALL", "OK"},
		{"UID FETCH " + strings.Join(ranges, ",") + " UID", "OK"},
		{"UID FETCH *:1,4294967295:* UID", "OK"},
		{"FETCH " + strings.Repeat("9", 30000) + " UID", "BAD"},
		{"FETCH 1 (" + strings.Repeat("BODY.PEEK[] ", 2000) + "UID)", "BAD"},
		{"FETCH 1 BODY.PEEK[" + strings.Repeat("1.", 5000) + "1]", "BAD"},
		{"FETCH 1 BODY.PEEK[" + strings.Repeat("1.", 90) + "1]", "OK"},
		{"FETCH 1 BODY.PEEK[]<4294967296.4294967296>", "OK"},
		{"FETCH 1 BODY.PEEK[]<9223372036854775807.9223372036854775807>", "OK"},
		{"FETCH 1 BODY.PEEK[]<9223372036854775808.1>", "BAD"},
		{"FETCH 1 BODY.PEEK[HEADER.FIELDS (" + strings.Repeat("From ", 900) + "To)]", "OK"},
		{"FETCH 1 BODY.PEEK[HEADER.FIELDS (" + strings.Repeat("x ", 5000) + "x)]", "BAD"},
		{"FETCH 1 (UID) (CHANGEDSINCE 18446744073709551615)", "BAD"},
		{"NOOP " + strings.Repeat("(", 4000), "BAD"},
		{`ID ("a" "b"` + strings.Repeat(` "a" "b"`, 2000) + ")", "BAD"},
		{"SELECT " + strings.Repeat("x", 70_000), "BAD"},
		{"COPY 1:* INBOX", "OK"},
		{"NOOP", "OK"},
	} {
		start := time.Now()
		answers := c.do(tc.command)
		got := answers[len(answers)-1]
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%.60s: %s", tc.command, got)
		}
		t.Logf("%.60s: took %v", tc.command, time.Since(start))
		if tc.want == "BAD" {
			c.do("NOOP") // too many in a row would end it
		}
	}
}

// TestBeforeLogin sends what nobody who has not logged in may make us keep.
func TestBeforeLogin(t *testing.T) {
	srv := newServer(t)
	for _, tc := range []struct{ in, want string }{
		{"a LOGIN {4294967296}\r\n", "a NO [TOOBIG]"},
		{"a LOGIN {18446744073709551617}\r\n", "a NO [TOOBIG]"},
		{"a LOGIN {1073741825+}\r\n", "a NO [TOOBIG]"},
		{"a LOGIN {-1}\r\n", "a BAD"},
		{"a LOGIN {0x10+}\r\n", "a BAD"},
		{"a LOGIN {5000}\r\n", "a NO [TOOBIG]"},
		{"a APPEND INBOX {10737418240}\r\n", "a BAD"},
		{strings.Repeat("x", 9000) + "\r\n", "* BAD"},
		{"a " + strings.Repeat("x", 100_000), "a BAD"},
		{"GET / HTTP/1.1\r\n", "GET BAD"},
		{"\r\n", "* BAD"},
		{"a LOGIN \"x\ny\"\r\n", "a BAD"},
	} {
		c := &client{t: t, conn: dial(t, srv)}
		c.r = bufio.NewReader(c.conn)
		c.line()
		go io.WriteString(c.conn, tc.in)
		if got := c.line(); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%.40q: %s", tc.in, got)
		}
	}
}

package imapd

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/test/script"
)

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		said       string
		whole, bye bool
	}{
		{"* OK hi\r\n", true, false},
		{"* OK hi", false, false},
		{"* 1 FETCH (BODY[] {5}\r\n", false, false},
		{"* 1 FETCH (BODY[] {5}\r\n{9}\r\n", false, false},
		{"* 1 FETCH (BODY[] {5}\r\n{9}\r\n)\r\n", true, false},
		{"* 1 FETCH (BODY[] {0}\r\n)\r\n", true, false},
		{"* 1 FETCH (BODY[] {0}\r\n", false, false},
		{"* 1 FETCH (" + long + " {3}\r\n* BYE\r\n", true, false},
		{"* OK {}\r\n* OK {x}\r\n* OK }\r\n", true, false},
		{"* bye " + long + "\r\nt1 OK\r\n", true, true},
		{"* OK " + long + "* BYE\r\n", true, false},
	} {
		var at, once answers
		at.w, once.w = io.Discard, io.Discard
		io.Copy(&at, struct{ io.Reader }{iotest.OneByteReader(strings.NewReader(c.said))})
		once.Write([]byte(c.said))
		for _, a := range []answers{at, once} {
			if a.whole != c.whole || a.bye != c.bye {
				t.Errorf("%.60q: whole %v, bye %v", c.said, a.whole, a.bye)
			}
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte("* 1 FETCH (BODY[] {5}\r\n{9}\r\n)\r\n* BYE\r\n"), 3)
	f.Fuzz(func(t *testing.T, said []byte, n int) {
		one, two := &answers{w: io.Discard, whole: true}, &answers{w: io.Discard, whole: true}
		one.Write(said)
		n = max(0, min(n, len(said)))
		two.Write(said[:n])
		two.Write(said[n:])
		if one.whole != two.whole || one.bye != two.bye || one.left != two.left {
			t.Errorf("%q in two pieces, %d of it first, is another answer", said, n)
		}
	})
}

// A former server's session.
type there struct{ net.Conn }

func (there) Capabilities() string { return "IMAP4rev1 OLD" }

// away is people whose accounts are at a former server.
type away struct {
	people
	conn net.Conn
}

func (a away) Password(ctx context.Context, authzid, user, password string) (sasl.Identity, error) {
	id, err := a.people.Password(ctx, authzid, user, password)
	id.Elsewhere = there{a.conn}
	return id, err
}

// TestElsewhere: behind the login a former server is heard, from the first byte on,
// and when it ends the session the client hears that, but not within an answer.
func TestElsewhere(t *testing.T) {
	for name, c := range map[string]struct{ says, ends string }{
		"between answers":    {"* 1 EXISTS\r\n", "S: * 1 EXISTS\nS~ \\* BYE \\[UNAVAILABLE\\] the session at .* has ended\nEOF\n"},
		"within an answer":   {"* 1 FETCH (BODY[] {10}\r\nhalf\r\n", "S: * 1 FETCH (BODY[] {10}\nS: half\nEOF\n"},
		"with words its own": {"* BYE enough\r\n", "S: * BYE enough\nEOF\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			ours, old := net.Pipe()
			s.Auth = func(mail.Peer) sasl.Verifier { return away{conn: ours} }
			s.Shown = func() bool { return true }
			heard := make(chan string, 1)
			go func() {
				b := make([]byte, len("b NOOP\r\nc NOOP\r\n"))
				io.ReadFull(old, b)
				heard <- string(b)
				io.WriteString(old, c.says)
				old.Close()
			}()
			client, conn := net.Pipe()
			go s.ServeConn(t.Context(), conn)
			err := script.Play(client, name, "S~ \\* OK \\[CAPABILITY .* AUTH=PLAIN AUTH=LOGIN\\].*\nC: a LOGIN ada@example.org sesame\nC: b NOOP\nC: c NOOP\nS~ a OK \\[CAPABILITY IMAP4rev1 OLD\\].*\n"+c.ends)
			if err != nil {
				t.Error(err)
			}
			if h := <-heard; h != "b NOOP\r\nc NOOP\r\n" {
				t.Errorf("the former server heard %q", h)
			}
		})
	}
}

package pop3

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestParseCommand(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Command
		err  error
	}{
		{"QUIT", Command{Verb: QUIT}, nil},
		{"quit ", Command{Verb: QUIT}, nil},
		{"QUIT now", Command{Verb: QUIT}, ErrSyntax},
		{"USER joe@example.org", Command{Verb: USER, Text: "joe@example.org"}, nil},
		{"PASS  two words ", Command{Verb: PASS, Text: " two words "}, nil},
		{"PASS pässword", Command{Verb: PASS, Text: "pässword"}, nil},
		{"PASS", Command{Verb: PASS}, ErrSyntax},
		{"LIST", Command{Verb: LIST}, nil},
		{"LIST 3", Command{Verb: LIST, Number: 3}, nil},
		{"LIST 0", Command{Verb: LIST}, ErrSyntax},
		{"LIST 1 2", Command{Verb: LIST}, ErrSyntax},
		{"RETR 4294967295", Command{Verb: RETR, Number: 4294967295}, nil},
		{"RETR 4294967296", Command{Verb: RETR, Number: 4294967295}, ErrSyntax},
		{"RETR -1", Command{Verb: RETR}, ErrSyntax},
		{"RETR +1", Command{Verb: RETR}, ErrSyntax},
		{"RETR", Command{Verb: RETR}, ErrSyntax},
		{"DELE x", Command{Verb: DELE}, ErrSyntax},
		{"TOP 1 0", Command{Verb: TOP, Number: 1}, nil},
		{"top 1 10", Command{Verb: TOP, Number: 1, Lines: 10}, nil},
		{"TOP 1", Command{Verb: TOP}, ErrSyntax},
		{"TOP 1 99999999999", Command{Verb: TOP, Number: 1, Lines: 1<<31 - 1}, ErrSyntax},
		{"UIDL 7", Command{Verb: UIDL, Number: 7}, nil},
		{"LANG", Command{Verb: LANG}, nil},
		{"lang de-CH", Command{Verb: LANG, Text: "de-CH"}, nil},
		{"LANG a b", Command{Verb: LANG}, ErrSyntax},
		{"UTF8", Command{Verb: UTF8}, nil},
		{"UTF8 1", Command{Verb: UTF8}, ErrSyntax},
		{"AUTH", Command{Verb: AUTH}, nil},
		{"AUTH plain", Command{Verb: AUTH, Mechanism: "PLAIN"}, nil},
		{"AUTH PLAIN =", Command{Verb: AUTH, Mechanism: "PLAIN", Initial: []byte{}}, nil},
		{"AUTH PLAIN AGEAYg==", Command{Verb: AUTH, Mechanism: "PLAIN", Initial: []byte("\x00a\x00b")}, nil},
		{"AUTH PLAIN AGEAYg", Command{Verb: AUTH, Mechanism: "PLAIN"}, ErrBase64},
		{"AUTH PLAIN a b", Command{Verb: AUTH}, ErrSyntax},
		{"AUTH PL/IN", Command{Verb: AUTH}, ErrSyntax},
		{"APOP mrose c4c9334bac560ecc979e58001b3e22fb", Command{Verb: APOP, Text: "mrose", Digest: Stamped("<1896.697170952@dbc.mtview.ca.us>", "tanstaaf")}, nil}, // RFC 1939 §7
		{"APOP joe 00", Command{Verb: APOP}, ErrSyntax},
		{"APOP joe", Command{Verb: APOP}, ErrSyntax},
		{"", Command{}, ErrUnknown},
		{" QUIT", Command{}, ErrUnknown},
		{"NOOP\x00", Command{}, ErrControl},
		{"USER a\rb", Command{Verb: USER}, ErrControl},
		{"USER " + strings.Repeat("x", MaxLine), Command{Verb: USER}, ErrLineTooLong},
		{"AUTH X " + strings.Repeat("AAAA", 1000), Command{Verb: AUTH, Mechanism: "X", Initial: make([]byte, 3000)}, nil},
		{"AUTH X " + strings.Repeat("AAAA", 3000), Command{Verb: AUTH}, ErrLineTooLong},
	} {
		got, err := ParseCommand([]byte(tt.in))
		if err != tt.err || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%.60q: %+v %v, want %+v %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestParseResponse(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"YQ==", "a", nil},
		{"", "", nil},
		{"*", "", ErrCancelled},
		{"Y", "", ErrBase64},
		{"Y\rQ==", "", ErrBase64},
		{strings.Repeat("A", MaxAuth+1), "", ErrLineTooLong},
	} {
		got, err := ParseResponse([]byte(tt.in))
		if string(got) != tt.want || err != tt.err {
			t.Errorf("%.20q: %q %v", tt.in, got, err)
		}
	}
}

func TestStates(t *testing.T) {
	allowed := map[State]string{
		Authorization: "APOP AUTH CAPA LANG PASS QUIT STLS USER UTF8",
		Transaction:   "CAPA DELE LANG LIST NOOP QUIT RETR RSET STAT TOP UIDL",
	}
	for state, want := range allowed {
		for v := range verbs {
			err := state.Check(Command{Verb: v})
			if may := strings.Contains(want, string(v)); may != (err == nil) {
				t.Errorf("%s in state %d: %v", v, state, err)
			}
		}
	}
}

func TestReplies(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{string(AppendOK(nil, "")), "+OK\r\n"},
		{string(AppendOK(nil, "hello")), "+OK hello\r\n"},
		{string(AppendErr(nil, Auth, "no\r\n+OK")), "-ERR [AUTH] no??+OK\r\n"},
		{string(AppendErr(nil, "", "no")), "-ERR no\r\n"},
		{string(AppendErr(nil, "", "später\x00\xff\u0085\x7f")), "-ERR später????\r\n"},
		{string(AppendChallenge(nil, nil)), "+ \r\n"},
		{string(AppendChallenge(nil, []byte("a"))), "+ YQ==\r\n"},
		{string(AppendStat(nil, 2, 320)), "+OK 2 320\r\n"},
		{string(AppendScan(nil, 1, 120)), "1 120\r\n"},
		{string(AppendUnique(nil, 1, "x.1")), "1 x.1\r\n"},
		{string(AppendEnd(nil)), ".\r\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	if b := AppendErr(nil, Temporary, strings.Repeat("ü", 5000)); len(b) > 512 || !utf8.Valid(b) {
		t.Errorf("%d bytes, or cut in the middle", len(b))
	}
	if n := len(AppendErr(nil, Temporary, strings.Repeat("x", 5000))); n > 512 {
		t.Errorf("a line of %d", n)
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		top      int // -1: all
	}{
		{"A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n.\r\n", -1},
		{".\r\n..\r\n.x", "..\r\n...\r\n..x\r\n.\r\n", -1},
		{"a\n.\nb", "a\r\n..\r\nb\r\n.\r\n", -1},
		{"a\r", "a\r\n.\r\n", -1},
		{"a\r.b\r\n", "a\r.b\r\n.\r\n", -1},
		{"", ".\r\n", -1},
		{"A: b\r\n\r\n1\r\n2\r\n3\r\n", "A: b\r\n\r\n.\r\n", 0},
		{"A: b\r\n\r\n1\r\n.2\r\n3\r\n", "A: b\r\n\r\n1\r\n..2\r\n.\r\n", 2},
		{"A: b\n\n1\n2", "A: b\r\n\r\n1\r\n2\r\n.\r\n", 9},
		{"A: b\r\n", "A: b\r\n.\r\n", 5},
		{"\r\n1\r\n2\r\n", "\r\n1\r\n.\r\n", 1},
		{"A\r\n\r\n\r\n\r\nx\r\n", "A\r\n\r\n\r\n\r\n.\r\n", 2},
	} {
		for cut := 0; cut <= len(tt.in); cut++ {
			var b bytes.Buffer
			l := NewLines(&b)
			if tt.top >= 0 {
				l = NewTop(&b, tt.top)
			}
			io.WriteString(l, tt.in[:cut])
			io.Copy(l, iotest.OneByteReader(strings.NewReader(tt.in[cut:])))
			if err := l.Close(); err != nil || b.String() != tt.want {
				t.Errorf("%q cut at %d: %q %v, want %q", tt.in, cut, b.String(), err, tt.want)
			}
		}
	}
	l := NewLines(failing{})
	if _, err := io.WriteString(l, "x"); err != io.ErrShortWrite || l.Close() != io.ErrShortWrite {
		t.Errorf("error of the writer: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestReader(t *testing.T) {
	long := strings.Repeat("x", 3000)
	in := "one\r\ntwo\n\r\n" + long + "\r\n" + strings.Repeat("y", MaxAuth) + "\r\n" + strings.Repeat("z", MaxAuth+1) + "\r\nafter\r\n" + strings.Repeat("f", maxFlood*2)
	for _, src := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.HalfReader(strings.NewReader(in))} {
		r := NewReader(src)
		for _, want := range []string{"one", "two", "", long, strings.Repeat("y", MaxAuth)} {
			if got, err := r.Line(); err != nil || string(got) != want {
				t.Fatalf("%.20q %v, want %.20q", got, err, want)
			}
		}
		if _, err := r.Line(); err != ErrLineTooLong {
			t.Fatal(err)
		}
		if got, err := r.Line(); err != nil || string(got) != "after" {
			t.Fatalf("%q %v", got, err)
		}
		if _, err := r.Line(); err != ErrFlood {
			t.Fatal(err)
		}
	}
	if _, err := NewReader(strings.NewReader("no end")).Line(); !errors.Is(err, io.EOF) {
		t.Errorf("a line that is cut off: %v", err)
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"TOP 1 2", "AUTH PLAIN AGEAYg==", "PASS a b", "LIST"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := ParseCommand(line)
		if err != nil {
			return
		}
		// Printed, it is the same command.
		s := string(c.Verb)
		switch {
		case c.Verb == APOP:
			s += " " + c.Text + " " + hex.EncodeToString(c.Digest)
		case c.Text != "":
			s += " " + c.Text
		case c.Verb == AUTH && c.Mechanism != "":
			s += " " + c.Mechanism
			if c.Initial != nil && len(c.Initial) == 0 {
				s += " ="
			} else if c.Initial != nil {
				s += " " + base64.StdEncoding.EncodeToString(c.Initial)
			}
		case c.Number > 0:
			line := string(AppendScan(nil, c.Number, int64(c.Lines)))
			n, lines, _ := strings.Cut(strings.TrimSpace(line), " ")
			s += " " + n
			if c.Verb == TOP {
				s += " " + lines
			}
		}
		again, err := ParseCommand([]byte(s))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%q: %+v; %q: %+v %v", line, c, s, again, err)
		}
	})
}

// FuzzLines reads what Lines writes with the standard library.
func FuzzLines(f *testing.F) {
	f.Add([]byte(".\r\n..\na\r"), 3)
	f.Fuzz(func(t *testing.T, msg []byte, cut int) {
		cut = int(uint(cut) % uint(len(msg)+1))
		var b bytes.Buffer
		l := NewLines(&b)
		l.Write(msg[:cut])
		l.Write(msg[cut:])
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		b.WriteString("+OK next\r\n")
		r := textproto.NewReader(bufio.NewReader(&b))
		got, err := io.ReadAll(r.DotReader())
		if err != nil {
			t.Fatal(err)
		}
		// The standard library gives LF for CRLF.
		want := strings.ReplaceAll(string(msg), "\r\n", "\n")
		if n := len(msg); n > 0 && msg[n-1] == '\r' {
			want = want[:len(want)-1] + "\n"
		} else if n > 0 && msg[n-1] != '\n' {
			want += "\n"
		}
		if string(got) != want {
			t.Fatalf("%q came as %q", msg, got)
		}
		if line, err := r.ReadLine(); err != nil || line != "+OK next" {
			t.Fatalf("%q: then %q %v", msg, line, err)
		}
	})
}

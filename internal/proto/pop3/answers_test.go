package pop3

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestNext(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Answer
		err  error
	}{
		{"+OK ready <1.2@h>\r\n", Answer{OK: true, Text: "ready <1.2@h>"}, nil},
		{"+ok\n", Answer{OK: true}, nil},
		{"-ERR [auth] no  \r\n", Answer{Code: Auth, Text: "no"}, nil},
		{"-ERR [SYS/TEMP] later\r\n", Answer{Code: Temporary, Text: "later"}, nil},
		{"-ERR [half\r\n", Answer{Text: "[half"}, nil},
		{"+ YQ==\r\n", Answer{More: true, Text: "YQ=="}, nil},
		{"+ \r\n", Answer{More: true}, nil},
		{"* OK IMAP\r\n", Answer{}, ErrAnswer},
		{"\r\n", Answer{}, ErrAnswer},
		{"+OK", Answer{}, io.ErrUnexpectedEOF},
		{"+OK " + strings.Repeat("x", maxAnswer) + "\r\n", Answer{}, ErrFlood},
	} {
		got, err := NewAnswers(iotest.OneByteReader(strings.NewReader(c.in))).Next()
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.40q: %+v %v", c.in, got, err)
		}
	}
	if s := (Answer{Text: "POP3 <1896.697170952@dbc.mtview.ca.us> hi"}).Stamp(); s != "<1896.697170952@dbc.mtview.ca.us>" {
		t.Error(s)
	}
	for _, text := range []string{"", "no <stamp> here", "<a@b", "x>"} {
		if s := (Answer{Text: text}).Stamp(); s != "" {
			t.Errorf("%q: %q", text, s)
		}
	}
}

func TestMessage(t *testing.T) {
	long := strings.Repeat("x", 3*maxAnswer)
	for _, c := range []struct{ in, want string }{
		{"a\r\n\r\n..b\r\n.c\r\n.\r\n", "a\r\n\r\n.b\r\nc\r\n"},
		{".\r\n", ""},
		{"a\nb\r\n.\n", "a\r\nb\r\n"},
		{"\n\r\n\n.\r\n", "\r\n\r\n\r\n"},
		{long + "\r\n." + long + "\n.\r\n", long + "\r\n" + long + "\r\n"},
		{strings.Repeat("y", maxAnswer-1) + "\r\n.\r\n", strings.Repeat("y", maxAnswer-1) + "\r\n"},
		{strings.Repeat("y", maxAnswer) + "\n.\r\n", strings.Repeat("y", maxAnswer) + "\r\n"},
		{"..\r\n...\r\n.\r\n", ".\r\n..\r\n"},
		{"a\rb\r\n.\r\n", "a\rb\r\n"},
	} {
		for _, src := range []io.Reader{strings.NewReader(c.in + "+OK\r\n"), iotest.OneByteReader(strings.NewReader(c.in + "+OK\r\n"))} {
			a := NewAnswers(src)
			got, err := io.ReadAll(a.Message())
			if string(got) != c.want || err != nil {
				t.Errorf("%.40q: %.60q %v", c.in, got, err)
			}
			if next, err := a.Next(); !next.OK || err != nil {
				t.Errorf("%.40q: %v behind it", c.in, err)
			}
		}
		for i := range min(len(c.in), 100) { // cut anywhere, it is not whole
			if _, err := io.ReadAll(NewAnswers(strings.NewReader(c.in[:i])).Message()); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%.40q cut at %d: %v", c.in, i, err)
			}
		}
	}
	a := NewAnswers(strings.NewReader("a\r\n.\r\n+OK\r\n"))
	a.Message()
	if _, err := a.Next(); err != ErrUnread {
		t.Error(err)
	}
}

func TestListings(t *testing.T) {
	a := NewAnswers(strings.NewReader("1 abc\r\n2 d e\r\n..x\r\n.\r\n+OK\r\n"))
	var got []string
	if err := a.Lines(func(l []byte) error { got = append(got, string(l)); return nil }); err != nil || strings.Join(got, "|") != "1 abc|2 d e|.x" {
		t.Error(got, err)
	}
	for _, c := range []struct {
		in string
		n  uint32
		id string
	}{{"1 abc", 1, "abc"}, {" 7  x y ", 7, "x y"}, {"0 a", 0, ""}, {"1", 0, ""}, {"a b", 0, ""}, {"4294967296 a", 0, ""}} {
		if n, id, err := ParseUnique([]byte(c.in)); n != c.n || id != c.id || (err == nil) != (c.n > 0) {
			t.Error(c.in, n, id, err)
		}
	}
	for _, c := range []struct {
		in   string
		n    uint32
		size int64
	}{{"1 120", 1, 120}, {"2 0 more", 2, 0}, {"0 1", 0, 0}, {"1 -1", 0, 0}, {"1", 0, 0}, {"1 x", 0, 0}} {
		if n, size, err := ParseScan([]byte(c.in)); n != c.n || size != c.size || (err == nil) != (c.n > 0) {
			t.Error(c.in, n, size, err)
		}
	}
}

// FuzzAnswers: whatever a server says, nothing breaks, and a message has CRLF only and
// comes back from the writer as it was.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("+OK\r\na\r\n..b\r\n.\r\n-ERR [AUTH] no\r\n"))
	f.Add([]byte("+OK <1@h>\n.\r\n\r.\n"))
	f.Add([]byte("1 abc\r\n.\r\n+ YQ==\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a := NewAnswers(bytes.NewReader(in))
		if got, err := a.Next(); err == nil {
			got.Stamp()
			got.Challenge()
		}
		text, err := io.ReadAll(a.Message())
		if err == nil {
			var out bytes.Buffer
			l := NewLines(&out)
			l.Write(text)
			l.Close()
			again, err := io.ReadAll(NewAnswers(&out).Message())
			if err != nil || !bytes.Equal(again, text) {
				t.Fatalf("%q became %q: %v", text, again, err)
			}
		}
		NewAnswers(bytes.NewReader(in)).Lines(func(line []byte) error {
			ParseUnique(line)
			ParseScan(line)
			return nil
		})
	})
}

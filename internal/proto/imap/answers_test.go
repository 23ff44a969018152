package imap

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// dump writes what Answers makes of a dialogue.
func dump(r io.Reader) (string, error) {
	a := NewAnswers(r)
	var b strings.Builder
	for {
		tag, err := a.Next()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%s:", tag)
		for a.inLine {
			t, err := a.Token()
			if err != nil {
				return b.String(), err
			}
			switch t.Kind {
			case OpenToken:
				b.WriteString(" (")
			case CloseToken:
				b.WriteString(" )")
			case AtomToken:
				fmt.Fprintf(&b, " %s", t.Text)
			case QuotedToken:
				fmt.Fprintf(&b, " %q", t.Text)
			case LiteralToken:
				text, err := io.ReadAll(a.Literal())
				if err != nil {
					return b.String(), err
				}
				fmt.Fprintf(&b, " {%s}", text)
			}
		}
		b.WriteString("\n")
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n", "*: OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\n"},
		{"* 12 FETCH (UID 7 FLAGS (\\Seen $x) BODY[] {5}\r\nab)\r\n)\r\na1 OK done\r\n", "*: 12 FETCH ( UID 7 FLAGS ( \\Seen $x ) BODY[] {ab)\r\n} )\na1: OK done\n"},
		{"* 1 FETCH (BODY[HEADER.FIELDS (MESSAGE-ID TO)]<0> \"x\\\"y\\\\\")\r\n", "*: 1 FETCH ( BODY[HEADER.FIELDS (MESSAGE-ID TO)]<0> \"x\\\"y\\\\\" )\n"},
		{"* LIST (\\HasNoChildren) \"/\" [Gmail]/All\r\n", "*: LIST ( \\HasNoChildren ) \"/\" [Gmail]/All\n"},
		{"* LIST () NIL {3}\r\na b\r\n", "*: LIST ( ) NIL {a b}\n"},
		{"* 1 FETCH (BINARY[1] ~{4}\r\n\x00\x01\r\n)\r\n+ go on\n", "*: 1 FETCH ( BINARY[1] {\x00\x01\r\n} )\n+: go on\n"},
		{"* LIST () \"/\" a[b\r\n", "*: LIST ( ) \"/\" a[b\n"},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			if got, err := dump(r); err != nil || got != c.want {
				t.Errorf("%q is\n%q, want\n%q (%v)", c.in, got, c.want, err)
			}
		}
	}
	for in, want := range map[string]error{
		"* OK": io.ErrUnexpectedEOF, "* {9}\r\nab": io.ErrUnexpectedEOF, "* {x}\r\n": ErrAnswer, "* {9}x": ErrAnswer, "( x\r\n": ErrAnswer,
		"* {9999999999999999999}\r\n": ErrAnswer, "* " + strings.Repeat("x", MaxToken+1) + "\r\n": ErrAnswer, "* \"" + strings.Repeat("x", MaxToken+1): ErrAnswer, "* {}\r\n": ErrAnswer,
	} {
		if _, err := dump(strings.NewReader(in)); !errors.Is(err, want) {
			t.Errorf("%.30q: %v, want %v", in, err, want)
		}
	}
}

// TestAnswersUnread: what is not read of an answer is passed over.
func TestAnswersUnread(t *testing.T) {
	a := NewAnswers(strings.NewReader("* 1 FETCH (BODY[] {6}\r\nabcdef X (1 (2 3) 4))\r\nt OK [X (] rest of it\r\n* BYE\r\n"))
	a.Next()
	for range 5 {
		a.Token()
	}
	io.ReadFull(a.Literal(), make([]byte, 2))
	if tag, err := a.Next(); tag != "t" || err != nil {
		t.Fatal(tag, err)
	}
	if rest, err := a.Rest(); rest != "OK [X (] rest of it" || err != nil {
		t.Error(rest, err)
	}
	if tag, err := a.Next(); tag != "*" || err != nil {
		t.Fatal(tag, err)
	}
	if err := a.Reset(strings.NewReader("x")); !errors.Is(err, ErrAnswer) {
		t.Error("bytes from before were kept:", err)
	}
}

func TestAnswersList(t *testing.T) {
	a := NewAnswers(strings.NewReader("* (a \"b c\" (no (no)) {1}\r\nd)\r\n"))
	a.Next()
	a.Token()
	list, err := a.List(4)
	if err == nil {
		list, err = append(list, fmt.Sprint(len(list))), nil
	}
	if got := strings.Join(list, "|"); got != "a|b c|d|3" || err != nil {
		t.Error(got, err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add("* OK [CAPABILITY IMAP4rev1] hello\r\n* 1 FETCH (FLAGS (\\Seen) BODY[] {3}\r\nabc)\r\na OK x\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		one, err1 := dump(strings.NewReader(in))
		two, err2 := dump(iotest.OneByteReader(strings.NewReader(in)))
		if one != two || (err1 == nil) != (err2 == nil) {
			t.Fatalf("in pieces it is %q %v, whole %q %v", two, err2, one, err1)
		}
		if s := AtomOf(in); len(s) != len(in) {
			t.Fatal(s)
		}
	})
}

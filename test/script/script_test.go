package script

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
)

// echo answers every line with "> " before it, until "end".
func echo(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	go func() {
		defer theirs.Close()
		io.WriteString(theirs, "hello\r\n")
		s := bufio.NewScanner(theirs)
		for s.Scan() {
			if s.Text() == "end" {
				return
			}
			if _, err := fmt.Fprintf(theirs, "> %q\r\n", s.Text()); err != nil {
				return
			}
		}
	}()
	return ours
}

func TestPlay(t *testing.T) {
	for _, c := range []struct{ text, err string }{
		{"S: hello\nC: a\n# no\n\nS: > \"a\"\nC: end\nEOF\n", ""},
		{"S~ h.*\nC*3: x\nS*3~ > \"[xy]\"\n", ""},
		{"S: hello\nC- a\\x41\\0\\\\\nC: \\t\nS: > \"aA\\x00\\\\\\t\"\n", ""},
		{"S: hello\nC: a\nC: b\nS* > \"b\"\nCLOSE\n", ""},
		{"S: bye", `x:1: S: bye: got "hello"`},
		{"\nS~ hell", `x:2: S~ hell: got "hello"`},
		{"S: hello\nC: a\nEOF", "x:3: EOF: got \"> \\\"a\\\"\\r\\n\""},
		{"S: hello\nC: end\nS: x", `x:3: S: x: got "", EOF`},
		{"X", "x:1: X: not a step"},
		{"C a", "x:1: C a: not a step"},
		{`C: \q`, `x:1: C: \q: no such escape: \q`},
		{`C: \x4`, `x:1: C: \x4: half a byte`},
	} {
		err := Play(echo(t), "x", c.text)
		if got := fmt.Sprint(err); got != c.err && (err != nil || c.err != "") {
			t.Errorf("%q: %s, want %s", c.text, got, c.err)
		}
	}
}

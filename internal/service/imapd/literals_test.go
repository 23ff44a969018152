package imapd

import (
	"fmt"
	"strings"
	"testing"
)

// TestLiterals sends small literals before login, and larger ones after, each
// without being asked: LITERAL- and LITERAL+. RFC 7888
func TestLiterals(t *testing.T) {
	c := newClient(t, newServer(t))
	if out := c.do("UNAUTHENTICATE"); !strings.Contains(out[0], " LITERAL- ") {
		t.Error(out)
	}
	const tooLarge = "NO [TOOBIG] the literal is too large"
	literal := func(n int) string { return fmt.Sprintf("{%d+}\r\n%s", n, strings.Repeat("x", n)) }
	c.want("LOGIN "+literal(4097)+" y", tooLarge)
	c.want("LOGIN {4097}", tooLarge)
	if out := c.do("LOGIN " + literal(4096) + " y"); !strings.HasPrefix(out[0], "NO [AUTHENTICATIONFAILED]") {
		t.Error(out)
	}
	if out := c.do("LOGIN {15+}\r\nada@example.org {6+}\r\nsesame"); !strings.Contains(out[0], " LITERAL+ ") {
		t.Error(out)
	}
	c.want("CREATE "+literal(65537), tooLarge)
	c.want(`LIST "" `+literal(5000), "OK LIST completed")
}

// TestAppendMeanwhile: a mailbox that is made anew, renamed or deleted while a message
// for it is on its way.
func TestAppendMeanwhile(t *testing.T) {
	srv := newServer(t)
	a, b := newClient(t, srv), newClient(t, srv)
	for _, c := range []struct{ meanwhile, want, in string }{
		{"DELETE Work|CREATE Work", "x OK", "Work"},
		{"RENAME Work Play|CREATE Work", "x OK", "Play"}, // as if it had come before
		{"DELETE Work", "x NO [TRYCREATE]", ""},
	} {
		a.do("CREATE Work")
		a.send("x APPEND Work {8}\r\n")
		if l := a.line(); !strings.HasPrefix(l, "+") {
			t.Fatal(l)
		}
		for _, command := range strings.Split(c.meanwhile, "|") {
			b.do(command)
		}
		a.send("a: b\r\n\r\n\r\n")
		if l := a.line(); !strings.HasPrefix(l, c.want) {
			t.Errorf("%s: %s", c.meanwhile, l)
		}
		if c.in != "" {
			b.want("STATUS "+c.in+" (MESSAGES)", `* STATUS "`+c.in+`" (MESSAGES 1)`, "OK STATUS completed")
		}
		b.do("DELETE Work")
		b.do("DELETE Play")
	}
}

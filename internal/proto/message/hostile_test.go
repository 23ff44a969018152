package message

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// countingReader counts what is read.
type countingReader struct {
	*bytes.Reader
	n int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

// nested makes multiparts n deep; name gives the boundary of a level.
func nested(n int, name func(i int) string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\n", name(i), name(i))
	}
	b.WriteString("\r\ninnermost\r\n")
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "--%s--\r\n", name(i))
	}
	return b.String()
}

func bombs() map[string]string {
	rep := strings.Repeat
	same := func(int) string { return "x" }
	prefix := func(i int) string { return rep("a", 1+i%900) }
	var unique strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&unique, "; n*%d*=x", i)
	}
	return map[string]string{
		"multipart 100 deep":     nested(100, func(i int) string { return fmt.Sprint("b", i) }),
		"multipart 5000 deep":    nested(5000, func(i int) string { return fmt.Sprint("b", i) }),
		"same boundary 5000":     nested(5000, same),
		"prefix boundaries":      nested(2000, prefix),
		"same and many lines":    nested(99, same) + rep("--x\r\n", 100000),
		"deep and dashes":        nested(90, func(i int) string { return fmt.Sprint("b", i) })[:4000] + rep("--\r\n", 400000),
		"deep and near misses":   nested(90, func(i int) string { return rep("q", 60) + fmt.Sprint(i) }) + rep("--"+rep("q", 60)+"\r\n", 20000),
		"rfc822 10000 deep":      rep("Content-Type: message/rfc822\r\n\r\n", 10000) + "A: b\r\n\r\nx",
		"rfc822 and multipart":   rep("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n", 5000),
		"10000 parts":            "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + rep("--x\r\n\r\na\r\n", 10001),
		"100000 empty parts":     "Content-Type: multipart/mixed; boundary=x\r\n\r\n" + rep("--x\r\n", 100000),
		"100000 fields":          rep("A: b\r\n", 100000) + "\r\nbody",
		"type after all fields":  rep("A: b\r\n", 20000) + "Content-Type: text/html\r\n\r\nbody",
		"100000 addresses":       "To: " + rep("a@b, ", 100000) + "\r\n\r\n",
		"1 MB line":              "Subject: " + rep("x", 1<<20) + "\r\n\r\nbody",
		"1 MB folded":            "Subject: " + rep("x\r\n ", 1<<18) + "\r\n\r\nbody",
		"64 KB name":             rep("x", 64<<10) + ": y\r\n\r\nbody",
		"parens in address":      "Reply-To: " + rep("(", 50000) + "\r\n\r\n",
		"parens in type":         "Content-Type: text/" + rep("(", 50000) + "\r\n\r\n",
		"continuations":          "Content-Disposition: attachment" + unique.String() + "\r\n\r\n",
		"20000 parameters":       "Content-Type: text/plain" + rep("; a=b", 20000) + "\r\n\r\n",
		"4 MB body line":         "A: b\r\n\r\n" + rep("x", 4<<20),
		"4 MB of LF":             "A: b\r\n\r\n" + rep("\n", 4<<20),
		"no boundary":            "Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx\r\n----\r\n",
		"empty boundary":         "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----\r\n",
		"2000 octets boundary":   "Content-Type: multipart/mixed; boundary=\"" + rep("b", 2000) + "\"\r\n\r\n--" + rep("b", 2000) + "\r\n\r\nx",
		"base64 multipart":       "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n--x\r\n\r\nx\r\n--x--",
		"base64 rfc822":          "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYg==",
		"NUL":                    "Subject: a\x00b\r\nFrom: a\x00 <b@\x00c>\r\n\r\n\x00",
		"two types":              "Content-Type: text/html\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x--",
		"bare CR":                "A: b\rC: d\r\r\n\r\nx\ry",
		"header cut by boundary": "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n--x\r\nContent-Type: text/html\r\n\n--x--\n",
	}
}

func TestBombs(t *testing.T) {
	for name, msg := range bombs() {
		t.Run(name, func(t *testing.T) {
			b := []byte(msg)
			root := check(t, b)
			w := walker{cursor: cursor{source: source{buf: b, size: int64(len(b))}}}
			w.walk()
			if w.compared > int64(len(b))+100 {
				t.Errorf("%d comparisons for %d bytes", w.compared, len(b))
			}
			r := &countingReader{Reader: bytes.NewReader(b)}
			if _, err := parseWindows(r, int64(len(b)), windowSize); err != nil || r.n > 4*int64(len(b)) {
				t.Errorf("read %d of %d: %v", r.n, len(b), err)
			}
			if n := len(root.AppendBinary(nil)); n > 2*len(b)+200 {
				t.Errorf("%d bytes for a message of %d", n, len(b))
			}
			for p := range root.All() {
				Filename(p)
			}
			Preview(root, bytes.NewReader(b))
		})
	}
}

// TestOverBudget looks at what becomes of what is too much.
func TestOverBudget(t *testing.T) {
	all := bombs()
	last := func(name string) *Part {
		var p *Part
		for p = range ParseBytes([]byte(all[name])).All() {
		}
		return p
	}
	count := func(name string) (n int) {
		for range ParseBytes([]byte(all[name])).All() {
			n++
		}
		return n
	}
	for _, name := range []string{"100000 empty parts", "10000 parts", "multipart 5000 deep", "rfc822 10000 deep"} {
		if p := last(name); !p.Is("application", "octet-stream") || p.BodySize == 0 {
			t.Errorf("%s ends in %s with %d bytes", name, p.MediaType(), p.BodySize)
		}
	}
	if n := count("100000 empty parts"); n != MaxParts+1 {
		t.Errorf("%d parts", n)
	}
	if n := count("multipart 100 deep"); n != 101 {
		t.Errorf("%d parts 100 deep", n)
	}
	if p := last("type after all fields"); !p.Is("application", "octet-stream") {
		t.Errorf("a type that was not seen became %s", p.MediaType())
	}
	if n := len(last("100000 addresses").Envelope.To); n != MaxAddresses {
		t.Errorf("%d addresses", n)
	}
	if n := len(last("20000 parameters").Params); n != MaxParams {
		t.Errorf("%d parameters", n)
	}
	if p := last("base64 rfc822"); p.Message != nil || !p.Is("application", "octet-stream") {
		t.Errorf("an encoded message became %s", p.MediaType())
	}
}

// TestLinear runs what is quadratic in careless code on inputs for which that
// would take hours.
func TestLinear(t *testing.T) {
	const n = 1 << 20
	rep := func(s string) string { return strings.Repeat(s, n/len(s)) }
	for _, s := range []string{
		rep("a@[a"), rep("a@[a,"), rep("<@a,"), rep("<@a"), rep("a@"), rep("<a@a@"), rep("("), rep("(a)"), rep(`"`), rep(`"\`), rep(`"a" `), rep("a "),
		rep("a:"), rep("a:;"), rep(",;"), rep("<"), rep("<>"), rep(">"), rep("a . "), rep("a@b <"), rep("a@b c@d "), rep("\\"), rep("[a] "), rep("@@"),
		rep("Re: "), rep("[a]"), rep("["), rep("[[]"), rep("(fwd)"), rep("[fwd:") + "a" + rep("]"), rep("re[a]"), rep("re[a]:"), rep(" re [ "), rep("fw[a"),
		rep("=?a?q?"), rep("=?a?q?b?="), rep("=?utf-8?b?YQ==?= "), rep("=?"), rep("=?a"), rep("=?a?q?b"), rep("=?utf-7?q?+?="),
		"=?" + rep("c") + "?q?a?=", "=?iso-2022-cn-ext?b?" + rep("GyQpQQ==") + "?=", rep("; a=b"), rep(";"), rep("a="), rep(`a="`), rep(";a*0=b;a*1*=''"), rep("; ("),
	} {
		ParseAddresses(s)
		BaseSubject(s)
		DecodeWords(s)
		MessageIDs(s)
		ParseDate(s)
		Unfold([]byte(s))
		params := parseParams(nil, s, MaxParams)
		DecodeParam(params, "a")
		StripTags(s)
	}
	for _, s := range []string{rep("<"), rep("<script>"), rep("<!--"), rep("<a "), rep("</"), rep("&"), rep("&#")} {
		StripTags(s[:previewBytes])
	}
}

func TestReadErrors(t *testing.T) {
	msg := []byte("Subject: a\r\n\r\n" + strings.Repeat("x\r\n", 50000))
	if _, err := Parse(bytes.NewReader(msg[:100]), int64(len(msg))); err == nil {
		t.Error("a short large message parses")
	}
	if _, err := Parse(bytes.NewReader(msg[:100]), 200); err == nil {
		t.Error("a short small message parses")
	}
	if p, err := Parse(bytes.NewReader(msg), int64(len(msg))); err != nil || p.Size() != int64(len(msg)) {
		t.Error(p, err)
	}
	if _, err := io.ReadAll(NewTextReader(&Part{Type: "text", Subtype: "plain", BodySize: 10}, failing{})); err != io.ErrNoProgress {
		t.Errorf("error of the reader came back as %v", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrNoProgress }

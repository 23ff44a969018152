package message

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// dump prints a tree, a line a part.
func dump(p *Part) string {
	var b strings.Builder
	var walk func(p *Part, in string)
	walk = func(p *Part, in string) {
		fmt.Fprintf(&b, "%s%s/%s %d+%d+%d %dL", in, p.Type, p.Subtype, p.Offset, p.HeaderSize, p.BodySize, p.Lines)
		for _, q := range p.Params {
			fmt.Fprintf(&b, " %s=%q", q.Name, q.Value)
		}
		b.WriteByte('\n')
		if p.Message != nil {
			walk(p.Message, in+"> ")
		}
		for _, c := range p.Children {
			walk(c, in+"- ")
		}
	}
	walk(p, "")
	return b.String()
}

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func TestParseTrees(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "text/plain 0+0+0 0L\n"},
		{"plain", "A: b\n\nhello\nyou", "text/plain 0+8+10 1L\n"},
		{"no end of header", "A: b\nC: d", "text/plain 0+10+0 0L\n"},
		{
			"multipart", "Content-Type: multipart/mixed; boundary=x\n\npre\n--x\n\none\n--x\nContent-Type: text/html\n\ntwo\n\n--x--\npost\n",
			"multipart/mixed 0+45+69 11L boundary=\"x\"\n- text/plain 55+2+3 0L\n- text/html 67+27+5 1L\n",
		},
		{
			"digest", "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nbody\n--x--",
			"multipart/digest 0+46+32 5L boundary=\"x\"\n- message/rfc822 51+2+18 2L\n- > text/plain 53+14+4 0L\n",
		},
	} {
		got := dump(ParseBytes(crlf(tt.in)))
		if got != tt.want {
			t.Errorf("%s:\n%swant\n%s", tt.name, got, tt.want)
		}
		p, err := Parse(bytes.NewReader(crlf(tt.in)), int64(len(crlf(tt.in))))
		if err != nil || dump(p) != got {
			t.Errorf("%s: Parse: %v\n%s", tt.name, err, dump(p))
		}
	}
}

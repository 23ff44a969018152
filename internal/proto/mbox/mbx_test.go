package mbox

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func mbxHead(text string) string {
	head := MBXMagic + text
	return head + strings.Repeat("\x00", mbxHeader-len(head))
}

func readMBX(in io.Reader) (out []string, err error) {
	r, err := NewMBXReader(in)
	if err != nil {
		return nil, err
	}
	for {
		if err := r.Next(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return out, err
		}
		b, err := io.ReadAll(r)
		out = append(out, fmt.Sprintf("%d %d %d %v|%s", r.UID, r.Start, r.Date.Unix(), r.Flags, b))
		if err != nil {
			return out, err
		}
	}
}

func TestMBXReader(t *testing.T) {
	const ok = "0000001f00000009\r\n"
	const one = " 2-Feb-2026 10:00:00 -0130,3;000000008020-0000000A\r\nA:1"
	words := ""
	for n := range 30 {
		words += fmt.Sprintf("k%d\r\n", n)
	}
	for name, c := range map[string]struct {
		in    string
		want  []string
		wrong bool
	}{
		"nothing":        {mbxHead(ok), nil, false},
		"all keywords":   {mbxHead(ok+words) + " 2-Feb-2026 10:00:00 -0130,3;200000010020-0000000A\r\nA:1", []string{`10 2048 1770031800 [\Draft k0 k29]|A:1`}, false},
		"expunged":       {mbxHead(ok) + one, nil, false},
		"its own pid":    {mbxHead(ok)[:mbxHeader-10] + "00004d00\r\n", nil, false},
		"no header":      {MBXMagic, nil, true},
		"another":        {strings.Repeat("x", mbxHeader), nil, true},
		"odd numbers":    {mbxHead("0000001g00000009\r\n"), nil, true},
		"no line":        {mbxHead(ok) + "A: 1\r\n", nil, true},
		"line cut short": {mbxHead(ok) + one[:20], nil, true},
		"cut short":      {mbxHead(ok) + strings.Replace(one, ",3;", ",9;", 1), nil, true},
		"negative":       {mbxHead(ok) + strings.Replace(one, ",3;", ",-3;", 1), nil, true},
		"far too large":  {mbxHead(ok) + strings.Replace(one, ",3;", ",99999999999999999999;", 1), nil, true},
		"signed":         {mbxHead(ok) + strings.Replace(one, "-0000000A", "-+000000A", 1), nil, true},
		"a long line":    {mbxHead(ok) + strings.Repeat(" ", 70_000) + one, nil, true},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			if got, err := readMBX(in); !slices.Equal(got, c.want) || (err != nil) != c.wrong {
				t.Errorf("%s: %q %v", name, got, err)
			}
		}
	}
}

func TestMBXMessage(t *testing.T) {
	r, err := MBXMessage(strings.NewReader(" 2-Feb-2026 10:00:00 +0000,3;000000010001-0000000A\r\nA:1more"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "A:1" || r.UID != 10 {
		t.Errorf("%q %d %v", b, r.UID, err)
	}
}

// FuzzMBX: a file in pieces is the same file, and what is read is in it.
func FuzzMBX(f *testing.F) {
	f.Add(MBXMagic+"0000001f00000009\r\nwork\r\n", " 2-Feb-2026 10:00:00 +0000,3;000000010001-0000000A\r\nA:1")
	f.Fuzz(func(t *testing.T, head, in string) {
		in = head + strings.Repeat("\x00", max(0, mbxHeader-len(head))) + in
		one, err1 := readMBX(strings.NewReader(in))
		two, err2 := readMBX(iotest.OneByteReader(strings.NewReader(in)))
		if !slices.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("in pieces it is %q %v, whole %q %v", two, err2, one, err1)
		}
		for _, m := range one {
			if _, text, _ := strings.Cut(m, "]|"); !strings.Contains(in, text) {
				t.Fatalf("%q is not in the file", m)
			}
		}
	})
}

func TestNumbers(t *testing.T) {
	var n Numbers
	for i, c := range []struct {
		fields   map[string]string
		uid      uint32
		internal bool
	}{
		{map[string]string{"x-imap": "31 0000000005", "x-uid": "1"}, 0, true},
		{map[string]string{"x-uid": " 2 "}, 2, false},
		{map[string]string{"x-uid": "2"}, 0, false},
		{map[string]string{}, 0, false},
		{map[string]string{"x-uid": "5", "x-imap": "77 9"}, 5, false},
		{map[string]string{"x-uid": "6"}, 0, false},
		{map[string]string{"x-uid": "-6"}, 0, false},
	} {
		if uid, internal := n.Of(c.fields); uid != c.uid || internal != c.internal || n.Validity != 31 {
			t.Errorf("%d: %d %v of %d", i, uid, internal, n.Validity)
		}
	}
	n = Numbers{}
	if uid, _ := n.Of(map[string]string{"x-imapbase": "99999999999 5", "x-uid": "1"}); uid != 0 || n.Validity != 0 {
		t.Error("a number too large is", n.Validity, uid)
	}
}

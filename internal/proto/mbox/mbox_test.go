package mbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readAll(in io.Reader, q Quoting) (out []string, err error) {
	r := NewReader(in, q)
	last := int64(-1)
	for {
		if err := r.Next(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return out, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return out, err
		}
		if r.Start <= last || r.End <= r.Start {
			return out, fmt.Errorf("a message from %d to %d", r.Start, r.End)
		}
		last = r.Start
		out = append(out, fmt.Sprintf("%s %d %v|%s", r.Sender, r.Date.Unix(), Flags(r.Fields), b))
	}
}

const sep = "From ada@example.org Mon Feb  3 04:05:06 2020\n"

func TestRead(t *testing.T) {
	const head = "ada@example.org 1580702706 "
	for name, c := range map[string]struct {
		in   string
		q    Quoting
		want []string
	}{
		"two":          {sep + "Subject: a\n\nx\n\n" + sep + "Subject: b\n\ny\n\n", RD, []string{head + "[]|Subject: a\r\n\r\nx\r\n", head + "[]|Subject: b\r\n\r\ny\r\n"}},
		"crlf":         {strings.ReplaceAll(sep+"Subject: a\n\nx\n\n", "\n", "\r\n"), RD, []string{head + "[]|Subject: a\r\n\r\nx\r\n"}},
		"rd":           {sep + "\n>From x\n>>From y\n> From\n", RD, []string{head + "[]|\r\nFrom x\r\n>From y\r\n> From\r\n"}},
		"o":            {sep + "\n>From x\n>>From y\n", O, []string{head + "[]|\r\nFrom x\r\n>>From y\r\n"}},
		"not quoted":   {sep + "\nx\n\nFrom here on\nFrom " + sep, RD, []string{head + "[]|\r\nx\r\n\r\nFrom here on\r\nFrom " + strings.TrimSpace(sep) + "\r\n"}},
		"flags":        {sep + "Status: RO\nX-Status: AF\nX-Keywords: work\n  home\nSubject: s\n\n", RD, []string{head + "[\\Seen \\Answered \\Flagged work home]|Subject: s\r\n"}},
		"thunderbird":  {sep + "X-Mozilla-Status: 0007\nX-Mozilla-Keys: $label1         \nSubject: s\n\nx", RD, []string{head + "[\\Seen \\Answered \\Flagged $label1]|Subject: s\r\n\r\nx"}},
		"in the body":  {sep + "A: b\n\nStatus: R\n\n", RD, []string{head + "[]|A: b\r\n\r\nStatus: R\r\n"}},
		"gmail":        {"From 1234@xxx Mon Feb 03 04:05:06 +0000 2020\r\nX-GM-THRID: 1\r\nX-Gmail-Labels: Inbox,Unread\r\nSubject: s\r\n\r\nx\r\n", RD, []string{"1234@xxx 1580702706 []|Subject: s\r\n\r\nx\r\n"}},
		"empty":        {"", RD, nil},
		"empty lines":  {"\n\n" + sep + "a: b\n", RD, []string{head + "[]|a: b\r\n"}},
		"no end":       {sep + "a: b\n\nx", RD, []string{head + "[]|a: b\r\n\r\nx"}},
		"a name":       {"From Ada L Mon Feb  3 04:05 2020\na: b\n", RD, []string{"Ada L 1580702700 []|a: b\r\n"}},
		"first is odd": {"From x\na: b\n", RD, []string{" -62135596800 []|a: b\r\n"}},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			if got, err := readAll(in, c.q); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q (%v)", name, got, c.want, err)
			}
		}
	}
	if _, err := readAll(strings.NewReader("Subject: x\n"), RD); !errors.Is(err, ErrFormat) {
		t.Error("what is no mbox gave", err)
	}
}

// TestRound: what is written is read alike.
func TestRound(t *testing.T) {
	messages := []string{
		"Subject: a\r\n\r\nx\r\n", "\r\nFrom the beginning\r\n>From\r\n\r\n" + strings.TrimSpace(sep) + "\r\n\r\n", "Only: a header\r\n",
		"A: b\r\n\r\n" + strings.Repeat("x", 200_000) + "\r\nFrom \r\n\r\n", "A: b\r\n\r\n" + strings.Repeat("x", maxLine-1) + "\r\n>From y\r\n",
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	flags := []string{`\Seen`, `\Flagged`, "$Forwarded"}
	for _, m := range messages {
		if err := w.Message(Header{Sender: "a b", Date: time.Unix(1580702706, 0), Flags: flags}, strings.NewReader(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(&b, RD)
	if err != nil || len(got) != len(messages) {
		t.Fatal(len(got), err)
	}
	for i, m := range messages {
		if want := "a-b 1580702706 [\\Seen \\Flagged $Forwarded]|" + m; got[i] != want {
			t.Errorf("message %d came back as %.200q, want %.200q", i, got[i], want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sep + "Status: R\n\n>From x\n\n" + sep + "\n")
	f.Fuzz(func(t *testing.T, in string) {
		one, err1 := readAll(strings.NewReader(in), RD)
		two, err2 := readAll(iotest.OneByteReader(strings.NewReader(in)), RD)
		if !slices.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("in pieces it is %q %v, whole %q %v", two, err2, one, err1)
		}
		total := 0
		for _, m := range one {
			total += len(m)
		}
		if total > 5*len(in)+100*len(one) {
			t.Fatal("it grew")
		}
	})
}

// FuzzWriter: any message that ends in CRLF comes back as it was.
func FuzzWriter(f *testing.F) {
	f.Add("A: b\r\n\r\nFrom x")
	f.Fuzz(func(t *testing.T, body string) {
		body = strings.ReplaceAll(strings.NewReplacer("\r", "", "\n", "\r\n").Replace(body), "\x00", "")
		m := "Subject: s\r\n\r\n" + body + "x\r\n"
		var b bytes.Buffer
		w := NewWriter(&b)
		if err := w.Message(Header{}, strings.NewReader(m)); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		got, err := readAll(&b, RD)
		if err != nil || len(got) != 1 || !strings.HasSuffix(got[0], "|"+m) {
			t.Fatalf("%q came back as %q (%v)", m, got, err)
		}
	})
}

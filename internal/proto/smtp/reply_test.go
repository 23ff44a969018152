package smtp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"posthaste/internal/base/mail"
)

func TestReplyAppend(t *testing.T) {
	ok := mail.Status{Class: 2}
	for _, c := range []struct {
		r    Reply
		want string
	}{
		{Reply{Code: 250}, "250 \r\n"},
		{Reply{250, ok, "OK"}, "250 2.0.0 OK\r\n"},
		{Reply{Code: 250, Text: "a\nb\nc"}, "250-a\r\n250-b\r\n250 c\r\n"},
		{Reply{550, mail.Status{Class: 5, Subject: 1, Detail: 1}, "x\r250 no\x00é"}, "550 5.1.1 x?250 no???\r\n"},
		{Reply{250, ok, strings.Repeat("x", 1000)}, "250 2.0.0 " + strings.Repeat("x", 480) + "\r\n"},
	} {
		if got := string(c.r.Append(nil)); got != c.want {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
		st   string
		err  error
	}{
		{"250 OK\r\n", "250 OK", "2.0.0", nil},
		{"250 OK\n", "250 OK", "2.0.0", nil},
		{"250 2.1.5 OK\r\n", "250 2.1.5 OK", "2.1.5", nil},
		{"550 5.7.1\r\n", "550 5.7.1", "5.7.1", nil},
		{"550 5.7.1 \r\n", "550 5.7.1", "5.7.1", nil},
		{"550\r\n", "550", "5.0.0", nil},
		{"550 4.7.1 x\r\n", "550 4.7.1 x", "5.0.0", nil},
		{"550 5.7.1x\r\n", "550 5.7.1x", "5.0.0", nil},
		{"550 5.7.1111\r\n", "550 5.7.1111", "5.0.0", nil},
		{"550-5.1.1 no\r\n550 5.1.1 user\r\n", "550 5.1.1 no user", "5.1.1", nil},
		{"451 \x1b[2Jevil\tü\r\n", "451 ?[2Jevil ??", "4.0.0", nil},
		{"354\r\n", "354", "4.5.0", nil},
		{"55\r\n", "", "", ErrReply},
		{"\r\n", "", "", ErrReply},
		{"650 x\r\n", "", "", ErrReply},
		{"150 x\r\n", "", "", ErrReply},
		{"25x x\r\n", "", "", ErrReply},
		{"250x\r\n", "", "", ErrReply},
		{"250-a\r\n251 b\r\n", "", "", ErrReply},
		{"250 half", "", "", io.ErrUnexpectedEOF},
		{"", "", "", io.ErrUnexpectedEOF},
		{"250-a\r\n", "", "", io.ErrUnexpectedEOF},
		{strings.Repeat("550-x\r\n", 10000), "", "", ErrReply},
		{"550 " + strings.Repeat("x", 65536) + "\r\n", "", "", ErrReply},
	} {
		for name, src := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in))} {
			rep, err := ReadReply(NewReader(src, new(Buffers)))
			if !errors.Is(err, c.err) {
				t.Errorf("%s %.40q: %v, want %v", name, c.in, err, c.err)
				continue
			}
			if err == nil && (rep.String() != c.want || rep.Outcome().String() != c.st) {
				t.Errorf("%s %.40q: %q %v, want %q %s", name, c.in, rep.String(), rep.Outcome(), c.want, c.st)
			}
		}
	}
	long := strings.Repeat("550-5.1.1 "+strings.Repeat("y", 4000)+"\r\n", 99) + "550 5.1.1 end\r\n"
	rep, err := ReadReply(NewReader(strings.NewReader(long), new(Buffers)))
	if err != nil || len(rep.Text) > maxReplySize+maxReplyLines {
		t.Errorf("a long reply: %d bytes, %v", len(rep.Text), err)
	}
}

func TestExtensions(t *testing.T) {
	x := Extensions{
		Pipelining: true, EightBit: true, UTF8: true, StartTLS: true, Chunking: true, Enhanced: true,
		Sized: true, Size: 1000, RcptMax: 100, HoldMax: time.Hour, HoldUntil: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Auth: []string{"PLAIN", "LOGIN"},
	}
	text := x.Text("mx.example.org")
	want := "mx.example.org\nPIPELINING\nSIZE 1000\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nLIMITS RCPTMAX=100\nFUTURERELEASE 3600 2026-11-22T12:00:00Z\nSTARTTLS\nAUTH PLAIN LOGIN"
	if text != want {
		t.Errorf("got %q", text)
	}
	if y := ParseExtensions(text); y.Text("mx.example.org") != want {
		t.Errorf("read back as %+v", y)
	}
	if y := ParseExtensions("x\nLIMITS rcptmax=7 MAILMAX=0 RCPTDOMAINMAX=1"); y.RcptMax != 7 || y.MailMax != 0 {
		t.Errorf("limits: %+v", y)
	}
	if y := ParseExtensions("x\nLIMITS MAILMAX=9"); y.MailMax != 9 {
		t.Errorf("limits: %+v", y)
	}
	if y := ParseExtensions("PIPELINING"); y.Pipelining {
		t.Error("the greeting was taken for an extension")
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("250-a\r\n250 2.0.0 b\r\n"))
	f.Add([]byte("550 5.7.1\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		rep, err := ReadReply(NewReader(strings.NewReader(string(in)), new(Buffers)))
		if err != nil {
			return
		}
		again, err := ReadReply(NewReader(strings.NewReader(string(rep.Append(nil))), new(Buffers)))
		if err != nil || again.Code != rep.Code || rep.Status.Class == uint16(rep.Code/100) && again.Status != rep.Status {
			t.Fatalf("%q: %+v became %+v, %v", in, rep, again, err)
		}
	})
}

package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

type memBody string

func (b memBody) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(string(b)).ReadAt(p, off)
}
func (b memBody) Size() int64 { return int64(len(b)) }

// converse plays a server by a script: lines that begin with "C: " must come,
// those with "S: " are sent. What does not fit is an error of the test.
func converse(t *testing.T, script string, talk func(c *Client), o ClientOptions) {
	t.Helper()
	ours, theirs := net.Pipe()
	for _, c := range []net.Conn{ours, theirs} {
		c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	done := make(chan error, 1)
	go func() {
		defer theirs.Close()
		br := bufio.NewReader(theirs)
		for line := range strings.Lines(strings.TrimSpace(script)) {
			line = strings.TrimRight(strings.TrimLeft(line, "\t"), "\n")
			switch say, text := line[:2], strings.TrimPrefix(line[2:], " "); say {
			case "C:":
				got, err := br.ReadString('\n')
				if got != text+"\r\n" {
					done <- fmt.Errorf("client said %q, %v, want %q", got, err, text)
					return
				}
			case "S:":
				io.WriteString(theirs, text+"\r\n")
			}
		}
		done <- nil
	}()
	o.Hello, o.Remote = "me.example", "mx.example"
	talk(NewClient(ours, o))
	ours.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func envelope(t *testing.T, rcpts ...string) mail.Envelope {
	e := mail.Envelope{Sender: addr(t, "a@a.example")}
	for _, r := range rcpts {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: addr(t, r)})
	}
	return e
}

func show(outs []mail.Outcome) string {
	var b strings.Builder
	for _, o := range outs {
		fmt.Fprintf(&b, "%s %s %q %s", o.Recipient.Address, o.Status, o.Text, o.Remote)
		if o.Reports {
			b.WriteString(" reports")
		}
		b.WriteByte('\n')
	}
	return strings.TrimSpace(b.String())
}

func TestClientSend(t *testing.T) {
	greet := `S: 220 mx.example
		C: EHLO me.example
		S: 250-mx.example
		S: 250-SIZE 1000
		S: 250-8BITMIME
		S: 250-PIPELINING
		S: 250 SMTPUTF8
		`
	plain := `S: 220 mx.example
		C: EHLO me.example
		S: 500 what
		C: HELO me.example
		S: 250 mx.example
		`
	lmtp := `S: 220 mx.example
		C: LHLO me.example
		S: 250-mx.example
		S: 250 PIPELINING
		`
	for _, c := range []struct {
		name, script string
		env          mail.Envelope
		prefix, body string
		want         string
		err          bool
		dialect      Dialect
	}{
		{
			name: "pipelined", script: greet + `C: MAIL FROM:<a@a.example> SIZE=18 BODY=8BITMIME
		C: RCPT TO:<b@b.example>
		C: RCPT TO:<c@b.example>
		C: DATA
		S: 250 2.1.0 OK
		S: 250 2.1.5 OK
		S: 550-5.1.1 no
		S: 550 5.1.1 such user
		S: 354 go
		C: X: y
		C: 
		C: ..dot
		C: ü
		C: .
		S: 250 2.0.0 queued as 7`,
			env: func() mail.Envelope { e := envelope(t, "b@b.example", "c@b.example"); e.EightBit = true; return e }(), prefix: "X: y\r\n", body: "\r\n.dot\r\nü\r\n",
			want: "b@b.example 2.0.0 \"250 2.0.0 queued as 7\" mx.example\nc@b.example 5.1.1 \"550 5.1.1 no such user\" mx.example",
		},
		{ // RFC 3461 §10.1, §10.2
			name: "dsn", script: `S: 220 mx.example
		C: EHLO me.example
		S: 250-mx.example
		S: 250 DSN
		C: MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ+2B314159
		S: 250 OK
		C: RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM
		S: 250 OK
		C: RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana+2B@Ivory.EDU
		S: 250 OK
		C: RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER ORCPT=utf-8;Fr\x{E9}d
		S: 250 OK
		C: RCPT TO:<George@Tax-ME.GOV>
		S: 250 OK
		C: DATA
		S: 354 go
		C: x
		C: .
		S: 250 OK`, env: func() mail.Envelope {
				e := envelope(t)
				e.Sender, e.Return, e.EnvelopeID = mail.Address{Local: "Alice", Domain: "Example.ORG"}, mail.ReturnHeader, "QQ+314159"
				e.Recipients = []mail.Recipient{
					{Address: mail.Address{Local: "Bob", Domain: "Example.COM"}, Notify: mail.NotifySuccess, ORCPT: "rfc822;Bob@Example.COM"},
					{Address: mail.Address{Local: "Dana", Domain: "Ivory.EDU"}, Notify: mail.NotifySuccess | mail.NotifyFailure, ORCPT: "rfc822;Dana+@Ivory.EDU"},
					{Address: mail.Address{Local: "Fred", Domain: "Bombs.AF.MIL"}, Notify: mail.NotifyNever, ORCPT: "utf-8;Fréd"},
					{Address: mail.Address{Local: "George", Domain: "Tax-ME.GOV"}},
				}
				return e
			}(), body: "x",
			want: "Bob@Example.COM 2.0.0 \"250 OK\" mx.example reports\nDana@Ivory.EDU 2.0.0 \"250 OK\" mx.example reports\nFred@Bombs.AF.MIL 2.0.0 \"250 OK\" mx.example reports\nGeorge@Tax-ME.GOV 2.0.0 \"250 OK\" mx.example reports",
		},
		{
			name: "one at a time", script: plain + `C: MAIL FROM:<a@a.example>
		S: 250 OK
		C: RCPT TO:<b@b.example>
		S: 250 OK
		C: DATA
		S: 354 go
		C: x
		C: .
		S: 451 4.3.0 no space`, env: envelope(t, "b@b.example"), body: "x",
			want: "b@b.example 4.3.0 \"451 4.3.0 no space\" mx.example",
		},
		{
			name: "sender refused", script: greet + `C: MAIL FROM:<a@a.example> SIZE=1
		C: RCPT TO:<b@b.example>
		C: DATA
		S: 550 5.7.1 we do not like you
		S: 503 5.5.1 no
		S: 503 5.5.1 no
		C: RSET
		S: 250 OK`, env: envelope(t, "b@b.example"), body: "x",
			want: "b@b.example 5.7.1 \"550 5.7.1 we do not like you\" mx.example",
		},
		{
			name: "nobody there, yet data wanted", script: greet + `C: MAIL FROM:<a@a.example> SIZE=1
		C: RCPT TO:<b@b.example>
		C: DATA
		S: 250 OK
		S: 550
		S: 354 go
		C: .
		S: 554 no recipients
		C: RSET
		S: 250 OK`, env: envelope(t, "b@b.example"), body: "x",
			want: "b@b.example 5.0.0 \"550\" mx.example",
		},
		{
			name: "closing", script: greet + `C: MAIL FROM:<a@a.example> SIZE=1
		C: RCPT TO:<b@b.example>
		C: RCPT TO:<c@b.example>
		C: DATA
		S: 250 OK
		S: 250 OK
		S: 421 4.3.2 going down`, env: envelope(t, "b@b.example", "c@b.example"), body: "x", err: true,
			want: "b@b.example 4.3.2 \"421 4.3.2 going down\" mx.example\nc@b.example 4.3.2 \"421 4.3.2 going down\" mx.example",
		},
		{
			name: "gone", script: greet + `C: MAIL FROM:<a@a.example> SIZE=1
		C: RCPT TO:<b@b.example>
		C: DATA
		S: 250 OK
		S: 250 OK
		S: 354 go
		C: x
		C: .`, env: envelope(t, "b@b.example"), body: "x", err: true,
			want: "b@b.example 4.4.2 \"session ended before the message was answered: it may have arrived\" ",
		},
		{
			name: "strange", script: greet + `C: MAIL FROM:<a@a.example> SIZE=1
		C: RCPT TO:<b@b.example>
		C: DATA
		S: 354 eh
		S: 250 OK
		S: 250 OK
		C: RSET
		S: 250 OK`, env: envelope(t, "b@b.example"), body: "x",
			want: "b@b.example 4.5.0 \"451 4.5.0 unexpected answer 354 eh\" mx.example",
		},
		{
			name: "too large", script: greet, env: envelope(t, "b@b.example"), body: strings.Repeat("x", 1001),
			want: "b@b.example 5.3.4 \"message of 1001 bytes is too large for the next host, which takes 1000\" ",
		},
		{
			name: "8bit", script: plain, env: envelope(t, "b@b.example"), body: "A: b\r\n\r\nü",
			want: "b@b.example 5.6.3 \"message needs 8BITMIME, which the next host does not speak\" ",
		},
		{
			name: "utf8", script: plain, env: envelope(t, "bø@b.example"), body: "x",
			want: "bø@b.example 5.6.7 \"message needs SMTPUTF8, which the next host does not speak\" ",
		},
		{
			name: "limits", script: `S: 220 mx.example
		C: EHLO me.example
		S: 250-mx.example
		S: 250-LIMITS MAILMAX=5 RCPTMAX=2 OTHER=1
		S: 250 PIPELINING
		C: MAIL FROM:<a@a.example>
		C: RCPT TO:<b@b.example>
		C: RCPT TO:<c@b.example>
		C: DATA
		S: 250 OK
		S: 250 OK
		S: 550 5.1.1 no
		S: 354 go
		C: x
		C: .
		S: 250 one
		C: MAIL FROM:<a@a.example>
		C: RCPT TO:<d@b.example>
		C: RCPT TO:<e@b.example>
		C: DATA
		S: 421 4.3.2 enough`, env: envelope(t, "b@b.example", "c@b.example", "d@b.example", "e@b.example", "f@b.example"), body: "x\r\n", err: true,
			want: "b@b.example 2.0.0 \"250 one\" mx.example\nc@b.example 5.1.1 \"550 5.1.1 no\" mx.example\nd@b.example 4.3.2 \"421 4.3.2 enough\" mx.example\n" +
				"e@b.example 4.3.2 \"421 4.3.2 enough\" mx.example\nf@b.example 4.4.2 \"session ended before this recipient's turn\" ",
		},
		{
			name: "lmtp", dialect: LMTP, script: lmtp + `C: MAIL FROM:<a@a.example>
		C: RCPT TO:<b@b.example>
		C: RCPT TO:<c@b.example>
		C: RCPT TO:<d@b.example>
		C: DATA
		S: 250 OK
		S: 250 OK
		S: 550 5.1.1 no
		S: 250 OK
		S: 354 go
		C: x
		C: .
		S: 250 2.1.5 kept
		S: 452 4.2.2 full`, env: envelope(t, "b@b.example", "c@b.example", "d@b.example"), body: "x\r\n",
			want: "b@b.example 2.1.5 \"250 2.1.5 kept\" mx.example\nc@b.example 5.1.1 \"550 5.1.1 no\" mx.example\nd@b.example 4.2.2 \"452 4.2.2 full\" mx.example",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			converse(t, c.script, func(cl *Client) {
				if err := cl.Greet(); err != nil {
					t.Fatal(err)
				}
				outs, err := cl.Send(c.env, []byte(c.prefix), memBody(c.body))
				if got := show(outs); got != strings.TrimSpace(c.want) || err != nil != c.err {
					t.Errorf("got\n%s, %v, want\n%s", got, err, c.want)
				}
			}, ClientOptions{Dialect: c.dialect})
		})
	}
}

func TestClientManyRecipients(t *testing.T) {
	script := "S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250 PIPELINING\nC: MAIL FROM:<a@a.example>\n"
	var rcpts []string
	for i := range 250 {
		rcpts = append(rcpts, fmt.Sprintf("u%d@b.example", i))
	}
	for from := 0; from < 250; from += 100 {
		to := min(from+100, 250)
		for _, r := range rcpts[from:to] {
			script += "C: RCPT TO:<" + r + ">\n"
		}
		if to == 250 {
			script += "C: DATA\n"
		}
		if from == 0 {
			script += "S: 250 OK\n"
		}
		for range rcpts[from:to] {
			script += "S: 250 OK\n"
		}
	}
	converse(t, script+"S: 354 go\nC: x\nC: .\nS: 250 OK", func(c *Client) {
		if err := c.Greet(); err != nil {
			t.Fatal(err)
		}
		outs, err := c.Send(envelope(t, rcpts...), nil, memBody("x"))
		for _, o := range outs {
			if o.Status.Class != 2 {
				t.Fatal(o)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}, ClientOptions{})
}

type scripted struct{ steps []string }

func (s *scripted) Mechanism() string { return "X" }
func (s *scripted) Done() error       { return nil }
func (s *scripted) Next(challenge []byte) ([]byte, error) {
	step := s.steps[0]
	s.steps = s.steps[1:]
	want, resp, _ := strings.Cut(step, ">")
	if want != string(challenge) {
		return nil, errors.New("wrong challenge")
	}
	if resp == "-" {
		return nil, nil
	}
	return []byte(resp), nil
}

func TestClientAuthAndTLS(t *testing.T) {
	greet := "S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250-AUTH X\nS: 250 STARTTLS\n"
	for _, c := range []struct{ script, steps, err string }{
		{"C: AUTH X aGk=\nS: 235 ok", ">hi", ""},
		{"C: AUTH X =\nS: 334 eA==\nC: eQ==\nS: 334\nC: \nS: 235 ok", "> x>y >", ""},
		{"C: AUTH X\nS: 334 \nC: eQ==\nS: 535 5.7.8 no", ">- >y", "AUTH answered with 535 5.7.8 no"},
		{"C: AUTH X\nS: 334 !\nC: *\nS: 501 no", ">-", "illegal base64 data at input byte 0"},
		{"C: AUTH X\nS: 334 eA==\nC: *\nS: 501 no", ">- z>", "wrong challenge"},
	} {
		converse(t, greet+c.script, func(cl *Client) {
			if err := cl.Greet(); err != nil {
				t.Fatal(err)
			}
			err := cl.Auth(&scripted{strings.Split(c.steps, " ")})
			if got := fmt.Sprint(err); got != c.err && (err != nil || c.err != "") {
				t.Errorf("%q, want %q", got, c.err)
			}
		}, ClientOptions{})
	}
	rw := struct {
		io.Reader
		io.Writer
	}{strings.NewReader("250-x\r\n250 SIZE\r\n"), io.Discard}
	converse(t, greet+"C: STARTTLS\nS: 220 go", func(cl *Client) {
		if err := cl.Greet(); err != nil {
			t.Fatal(err)
		}
		if err := cl.StartTLS(func() (io.ReadWriter, error) { return rw, nil }); err != nil {
			t.Fatal(err)
		}
		if x := cl.Extensions(); x.StartTLS || !x.Sized || len(x.Auth) > 0 {
			t.Errorf("what was offered in clear is still believed: %+v", x)
		}
	}, ClientOptions{})
	in := "220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n250-evil\r\n"
	cl := NewClient(struct {
		io.Reader
		io.Writer
	}{strings.NewReader(in), io.Discard}, ClientOptions{})
	if err := cl.Greet(); err != nil {
		t.Fatal(err)
	}
	if err := cl.StartTLS(func() (io.ReadWriter, error) { t.Error("upgraded"); return rw, nil }); err == nil {
		t.Error("injected text was passed over")
	}
}

func TestClientRefusedGreeting(t *testing.T) {
	for in, want := range map[string]string{
		"554 5.7.1 go away\r\n":          "greeted with 554 5.7.1 go away",
		"220 x\r\n550 a\r\n550 b\r\n":    "HELO answered with 550 b",
		"220 x\r\n421 4.3.2 full\r\n":    "EHLO answered with 421 4.3.2 full",
		"SSH-2.0-OpenSSH\r\n":            ErrReply.Error(),
		strings.Repeat("220-x\r\n", 1e4): ErrReply.Error(),
	} {
		cl := NewClient(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(in), io.Discard}, ClientOptions{Hello: "me"})
		if err := cl.Greet(); err == nil || err.Error() != want {
			t.Errorf("%.30q: %v, want %q", in, err, want)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	body := memBody(strings.Repeat("The quick brown fox jumps over the lazy dog, and then over another.\r\n", 60))
	in := "250 2.1.0 OK\r\n250 2.1.5 OK\r\n354 go\r\n250 2.0.0 OK\r\n"
	src := bytes.NewReader([]byte(in))
	cl := NewClient(struct {
		io.Reader
		io.Writer
	}{src, io.Discard}, ClientOptions{})
	cl.ext = Extensions{Pipelining: true, EightBit: true}
	a, _ := mail.ParseAddress("a@a.example")
	env := mail.Envelope{Sender: a, Recipients: []mail.Recipient{{Address: a}}}
	b.ReportAllocs()
	for b.Loop() {
		src.Seek(0, io.SeekStart)
		if outs, err := cl.Send(env, nil, body); err != nil || outs[0].Status.Class != 2 {
			b.Fatal(outs, err)
		}
	}
}

package smtpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/proto/smtp"
)

// TestClientAndServer lets our client log in to our server in every way there
// is, and send.
func TestClientAndServer(t *testing.T) {
	for _, c := range []struct {
		mech, password string
		ok             bool
	}{{sasl.ScramPlus, "pencil", true}, {sasl.Scram, "pencil", true}, {sasl.Plain, "pencil", true}, {sasl.Login, "pencil", true}, {sasl.ScramPlus, "pen", false}, {sasl.Plain, "pen", false}} {
		s, d, _ := newServer("submission")
		if c.mech == sasl.ScramPlus {
			s.Offer = sasl.Bound
		}
		conn, stop := start(t, s)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		cl := smtp.NewClient(conn, smtp.ClientOptions{Hello: "client.example"})
		if err := cl.Greet(); err != nil {
			t.Fatal(err)
		}
		var cb sasl.ChannelBinding
		if err := cl.StartTLS(func() (io.ReadWriter, error) {
			tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			if err := tc.Handshake(); err != nil {
				return nil, err
			}
			cs := tc.ConnectionState()
			var err error
			cb.Exporter, err = cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
			return tc, err
		}); err != nil {
			t.Fatal(err)
		}
		if offered := cl.Extensions().Auth; slices.Contains(offered, sasl.ScramPlus) != (s.Offer == sasl.Bound) {
			t.Errorf("offered %v", offered)
		}
		a, err := sasl.NewClient(c.mech, sasl.Credentials{User: "ada@a.example", Password: c.password}, cb)
		if err != nil {
			t.Fatal(err)
		}
		err = cl.Auth(a)
		if no, refused := errors.AsType[*smtp.ReplyError](err); c.ok != (err == nil) || !c.ok && (!refused || no.Reply.Code != 535) {
			t.Errorf("%s %s: %v", c.mech, c.password, err)
		}
		if c.ok {
			env := mail.Envelope{Sender: mail.Address{Local: "ada", Domain: "a.example"}, Recipients: []mail.Recipient{{Address: mail.Address{Local: "b", Domain: "b.example"}}}}
			outs, err := cl.Send(env, []byte("A: b\r\n"), memBody("\r\n.\r\n..\r\nend"))
			if err != nil || outs[0].Status.Class != 2 {
				t.Errorf("%s: %v, %v", c.mech, outs, err)
			}
			if n := d.notes(); len(n) != 2 || n[1] != `data "A: b\r\n\r\n.\r\n..\r\nend\r\n" for 1` {
				t.Errorf("%s: %q", c.mech, n)
			}
		}
		if err := cl.Quit(); err != nil {
			t.Error(err)
		}
		stop()
	}
}

// A tape is a connection whose other end has said all there is to say.
type tape struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *tape) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *tape) Close() error                     { return nil }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession says whatever comes to mind. All that is answered must be
// replies, and the session must end.
func FuzzSession(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
	f.Add("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<b@b.example>\r\nBDAT 3\r\nabcRSET\r\nBDAT 0 LAST\r\n")
	f.Add("EHLO x\r\nAUTH LOGIN\r\neA==\r\n*\r\nAUTH SCRAM-SHA-256 biwsbj1hLHI9Yg==\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		s, _, log := newServer("clear")
		c := &tape{in: strings.NewReader(in)}
		s.ServeConn(context.Background(), c)
		if strings.Contains(log.String(), "level=ERROR msg=panic") && !strings.Contains(log.String(), "at the desk") {
			t.Fatalf("%q: %s", in, log)
		}
		r := smtp.NewReader(&c.out, new(smtp.Buffers))
		for {
			rep, err := smtp.ReadReply(r)
			if errors.Is(err, io.ErrUnexpectedEOF) && r.Buffered() == 0 {
				return
			}
			if err != nil {
				t.Fatalf("%q: %v after %v", in, err, rep)
			}
		}
	})
}

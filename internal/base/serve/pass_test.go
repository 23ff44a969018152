package serve

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// passing is a session that is passed on between client and server.
func passing(early string) (client, server net.Conn, c *Conn, out *bytes.Buffer, end chan error) {
	client, ours := net.Pipe()
	theirs, server := net.Pipe()
	c = &Conn{Conn: ours, Patience: time.Minute}
	out, end = new(bytes.Buffer), make(chan error, 1)
	go func() { end <- Pass(c, io.MultiWriter(c, out), []byte(early), theirs) }()
	return client, server, c, out, end
}

func read(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Errorf("%q came, not %q: %v", b, want, err)
	}
}

// TestPass: who ends a session that is passed on is told, and both sides are closed.
func TestPass(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(client, server net.Conn, c *Conn)
		want func(error) bool
	}{
		{"client", func(client, _ net.Conn, _ *Conn) { client.Close() }, func(err error) bool { return err != nil && !errors.Is(err, ErrThere) }},
		{"server", func(_, server net.Conn, _ *Conn) { server.Close() }, func(err error) bool { return errors.Is(err, ErrThere) }},
		{"we", func(_, _ net.Conn, c *Conn) { c.Stop() }, func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrThere) }},
		{"nobody", func(net.Conn, net.Conn, *Conn) {}, func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrThere) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, c, out, end := passing("early ")
				go client.Write([]byte("more"))
				read(t, server, "early more")
				go server.Write([]byte("answer"))
				read(t, client, "answer")
				test.do(client, server, c)
				if err := <-end; !test.want(err) {
					t.Error(err)
				}
				if _, err := server.Write([]byte("x")); err == nil {
					t.Error("the other server is still heard")
				}
				if out.String() != "answer" {
					t.Errorf("%q", out)
				}
				client.Close()
			})
		})
	}
}

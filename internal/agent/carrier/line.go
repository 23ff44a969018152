package carrier

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// A Line is a connection to another server, right behind the login: what somebody
// else's session is passed on over.
type Line struct {
	net.Conn
	early []byte // what has come in already
	can   string
}

// Read is as of net.Conn.
func (l *Line) Read(p []byte) (int, error) {
	if len(l.early) > 0 {
		n := copy(p, l.early)
		l.early = l.early[n:]
		return n, nil
	}
	return l.Conn.Read(p)
}

// writePatience is how long the other server may take to take what is written.
const writePatience = 2 * time.Minute

// Write is as of net.Conn.
func (l *Line) Write(p []byte) (int, error) {
	l.SetWriteDeadline(time.Now().Add(writePatience))
	return l.Conn.Write(p)
}

// Capabilities are those of an IMAP server, but for what belongs before the login or
// would undo it.
func (l *Line) Capabilities() string { return l.can }

// Open logs in at an IMAP server; when ctx ends before it is done, it fails. The
// connection is the caller's then. What the server says to the login is ErrLogin and
// ErrRefused.
func (s *Server) Open(ctx context.Context) (*Line, error) {
	hurried, settle := s.hurried(ctx)
	c, err := hurried.dial(ctx)
	if err = settle(err); err != nil {
		if c != nil {
			c.conn.Close()
		}
		return nil, err
	}
	early, err := c.in.Take()
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	var can []string
	for _, name := range c.can {
		switch up := strings.ToUpper(name); {
		case up == "STARTTLS", up == "LOGINDISABLED", up == "UNAUTHENTICATE", up == "SASL-IR", strings.HasPrefix(up, "AUTH="):
		default:
			can = append(can, name)
		}
	}
	return newLine(c.conn, early, strings.Join(can, " ")), nil
}

// newLine takes the deadlines of the login away.
func newLine(conn net.Conn, early []byte, can string) *Line {
	conn.SetDeadline(time.Time{})
	return &Line{Conn: conn, early: early, can: can}
}

// hurried gives the server so that its connections close when ctx ends, until settle
// is called with what came of it.
func (s *Server) hurried(ctx context.Context) (h *Server, settle func(error) error) {
	h = new(*s)
	stop := func() bool { return true }
	h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := s.Dial(ctx, network, addr)
		if err == nil {
			stop = context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
	return h, func(err error) error {
		if !stop() || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", s.Host, context.Cause(ctx))
		}
		return err
	}
}

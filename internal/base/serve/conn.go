package serve

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// WriteTimeout is how long a peer may take to take what is written.
const WriteTimeout = 2 * time.Minute

const tlsTimeout = 30 * time.Second

// A Conn is a connection that gives up on a silent or stuck client.
type Conn struct {
	net.Conn
	Patience time.Duration // for each read
	Until    time.Time     // no read goes on longer; zero if there is no such time
	readBy   time.Time     // the deadline that is set for reading
	stopped  atomic.Bool
	passed   atomic.Bool // Pass reads no more
	lost     atomic.Bool
}

// Read reads with a deadline.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Arm(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	return n, c.note(err)
}

// Arm sets the deadline of a Read that comes now, unless the one that is set will do:
// setting it costs more than a small read does, and needs more stack. Read does it; who
// calls it before takes both off it. It must not be called while somebody reads.
func (c *Conn) Arm() error {
	now := time.Now()
	deadline := now.Add(c.Patience)
	if !c.Until.IsZero() && c.Until.Before(deadline) {
		deadline = c.Until
	}
	if d := deadline.Sub(c.readBy); d < 0 || d > min(time.Second, deadline.Sub(now)/10) {
		if err := c.SetReadDeadline(deadline); err != nil {
			return c.note(err)
		}
		c.readBy = deadline
	}
	if c.stopped.Load() || c.passed.Load() {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// Write writes with a deadline.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(WriteTimeout)); err != nil {
		return 0, c.note(err)
	}
	n, err := c.Conn.Write(p)
	return n, c.note(err)
}

func (c *Conn) note(err error) error {
	if err != nil {
		c.lost.Store(true)
	}
	return err
}

// Stop makes reading fail from now on; writing goes on.
func (c *Conn) Stop() {
	c.stopped.Store(true)
	c.SetReadDeadline(time.Unix(1, 0))
}

// Stopped tells whether Stop was called.
func (c *Conn) Stopped() bool { return c.stopped.Load() }

// Lost tells whether reading or writing has failed.
func (c *Conn) Lost() bool { return c.lost.Load() }

// Secure begins TLS, as its server.
func (c *Conn) Secure(ctx context.Context, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	t := tls.Server(c.Conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn, c.readBy = t, time.Time{}
	return nil
}

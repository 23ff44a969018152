package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// WriteTimeout is how long a peer may take to take what is written.
const WriteTimeout = 2 * time.Minute

const tlsTimeout = 30 * time.Second

var (
	// ErrCalled ends a Read of a Conn that Hears: somebody has called.
	ErrCalled = errors.New("serve: called")
	// ErrSilent ends a Read that has waited for as long as it may. It is an
	// os.ErrDeadlineExceeded.
	ErrSilent error = silence{}
)

type silence struct{}

func (silence) Error() string        { return "serve: the peer is silent" }
func (silence) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// A Conn is a connection that gives up on a silent or stuck client.
type Conn struct {
	net.Conn
	Patience time.Duration // for each read
	Until    time.Time     // no read goes on longer; zero if there is no such time
	Hears    bool          // a read ends when somebody calls; and if it ends in silence, nothing is lost
	readBy   time.Time     // the deadline that is set for reading
	called   atomic.Bool   // and has not heard it
	stopped  atomic.Bool
	passed   atomic.Bool // Pass reads no more
	lost     atomic.Bool
}

// Read reads with a deadline.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if err := c.Arm(); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		if n > 0 || err == nil {
			return n, nil // an error comes again
		}
		if err = c.ended(err); err != nil {
			return n, err
		}
	}
}

// ended gives the error of a read that has ended, nil if it is to go on.
func (c *Conn) ended(err error) error {
	if c.stopped.Load() || c.passed.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return c.note(err)
	}
	early := time.Now().Before(c.readBy)
	c.readBy = time.Time{} // for Call has set another one
	switch {
	case c.Hears && c.called.Swap(false):
		return ErrCalled
	case early: // called while it did not hear
		return nil
	case c.Hears:
		return ErrSilent
	}
	return c.note(ErrSilent)
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
	if c.stopped.Load() || c.passed.Load() || c.Hears && c.called.Load() {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// Call ends a Read that waits, or the next one, with ErrCalled, as soon as the connection
// Hears. Anybody may call it.
func (c *Conn) Call() {
	if !c.called.Swap(true) { // else somebody else does, or has done, what follows
		c.SetReadDeadline(time.Unix(1, 0))
	}
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

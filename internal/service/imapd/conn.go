package imapd

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"posthaste/internal/agent/auth"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

// How long we wait for a client.
const (
	loginTimeout   = 2 * time.Minute  // from the greeting to being logged in
	idleTimeout    = 31 * time.Minute // for the next command; RFC 9051 §5.4 wants 30
	commandTimeout = 3 * time.Minute  // for the next bytes within a command
	writeTimeout   = 2 * time.Minute  // to take what we write
	tlsTimeout     = 30 * time.Second
)

// A conn is a connection that gives up on a silent or stuck client.
type conn struct {
	net.Conn
	patience time.Duration // for each read
	until    time.Time     // no read goes on longer; zero if there is no such time
	stopped  atomic.Bool
	lost     atomic.Bool // reading or writing has failed
}

// Read reads with a deadline.
func (c *conn) Read(p []byte) (int, error) {
	deadline := time.Now().Add(c.patience)
	if !c.until.IsZero() && c.until.Before(deadline) {
		deadline = c.until
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return 0, c.note(err)
	}
	if c.stopped.Load() {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	n, err := c.Conn.Read(p)
	return n, c.note(err)
}

// Write writes with a deadline.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, c.note(err)
	}
	n, err := c.Conn.Write(p)
	return n, c.note(err)
}

// note notes that the connection is lost.
func (c *conn) note(err error) error {
	if err != nil {
		c.lost.Store(true)
	}
	return err
}

// stop makes reading fail from now on; writing goes on.
func (c *conn) stop() {
	c.stopped.Store(true)
	c.SetReadDeadline(time.Unix(1, 0))
}

// handshake begins TLS.
func (c *conn) handshake(ctx context.Context, t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn = t
	return nil
}

// tlsState gives what is known of a session's protection, nil if it has none.
func (c *conn) tlsState() (*mail.TLS, sasl.ChannelBinding) {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil, sasl.ChannelBinding{}
	}
	cs := t.ConnectionState()
	return &mail.TLS{
		Version: strings.ReplaceAll(tls.VersionName(cs.Version), " ", ""),
		Cipher:  tls.CipherSuiteName(cs.CipherSuite),
		Server:  cs.ServerName,
	}, auth.Binding(cs)
}

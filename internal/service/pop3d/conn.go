package pop3d

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
	loginTimeout = 2 * time.Minute  // from the greeting to being logged in
	idleTimeout  = 10 * time.Minute // for the next command; RFC 1939 §3
	writeTimeout = 2 * time.Minute  // to take what we write
	tlsTimeout   = 30 * time.Second
	lineTimeout  = time.Minute     // for the rest of a line
	busyTimeout  = 2 * time.Second // for the next command, before buffers are given back
)

// A conn is a connection that gives up on a silent or stuck client.
type conn struct {
	net.Conn
	patience time.Duration // for each read
	until    time.Time     // no read goes on longer; zero if there is no such time
	stopped  atomic.Bool
}

// Read reads with a deadline.
func (c *conn) Read(p []byte) (int, error) {
	deadline := time.Now().Add(c.patience)
	if !c.until.IsZero() && c.until.Before(deadline) {
		deadline = c.until
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	if c.stopped.Load() {
		c.SetReadDeadline(time.Unix(1, 0))
	}
	return c.Conn.Read(p)
}

// Write writes with a deadline.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// stop makes reading fail from now on; writing goes on.
func (c *conn) stop() {
	c.stopped.Store(true)
	c.SetReadDeadline(time.Unix(1, 0))
}

// handshake begins TLS.
func (c *conn) handshake(ctx context.Context, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	c.SetDeadline(time.Now().Add(tlsTimeout))
	t := tls.Server(c.Conn, cfg)
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

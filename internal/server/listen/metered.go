package listen

import (
	"net"
	"sync/atomic"
)

// A Meter hears what goes on at a port. Its functions must be quick.
type Meter struct {
	Opened, Closed func()
	In, Out        func(bytes int) // as they come over the wire, under TLS
}

// Metered gives the connections of ln as they are, and tells the meter of them.
func Metered(ln net.Listener, m *Meter) net.Listener { return &metered{ln, m} }

type metered struct {
	net.Listener
	m *Meter
}

// Accept is as of net.Listener.
func (l *metered) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.m.Opened()
	return &meteredConn{Conn: c, m: l.m}, nil
}

type meteredConn struct {
	net.Conn
	m      *Meter
	closed atomic.Bool
}

// Read is as of net.Conn.
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.m.In(n)
	return n, err
}

// Write is as of net.Conn.
func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.m.Out(n)
	return n, err
}

// Close is as of net.Conn.
func (c *meteredConn) Close() error {
	if !c.closed.Swap(true) {
		c.m.Closed()
	}
	return c.Conn.Close()
}

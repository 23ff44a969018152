// Package network is a network in memory, for tests: hosts that can be slow,
// dead or unwilling, and connections that are lost after so many bytes. All its
// time is that of the time package, so that it works in a testing/synctest
// bubble.
package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// A Network connects. The zero Network has no hosts.
type Network struct {
	// Fault says what becomes of a connection that is about to be made; nil:
	// nothing bad.
	Fault func(from netip.Addr, to netip.AddrPort) Fault
	// Opened is told of each connection, before anything is sent over it; may be
	// nil.
	Opened func(*Connection)

	mu    sync.Mutex
	hosts map[netip.AddrPort]func(net.Conn)
	port  uint16
	wg    sync.WaitGroup
}

// A Fault is what is wrong with a connection. The zero Fault is nothing.
type Fault struct {
	Dead    bool // nobody answers: dialling goes on until its time is up
	Refused bool
	Latency time.Duration
	PerByte time.Duration // of a slow line
	// CutUp and CutDown lose the connection after so many bytes from the caller,
	// or to it; 0 does not.
	CutUp, CutDown int64
}

// A Connection is a connection as the network sees it.
type Connection struct {
	From netip.Addr
	To   netip.AddrPort
	// Sent is told what the caller sends; set it in Opened.
	Sent func([]byte)

	mu       sync.Mutex
	caller   *Conn
	cut      bool
	finished bool
}

// Cut tells whether the connection was lost.
func (c *Connection) Cut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// Lose breaks the connection.
func (c *Connection) Lose() {
	c.mu.Lock()
	c.cut = c.cut || !c.finished
	c.mu.Unlock()
	c.caller.lose()
}

// Listen has serve called, in a goroutine of its own, for each connection to an
// address. The returned function ends that.
func (n *Network) Listen(at netip.AddrPort, serve func(net.Conn)) (stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[netip.AddrPort]func(net.Conn){}
	}
	n.hosts[at] = serve
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.hosts, at)
	}
}

// Wait waits until all that Listen has started is over.
func (n *Network) Wait() { n.wg.Wait() }

// From gives the function with which a host dials.
func (n *Network) From(ip netip.Addr) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		c, err := n.dial(ctx, ip, to)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
		}
		return c, nil
	}
}

func (n *Network) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var f Fault
	if n.Fault != nil {
		f = n.Fault(from, to)
	}
	if f.Dead {
		<-ctx.Done()
		return nil, errors.New("i/o timeout")
	}
	t := time.NewTimer(2 * f.Latency)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	serve := n.hosts[to]
	n.port = n.port%60_000 + 1
	source := netip.AddrPortFrom(from, n.port)
	if serve != nil && !f.Refused {
		n.wg.Add(1)
	}
	n.mu.Unlock()
	if serve == nil || f.Refused {
		return nil, syscall.ECONNREFUSED
	}
	up, down := newHalf(), newHalf()
	for _, h := range []*half{up, down} {
		h.latency, h.perByte = f.Latency, f.PerByte
	}
	caller := &Conn{in: down, out: up, local: net.TCPAddrFromAddrPort(source), remote: net.TCPAddrFromAddrPort(to)}
	called := &Conn{in: up, out: down, local: net.TCPAddrFromAddrPort(to), remote: net.TCPAddrFromAddrPort(source)}
	conn := &Connection{From: from, To: to, caller: caller}
	if n.Opened != nil {
		n.Opened(conn)
	}
	up.tap = conn.Sent
	up.onCut, down.onCut = conn.Lose, conn.Lose
	if f.CutUp > 0 {
		up.cut = f.CutUp
	}
	if f.CutDown > 0 {
		down.cut = f.CutDown
	}
	caller.onClose = func() {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		conn.finished = true
	}
	go func() {
		defer n.wg.Done()
		defer called.Close()
		serve(called)
	}()
	return caller, nil
}

// Listener gives a listener at an address. Its connections are closed by who
// accepts them; Close refuses new ones.
func (n *Network) Listener(at netip.AddrPort) net.Listener {
	l := &listener{at: at, conns: make(chan net.Conn), closed: make(chan struct{})}
	l.stop = n.Listen(at, l.serve)
	return l
}

type listener struct {
	at     netip.AddrPort
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	stop   func()
}

// serve hands a connection over, and waits until it is closed.
func (l *listener) serve(c net.Conn) {
	gone := make(chan struct{})
	c.(*Conn).onClose = func() { close(gone) }
	select {
	case l.conns <- c:
		<-gone
	case <-l.closed:
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.stop()
		close(l.closed)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

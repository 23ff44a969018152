package listen

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"posthaste/internal/proto/proxy"
)

// Bounds on who has connected and not yet said for whom.
const (
	proxyTime    = 5 * time.Second
	proxyWaiting = 1000
)

// Proxied gives the connections of ln as they are for those that the load
// balancers in trusted speak for: with the address that is in their PROXY
// header, which they must send. Others have none, and are taken as they are.
func Proxied(ln net.Listener, trusted []netip.Prefix, log *slog.Logger) net.Listener {
	p := &proxied{Listener: ln, trusted: trusted, log: log, got: make(chan accepted), ended: make(chan struct{}), waiting: make(chan struct{}, proxyWaiting)}
	go p.accept()
	return p
}

type proxied struct {
	net.Listener
	trusted []netip.Prefix
	log     *slog.Logger
	got     chan accepted
	waiting chan struct{} // a place for each whose header is being read
	once    sync.Once
	ended   chan struct{}
}

// Accept is as of net.Listener.
func (p *proxied) Accept() (net.Conn, error) {
	select {
	case a := <-p.got:
		return a.c, a.err
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

// Close is as of net.Listener.
func (p *proxied) Close() error {
	p.once.Do(func() { close(p.ended) })
	return p.Listener.Close()
}

func (p *proxied) hand(a accepted) {
	select {
	case p.got <- a:
	case <-p.ended:
		if a.c != nil {
			a.c.Close()
		}
	}
}

func (p *proxied) accept() {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			p.hand(accepted{err: err})
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if !p.speaksForOthers(c.RemoteAddr()) {
			p.hand(accepted{c: c})
			continue
		}
		select {
		case p.waiting <- struct{}{}:
			go p.read(c)
		case <-p.ended:
			c.Close()
			return
		}
	}
}

func (p *proxied) speaksForOthers(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	for _, t := range p.trusted {
		if t.Contains(ap.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// read reads the header, and hands the connection on.
func (p *proxied) read(c net.Conn) {
	defer func() { <-p.waiting }()
	c.SetReadDeadline(time.Now().Add(proxyTime))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.ended:
			c.SetReadDeadline(time.Unix(1, 0))
		case <-stop:
		}
	}()
	var buf []byte
	piece := make([]byte, 512)
	for {
		n, err := c.Read(piece)
		buf = append(buf, piece[:n]...)
		h, size, perr := proxy.Parse(buf)
		if perr == nil {
			c.SetReadDeadline(time.Time{})
			p.hand(accepted{c: newBehind(c, h, buf[size:])})
			return
		}
		if err != nil || !errors.Is(perr, proxy.ErrShort) {
			p.log.Warn("refused: a load balancer has sent no PROXY header", "remote", c.RemoteAddr(), "error", errors.Join(err, perr))
			c.Close()
			return
		}
	}
}

// behind is a connection from behind a load balancer.
type behind struct {
	net.Conn
	from, to net.Addr
	first    []byte // what came behind the header
}

func newBehind(c net.Conn, h proxy.Header, first []byte) net.Conn {
	b := &behind{Conn: c, from: c.RemoteAddr(), to: c.LocalAddr(), first: first}
	if h.From.IsValid() {
		b.from, b.to = net.TCPAddrFromAddrPort(h.From), net.TCPAddrFromAddrPort(h.To)
	}
	return b
}

// RemoteAddr is whom the load balancer speaks for.
func (b *behind) RemoteAddr() net.Addr { return b.from }

// LocalAddr is where he has connected to.
func (b *behind) LocalAddr() net.Addr { return b.to }

// Read is as of net.Conn.
func (b *behind) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.Conn.Read(p)
}

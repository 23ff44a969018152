package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"posthaste/internal/base/limit"
)

// Bounds on who has connected and not yet said what for.
const (
	helloTime    = 10 * time.Second
	helloWaiting = 1000
	helloEach    = 100 // of one address, or /64
)

// Split gives the connections of ln by what their TLS asks for with ALPN: a listener for
// each of the protocols, and one, the last, for those that ask for none of them. TLS is
// theirs to speak, from its first byte. When ln is closed all are. RFC 7301
func Split(ln net.Listener, protocols ...string) []net.Listener {
	s := &split{ln: ln, protocols: protocols, ended: make(chan struct{}), waiting: make(chan struct{}, helloWaiting), each: limit.AtOnce[netip.Prefix]{PerKey: helloEach, Total: helloWaiting + 1}}
	out := make([]net.Listener, len(protocols)+1)
	for i := range out {
		p := &portion{split: s, got: make(chan accepted), closed: make(chan struct{})}
		s.portions = append(s.portions, p)
		out[i] = p
	}
	go s.accept()
	return out
}

type split struct {
	ln        net.Listener
	protocols []string
	portions  []*portion
	waiting   chan struct{} // a place for each who has not yet said what for
	each      limit.AtOnce[netip.Prefix]
	ended     chan struct{}
}

// A portion of the connections of a listener.
type portion struct {
	*split
	got    chan accepted
	once   sync.Once
	closed chan struct{}
}

// Accept is as of net.Listener.
func (p *portion) Accept() (net.Conn, error) {
	select {
	case a := <-p.got:
		return a.c, a.err
	case <-p.closed:
	case <-p.ended:
	}
	return nil, net.ErrClosed
}

// Close is as of net.Listener. The others go on.
func (p *portion) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is as of net.Listener.
func (p *portion) Addr() net.Addr { return p.ln.Addr() }

func (p *portion) hand(a accepted) {
	select {
	case p.got <- a:
		return
	case <-p.closed:
	case <-p.ended:
	}
	if a.c != nil {
		a.c.Close()
	}
}

func (s *split) accept() {
	defer close(s.ended)
	for {
		c, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // who serves knows what to do about it
			s.portions[len(s.portions)-1].hand(accepted{err: err})
			continue
		}
		from := limit.Network(addressOf(c))
		if !s.each.Enter(from) { // or one could keep all others out
			c.Close()
			continue
		}
		s.waiting <- struct{}{} // deadlines end what is held, so there will be room
		go s.sort(c, from)
	}
}

// sort hands a connection to whom it is for.
func (s *split) sort(c net.Conn, from netip.Prefix) {
	defer func() {
		s.each.Leave(from)
		<-s.waiting
	}()
	c.SetDeadline(time.Now().Add(helloTime))
	offered, first, ok := hello(c)
	if !ok {
		c.Close()
		return
	}
	c.SetDeadline(time.Time{})
	at := slices.IndexFunc(s.protocols, func(p string) bool { return slices.Contains(offered, p) })
	if at < 0 {
		at = len(s.protocols)
	}
	s.portions[at].hand(accepted{c: &behind{Conn: c, from: c.RemoteAddr(), to: c.LocalAddr(), first: first}})
}

// addressOf gives who has connected; the zero one if that is no host.
func addressOf(c net.Conn) netip.Addr {
	a, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return a.Addr()
}

// errHeard ends a handshake once the client has said what it has to say.
var errHeard = errors.New("heard")

// hello reads how TLS begins: what is offered, and the bytes that were read.
func hello(c net.Conn) (offered []string, first []byte, ok bool) {
	l := &listener{Conn: c}
	tls.Server(l, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		offered, ok = h.SupportedProtos, true
		return nil, errHeard
	}}).Handshake()
	return offered, l.heard, ok
}

// A listener hears what comes over a connection, and says nothing.
type listener struct {
	net.Conn
	heard []byte
}

// Read is as of net.Conn.
func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.heard = append(l.heard, p[:n]...)
	return n, err
}

// Write is as of net.Conn, and says nothing.
func (l *listener) Write(p []byte) (int, error) { return len(p), nil }

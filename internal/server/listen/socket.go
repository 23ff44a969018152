package listen

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Sockets are the ports that are open. They outlive a reload: a port that both
// the old and the new configuration have is never closed.
type Sockets struct {
	mu   sync.Mutex
	open map[string]*socket
}

// A socket accepts connections and hands them to whoever holds its lease.
type socket struct {
	ln    net.Listener
	conns chan net.Conn
	fail  chan error
	done  chan struct{}
}

// Listen gives a listener on a TCP address: the port that is open already, or a
// new one. Closing it leaves the port open until Keep or Close.
func (s *Sockets) Listen(address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.open[address]; have != nil {
		return newLease(have), nil
	}
	// Multipath TCP, Go's default, is a door that sandboxes do not watch.
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	sk := &socket{ln: ln, conns: make(chan net.Conn), fail: make(chan error), done: make(chan struct{})}
	go sk.accept()
	if s.open == nil {
		s.open = map[string]*socket{}
	}
	s.open[address] = sk
	return newLease(sk), nil
}

// accept ends when the socket is closed.
func (s *socket) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			select {
			case s.fail <- err:
				continue
			case <-s.done:
				return
			}
		}
		select {
		case s.conns <- c:
		case <-s.done:
			c.Close()
			return
		}
	}
}

// Keep closes all ports but those of the addresses.
func (s *Sockets) Keep(addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := map[string]bool{}
	for _, a := range addresses {
		want[a] = true
	}
	for a, sk := range s.open {
		if !want[a] {
			close(sk.done)
			sk.ln.Close()
			delete(s.open, a)
		}
	}
}

// Close closes all ports.
func (s *Sockets) Close() { s.Keep(nil) }

// A lease is a net.Listener on a socket until it is closed.
type lease struct {
	s     *socket
	once  sync.Once
	ended chan struct{}
}

func newLease(s *socket) *lease { return &lease{s: s, ended: make(chan struct{})} }

// Accept is as of net.Listener.
func (l *lease) Accept() (net.Conn, error) {
	select {
	case <-l.ended:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.s.conns:
		return c, nil
	case err := <-l.s.fail:
		return nil, err
	case <-l.ended:
		return nil, net.ErrClosed
	case <-l.s.done:
		return nil, net.ErrClosed
	}
}

// Close is as of net.Listener.
func (l *lease) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

// Addr is as of net.Listener.
func (l *lease) Addr() net.Addr { return l.s.ln.Addr() }

package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// Sockets are the ports that are open. They outlive a reload: a port that both
// the old and the new configuration have is never closed, and no connection to
// it is lost between the two.
type Sockets struct {
	mu   sync.Mutex
	open map[string]*socket
}

// A socket accepts connections, and hands them to who leased it last.
type socket struct {
	ln   net.Listener
	done chan struct{}

	mu      sync.Mutex
	last    *lease
	changed chan struct{} // closed when there is another last
}

// Listen gives a listener on a TCP address: the port that is open already, or a
// new one. Listeners given out before get no more connections. Closing it leaves
// the port open until Keep or Close; connections wait for the next listener.
func (s *Sockets) Listen(address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sk, err := s.socket(address)
	if err != nil {
		return nil, err
	}
	return sk.lease(), nil
}

// Open opens a port, if it is not open, so that it is known that Listen will give it.
// Whoever listens there goes on; at a new one connections wait.
func (s *Sockets) Open(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.socket(address)
	return err
}

// socket gives the socket of an address. s is locked.
func (s *Sockets) socket(address string) (*socket, error) {
	if have := s.open[address]; have != nil {
		return have, nil
	}
	// Multipath TCP, Go's default, is a door that sandboxes do not watch.
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, refused(address, err)
	}
	sk := &socket{ln: ln, done: make(chan struct{}), changed: make(chan struct{})}
	go sk.accept()
	if s.open == nil {
		s.open = map[string]*socket{}
	}
	s.open[address] = sk
	return sk, nil
}

// refused says why a port cannot be had.
func refused(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: another program has this port (%w): \"ss -ltnp\" shows which", address, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: only root, or who has CAP_NET_BIND_SERVICE, as with dist/posthaste.service, may open ports below 1024 (%w)", address, syscall.EACCES)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine does not have this address (%w)", address, syscall.EADDRNOTAVAIL)
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}

func (s *socket) lease() *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &lease{s: s, ended: make(chan struct{}), got: make(chan accepted), next: make(chan struct{})}
	if s.last != nil {
		close(s.last.next)
	}
	s.last = l
	close(s.changed)
	s.changed = make(chan struct{})
	return l
}

type accepted struct {
	c   net.Conn
	err error
}

// accept ends when the socket is closed.
func (s *socket) accept() {
	for {
		c, err := s.ln.Accept()
		if !s.hand(accepted{c, err}) {
			if c != nil {
				c.Close()
			}
			return
		}
	}
}

// hand gives what was accepted to the last lease, or to one yet to come; false
// if the socket is closed first.
func (s *socket) hand(a accepted) bool {
	for {
		s.mu.Lock()
		changed := s.changed
		var got chan<- accepted // nil: nobody listens yet
		if s.last != nil {
			got = s.last.got
		}
		s.mu.Unlock()
		select {
		case got <- a:
			return true
		case <-changed:
		case <-s.done:
			return false
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
	got   chan accepted
	next  chan struct{} // closed when there is a newer lease
	once  sync.Once
	ended chan struct{}
}

// Accept is as of net.Listener. Once there is a newer lease it waits for its
// own end.
func (l *lease) Accept() (net.Conn, error) {
	select {
	case <-l.ended:
		return nil, net.ErrClosed
	case <-l.next:
		<-l.ended
		return nil, net.ErrClosed
	default:
	}
	select {
	case a := <-l.got:
		return a.c, a.err
	case <-l.next:
		<-l.ended
		return nil, net.ErrClosed
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

package webd

import (
	"net"
	"net/netip"
	"testing"

	"posthaste/internal/base/limit"
)

// from is a connection that comes from an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// queue is a listener with connections in it.
type queue struct {
	net.Listener
	waiting []net.Conn
}

func (q *queue) Accept() (net.Conn, error) {
	if len(q.waiting) == 0 {
		return nil, net.ErrClosed
	}
	c := q.waiting[0]
	q.waiting = q.waiting[1:]
	return c, nil
}

// TestShare: one address has no more than its share, networks that are trusted have more,
// and what was closed counts no more.
func TestShare(t *testing.T) {
	q := &queue{}
	come := func(ip string) {
		here, there := net.Pipe()
		t.Cleanup(func() { there.Close() })
		q.waiting = append(q.waiting, from{here, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(1000+len(q.waiting))))})
	}
	for _, ip := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.1", "198.51.100.1"} {
		come(ip)
	}
	b := &bounded{Listener: q, room: make(chan struct{}, 10), places: &limit.AtOnce[limit.Place]{PerKey: 2, Total: 10}, trusted: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
	var got []net.Conn
	for {
		c, err := b.Accept()
		if err != nil {
			break
		}
		got = append(got, c)
	}
	if len(got) != 6 {
		t.Errorf("%d were let in", len(got))
	}
	got[0].Close()
	got[0].Close() // a second time
	come("192.0.2.1")
	come("192.0.2.1")
	if c, err := b.Accept(); err != nil || c.RemoteAddr().String() != "192.0.2.1:1000" {
		t.Errorf("after one has left: %v, %v", c, err)
	}
	if c, err := b.Accept(); err == nil {
		t.Errorf("one too many was let in: %v", c.RemoteAddr())
	}
	if len(b.room) != 6 {
		t.Errorf("%d have room", len(b.room))
	}
}

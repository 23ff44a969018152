package listen

import (
	"context"
	"net"
	"net/netip"
)

// DialFrom dials from an address of this machine. syscall.EADDRNOTAVAIL is in the error
// if it has no such address.
func DialFrom(ctx context.Context, from netip.Addr, network, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, network, addr)
}

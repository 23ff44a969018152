package listen

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// TestDialFrom: who is dialled sees the address that was chosen; one that the machine
// does not have is told apart from a host that is not there.
func TestDialFrom(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	from := netip.MustParseAddr("127.0.0.7")
	c, err := DialFrom(t.Context(), from, "tcp", ln.Addr().String())
	if err != nil {
		t.Skipf("this machine has only 127.0.0.1: %v", err)
	}
	defer c.Close()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if ip := got.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); ip != from {
		t.Errorf("it came from %s", ip)
	}
	if _, err := DialFrom(t.Context(), netip.MustParseAddr("192.0.2.1"), "tcp", ln.Addr().String()); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from an address of somebody else: %v", err)
	}
	ln.Close()
	if _, err := DialFrom(t.Context(), from, "tcp", ln.Addr().String()); err == nil || errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("to nobody: %v", err)
	}
}

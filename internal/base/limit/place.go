package limit

import "net/netip"

// A Place is where a connection comes from, as limits per address count it.
type Place struct {
	network netip.Prefix
	port    uint16 // of who is not counted: every connection is a place of its own
}

// PlaceOf gives the place of an address. Connections from this machine and from
// trusted networks are not counted together.
func PlaceOf(a netip.AddrPort, trusted []netip.Prefix) Place {
	ip := a.Addr().Unmap()
	if !a.IsValid() || ip.IsLoopback() {
		return Place{port: a.Port()}
	}
	for _, t := range trusted {
		if t.Contains(ip) {
			return Place{network: netip.PrefixFrom(ip, ip.BitLen()), port: a.Port()}
		}
	}
	return Place{network: Network(ip)}
}

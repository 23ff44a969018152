package limit

import (
	"net/netip"
	"testing"
)

func TestPlaceOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"[::1]:1", "[::1]:2", false},
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:2", true},
		{"[2001:db8::1]:1", "[2001:db8::2]:2", true},
		{"[2001:db8::1]:1", "[2001:db8:1::1]:1", false},
		{"198.51.100.7:1", "198.51.100.7:2", false},
	} {
		a := PlaceOf(netip.MustParseAddrPort(c.a), trusted)
		b := PlaceOf(netip.MustParseAddrPort(c.b), trusted)
		if (a == b) != c.same {
			t.Errorf("%s and %s: same place is %v", c.a, c.b, a == b)
		}
	}
}

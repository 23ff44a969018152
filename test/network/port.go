package network

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// given are the ports that FreePort has given.
var given sync.Map

// FreePort gives an address on loopback where nobody listens, for a program that is to:
// each time another one, and none of those that the system gives to whoever asks for any
// port. It panics if there are no such addresses.
func FreePort() string {
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.N(12_000)))
		if _, taken := given.LoadOrStore(addr, true); taken {
			continue
		}
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	panic("network: no free port on loopback")
}

package sim

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"posthaste/test/network"
)

// traffic remembers which messages went over connections that did not end in
// order: those may arrive twice.
type traffic struct {
	mu    sync.Mutex
	conns map[*network.Connection]*carried
}

// carried is what the caller has sent over a connection.
type carried struct {
	sent strings.Builder
	mu   sync.Mutex
}

func (c *carried) add(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.Write(b)
}

func (c *carried) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.String()
}

func (tr *traffic) opened(c *network.Connection) {
	k := &carried{}
	c.Sent = k.add
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.conns == nil {
		tr.conns = map[*network.Connection]*carried{}
	}
	tr.conns[c] = k
}

// lose breaks all connections from and to a host.
func (tr *traffic) lose(ip netip.Addr) {
	tr.mu.Lock()
	var hit []*network.Connection
	for c := range tr.conns {
		if c.From == ip || c.To.Addr() == ip {
			hit = append(hit, c)
		}
	}
	tr.mu.Unlock()
	for _, c := range hit {
		c.Lose()
	}
}

var tokenForm = regexp.MustCompile(`<sim-(\d+)@`)

// uncertain gives the messages that went over a connection which was lost, or
// whose caller hung up without QUIT.
func (tr *traffic) uncertain() map[int]bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	out := map[int]bool{}
	for c, k := range tr.conns {
		text := k.text()
		if !c.Cut() && strings.HasSuffix(text, "QUIT\r\n") {
			continue
		}
		for _, m := range tokenForm.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.Atoi(m[1])
			out[n] = true
		}
	}
	return out
}

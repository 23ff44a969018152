package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxDatagram   = 1232 // that passes everywhere in one piece
	forwardTime   = 4 * time.Second
	recursiveTime = 1500 * time.Millisecond // one server of many
)

// exchange asks a recursive server.
func exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	m, err := overUDP(ctx, q, server, forwardTime)
	if err == nil && m.Truncated {
		return overTCP(ctx, q, server, forwardTime)
	}
	return m, err
}

// Ask asks the server of a zone. The letters of the name are written large and
// small at random, which the answer must repeat: another thing that somebody who
// sends answers without having seen the question has to guess.
func Ask(ctx context.Context, q *dns.Msg, server netip.Addr) (*dns.Msg, error) {
	at := net.JoinHostPort(server.String(), "53")
	name := q.Question[0].Name
	q.Question[0].Name = mixed(name)
	sent := q.Question[0].Name
	m, err := overUDP(ctx, q, at, recursiveTime)
	if err == nil && (m.Truncated || m.Question[0].Name != sent) {
		m, err = overTCP(ctx, q, at, recursiveTime)
	}
	if err == nil && m.Rcode == dns.RcodeFormatError && m.IsEdns0() == nil {
		// It is older than EDNS.
		q.Extra = nil
		m, err = overTCP(ctx, q, at, recursiveTime)
	}
	if err != nil {
		return nil, err
	}
	m.Question[0].Name = name
	return m, nil
}

func mixed(name string) string {
	b := []byte(name)
	coins := make([]byte, len(b))
	rand.Read(coins)
	for i, c := range b {
		if 'a' <= c && c <= 'z' && coins[i]&1 != 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func overUDP(ctx context.Context, q *dns.Msg, server string, limit time.Duration) (*dns.Msg, error) {
	return over(ctx, dns.Client{Net: "udp", Timeout: limit, UDPSize: maxDatagram}, q, server)
}

func overTCP(ctx context.Context, q *dns.Msg, server string, limit time.Duration) (*dns.Msg, error) {
	return over(ctx, dns.Client{Net: "tcp", Timeout: limit}, q, server)
}

func over(ctx context.Context, c dns.Client, q *dns.Msg, server string) (*dns.Msg, error) {
	q = q.Copy()
	var id [2]byte
	rand.Read(id[:])
	q.Id = binary.BigEndian.Uint16(id[:])
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	m, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil {
		return nil, err
	}
	if len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Qtype != q.Question[0].Qtype {
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
}

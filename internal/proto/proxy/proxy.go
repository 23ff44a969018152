// Package proxy reads what a load balancer writes in front of a connection to
// tell whose it is: the PROXY protocol, versions 1 and 2, as HAProxy's authors
// specify it.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// A Header is who has connected to the load balancer, and where. Without
// addresses the connection is the balancer's own, or of a kind that it cannot
// tell.
type Header struct {
	From, To netip.AddrPort
}

// Errors of Parse.
var (
	// ErrShort: the header is not yet whole.
	ErrShort = errors.New("proxy: the header is not whole")
	// ErrHeader: there is no header, or none that can be read.
	ErrHeader = errors.New("proxy: no PROXY header")
)

const (
	maxLine = 107 // of version 1, with its line end
	// MaxHeader is how many bytes of a connection Parse needs to see at most.
	MaxHeader = 16 + 4096
)

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// Parse reads the header at the front of b and gives its length.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case len(b) == 0:
		return h, 0, ErrShort
	case b[0] == 'P':
		return parseLine(b)
	case b[0] == '\r':
		return parseBinary(b)
	}
	return h, 0, ErrHeader
}

func parseLine(b []byte) (h Header, n int, err error) {
	const begin = "PROXY "
	if !strings.HasPrefix(begin, string(b[:min(len(b), len(begin))])) {
		return h, 0, ErrHeader
	}
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	if end < 0 {
		if len(b) >= maxLine {
			return h, 0, ErrHeader
		}
		return h, 0, ErrShort
	}
	line, ok := strings.CutSuffix(string(b[:end]), "\r")
	if !ok || len(line) < len(begin) {
		return h, 0, ErrHeader
	}
	f := strings.Split(line[len(begin):], " ")
	if f[0] == "UNKNOWN" {
		return h, end + 1, nil
	}
	if len(f) != 5 || f[0] != "TCP4" && f[0] != "TCP6" {
		return h, 0, ErrHeader
	}
	var ok1, ok2 bool
	h.From, ok1 = addrPort(f[1], f[3], f[0] == "TCP6")
	h.To, ok2 = addrPort(f[2], f[4], f[0] == "TCP6")
	if !ok1 || !ok2 {
		return Header{}, 0, ErrHeader
	}
	return h, end + 1, nil
}

func addrPort(addr, port string, six bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	p, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil || a.Is4() == six || a.Zone() != "" || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(p)), true
}

func parseBinary(b []byte) (h Header, n int, err error) {
	if !bytes.HasPrefix(signature, b[:min(len(b), len(signature))]) {
		return h, 0, ErrHeader
	}
	if len(b) < 16 {
		return h, 0, ErrShort
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if b[12]>>4 != 2 || b[12]&15 > 1 || size > MaxHeader-16 {
		return h, 0, ErrHeader
	}
	if len(b) < 16+size {
		return h, 0, ErrShort
	}
	body := b[16 : 16+size]
	if b[12]&15 == 0 { // LOCAL: the balancer looks whether we live
		return h, 16 + size, nil
	}
	length := 0
	switch b[13] {
	case 0x11: // TCP over IPv4
		length = 4
	case 0x21: // TCP over IPv6
		length = 16
	case 0x12, 0x22:
		return h, 0, ErrHeader // datagrams do not come here
	default:
		return h, 16 + size, nil
	}
	if size < 2*length+4 {
		return h, 0, ErrHeader
	}
	from, _ := netip.AddrFromSlice(body[:length])
	to, _ := netip.AddrFromSlice(body[length : 2*length])
	ports := body[2*length:]
	h.From = netip.AddrPortFrom(from, binary.BigEndian.Uint16(ports))
	h.To = netip.AddrPortFrom(to, binary.BigEndian.Uint16(ports[2:]))
	return h, 16 + size, nil
}

package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
)

// A Forward asks recursive servers, one after the other. What one of them says
// of its own validation counts only if it is on a loopback address: on any other
// way the word of a stranger could have changed it.
type Forward struct {
	Servers []string // address:port
}

const rounds = 2 // over all servers

// System gives the servers that the system's own resolver uses.
func System() ([]string, error) {
	b, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return []string{"127.0.0.1:53"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "nameserver" {
			out = append(out, net.JoinHostPort(f[1], "53"))
		}
	}
	if len(out) == 0 {
		out = []string{"127.0.0.1:53"}
	}
	return out, nil
}

// Message gives the answer of the first server that has one.
func (f *Forward) Message(ctx context.Context, name string, typ uint16) (*dns.Msg, error) {
	var last error = ours.ErrTemporary
	for range rounds {
		for _, server := range f.Servers {
			q := new(dns.Msg)
			q.SetQuestion(name, typ)
			q.SetEdns0(maxDatagram, true)
			near := loopback(server)
			// Whoever validates himself asks strangers not to. RFC 6840 §5.9
			q.AuthenticatedData, q.CheckingDisabled = near, !near
			m, err := exchange(ctx, q, server)
			if ctx.Err() != nil {
				return nil, errors.Join(ours.ErrTemporary, ctx.Err())
			}
			if err != nil {
				last = fmt.Errorf("%w: %w", ours.ErrTemporary, err)
				continue
			}
			switch m.Rcode {
			case dns.RcodeSuccess, dns.RcodeNameError:
				m.AuthenticatedData = m.AuthenticatedData && near
				return m, nil
			case dns.RcodeServerFailure:
				last = why(m)
			default:
				last = fmt.Errorf("%w: %s answered %s", ours.ErrTemporary, server, dns.RcodeToString[m.Rcode])
			}
		}
	}
	return nil, last
}

// why tells a failed validation from other failures, by the extended error of
// RFC 8914.
func why(m *dns.Msg) error {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				switch e.InfoCode {
				case dns.ExtendedErrorCodeDNSBogus, dns.ExtendedErrorCodeSignatureExpired, dns.ExtendedErrorCodeSignatureNotYetValid,
					dns.ExtendedErrorCodeDNSKEYMissing, dns.ExtendedErrorCodeRRSIGsMissing, dns.ExtendedErrorCodeNSECMissing:
					return ours.ErrBogus
				}
			}
		}
	}
	return fmt.Errorf("%w: SERVFAIL", ours.ErrTemporary)
}

func loopback(server string) bool {
	a, err := netip.ParseAddrPort(server)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

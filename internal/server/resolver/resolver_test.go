package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
)

// serve answers questions on a loopback port, by UDP and TCP.
func serve(t *testing.T, h dns.HandlerFunc) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Skip("the port is taken for TCP")
	}
	u, c := &dns.Server{PacketConn: pc, Handler: h}, &dns.Server{Listener: ln, Handler: h}
	go u.ActivateAndServe()
	go c.ActivateAndServe()
	t.Cleanup(func() { u.Shutdown(); c.Shutdown() })
	return pc.LocalAddr().String()
}

func zone(t *testing.T, asked *atomic.Int64, lines ...string) dns.HandlerFunc {
	var rrs []dns.RR
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg)
		m.SetReply(q)
		m.AuthenticatedData = true
		name, known := q.Question[0].Name, false
		for range 10 {
			next := ""
			for _, rr := range rrs {
				if rr.Header().Name != name {
					continue
				}
				known = true
				if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
					m.Answer = append(m.Answer, rr)
				}
				if c, ok := rr.(*dns.CNAME); ok {
					next = c.Target
				}
			}
			if next == "" {
				break
			}
			name = next
		}
		if strings.HasPrefix(q.Question[0].Name, "broken.") {
			m.Rcode = dns.RcodeServerFailure
		} else if !known {
			m.Rcode = dns.RcodeNameError
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && m.Len() > 1200 {
			m.Answer, m.Truncated = nil, true
		}
		w.WriteMsg(m)
	}
}

func TestAnswers(t *testing.T) {
	var asked atomic.Int64
	lines := []string{
		"example.org. 300 MX 10 Mail.example.org.", "mail.example.org. 300 A 192.0.2.1", "mail.example.org. 300 A 192.0.2.2",
		"mail.example.org. 300 AAAA 2001:db8::1", "null.example. 60 MX 0 .", "a.example.org. 60 CNAME b.example.org.",
		"b.example.org. 60 A 192.0.2.9", "1.2.0.192.in-addr.arpa. 60 PTR mail.example.org.", `example.org. 60 TXT "one" "two"`,
	}
	for i := range 60 {
		lines = append(lines, fmt.Sprintf("big.example. 60 MX %d a-rather-long-name-%d.example.org.", i, i))
	}
	r := &Resolver{Source: &Forward{Servers: []string{serve(t, zone(t, &asked, lines...))}}}
	ctx := t.Context()
	mx, err := r.MX(ctx, "example.org")
	if err != nil || len(mx.Records) != 1 || mx.Records[0] != (ours.MX{Preference: 10, Host: "mail.example.org"}) || !mx.Secure {
		t.Error("MX:", mx, err)
	}
	before := asked.Load()
	if _, err := r.MX(ctx, "EXAMPLE.org"); err != nil || asked.Load() != before {
		t.Error("asked again for what is known", err)
	}
	if mx, err = r.MX(ctx, "null.example"); err != nil || mx.Records[0].Host != ours.NullMX {
		t.Error("null MX:", mx, err)
	}
	if mx, err = r.MX(ctx, "big.example"); err != nil || len(mx.Records) != 60 {
		t.Error("an answer that needs TCP:", len(mx.Records), err)
	}
	ips, err := r.Addresses(ctx, "mail.example.org")
	if want := "[2001:db8::1 192.0.2.1 192.0.2.2]"; err != nil || fmt.Sprint(ips.Records) != want {
		t.Error("addresses:", ips.Records, err)
	}
	if ips, err = r.Addresses(ctx, "a.example.org"); err != nil || fmt.Sprint(ips.Records) != "[192.0.2.9]" {
		t.Error("by CNAME:", ips.Records, err)
	}
	ptr, err := r.PTR(ctx, netip.MustParseAddr("192.0.2.1"))
	if err != nil || ptr.Records[0] != "mail.example.org" {
		t.Error("PTR:", ptr, err)
	}
	txt, err := r.TXT(ctx, "example.org")
	if err != nil || txt.Records[0] != "onetwo" {
		t.Error("TXT:", txt, err)
	}
	if _, err = r.MX(ctx, "mail.example.org"); !errors.Is(err, ours.ErrNoData) {
		t.Error("a name without MX:", err)
	}
	if _, err = r.MX(ctx, "nowhere.example"); !errors.Is(err, ours.ErrNoName) {
		t.Error("no such name:", err)
	}
	if _, err = r.MX(ctx, "broken.example"); !errors.Is(err, ours.ErrTemporary) || ours.IsAbsent(err) {
		t.Error("a failure:", err)
	}
}

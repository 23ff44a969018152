package resolver

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
	"posthaste/internal/server/resolver/dnssec"
	"posthaste/internal/server/resolver/dnstest"
)

// forwarder serves a world as a recursive server does that does not validate.
func forwarder(t *testing.T, w *dnstest.World, change func(*dns.Msg)) *Forward {
	return &Forward{Servers: []string{serve(t, func(rw dns.ResponseWriter, q *dns.Msg) {
		m := w.Resolve(dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype)
		m.Id, m.Question = q.Id, q.Question
		change(m)
		if _, udp := rw.RemoteAddr().(*net.UDPAddr); udp && m.Len() > 1200 {
			m.Answer, m.Ns, m.Truncated = nil, nil, true
		}
		rw.WriteMsg(m)
	})}}
}

func signedWorld() *dnstest.World {
	w := dnstest.New(time.Now())
	w.Zone("example.", dnstest.NSEC3).Add("example. 300 MX 10 mail.example.", "mail.example. 300 A 192.0.2.1",
		"_25._tcp.mail.example. 300 TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	w.Zone("plain.", dnstest.Unsigned).Add("plain. 300 MX 10 mail.example.")
	return w
}

func TestSecure(t *testing.T) {
	w := signedWorld()
	f := forwarder(t, w, func(m *dns.Msg) { m.AuthenticatedData = false })
	r := &Resolver{Source: f, Validator: &dnssec.Validator{Source: f, Anchors: w.Anchors()}, Probe: true}
	ctx := t.Context()
	if mx, err := r.MX(ctx, "example"); err != nil || !mx.Secure {
		t.Error("signed:", mx, err)
	}
	if mx, err := r.MX(ctx, "plain"); err != nil || mx.Secure {
		t.Error("not signed:", mx, err)
	}
	if a, err := r.Addresses(ctx, "mail.example"); err != nil || !a.Secure {
		t.Error("addresses:", a, err)
	}
	tlsa, err := r.TLSA(ctx, "_25._tcp.mail.example")
	if err != nil || !tlsa.Secure || tlsa.Records[0].Usage != 3 || len(tlsa.Records[0].Data) != 32 {
		t.Error("TLSA:", tlsa, err)
	}
	if _, err := r.TLSA(ctx, "_25._tcp.other.example"); !errors.Is(err, ours.ErrNoName) {
		t.Error("no TLSA:", err)
	}
}

// Somebody on the way who takes the records away, or their signatures, has no
// answer that is used; a server that has no signatures at all is another matter.
func TestStripped(t *testing.T) {
	w := signedWorld()
	strip := func(m *dns.Msg) {
		m.AuthenticatedData = true // by a server that is believed
		if m.Question[0].Qtype == dns.TypeTLSA {
			m.Answer, m.AuthenticatedData = nil, false
		}
	}
	f := forwarder(t, w, strip)
	r := &Resolver{Source: f, Validator: &dnssec.Validator{Source: f, Anchors: w.Anchors()}}
	if _, err := r.TLSA(t.Context(), "_25._tcp.mail.example"); !errors.Is(err, ours.ErrBogus) || ours.IsAbsent(err) {
		t.Error("taken away:", err)
	}
	bare := forwarder(t, w, func(m *dns.Msg) {
		var kept []dns.RR
		for _, rr := range m.Answer {
			if _, ok := rr.(*dns.RRSIG); !ok {
				kept = append(kept, rr)
			}
		}
		m.Answer, m.Ns, m.AuthenticatedData = kept, nil, false
	})
	v := &dnssec.Validator{Source: bare, Anchors: w.Anchors()}
	r = &Resolver{Source: bare, Validator: v, Probe: true}
	if mx, err := r.MX(t.Context(), "example"); err != nil || mx.Secure {
		t.Error("a server without signatures:", mx, err)
	}
	r = &Resolver{Source: bare, Validator: v}
	if mx, err := r.MX(t.Context(), "example"); !errors.Is(err, ours.ErrBogus) {
		t.Error("the same, where they must be:", mx, err)
	}
}

// Only a server on this machine is believed to have validated.
func TestBelief(t *testing.T) {
	for server, want := range map[string]bool{"127.0.0.1:53": true, "[::1]:5353": true, "192.0.2.1:53": false, "[2001:db8::1]:53": false} {
		if loopback(server) != want {
			t.Error(server)
		}
	}
}

// The name's letters must come back as they were sent, or the answer comes by
// TCP.
func TestLetters(t *testing.T) {
	var udp, tcp atomic.Int64
	h := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			udp.Add(1)
			m.Question[0].Name = dns.CanonicalName(m.Question[0].Name)
		} else {
			tcp.Add(1)
		}
		w.WriteMsg(m)
	}
	at := netip.MustParseAddr("127.53.25.1")
	pc, err := net.ListenPacket("udp", net.JoinHostPort(at.String(), "53"))
	if err != nil {
		t.Skip("port 53 needs a privilege: ", err)
	}
	ln, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Skip("the port is taken for TCP")
	}
	u, c := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(h)}, &dns.Server{Listener: ln, Handler: dns.HandlerFunc(h)}
	go u.ActivateAndServe()
	go c.ActivateAndServe()
	t.Cleanup(func() { u.Shutdown(); c.Shutdown() })
	q := new(dns.Msg).SetQuestion("a-name-of-many-letters.example.", dns.TypeA)
	m, err := Ask(t.Context(), q, at)
	if err != nil || udp.Load() != 1 || tcp.Load() != 1 || m.Question[0].Name != "a-name-of-many-letters.example." {
		t.Error(m, err, udp.Load(), tcp.Load())
	}
}

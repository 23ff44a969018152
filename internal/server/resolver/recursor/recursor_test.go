package recursor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
	"posthaste/internal/server/resolver/dnssec"
	"posthaste/internal/server/resolver/dnstest"
)

// internet is a world in which every zone has a server of its own.
type internet struct {
	*dnstest.World
	asked  []string
	change func(a netip.Addr, m *dns.Msg) error
}

func (n *internet) exchange(_ context.Context, q *dns.Msg, a netip.Addr) (*dns.Msg, error) {
	z := n.Server(a)
	if z == nil {
		return nil, errors.New("nobody there")
	}
	n.asked = append(n.asked, fmt.Sprintf("%s %s %s", z.Name, q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype]))
	m := z.Answer(q.Question[0].Name, q.Question[0].Qtype)
	if n.change != nil {
		if err := n.change(a, m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (n *internet) recursor() *Recursor {
	return &Recursor{Roots: []netip.Addr{n.At(".").Addr}, Exchange: n.exchange}
}

func newInternet() *internet {
	w := dnstest.New(time.Now())
	w.Zone("example.", dnstest.NSEC)
	w.Zone("one.example.", dnstest.NSEC3).Add("www.one.example. 300 A 192.0.2.1", "a.b.c.one.example. 300 A 192.0.2.2", "far.one.example. 300 CNAME www.two.test.")
	w.Zone("test.", dnstest.NSEC)
	w.Zone("two.test.", dnstest.Unsigned).Add("www.two.test. 300 A 192.0.2.3", "back.two.test. 300 CNAME far.one.example.")
	return &internet{World: w}
}

func addresses(t *testing.T, r *Recursor, name string) (out []string, rcode int) {
	t.Helper()
	m, err := r.Message(t.Context(), name, dns.TypeA)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil, 0
	}
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out, m.Rcode
}

func TestFinds(t *testing.T) {
	n := newInternet()
	r := n.recursor()
	for name, want := range map[string]string{
		"www.one.example.": "[192.0.2.1]", "a.b.c.one.example.": "[192.0.2.2]", "far.one.example.": "[192.0.2.3]",
		"back.two.test.": "[192.0.2.3]", "WWW.two.TEST.": "[192.0.2.3]", "b.c.one.example.": "[]",
	} {
		if got, rcode := addresses(t, r, name); fmt.Sprint(got) != want || rcode != 0 {
			t.Errorf("%s: %v, want %s; %d", name, got, want, rcode)
		}
	}
	for _, name := range []string{"nowhere.one.example.", "x.y.z.nowhere.", "no.body.two.test."} {
		if got, rcode := addresses(t, r, name); len(got) > 0 || rcode != dns.RcodeNameError {
			t.Errorf("%s: %v, %d", name, got, rcode)
		}
	}
}

// What it finds stands up to validation, and with it what it does not find.
func TestValidates(t *testing.T) {
	n := newInternet()
	r := n.recursor()
	v := &dnssec.Validator{Source: r, Anchors: n.Anchors()}
	for name, want := range map[string]bool{"www.one.example.": true, "a.b.c.one.example.": true, "nowhere.one.example.": true, "far.one.example.": false, "www.two.test.": false} {
		m, err := r.Message(t.Context(), name, dns.TypeA)
		if err != nil {
			t.Fatal(name, err)
		}
		if secure, err := v.Validate(t.Context(), m); err != nil || secure != want {
			t.Errorf("%s: secure %v, %v", name, secure, err)
		}
	}
}

// Nobody hears more of a name than it needs, and nobody is asked twice.
func TestMinimises(t *testing.T) {
	n := newInternet()
	r := n.recursor()
	addresses(t, r, "a.b.c.one.example.")
	want := ". example. A|example. one.example. A|one.example. c.one.example. A|one.example. b.c.one.example. A|one.example. a.b.c.one.example. A"
	if got := strings.Join(n.asked, "|"); got != want {
		t.Errorf("asked %s", got)
	}
	n.asked = nil
	addresses(t, r, "www.one.example.")
	if got := strings.Join(n.asked, "|"); got != "one.example. www.one.example. A" {
		t.Errorf("then asked %s", got)
	}
}

// A server that denies an empty name is asked for the whole one.
func TestWrongDenial(t *testing.T) {
	n := newInternet()
	n.change = func(_ netip.Addr, m *dns.Msg) error {
		if m.Question[0].Name == "c.one.example." {
			m.Rcode = dns.RcodeNameError
		}
		return nil
	}
	if got, _ := addresses(t, n.recursor(), "a.b.c.one.example."); fmt.Sprint(got) != "[192.0.2.2]" {
		t.Error(got)
	}
}

func TestNoGlue(t *testing.T) {
	n := newInternet()
	test := n.At("test.")
	test.Add("three.test. 300 NS ns.one.example.", "four.test. 300 NS ns.five.test.", "five.test. 300 NS ns.four.test.")
	r := n.recursor()
	n.change = func(a netip.Addr, m *dns.Msg) error {
		if a == n.At("one.example.").Addr && strings.HasSuffix(m.Question[0].Name, "three.test.") {
			rr, _ := dns.NewRR("www.three.test. 300 A 192.0.2.8")
			*m = dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Question: m.Question, Answer: []dns.RR{rr}}
		}
		return nil
	}
	if got, _ := addresses(t, r, "www.three.test."); fmt.Sprint(got) != "[192.0.2.8]" {
		t.Error(got)
	}
	// Each leads to the other, and to nothing.
	n.asked = nil
	if m, err := r.Message(t.Context(), "www.four.test.", dns.TypeA); !errors.Is(err, ours.ErrTemporary) || len(n.asked) > maxQuestions {
		t.Errorf("%v, %v, %d questions", m, err, len(n.asked))
	}
}

// A delegation to very many names costs no more than another.
func TestManyServers(t *testing.T) {
	n := newInternet()
	for i := range 200 {
		n.At("test.").Add(fmt.Sprintf("big.test. 300 NS ns%d.nowhere%d.two.test.", i, i))
	}
	if _, err := n.recursor().Message(t.Context(), "www.big.test.", dns.TypeA); err == nil || len(n.asked) > maxQuestions {
		t.Errorf("%v, %d questions", err, len(n.asked))
	}
}

// A server has no say in what is not its own.
func TestStaysInItsZone(t *testing.T) {
	n := newInternet()
	n.change = func(a netip.Addr, m *dns.Msg) error {
		if a != n.At("two.test.").Addr {
			return nil
		}
		lie, _ := dns.NewRR("www.one.example. 300 A 203.0.113.6")
		ns, _ := dns.NewRR("example. 300 NS ns.two.test.")
		glue, _ := dns.NewRR("ns.one.example. 300 A 203.0.113.7")
		m.Answer, m.Ns, m.Extra = append(m.Answer, lie), append(m.Ns, ns), append(m.Extra, glue)
		if m.Question[0].Name == "evil.two.test." {
			// A referral to somebody else's name, with an address for it.
			own, _ := dns.NewRR("evil.two.test. 300 NS ns.one.example.")
			*m = dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Question: m.Question, Ns: []dns.RR{own, ns}, Extra: []dns.RR{glue}}
		}
		return nil
	}
	r := n.recursor()
	if got, _ := addresses(t, r, "www.two.test."); fmt.Sprint(got) != "[192.0.2.3]" {
		t.Error("more than its own:", got)
	}
	r.Message(t.Context(), "x.evil.two.test.", dns.TypeA)
	if got, _ := addresses(t, r, "www.one.example."); fmt.Sprint(got) != "[192.0.2.1]" {
		t.Error("after that:", got)
	}
}

// Who does not answer is asked after all others.
func TestFailures(t *testing.T) {
	n := newInternet()
	dead := netip.MustParseAddr("10.9.9.9")
	n.At("test.").Add("ns.two.test. 300 A 10.9.9.9")
	tried := 0
	r := n.recursor()
	inner := r.Exchange
	r.Exchange = func(ctx context.Context, q *dns.Msg, a netip.Addr) (*dns.Msg, error) {
		if a == dead {
			tried++
		}
		return inner(ctx, q, a)
	}
	for range 40 {
		if got, _ := addresses(t, r, "www.two.test."); fmt.Sprint(got) != "[192.0.2.3]" {
			t.Fatal(got)
		}
	}
	if tried > 1 {
		t.Errorf("asked the dead one %d times", tried)
	}
	n.change = func(netip.Addr, *dns.Msg) error { return errors.New("no answer") }
	if _, err := r.Message(t.Context(), "www.two.test.", dns.TypeA); !errors.Is(err, ours.ErrTemporary) {
		t.Error("all dead:", err)
	}
	lame := func(_ netip.Addr, m *dns.Msg) error { m.Authoritative = false; return nil }
	n.change = lame
	if _, err := r.Message(t.Context(), "www.two.test.", dns.TypeA); !errors.Is(err, ours.ErrTemporary) {
		t.Error("not its zone:", err)
	}
}

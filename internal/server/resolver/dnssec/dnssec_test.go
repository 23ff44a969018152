package dnssec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
	"posthaste/internal/server/resolver/dnstest"
)

// wire is a source in which somebody may change what is sent.
type wire struct {
	world  *dnstest.World
	change func(*dns.Msg)
	asked  int
}

func (s *wire) Message(_ context.Context, name string, typ uint16) (*dns.Msg, error) {
	s.asked++
	m := s.world.Resolve(name, typ)
	if s.change != nil {
		s.change(m)
	}
	return m, nil
}

func newWorld(k dnstest.Kind) *dnstest.World {
	w := dnstest.New(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	w.Zone("example.", dnstest.NSEC)
	w.Zone("signed.example.", k).Add(
		"www.signed.example. 300 A 192.0.2.1", "www.signed.example. 300 A 192.0.2.2", "a.b.signed.example. 300 A 192.0.2.3",
		"*.wild.signed.example. 300 TXT any", "real.wild.signed.example. 300 A 192.0.2.7", "alias.signed.example. 300 CNAME www.signed.example.", "out.signed.example. 300 CNAME www.plain.example.",
		"signed.example. 300 MX 10 www.signed.example.", "_25._tcp.www.signed.example. 300 TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	w.Zone("plain.example.", dnstest.Unsigned).Add("www.plain.example. 300 A 192.0.2.9")
	w.Zone("deep.signed.example.", k).Add("x.deep.signed.example. 300 A 192.0.2.4")
	w.Zone("bare.signed.example.", dnstest.Unsigned).Add("x.bare.signed.example. 300 A 192.0.2.5", "in.bare.signed.example. 300 CNAME www.signed.example.")
	return w
}

var kinds = map[string]dnstest.Kind{"NSEC": dnstest.NSEC, "NSEC3": dnstest.NSEC3, "opt-out": dnstest.OptOut}

func validate(w *wire, name string, typ uint16) (bool, error) {
	v := &Validator{Source: w, Anchors: w.world.Anchors(), Now: func() time.Time { return w.world.Now }}
	m, _ := w.Message(context.Background(), name, typ)
	return v.Validate(context.Background(), m)
}

func TestVerdicts(t *testing.T) {
	for kind, k := range kinds {
		w := &wire{world: newWorld(k)}
		for _, c := range []struct {
			name    string
			typ     uint16
			secure  bool
			outsOpt bool // not secure where there is opt-out
		}{
			{"www.signed.example.", dns.TypeA, true, false},
			{"signed.example.", dns.TypeMX, true, false},
			{"_25._tcp.www.signed.example.", dns.TypeTLSA, true, false},
			{"alias.signed.example.", dns.TypeA, true, false},
			{"x.deep.signed.example.", dns.TypeA, true, false},
			{"some.wild.signed.example.", dns.TypeTXT, true, true},
			{"some.more.wild.signed.example.", dns.TypeTXT, true, true},
			{"www.plain.example.", dns.TypeA, false, false},
			{"x.bare.signed.example.", dns.TypeA, false, false},
			{"out.signed.example.", dns.TypeA, false, false},
			{"in.bare.signed.example.", dns.TypeA, false, false},
			// What there is not.
			{"www.signed.example.", dns.TypeMX, true, false},
			{"b.signed.example.", dns.TypeA, true, false},
			{"nowhere.signed.example.", dns.TypeA, true, true},
			{"no.where.signed.example.", dns.TypeA, true, true},
			{"_25._tcp.nowhere.signed.example.", dns.TypeTLSA, true, true},
			{"some.wild.signed.example.", dns.TypeA, true, true},
			{"nowhere.plain.example.", dns.TypeA, false, false},
			{"www.plain.example.", dns.TypeMX, false, false},
			{"nowhere.", dns.TypeA, true, false},
			{"alias.signed.example.", dns.TypeMX, true, false},
			{"out.signed.example.", dns.TypeMX, false, false},
			{"plain.example.", dns.TypeDS, true, false},
			{"signed.example.", dns.TypeDS, true, false},
			{"bare.signed.example.", dns.TypeDS, true, true},
			{".", dns.TypeNS, true, false},
		} {
			secure, err := validate(w, c.name, c.typ)
			want := c.secure && !(c.outsOpt && k == dnstest.OptOut)
			if err != nil || secure != want {
				t.Errorf("%s: %s %s: secure %v, want %v; %v", kind, c.name, dns.TypeToString[c.typ], secure, want, err)
			}
		}
	}
}

// What stands on the way can take away and change, and never makes an answer
// that is used.
func TestForgeries(t *testing.T) {
	drop := func(keep func(dns.RR) bool) func(*dns.Msg) {
		return func(m *dns.Msg) {
			for _, sec := range []*[]dns.RR{&m.Answer, &m.Ns} {
				var out []dns.RR
				for _, rr := range *sec {
					if keep(rr) {
						out = append(out, rr)
					}
				}
				*sec = out
			}
		}
	}
	typ := func(t uint16) func(dns.RR) bool { return func(rr dns.RR) bool { return rr.Header().Rrtype == t } }
	not := func(f func(dns.RR) bool) func(dns.RR) bool { return func(rr dns.RR) bool { return !f(rr) } }
	for kind, k := range kinds {
		for _, c := range []struct {
			what, name string
			typ        uint16
			change     func(*dns.Msg)
		}{
			{"signatures taken away", "www.signed.example.", dns.TypeA, drop(not(typ(dns.TypeRRSIG)))},
			{"an address more", "www.signed.example.", dns.TypeA, func(m *dns.Msg) {
				if m.Question[0].Qtype == dns.TypeA {
					rr, _ := dns.NewRR("www.signed.example. 300 A 203.0.113.1")
					m.Answer = append(m.Answer, rr)
				}
			}},
			{"an address less", "www.signed.example.", dns.TypeA, func(m *dns.Msg) {
				if m.Question[0].Qtype == dns.TypeA {
					m.Answer = m.Answer[1:]
				}
			}},
			{"no digests of keys", "www.signed.example.", dns.TypeA, drop(not(typ(dns.TypeDS)))},
			{"no digests, no signatures", "www.signed.example.", dns.TypeA, drop(func(rr dns.RR) bool {
				s, ok := rr.(*dns.RRSIG)
				return rr.Header().Rrtype != dns.TypeDS && (!ok || s.TypeCovered != dns.TypeDS && s.TypeCovered != dns.TypeA)
			})},
			{"no keys", "www.signed.example.", dns.TypeA, drop(not(typ(dns.TypeDNSKEY)))},
			{"an absence without proof", "_25._tcp.www.signed.example.", dns.TypeTLSA, func(m *dns.Msg) {
				if m.Question[0].Qtype == dns.TypeTLSA {
					m.Answer, m.Rcode = nil, dns.RcodeNameError
				}
			}},
			{"an absence with somebody else's proof", "_25._tcp.www.signed.example.", dns.TypeTLSA, nil},
			{"an absent name with a proof of an absent type", "_25._tcp.www.signed.example.", dns.TypeTLSA, nil},
			{"no proof that a delegation is plain", "x.bare.signed.example.", dns.TypeA, func(m *dns.Msg) {
				if m.Question[0].Qtype == dns.TypeDS {
					m.Ns = nil
				}
			}},
			{"a wildcard for what there is", "www.signed.example.", dns.TypeTXT, nil},
			{"a wildcard without proof", "some.wild.signed.example.", dns.TypeTXT, func(m *dns.Msg) { m.Ns = nil }},
		} {
			w := &wire{world: newWorld(k)}
			switch c.what {
			case "an absence with somebody else's proof":
				proof := w.world.Resolve("nowhere.signed.example.", dns.TypeTLSA)
				c.change = func(m *dns.Msg) {
					if m.Question[0].Qtype == dns.TypeTLSA {
						m.Answer, m.Ns, m.Rcode = nil, proof.Ns, proof.Rcode
					}
				}
			case "an absent name with a proof of an absent type":
				proof := w.world.Resolve("_25._tcp.www.signed.example.", dns.TypeA)
				c.change = func(m *dns.Msg) {
					if m.Question[0].Qtype == dns.TypeTLSA {
						m.Answer, m.Ns, m.Rcode = nil, proof.Ns, dns.RcodeNameError
					}
				}
			case "a wildcard for what there is":
				star := w.world.Resolve("some.wild.signed.example.", dns.TypeTXT)
				c.change = func(m *dns.Msg) {
					if m.Question[0].Qtype == dns.TypeTXT {
						m.Answer, m.Ns = star.Answer, star.Ns
						for _, rr := range m.Answer {
							rr.Header().Name = "www.signed.example."
						}
					}
				}
			}
			w.change = c.change
			secure, err := validate(w, c.name, c.typ)
			// With opt-out, what lies between hashes may be an unsigned delegation;
			// what exists may not.
			if secure || !errors.Is(err, ours.ErrBogus) {
				t.Errorf("%s: %s: secure %v, %v", kind, c.what, secure, err)
			}
		}
	}
}

// What a zone has signed says nothing where it is put in the place of something
// else.
func TestReplays(t *testing.T) {
	for kind, k := range kinds {
		world := newWorld(k)
		signed, example := world.At("signed.example."), world.At("example.")
		moved := func(rrs []dns.RR, name string) []dns.RR {
			if k != dnstest.NSEC {
				name = strings.ToLower(dns.HashName(name, dns.SHA1, 0, "aabb")) + ".signed.example."
			}
			for _, rr := range rrs {
				rr.Header().Name = name
			}
			return rrs
		}
		junk := func() []dns.RR {
			sig := dns.Copy(world.Resolve("www.signed.example.", dns.TypeA).Answer[2]).(*dns.RRSIG)
			sig.Hdr.Name, sig.SignerName, sig.TypeCovered = "a.plain.example.", "plain.example.", dns.TypeNSEC
			gap, _ := dns.NewRR("a.plain.example. 60 NSEC z.plain.example. A")
			return []dns.RR{gap, sig}
		}
		gaps := func(names ...string) (out []dns.RR) {
			for _, n := range names {
				out = append(out, signed.Gaps(n)...)
			}
			return dns.Dedup(out, nil)
		}
		for _, c := range []struct {
			what, name string
			typ        uint16
			answer, ns []dns.RR
			rcode      int
		}{
			{"no name, where a wildcard is", "some.wild.signed.example.", dns.TypeTXT, nil, world.Resolve("some.wild.signed.example.", dns.TypeTXT).Ns, dns.RcodeNameError},
			{"no data, where there are", "www.signed.example.", dns.TypeA, nil, gaps("www.signed.example."), 0},
			{"no data, where an alias is", "alias.signed.example.", dns.TypeA, nil, gaps("alias.signed.example."), 0},
			{"no data at the child, by the parent", "deep.signed.example.", dns.TypeMX, nil, gaps("deep.signed.example."), 0},
			{"no name below the child, by the parent", "x.deep.signed.example.", dns.TypeA, nil, gaps("deep.signed.example.", "x.deep.signed.example.", "*.deep.signed.example."), dns.RcodeNameError},
			{"no digests, by the child", "deep.signed.example.", dns.TypeDS, nil, world.At("deep.signed.example.").Gaps("deep.signed.example."), 0},
			{"digests, by the child", "deep.signed.example.", dns.TypeDS, world.At("deep.signed.example.").Signed([]dns.RR{dns.Copy(world.Resolve("deep.signed.example.", dns.TypeDS).Answer[0])}, "deep.signed.example."), nil, 0},
			{"the gap of a wildcard, moved", "real.wild.signed.example.", dns.TypeA, nil, moved(gaps("*.wild.signed.example."), "real.wild.signed.example."), 0},
			{"no name, by a gap of an unsigned zone", "www.signed.example.", dns.TypeA, nil, junk(), dns.RcodeNameError},
			{"no name, by another zone", "www.signed.example.", dns.TypeA, nil, example.Gaps("www.signed.example."), dns.RcodeNameError},
		} {
			m := world.Resolve(c.name, c.typ)
			m.Answer, m.Ns, m.Rcode = c.answer, c.ns, c.rcode
			v := &Validator{Source: &wire{world: world}, Anchors: world.Anchors(), Now: func() time.Time { return world.Now }}
			if secure, err := v.Validate(t.Context(), m); secure || !errors.Is(err, ours.ErrBogus) {
				t.Errorf("%s: %s: secure %v, %v", kind, c.what, secure, err)
			}
		}
		// The parent's word for a child with keys, without them.
		w := &wire{world: world}
		w.change = func(m *dns.Msg) {
			if q := m.Question[0]; q.Qtype == dns.TypeDS && q.Name == "signed.example." {
				m.Answer, m.Ns = nil, example.Gaps("signed.example.")
			} else if q.Qtype == dns.TypeA {
				m.Answer = m.Answer[:2]
			}
		}
		if secure, err := validate(w, "www.signed.example.", dns.TypeA); secure || !errors.Is(err, ours.ErrBogus) {
			t.Errorf("%s: digests left out: secure %v, %v", kind, secure, err)
		}
		// What lies below an unsigned delegation cannot be denied securely.
		m := world.Resolve("x.bare.signed.example.", dns.TypeA)
		m.Answer, m.Ns, m.Rcode = nil, gaps("bare.signed.example.", "x.bare.signed.example.", "*.bare.signed.example."), dns.RcodeNameError
		v := &Validator{Source: &wire{world: world}, Anchors: world.Anchors(), Now: func() time.Time { return world.Now }}
		if secure, _ := v.Validate(t.Context(), m); secure {
			t.Errorf("%s: a secure denial below an unsigned delegation", kind)
		}
	}
}

func TestTime(t *testing.T) {
	w := &wire{world: newWorld(dnstest.NSEC)}
	m, _ := w.Message(t.Context(), "www.signed.example.", dns.TypeA)
	for _, c := range []struct {
		later time.Duration
		ok    bool
	}{{0, true}, {23 * time.Hour, true}, {25 * time.Hour, false}, {-2 * time.Hour, false}} {
		then := w.world.Now.Add(c.later)
		v := &Validator{Source: w, Anchors: w.world.Anchors(), Now: func() time.Time { return then }}
		if secure, err := v.Validate(t.Context(), m); secure != c.ok || c.ok != (err == nil) {
			t.Errorf("%v later: secure %v, %v", c.later, secure, err)
		}
	}
	stranger := dnstest.New(w.world.Now)
	v := &Validator{Source: w, Anchors: stranger.Anchors(), Now: func() time.Time { return w.world.Now }}
	if secure, err := v.Validate(t.Context(), m); secure || !errors.Is(err, ours.ErrBogus) {
		t.Errorf("another root: secure %v, %v", secure, err)
	}
}

// What is known of delegations is not asked for again.
func TestRemembers(t *testing.T) {
	w := &wire{world: newWorld(dnstest.NSEC3)}
	v := &Validator{Source: w, Anchors: w.world.Anchors(), Now: func() time.Time { return w.world.Now }}
	for i := range 3 {
		m := w.world.Resolve("www.signed.example.", dns.TypeA)
		before := w.asked
		if secure, err := v.Validate(t.Context(), m); !secure || err != nil {
			t.Fatal(secure, err)
		}
		if i > 0 && w.asked != before {
			t.Errorf("asked %d things again", w.asked-before)
		}
	}
}

// Zones that are made to cost much cost little.
func TestBounds(t *testing.T) {
	w := &wire{world: newWorld(dnstest.NSEC)}
	w.change = func(m *dns.Msg) {
		if m.Question[0].Qtype == dns.TypeDNSKEY && m.Question[0].Name == "signed.example." {
			for i := range 200 {
				k := dns.Copy(m.Answer[0]).(*dns.DNSKEY)
				k.Flags = uint16(256 + i)
				m.Answer = append(m.Answer, k)
			}
		}
	}
	if secure, err := validate(w, "www.signed.example.", dns.TypeA); secure || !errors.Is(err, ours.ErrBogus) {
		t.Error("200 keys:", secure, err)
	}
	w = &wire{world: newWorld(dnstest.NSEC)}
	sum := 0
	w.change = func(m *dns.Msg) {
		if m.Question[0].Qtype != dns.TypeA {
			return
		}
		var sigs []dns.RR
		for _, rr := range m.Answer {
			if s, ok := rr.(*dns.RRSIG); ok {
				for i := range 500 {
					c := dns.Copy(s).(*dns.RRSIG)
					c.Signature = strings.Repeat("AAAA", 21) + fmt.Sprintf("%04d", i)
					sigs = append(sigs, c)
				}
			}
		}
		m.Answer = append(sigs, m.Answer...)
		sum++
	}
	v := &Validator{Source: w, Anchors: w.world.Anchors(), Now: func() time.Time { return w.world.Now }}
	m, _ := w.Message(t.Context(), "www.signed.example.", dns.TypeA)
	k := &work{v: v, ctx: t.Context(), now: w.world.Now}
	if _, err := k.message(m); !errors.Is(err, ours.ErrBogus) || k.signatures > maxSignatures+1 {
		t.Errorf("500 wrong signatures: %d checked, %v", k.signatures, err)
	}
	long := strings.Repeat("a.", 100) + "signed.example."
	w = &wire{world: newWorld(dnstest.NSEC3), change: func(m *dns.Msg) {
		if m.Question[0].Qtype == dns.TypeTXT {
			m.Ns = nil
		}
	}}
	if _, err := validate(w, long, dns.TypeTXT); !errors.Is(err, ours.ErrBogus) || w.asked > maxQuestions+10 {
		t.Errorf("a hundred labels: %d questions, %v", w.asked, err)
	}
	// So many rounds of hashing that the zone counts as unsigned.
	world := dnstest.New(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	world.Zone("slow.", dnstest.NSEC3).Iterations = 2000
	if secure, err := validate(&wire{world: world}, "nowhere.slow.", dns.TypeA); secure || err != nil {
		t.Error("2000 iterations:", secure, err)
	}
}

func TestCompare(t *testing.T) {
	// RFC 4034 §6.1, in the order given there
	order := []string{"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	for i, a := range order {
		for j, b := range order {
			if c := compare(a, b); (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("compare(%s, %s) = %d", a, b, c)
			}
		}
	}
}

// Package dnstest is a small domain name system in memory, with signed zones,
// for tests of resolvers.
package dnstest

import (
	"crypto"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Kind says how a zone is signed.
type Kind int

// The kinds.
const (
	Unsigned Kind = iota
	NSEC
	NSEC3
	OptOut // NSEC3 that leaves out unsigned delegations
)

// A World is the root and what lies below it.
type World struct {
	Now   time.Time
	zones map[string]*Zone
}

// A Zone is one of them. Records may be added at any time.
type Zone struct {
	Name       string
	Kind       Kind
	Iterations uint16
	// Addr is where its server is: 10.0.0.1 is the root's.
	Addr   netip.Addr
	key    *dns.DNSKEY
	signer crypto.Signer
	now    *time.Time
	rrs    map[string]map[uint16][]dns.RR
}

// New makes a world with a root that is signed with NSEC.
func New(now time.Time) *World {
	w := &World{Now: now, zones: map[string]*Zone{}}
	w.Zone(".", NSEC)
	return w
}

// Zone adds a zone below those that there are, with a name server at address,
// and delegates it from its parent.
func (w *World) Zone(name string, k Kind) *Zone {
	z := &Zone{Name: name, Kind: k, now: &w.Now, rrs: map[string]map[uint16][]dns.RR{}}
	if k != Unsigned {
		z.key = &dns.DNSKEY{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
		priv, err := z.key.Generate(256)
		if err != nil {
			panic(err)
		}
		z.signer = priv.(crypto.Signer)
		z.put(z.key)
	}
	ns := "ns." + strings.TrimPrefix(name, ".")
	z.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(len(w.zones) + 1)})
	z.Add(fmt.Sprintf("%s 300 A %s", ns, z.Addr), fmt.Sprintf("%s 300 SOA %s host.%s 1 3600 600 86400 60", name, ns, ns), fmt.Sprintf("%s 300 NS %s", name, ns))
	if p := w.zoneOf(name); p != nil {
		p.Add(fmt.Sprintf("%s 300 NS %s", name, ns), fmt.Sprintf("%s 300 A %s", ns, z.Addr))
		if k != Unsigned {
			p.put(z.key.ToDS(dns.SHA256))
		}
	}
	w.zones[name] = z
	return z
}

// At gives a zone.
func (w *World) At(name string) *Zone { return w.zones[name] }

// Anchors gives the digests of the root's keys.
func (w *World) Anchors() []*dns.DS { return []*dns.DS{w.zones["."].key.ToDS(dns.SHA256)} }

// Add adds records as they stand in a zone file.
func (z *Zone) Add(lines ...string) *Zone {
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			panic(err)
		}
		z.put(rr)
	}
	return z
}

// Remove removes all records of a name and type.
func (z *Zone) Remove(name string, typ uint16) { delete(z.rrs[name], typ) }

func (z *Zone) put(rr dns.RR) {
	h := rr.Header()
	n := dns.CanonicalName(h.Name)
	if z.rrs[n] == nil {
		z.rrs[n] = map[uint16][]dns.RR{}
	}
	z.rrs[n][h.Rrtype] = append(z.rrs[n][h.Rrtype], rr)
}

// zoneOf gives the lowest zone that a name lies in.
func (w *World) zoneOf(name string) *Zone {
	for n := name; ; n = up(n) {
		if z := w.zones[n]; z != nil {
			return z
		}
		if n == "." {
			return nil
		}
	}
}

func up(n string) string {
	at, end := dns.NextLabel(n, 0)
	if end {
		return "."
	}
	return n[at:]
}

// Resolve answers as a recursive server does that does not validate.
func (w *World) Resolve(name string, typ uint16) *dns.Msg {
	out := new(dns.Msg)
	out.SetQuestion(name, typ)
	out.Response = true
	for range 12 {
		z := w.zoneOf(name)
		if typ == dns.TypeDS && name == z.Name && name != "." {
			z = w.zoneOf(up(name))
		}
		m := z.Answer(name, typ)
		out.Answer, out.Ns, out.Rcode = append(out.Answer, m.Answer...), m.Ns, m.Rcode
		next := ""
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && typ != dns.TypeCNAME {
				next = c.Target
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	return out
}

// Server gives the zone whose server is at an address.
func (w *World) Server(a netip.Addr) *Zone {
	for _, z := range w.zones {
		if z.Addr == a {
			return z
		}
	}
	return nil
}

// Answer answers as the zone's own server does: with a referral where a name
// lies below a delegation.
func (z *Zone) Answer(name string, typ uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, typ)
	m.Response = true
	if !dns.IsSubDomain(z.Name, name) {
		m.Rcode = dns.RcodeRefused
		return m
	}
	name = dns.CanonicalName(name)
	for n := name; n != z.Name; n = up(n) {
		if z.rrs[n][dns.TypeNS] == nil || n == name && typ == dns.TypeDS {
			continue
		}
		m.Ns = append(m.Ns, z.rrs[n][dns.TypeNS]...)
		if ds := z.rrs[n][dns.TypeDS]; ds != nil {
			m.Ns = append(m.Ns, z.signed(ds, n)...)
		} else {
			m.Ns = append(m.Ns, z.missing(n)...)
		}
		for _, rr := range z.rrs[n][dns.TypeNS] {
			m.Extra = append(m.Extra, z.rrs[rr.(*dns.NS).Ns][dns.TypeA]...)
		}
		return m
	}
	m.Authoritative = true
	soa := z.signed(z.rrs[z.Name][dns.TypeSOA], z.Name)
	types := z.rrs[name]
	switch {
	case types[typ] != nil:
		m.Answer = z.signed(types[typ], name)
	case types[dns.TypeCNAME] != nil:
		m.Answer = z.signed(types[dns.TypeCNAME], name)
	case z.exists(name):
		m.Ns = append(soa, z.missing(name)...)
	default:
		above := up(name)
		for !z.exists(above) {
			above = up(above)
		}
		star := "*." + strings.TrimPrefix(above, ".")
		switch {
		case z.rrs[star][typ] != nil:
			m.Answer = z.signed(z.rrs[star][typ], name)
			m.Ns = z.nothing(name)
		case z.exists(star):
			m.Ns = append(soa, append(z.nothing(name), z.missing(star)...)...)
		default:
			m.Rcode = dns.RcodeNameError
			m.Ns = append(soa, append(z.nothing(name), z.nothing(star)...)...)
		}
	}
	m.Answer, m.Ns = dns.Dedup(m.Answer, nil), dns.Dedup(m.Ns, nil)
	return m
}

func (z *Zone) exists(name string) bool {
	if name == z.Name || len(z.rrs[name]) > 0 {
		return true
	}
	for n := range z.rrs {
		if len(z.rrs[n]) > 0 && dns.IsSubDomain(name, n) {
			return true
		}
	}
	return false
}

// Gaps gives what the zone says of a name to prove that something is not there,
// whether that is so or not.
func (z *Zone) Gaps(name string) []dns.RR { return z.missing(name) }

// Signed gives a set as it is answered for a name, with its signature.
func (z *Zone) Signed(set []dns.RR, name string) []dns.RR { return z.signed(set, name) }

func (z *Zone) signed(set []dns.RR, name string) []dns.RR {
	if len(set) == 0 {
		return nil
	}
	out := slices.Clone(set)
	var sig *dns.RRSIG
	if z.key != nil {
		sig = &dns.RRSIG{
			Hdr: dns.RR_Header{Ttl: set[0].Header().Ttl}, Algorithm: z.key.Algorithm, SignerName: z.Name, KeyTag: z.key.KeyTag(),
			Inception: uint32(z.now.Add(-time.Hour).Unix()), Expiration: uint32(z.now.Add(24 * time.Hour).Unix()),
		}
		if err := sig.Sign(z.signer, set); err != nil {
			panic(err)
		}
	}
	for i, rr := range out {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	if sig == nil {
		return out
	}
	sig.Hdr.Name = name
	return append(out, sig)
}

// missing proves that a name that exists lacks a type; nothing, that a name does
// not exist.
func (z *Zone) missing(name string) []dns.RR {
	switch z.Kind {
	case NSEC:
		return z.nsec(name, true)
	case NSEC3, OptOut:
		return z.nsec3(name)
	}
	return nil
}

func (z *Zone) nothing(name string) []dns.RR {
	switch z.Kind {
	case NSEC:
		return z.nsec(name, false)
	case NSEC3, OptOut:
		return z.nsec3(name)
	}
	return nil
}

func (z *Zone) types(name string, extra ...uint16) []uint16 {
	out := slices.Clone(extra)
	for t := range z.rrs[name] {
		if len(z.rrs[name][t]) > 0 {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (z *Zone) below(name string) bool {
	for n := up(name); name != z.Name && n != z.Name; n = up(n) {
		if z.rrs[n][dns.TypeNS] != nil {
			return true
		}
	}
	return false
}

// nsec gives the record of a name, or that before it.
func (z *Zone) nsec(name string, exact bool) []dns.RR {
	var names []string
	for n := range z.rrs {
		if len(z.types(n)) > 0 && !z.below(n) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, canonical)
	at := 0
	for i, n := range names {
		if canonical(n, name) <= 0 {
			at = i
		}
	}
	if exact && names[at] != name {
		exact = false // an empty name: the gap before it shows that
	}
	rr := &dns.NSEC{
		Hdr:        dns.RR_Header{Name: names[at], Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 60},
		NextDomain: names[(at+1)%len(names)], TypeBitMap: z.types(names[at], dns.TypeNSEC, dns.TypeRRSIG),
	}
	return z.signed([]dns.RR{rr}, names[at])
}

func canonical(a, b string) int {
	la, lb := dns.SplitDomainName(a), dns.SplitDomainName(b)
	for i := 1; i <= len(la) && i <= len(lb); i++ {
		if c := strings.Compare(la[len(la)-i], lb[len(lb)-i]); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

const salt = "aabb"

// nsec3 gives the records that show what there is of a name: its own, or those
// of what is next above, and the gap that it lies in.
func (z *Zone) nsec3(name string) []dns.RR {
	hashes := map[string]string{}
	hash := func(n string) string { return dns.HashName(n, dns.SHA1, z.Iterations, salt) }
	for n := range z.rrs {
		types := z.rrs[n]
		if len(z.types(n)) == 0 || z.below(n) || z.Kind == OptOut && n != z.Name && types[dns.TypeNS] != nil && types[dns.TypeDS] == nil {
			continue
		}
		for ; ; n = up(n) {
			hashes[hash(n)] = n
			if n == z.Name {
				break
			}
		}
	}
	var order []string
	for h := range hashes {
		order = append(order, h)
	}
	slices.Sort(order)
	record := func(i int) []dns.RR {
		owner := strings.ToLower(order[i]) + "." + strings.TrimPrefix(z.Name, ".")
		rr := &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 60},
			Hash: dns.SHA1, Iterations: z.Iterations, SaltLength: 2, Salt: salt, HashLength: 20,
			NextDomain: order[(i+1)%len(order)], TypeBitMap: z.types(hashes[order[i]], dns.TypeRRSIG),
		}
		if z.Kind == OptOut {
			rr.Flags = 1
		}
		return z.signed([]dns.RR{rr}, owner)
	}
	find := func(n string) []dns.RR {
		h, at := hash(n), len(order)-1
		for i, o := range order {
			if o <= h {
				at = i
			}
		}
		return record(at)
	}
	var out []dns.RR
	for n := name; ; n = up(n) {
		out = append(out, find(n)...)
		if _, ok := hashes[hash(n)]; ok {
			return out
		}
	}
}

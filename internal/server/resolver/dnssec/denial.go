package dnssec

import (
	"errors"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// proofs are the signed gaps that an answer brings along.
type proofs struct {
	zone  *zone
	nsec  []*dns.NSEC
	nsec3 []*dns.NSEC3
}

func (p *proofs) add(s *set, sig *dns.RRSIG) {
	if !s.itself(sig) {
		return // the gap of a wildcard, moved to where it says something else
	}
	switch rr := s.rrs[0].(type) {
	case *dns.NSEC:
		p.nsec = append(p.nsec, rr)
	case *dns.NSEC3:
		// One kind of hash in an answer; the other records say nothing.
		if rr.Hash == dns.SHA1 && (len(p.nsec3) == 0 || p.nsec3[0].Salt == rr.Salt && p.nsec3[0].Iterations == rr.Iterations) {
			p.nsec3 = append(p.nsec3, rr)
		}
	}
}

// proofs gives the gaps in an answer that may say something of a name: those
// that a zone above it has signed, the lowest one. nil if that zone is proven not
// to be signed.
func (w *work) proofs(m *dns.Msg, name string) (*proofs, error) {
	p := &proofs{}
	seen := 0
	for _, s := range group(m.Ns) {
		if s.typ != dns.TypeNSEC && s.typ != dns.TypeNSEC3 {
			continue
		}
		if seen++; seen > maxProofs {
			break
		}
		z, sig, err := w.prover(s, name)
		if err != nil {
			return nil, err
		}
		if sig == nil {
			continue
		}
		if z == nil {
			return nil, nil
		}
		if p.zone == nil || p.zone.name != z.name && dns.IsSubDomain(p.zone.name, z.name) {
			*p = proofs{zone: z}
		}
		if z.name == p.zone.name {
			p.add(s, sig)
		}
	}
	return p, nil
}

// prover gives the zone that has signed a gap, and the signature; no signature
// if there is none that holds, and no zone if it is proven not to be signed. Who
// may speak is decided by the name in question, not by the gap's own, which
// anybody may make up.
func (w *work) prover(s *set, name string) (*zone, *dns.RRSIG, error) {
	for i, sig := range s.sigs {
		if i == maxSigsOfSet {
			break
		}
		signer := dns.CanonicalName(sig.SignerName)
		if !dns.IsSubDomain(signer, name) || !dns.IsSubDomain(signer, s.name) || s.typ == dns.TypeNSEC3 && parent(s.name) != signer {
			continue
		}
		z, err := w.enclosing(signer)
		if err != nil {
			return nil, nil, err
		}
		if z == nil {
			return nil, sig, nil
		}
		if z.name != signer {
			continue
		}
		err = w.check(s, sig, z.keys)
		if err == nil {
			return z, sig, nil
		}
		if errors.Is(err, errWork) {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// denial checks that a name, or its records of a type, do not exist.
func (w *work) denial(m *dns.Msg, name string, typ uint16) (bool, error) {
	p, err := w.proofs(m, name)
	if err != nil || p == nil {
		return false, err
	}
	if p.zone == nil {
		z, err := w.enclosing(name)
		if err != nil || z == nil {
			return false, err
		}
		return false, bogus("nothing proves that there is no %s %s", name, dns.TypeToString[typ])
	}
	ok := false
	switch {
	case len(p.nsec3) > 0:
		if p.nsec3[0].Iterations > maxIterations {
			return false, nil
		}
		var secure bool
		if secure, ok, err = p.hashed(w, name, typ, m.Rcode == dns.RcodeNameError); err != nil {
			return false, err
		}
		if ok && !secure {
			return false, nil
		}
	case m.Rcode == dns.RcodeNameError:
		ok = p.noName(name)
	default:
		ok = p.noData(name, typ)
	}
	if !ok {
		return false, bogus("nothing proves that there is no %s %s", name, dns.TypeToString[typ])
	}
	return true, nil
}

// lacks tells whether a name that has these types has nothing of the type asked
// for, as the zone that must know says.
func lacks(types []uint16, typ uint16) bool {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	if has(typ) || has(dns.TypeCNAME) {
		return false
	}
	if typ == dns.TypeDS {
		return !has(dns.TypeSOA) // else the child speaks, and the parent must. RFC 6840 §4.4
	}
	return !has(dns.TypeNS) || has(dns.TypeSOA) // else the parent speaks, and the child must
}

// cutsOff tells whether what lies below a name with these types is for others to
// say. RFC 6840 §4.1
func cutsOff(types []uint16) bool {
	return slices.Contains(types, dns.TypeDNAME) || slices.Contains(types, dns.TypeNS) && !slices.Contains(types, dns.TypeSOA)
}

// covering gives the gap that a name lies in.
func (p *proofs) covering(name string) *dns.NSEC {
	for _, n := range p.nsec {
		owner, next := dns.CanonicalName(n.Hdr.Name), dns.CanonicalName(n.NextDomain)
		if dns.IsSubDomain(owner, name) && owner != name && cutsOff(n.TypeBitMap) {
			continue
		}
		if !dns.IsSubDomain(p.zone.name, name) || compare(owner, name) >= 0 {
			continue
		}
		// The last name's next is the first, the zone itself.
		if compare(name, next) < 0 || next == p.zone.name {
			return n
		}
	}
	return nil
}

func (p *proofs) matching(name string) *dns.NSEC {
	for _, n := range p.nsec {
		if dns.CanonicalName(n.Hdr.Name) == name {
			return n
		}
	}
	return nil
}

// encloser gives the nearest name above that exists, as a gap shows it.
func encloser(name string, gap *dns.NSEC) string {
	n := max(dns.CompareDomainName(name, gap.Hdr.Name), dns.CompareDomainName(name, gap.NextDomain))
	return lowest(name, n)
}

// lowest gives the last n labels of a name.
func lowest(name string, n int) string {
	at := dns.Split(name)
	if n == 0 || len(at) == 0 {
		return "."
	}
	return name[at[max(len(at)-n, 0)]:]
}

func under(name string) string {
	if name == "." {
		return "*."
	}
	return "*." + name
}

// noName: RFC 4035 §5.4
func (p *proofs) noName(name string) bool {
	gap := p.covering(name)
	if gap == nil || dns.IsSubDomain(name, gap.NextDomain) {
		return false
	}
	return p.covering(under(encloser(name, gap))) != nil
}

// noData: RFC 4035 §5.4
func (p *proofs) noData(name string, typ uint16) bool {
	if n := p.matching(name); n != nil {
		return lacks(n.TypeBitMap, typ)
	}
	gap := p.covering(name)
	if gap == nil {
		return false
	}
	if dns.IsSubDomain(name, gap.NextDomain) {
		return true // there is only something below it
	}
	n := p.matching(under(encloser(name, gap)))
	return n != nil && lacks(n.TypeBitMap, typ)
}

// noneNearer checks that nothing exists between a name and the wildcard with so
// many labels that an answer stands for.
func (p *proofs) noneNearer(w *work, name string, labels int) (bool, error) {
	nearer := lowest(name, labels+1)
	if len(p.nsec3) > 0 {
		if p.nsec3[0].Iterations > maxIterations {
			return false, nil
		}
		gap, err := p.gap(w, nearer)
		if err != nil {
			return false, err
		}
		if gap != nil {
			return gap.Flags&optOut == 0, nil
		}
	} else if p.zone != nil && p.covering(name) != nil {
		return true, nil
	}
	return false, bogus("nothing proves that %s is not nearer than the wildcard", name)
}

const optOut = 1

// hash gives the hash of a name as it stands in the zone's NSEC3 owners.
func (p *proofs) hash(w *work, name string) (string, error) {
	if w.hashes++; w.hashes > maxHashes {
		return "", errWork
	}
	n := p.nsec3[0]
	return dns.HashName(name, n.Hash, n.Iterations, n.Salt), nil
}

// ownerHash gives the hash that a record stands for, if it is the zone's.
func (p *proofs) ownerHash(n *dns.NSEC3) (string, bool) {
	label, rest, ok := strings.Cut(n.Hdr.Name, ".")
	if rest == "" {
		rest = "."
	}
	return strings.ToUpper(label), ok && dns.CanonicalName(rest) == p.zone.name
}

func (p *proofs) match(w *work, name string) (*dns.NSEC3, error) {
	h, err := p.hash(w, name)
	if err != nil {
		return nil, err
	}
	for _, n := range p.nsec3 {
		if o, ok := p.ownerHash(n); ok && o == h {
			return n, nil
		}
	}
	return nil, nil
}

// gap gives the record between whose hashes that of a name lies.
func (p *proofs) gap(w *work, name string) (*dns.NSEC3, error) {
	h, err := p.hash(w, name)
	if err != nil {
		return nil, err
	}
	for _, n := range p.nsec3 {
		owner, ok := p.ownerHash(n)
		if !ok {
			continue
		}
		next := strings.ToUpper(n.NextDomain)
		inside := owner < h && h < next
		if next <= owner { // the last one's next is the first
			inside = h > owner || h < next
		}
		if inside && h != owner {
			return n, nil
		}
	}
	return nil, nil
}

// nearest gives the nearest name above that exists, and the gap that the name
// one level below it lies in: both nil if that is not proven. RFC 5155 §8.3
func (p *proofs) nearest(w *work, name string) (above string, gap *dns.NSEC3, err error) {
	nearer := ""
	for n := name; n != "" && dns.IsSubDomain(p.zone.name, n); n = parent(n) {
		m, err := p.match(w, n)
		if err != nil {
			return "", nil, err
		}
		if m == nil {
			nearer = n
			continue
		}
		if nearer == "" || cutsOff(m.TypeBitMap) {
			return "", nil, nil
		}
		gap, err := p.gap(w, nearer)
		return n, gap, err
	}
	return "", nil, nil
}

// hashed is the proof by NSEC3 that a name or its records do not exist. It is
// not secure where the zone leaves out delegations that are not signed. RFC 5155
// §8.4 to 8.7, 9.2
func (p *proofs) hashed(w *work, name string, typ uint16, noName bool) (secure, ok bool, err error) {
	if !noName {
		m, err := p.match(w, name)
		if err != nil {
			return false, false, err
		}
		if m != nil {
			return true, lacks(m.TypeBitMap, typ), nil
		}
	}
	above, gap, err := p.nearest(w, name)
	if err != nil || gap == nil {
		return false, false, err
	}
	secure = gap.Flags&optOut == 0
	if noName {
		star, err := p.gap(w, under(above))
		return secure, star != nil, err
	}
	if !secure {
		return false, true, nil
	}
	star, err := p.match(w, under(above))
	return true, star != nil && lacks(star.TypeBitMap, typ), err
}

// delegation reads of an answer without DS records what a name is.
func (p *proofs) delegation(w *work, name string) (cutKind, error) {
	kind := func(types []uint16) (cutKind, error) {
		switch {
		case slices.Contains(types, dns.TypeDS):
			return 0, bogus("%s has digests of its keys, and they are not there", name)
		case slices.Contains(types, dns.TypeNS):
			return insecureCut, nil
		}
		return noCut, nil
	}
	if len(p.nsec3) == 0 {
		if n := p.matching(name); n != nil {
			return kind(n.TypeBitMap)
		}
		if p.covering(name) != nil {
			return noCut, nil
		}
		return 0, bogus("nothing proves that %s has no keys", name)
	}
	if p.nsec3[0].Iterations > maxIterations {
		return insecureCut, nil
	}
	m, err := p.match(w, name)
	if err != nil {
		return 0, err
	}
	if m != nil {
		return kind(m.TypeBitMap)
	}
	_, gap, err := p.nearest(w, name)
	switch {
	case err != nil:
		return 0, err
	case gap == nil:
		return 0, bogus("nothing proves that %s has no keys", name)
	case gap.Flags&optOut != 0:
		return insecureCut, nil
	}
	return noCut, nil
}

// compare orders names as DNSSEC does: by their labels, the last first. RFC 4034
// §6.1
func compare(a, b string) int {
	la, lb := dns.Split(a), dns.Split(b)
	for i := 1; i <= len(la) && i <= len(lb); i++ {
		if c := strings.Compare(label(a, la, i), label(b, lb, i)); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

// label gives the ith label from the end, as its bytes are.
func label(name string, at []int, i int) string {
	from := at[len(at)-i]
	to := len(name) - 1
	if i > 1 {
		to = at[len(at)-i+1] - 1
	}
	return unescape(name[from:to])
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b.WriteByte(s[i])
		case i+3 < len(s) && '0' <= s[i+1] && s[i+1] <= '9':
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
			i += 3
		default:
			b.WriteByte(s[i+1])
			i++
		}
	}
	return b.String()
}

package dnssec

import (
	"crypto"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A zone is one whose keys are proven.
type zone struct {
	name string
	keys []*dns.DNSKEY
}

// A cut is what is known of a name below a secure zone.
type cut struct {
	kind  cutKind
	zone  *zone // of a secure one
	until time.Time
}

type cutKind byte

const (
	noCut       cutKind = iota // the name belongs to the zone above
	secureCut                  // a zone of its own, whose keys the parent vouches for
	insecureCut                // a zone of its own, proven not to be signed
)

// enclosing gives the lowest signed zone that a name may lie in; nil if it lies
// below a delegation that is proven to be unsigned.
func (w *work) enclosing(name string) (*zone, error) {
	z, err := w.root()
	if err != nil {
		return nil, err
	}
	labels := dns.Split(name)
	for i := len(labels) - 1; i >= 0; i-- {
		c, err := w.cut(z, name[labels[i]:])
		if err != nil {
			return nil, err
		}
		switch c.kind {
		case secureCut:
			z = c.zone
		case insecureCut:
			return nil, nil
		}
	}
	return z, nil
}

func (w *work) root() (*zone, error) {
	if c, ok := w.v.cuts.get(".", w.now); ok {
		return c.zone, nil
	}
	z, until, err := w.keys(".", w.v.Anchors)
	if err != nil {
		return nil, err
	}
	w.v.cuts.put(".", cut{secureCut, z, until})
	return z, nil
}

// How long what is known of a delegation may be kept.
const (
	maxKept   = time.Hour
	minKept   = 10 * time.Second
	keptNoCut = 10 * time.Minute
)

// kept bounds how long records may be kept, and not beyond their signature.
func (w *work) kept(s *set, sig *dns.RRSIG) time.Time {
	ttl := maxKept
	for _, rr := range s.rrs {
		ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
	}
	until := w.now.Add(max(ttl, minKept))
	// The clock of signatures goes round every 136 years. RFC 1982
	left := int32(sig.Expiration - uint32(w.now.Unix()))
	if ends := w.now.Add(time.Duration(left) * time.Second); ends.Before(until) {
		until = ends
	}
	return until
}

// cut finds out what a name one or more levels below z is: RFC 4035 §5.2
func (w *work) cut(z *zone, name string) (cut, error) {
	if c, ok := w.v.cuts.get(name, w.now); ok {
		return c, nil
	}
	m, err := w.ask(name, dns.TypeDS)
	if err != nil {
		return cut{}, err
	}
	sets := group(m.Answer)
	c := cut{noCut, nil, w.now.Add(keptNoCut)}
	if ds := sets[setKey{name, dns.TypeDS}]; ds != nil {
		c, err = w.child(z, ds)
	} else if alias := sets[setKey{name, dns.TypeCNAME}]; alias != nil {
		// What is an alias is no zone.
		_, err = w.signedBy(z, alias)
	} else {
		c.kind, err = w.undelegated(m, z, name)
	}
	if err != nil {
		return cut{}, err
	}
	w.v.cuts.put(name, c)
	return c, nil
}

// signedBy checks that a zone has signed a set.
func (w *work) signedBy(z *zone, s *set) (sig *dns.RRSIG, err error) {
	err = bogus("%s %s is not signed by %s", s.name, dns.TypeToString[s.typ], z.name)
	for i, sig := range s.sigs {
		if i == maxSigsOfSet {
			break
		}
		if dns.CanonicalName(sig.SignerName) != z.name {
			continue
		}
		if err = w.check(s, sig, z.keys); err == nil {
			return sig, nil
		}
	}
	return nil, err
}

// child gives a delegation with digests of the child's keys.
func (w *work) child(z *zone, s *set) (cut, error) {
	sig, err := w.signedBy(z, s)
	if err != nil {
		return cut{}, err
	}
	until := w.kept(s, sig)
	var usable []*dns.DS
	for _, rr := range s.rrs {
		if ds := rr.(*dns.DS); supported(ds.Algorithm) && digest(ds.DigestType) != 0 {
			usable = append(usable, ds)
		}
	}
	if len(usable) == 0 {
		// Signed in a way that we do not know is as good as not signed.
		return cut{insecureCut, nil, until}, nil
	}
	child, ends, err := w.keys(s.name, usable)
	if ends.Before(until) {
		until = ends
	}
	return cut{secureCut, child, until}, err
}

// keys fetches the keys of a zone, one of which must have one of the digests and
// sign them all.
func (w *work) keys(name string, digests []*dns.DS) (*zone, time.Time, error) {
	m, err := w.ask(name, dns.TypeDNSKEY)
	if err != nil {
		return nil, time.Time{}, err
	}
	s := group(m.Answer)[setKey{name, dns.TypeDNSKEY}]
	if s == nil {
		return nil, time.Time{}, bogus("the zone %s has lost its keys", name)
	}
	if len(s.rrs) > maxKeys {
		return nil, time.Time{}, errWork
	}
	z := &zone{name: name}
	var entry []*dns.DNSKEY
	for _, rr := range s.rrs {
		k := rr.(*dns.DNSKEY)
		if k.Flags&dns.ZONE == 0 || k.Protocol != 3 || !supported(k.Algorithm) {
			continue
		}
		z.keys = append(z.keys, k)
		for _, ds := range digests {
			if ds.Algorithm != k.Algorithm || ds.KeyTag != k.KeyTag() || digest(ds.DigestType) == 0 {
				continue
			}
			if w.hashes++; w.hashes > maxHashes {
				return nil, time.Time{}, errWork
			}
			if have := k.ToDS(ds.DigestType); have != nil && strings.EqualFold(have.Digest, ds.Digest) {
				entry = append(entry, k)
				break
			}
		}
	}
	sig, err := w.signedBy(&zone{name: name, keys: entry}, s)
	if err != nil {
		return nil, time.Time{}, err
	}
	return z, w.kept(s, sig), nil
}

// undelegated reads of an answer without DS records what the name is.
func (w *work) undelegated(m *dns.Msg, z *zone, name string) (cutKind, error) {
	p := &proofs{zone: z}
	for _, s := range group(m.Ns) {
		if s.typ != dns.TypeNSEC && s.typ != dns.TypeNSEC3 {
			continue
		}
		if len(p.nsec)+len(p.nsec3) == maxProofs {
			break
		}
		sig, err := w.signedBy(z, s)
		if err != nil {
			return 0, err
		}
		p.add(s, sig)
	}
	return p.delegation(w, name)
}

// supported tells whether we can check signatures of an algorithm; those with
// SHA-1 prove nothing any more. RFC 9905
func supported(alg uint8) bool {
	switch alg {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

func digest(typ uint8) crypto.Hash {
	switch typ {
	case dns.SHA256:
		return crypto.SHA256
	case dns.SHA384:
		return crypto.SHA384
	}
	return 0
}

// Package dnssec tells whether an answer of the domain name system is what the
// owner of the name signed. RFC 4033 to 4035, 5155, 6840
//
// A Validator begins at the root, whose keys it knows by their digests, and goes
// down one delegation after the other: each parent signs the digest of its
// child's keys, or that the child has none. So an answer is one of three:
// secure, insecure (it is proven that its zone is not signed), or bogus.
//
// What one question may cost is bounded, whatever a zone has prepared: so many
// signatures, hashes and further questions, and no more (CVE-2023-50387,
// CVE-2023-50868).
package dnssec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	ours "posthaste/internal/base/dns"
)

// A Source gives whole messages, with their signatures, as somebody has sent
// them: nothing in them is believed.
type Source interface {
	// Message asks for the records of a name, written with its final dot and in
	// lower case.
	Message(ctx context.Context, name string, typ uint16) (*dns.Msg, error)
}

// A Validator checks messages. Its fields must be set, and a Validator must not
// be copied after first use.
type Validator struct {
	Source  Source
	Anchors []*dns.DS        // digests of the root's keys
	Now     func() time.Time // nil: time.Now

	cuts cutCache
}

// What one question may cost.
const (
	maxSignatures = 48
	maxHashes     = 96
	maxQuestions  = 64
	maxSigsOfSet  = 6  // signatures that are looked at for one set of records
	maxKeysOfTag  = 3  // keys that are tried for one signature
	maxKeys       = 32 // keys of a zone
	maxProofs     = 8  // NSEC and NSEC3 sets in one answer
	maxHops       = 10 // CNAMEs and DNAMEs
)

// maxIterations is how often NSEC3 may hash; a zone that does more counts as
// unsigned. RFC 9276 §3.2
const maxIterations = 100

var errWork = fmt.Errorf("%w: the zone asks for more work than any honest one", ours.ErrBogus)

// bogus is an answer that is forged or broken, and how that was seen.
func bogus(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ours.ErrBogus, fmt.Sprintf(format, args...))
}

// Validate tells whether m, the answer to the one question in it, is secure; if
// it is not, and there is no error, it is proven that it need not be. The error
// is dns.ErrBogus if the answer must not be used, and dns.ErrTemporary if that
// could not be found out.
func (v *Validator) Validate(ctx context.Context, m *dns.Msg) (secure bool, err error) {
	if len(m.Question) != 1 {
		return false, bogus("no question in it")
	}
	w := &work{v: v, ctx: ctx, now: time.Now()}
	if v.Now != nil {
		w.now = v.Now()
	}
	return w.message(m)
}

// work is one question under way, and what it has cost.
type work struct {
	v                             *Validator
	ctx                           context.Context
	now                           time.Time
	signatures, hashes, questions int
}

// ask asks the source for one thing more.
func (w *work) ask(name string, typ uint16) (*dns.Msg, error) {
	if w.questions++; w.questions > maxQuestions {
		return nil, errWork
	}
	m, err := w.v.Source.Message(w.ctx, name, typ)
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("%w: %s %s: %s", ours.ErrTemporary, dns.TypeToString[typ], name, dns.RcodeToString[m.Rcode])
	}
	return m, nil
}

// message follows the chain of aliases from the question's name to its end, and
// checks every link.
func (w *work) message(m *dns.Msg) (bool, error) {
	q := m.Question[0]
	name, sets := dns.CanonicalName(q.Name), group(m.Answer)
	secure := true
	for range maxHops {
		s := sets[setKey{name, q.Qtype}]
		if s != nil {
			ok, err := w.positive(m, s)
			return secure && ok, err
		}
		target, ok, err := w.alias(m, sets, name)
		if err != nil {
			return false, err
		}
		if target == "" {
			ok, err := w.denial(m, name, q.Qtype)
			return secure && ok, err
		}
		name, secure = target, secure && ok
	}
	return false, bogus("%s: too many aliases", q.Name)
}

// alias gives where a CNAME or DNAME leads; nowhere if there is none.
func (w *work) alias(m *dns.Msg, sets map[setKey]*set, name string) (target string, secure bool, err error) {
	// A DNAME is signed, the CNAME made of it is not. RFC 6672 §5.3.1
	for up := parent(name); up != ""; up = parent(up) {
		s := sets[setKey{up, dns.TypeDNAME}]
		if s == nil {
			continue
		}
		secure, err := w.positive(m, s)
		if err != nil {
			return "", false, err
		}
		to := dns.CanonicalName(s.rrs[0].(*dns.DNAME).Target)
		long := name[:len(name)-len(up)] + to
		if to == "." {
			long = name[:len(name)-len(up)]
		}
		if _, ok := dns.IsDomainName(long); !ok {
			return "", false, bogus("%s: DNAME leads to what is no name", name)
		}
		return long, secure, nil
	}
	s := sets[setKey{name, dns.TypeCNAME}]
	if s == nil {
		return "", true, nil
	}
	if len(s.rrs) != 1 {
		return "", false, bogus("%s: more than one CNAME", name)
	}
	secure, err = w.positive(m, s)
	return dns.CanonicalName(s.rrs[0].(*dns.CNAME).Target), secure, err
}

// positive checks a set of records that are in an answer.
func (w *work) positive(m *dns.Msg, s *set) (bool, error) {
	sig, err := w.verified(s)
	if err != nil || sig == nil {
		return false, err
	}
	if s.itself(sig) {
		return true, nil
	}
	// It stands for a wildcard: then nothing nearer may exist. RFC 4035 §5.3.4
	p, err := w.proofs(m, s.name)
	if err != nil || p == nil {
		return false, err
	}
	return p.noneNearer(w, s.name, int(sig.Labels))
}

// verified gives the signature that holds for a set; nil, without an error, if
// the set lies in a zone that is proven not to be signed.
func (w *work) verified(s *set) (*dns.RRSIG, error) {
	why := error(nil)
	for i, sig := range s.sigs {
		if i == maxSigsOfSet {
			break
		}
		signer := dns.CanonicalName(sig.SignerName)
		if !dns.IsSubDomain(signer, s.name) || s.typ == dns.TypeDS && signer == s.name {
			continue
		}
		z, err := w.enclosing(signer)
		if err != nil {
			if errors.Is(err, errWork) || !errors.Is(err, ours.ErrBogus) {
				return nil, err
			}
			why = err
			continue
		}
		if z == nil {
			return nil, nil
		}
		if z.name != signer {
			continue
		}
		if err := w.check(s, sig, z.keys); err == nil {
			return sig, nil
		} else if errors.Is(err, errWork) {
			return nil, err
		} else {
			why = err
		}
	}
	z, err := w.enclosing(s.name)
	switch {
	case err != nil:
		return nil, err
	case z == nil:
		return nil, nil
	case why != nil:
		return nil, why
	}
	return nil, bogus("%s %s is not signed, and its zone %s is", s.name, dns.TypeToString[s.typ], z.name)
}

// check checks one signature by the keys of its zone.
func (w *work) check(s *set, sig *dns.RRSIG, keys []*dns.DNSKEY) error {
	if !sig.ValidityPeriod(w.now) {
		return bogus("the signature of %s %s is of another time: %s to %s", s.name, dns.TypeToString[s.typ], dns.TimeToString(sig.Inception), dns.TimeToString(sig.Expiration))
	}
	tried := 0
	for _, k := range keys {
		if k.Algorithm != sig.Algorithm || k.Flags&dns.REVOKE != 0 || k.KeyTag() != sig.KeyTag {
			continue
		}
		if tried++; tried > maxKeysOfTag {
			break
		}
		if w.signatures++; w.signatures > maxSignatures {
			return errWork
		}
		if sig.Verify(k, s.rrs) == nil {
			return nil
		}
	}
	return bogus("no key of %s made the signature of %s %s", sig.SignerName, s.name, dns.TypeToString[s.typ])
}

// parent gives the name one level up; "" above the root.
func parent(name string) string {
	if name == "." {
		return ""
	}
	at, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[at:]
}

// A set is the records of one name and type, and their signatures.
type set struct {
	name string
	typ  uint16
	rrs  []dns.RR
	sigs []*dns.RRSIG
}

// itself tells whether what was signed has the set's own name, and is not a
// wildcard that it stands for. RFC 4034 §3.1.3
func (s *set) itself(sig *dns.RRSIG) bool {
	labels := dns.CountLabel(s.name)
	if strings.HasPrefix(s.name, "*.") {
		labels--
	}
	return int(sig.Labels) == labels
}

type setKey struct {
	name string
	typ  uint16
}

// group sorts a section of a message into sets. Records that stand there twice
// are taken once.
func group(section []dns.RR) map[setKey]*set {
	out := map[setKey]*set{}
	at := func(name string, typ uint16) *set {
		k := setKey{dns.CanonicalName(name), typ}
		if out[k] == nil {
			out[k] = &set{name: k.name, typ: typ}
		}
		return out[k]
	}
	for _, rr := range section {
		h := rr.Header()
		if h.Class != dns.ClassINET {
			continue
		}
		if sig, ok := rr.(*dns.RRSIG); ok {
			s := at(h.Name, sig.TypeCovered)
			s.sigs = append(s.sigs, sig)
			continue
		}
		s := at(h.Name, h.Rrtype)
		s.rrs = append(s.rrs, rr)
	}
	for k, s := range out {
		if len(s.rrs) == 0 {
			delete(out, k)
			continue
		}
		s.rrs = dns.Dedup(s.rrs, nil)
	}
	return out
}

// A cutCache keeps what is known of delegations.
type cutCache struct {
	mu sync.Mutex
	m  map[string]cut
}

// maxCuts is how many are kept; when there are more, whatever comes first is
// forgotten.
const maxCuts = 20_000

func (c *cutCache) get(name string, now time.Time) (cut, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.m[name]
	return k, ok && now.Before(k.until)
}

func (c *cutCache) put(name string, k cut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]cut{}
	}
	for old := range c.m {
		if len(c.m) < maxCuts {
			break
		}
		delete(c.m, old)
	}
	c.m[name] = k
}

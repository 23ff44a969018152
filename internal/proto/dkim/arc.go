package dkim

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// MaxSets is how many sets of ARC fields a message may have. RFC 8617 §4.2.1
const MaxSets = 50

// A Chain is what those who forwarded a message say that they found when it came
// to them: RFC 8617. That it is whole proves who says so, and not that it is
// true.
type Chain struct {
	Result Result // None, Pass, Fail or TempError
	Reason string // in words; empty if it passed
	Sets   []Set  // the oldest first; only if it passed
	// closed: the newest set says that the chain was broken before.
	closed bool
	last   int // highest instance
	fields []set
}

// A Set is what one of them has added.
type Set struct {
	Domain   mail.Domain // who sealed it
	Selector string
	Results  string // its Authentication-Results: host and results
}

// set is the three fields of an instance.
type set struct {
	results, message, seal *message.Field
	tags, sealTags         []tag
	text                   string // of results
}

// VerifyChain verifies the chain of a message whose header (with its empty line)
// and body are given. RFC 8617 §5.2. An error is the body's.
func VerifyChain(ctx context.Context, header []byte, body io.Reader, lookup Lookup, now time.Time) (Chain, error) {
	ch := collect(header)
	if ch.Result != "" {
		return ch, nil
	}
	n := len(ch.fields)
	c := ch.fields[n-1].candidate(now)
	if err := hashBodies([]*candidate{c}, body); err != nil {
		return Chain{}, err
	}
	if c.sig.Result == "" {
		c.check(ctx, header, lookup)
	}
	if c.sig.Result != Pass {
		ch.broken(c.sig, fmt.Sprintf("the message is not as %d has signed it", n))
		return ch, nil
	}
	for i := n; i > 0; i-- {
		s := ch.sealed(i, now)
		if s.sig.Result == "" {
			if k := s.key(ctx, lookup); k != nil {
				s.compare(k, ch.digest(s, i))
			}
		}
		if s.sig.Result != Pass {
			ch.broken(s.sig, fmt.Sprintf("the seal of %d does not hold", i))
			return ch, nil
		}
	}
	for _, f := range ch.fields {
		d, _ := value(f.sealTags, "d")
		sel, _ := value(f.sealTags, "s")
		ch.Sets = append(ch.Sets, Set{Domain: mail.Domain(strings.ToLower(d)), Selector: sel, Results: f.text})
	}
	ch.Result = Pass
	return ch, nil
}

func (ch *Chain) broken(sig Signature, what string) {
	ch.Result, ch.Reason = Fail, what+": "+sig.Reason
	if sig.Result == TempError {
		ch.Result = TempError
	}
}

// collect finds the fields, and checks what needs no key. RFC 8617 §5.2 steps 1
// to 3
func collect(header []byte) Chain {
	var ch Chain
	fail := func(format string, args ...any) Chain {
		ch.Result, ch.Reason, ch.fields = Fail, fmt.Sprintf(format, args...), nil
		return ch
	}
	sets := map[int]*set{}
	var wrong error
	for f := range message.Fields(header) {
		kind := strings.ToLower(string(f.Name))
		if kind != "arc-seal" && kind != "arc-message-signature" && kind != "arc-authentication-results" {
			continue
		}
		if err := add(sets, kind, f); err != nil && wrong == nil {
			wrong = err
		}
	}
	for i := range sets {
		ch.last = max(ch.last, i)
	}
	if newest := sets[ch.last]; newest != nil && newest.seal != nil {
		cv, _ := value(newest.sealTags, "cv")
		ch.closed = cv == "fail"
	}
	switch {
	case wrong != nil:
		return fail("%v", wrong)
	case len(sets) == 0:
		ch.Result = None
		return ch
	case ch.closed:
		return fail("the chain was broken when %d sealed it", ch.last)
	}
	for i := 1; i <= len(sets); i++ {
		s := sets[i]
		if s == nil || s.results == nil || s.message == nil || s.seal == nil {
			return fail("the set of %d is not whole", i)
		}
		want := "pass"
		if i == 1 {
			want = "none"
		}
		if cv, _ := value(s.sealTags, "cv"); cv != want {
			return fail("the seal of %d says cv=%s", i, cut(cv))
		}
		ch.fields = append(ch.fields, *s)
	}
	return ch
}

// add puts a field into its set.
func add(sets map[int]*set, kind string, f message.Field) error {
	text, tags := "", []tag(nil)
	number := ""
	if kind == "arc-authentication-results" {
		first, rest, ok := strings.Cut(string(f.Value), ";")
		name, n, eq := strings.Cut(first, "=")
		if !ok || !eq || strings.TrimFunc(name, isSpace) != "i" {
			return fmt.Errorf("ARC-Authentication-Results does not begin with i=")
		}
		number, text = strings.TrimFunc(n, isSpace), strings.TrimFunc(rest, isSpace)
	} else {
		var err error
		if tags, err = strictTags(string(f.Value)); err != nil {
			return err
		}
		number, _ = value(tags, "i")
	}
	i, err := strconv.Atoi(number)
	if err != nil || i < 1 || i > MaxSets || strconv.Itoa(i) != number {
		return fmt.Errorf("%s has i=%s", f.Name, cut(number))
	}
	s := sets[i]
	if s == nil {
		s = &set{}
		sets[i] = s
	}
	at := map[string]**message.Field{"arc-seal": &s.seal, "arc-message-signature": &s.message, "arc-authentication-results": &s.results}[kind]
	if *at != nil {
		return fmt.Errorf("there are two %s with i=%d", f.Name, i)
	}
	*at = &f
	switch kind {
	case "arc-seal":
		s.sealTags = tags
	case "arc-message-signature":
		s.tags = tags
	default:
		s.text = text
	}
	return nil
}

// strictTags reads a tag list in which nothing may stand between two semicolons.
func strictTags(s string) ([]tag, error) {
	tags, err := parseTags(s)
	if err != nil {
		return nil, err
	}
	parts := strings.Count(s, ";") + 1
	if strings.HasSuffix(strings.TrimRightFunc(s, isSpace), ";") {
		parts--
	}
	if len(tags) != parts {
		return nil, fmt.Errorf("there is nothing between two semicolons")
	}
	return tags, nil
}

// begin makes a candidate of the tags that both kinds of signatures have.
func begin(f *message.Field, tags []tag, now time.Time, needs ...string) *candidate {
	c := &candidate{field: *f, header: relaxed, limit: -1}
	get := func(name string) string { v, _ := value(tags, name); return v }
	c.sig.Algorithm, c.sig.Selector = get("a"), get("s")
	for _, n := range needs {
		if get(n) == "" {
			c.no(Neutral, "the tag %s= is missing", n)
			return c
		}
	}
	d, err := mail.ParseDomain(get("d"))
	if err != nil || !strings.Contains(string(d), ".") {
		c.no(Neutral, "d=%s is no domain that can sign", cut(get("d")))
		return c
	}
	c.sig.Domain, c.sig.Identity = d, "@"+string(d)
	for _, n := range []string{"t", "c"} {
		if v, ok := value(tags, n); ok && v == "" {
			c.no(Neutral, "the tag %s= is empty", n)
			return c
		}
	}
	if c.encoded(tags) && c.times(get("t"), get("x"), now) && get("c") == "" {
		c.header, c.body.canon = relaxed, relaxed // what all use, and the public suite wants
	}
	return c
}

// candidate is the set's signature over the message. RFC 8617 §4.1.2
func (s *set) candidate(now time.Time) *candidate {
	c := begin(s.message, s.tags, now, "a", "b", "bh", "d", "s")
	if c.sig.Result != "" {
		return c
	}
	h, ok := value(s.tags, "h")
	if c.fields = list(strings.ToLower(h)); !ok || slices.Contains(c.fields, "arc-seal") {
		c.no(Neutral, "h= is missing, or names ARC-Seal")
		return c
	}
	c.body = &bodyHash{canon: c.body.canon, h: sha256.New(), limit: -1}
	return c
}

// sealed is the signature of the set with number i over the sets. RFC 8617 §4.1.3
func (ch *Chain) sealed(i int, now time.Time) *candidate {
	s := ch.fields[i-1]
	c := begin(s.seal, s.sealTags, now, "a", "b", "d", "s")
	if c.sig.Result != "" {
		return c
	}
	c.header, c.body = relaxed, nil
	if _, ok := value(s.sealTags, "h"); ok {
		c.no(Neutral, "a seal has no h=")
	}
	return c
}

// digest hashes the sets from the first to i, whose seal c is. RFC 8617 §5.1.1
func (ch *Chain) digest(c *candidate, i int) []byte {
	h := sha256.New()
	var buf []byte
	for n := 1; n <= i; n++ {
		s := ch.fields[n-1]
		buf = relaxed.header(buf[:0], s.results)
		buf = relaxed.header(buf, s.message)
		if n < i {
			buf = relaxed.header(buf, s.seal)
		}
		h.Write(buf)
	}
	h.Write(c.own())
	return h.Sum(nil)
}

// Seal gives the three fields of our own set, for a message that is sent on:
// header (with its empty line) and body as they are sent, the chain as it came,
// and what we found, as Authentication-Results says it: our name and results.
// They go in front of the header. There are none if the chain was closed before,
// or is full. RFC 8617 §5.1
func (s *Signer) Seal(header []byte, body io.Reader, ch Chain, results string, now time.Time) ([]byte, error) {
	n := ch.last + 1
	if ch.closed || n > MaxSets || ch.Result == TempError {
		return nil, nil
	}
	bh := &bodyHash{canon: relaxed, h: sha256.New(), limit: -1}
	if _, err := io.Copy(bh, body); err != nil {
		return nil, fmt.Errorf("dkim: read the body: %w", err)
	}
	var names []string
	for f := range message.Fields(header) {
		name := strings.ToLower(string(f.Name))
		if name == "dkim-signature" || slices.Contains(signed, name) {
			names = append(names, name)
		}
	}
	common := fmt.Sprintf(" i=%d; a=%s; ", n, s.algorithm())
	who := "d=" + string(s.Domain) + "; s=" + s.Selector + "; t=" + strconv.FormatInt(now.Unix(), 10) + ";"
	mine := set{results: field("ARC-Authentication-Results", fmt.Sprintf(" i=%d; %s", n, strings.TrimSpace(results)))}
	v := common + "c=relaxed/relaxed;\r\n\t" + who + "\r\n\th=" + folded(names) + ";\r\n\tbh=" + wrapped(b64(bh.end())) + ";\r\n\tb="
	c := &candidate{header: relaxed, fields: names, from: len(v), to: len(v), field: *field("ARC-Message-Signature", v)}
	sig, err := s.sign(c.digest(header))
	if err != nil {
		return nil, err
	}
	mine.message = field("ARC-Message-Signature", v+wrapped(b64(sig)))
	cv := map[Result]string{None: "none", Pass: "pass", Fail: "fail"}[ch.Result]
	v = common + "cv=" + cv + ";\r\n\t" + who + "\r\n\tb="
	c = &candidate{header: relaxed, from: len(v), to: len(v), field: *field("ARC-Seal", v)}
	all := Chain{fields: append(slices.Clip(ch.fields), mine)}
	if ch.Result == Fail {
		// Nobody knows what belongs to a broken chain: the seal is over our own
		// set alone. RFC 8617 §5.1.2
		all.fields = []set{mine}
	}
	if sig, err = s.sign(all.digest(c, len(all.fields))); err != nil {
		return nil, err
	}
	out := append([]byte(nil), field("ARC-Seal", v+wrapped(b64(sig))).Raw...)
	return append(append(out, mine.message.Raw...), mine.results.Raw...), nil
}

func field(name, value string) *message.Field {
	return &message.Field{Name: []byte(name), Value: []byte(value), Raw: []byte(name + ":" + value + "\r\n")}
}

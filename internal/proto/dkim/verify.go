package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// A candidate is a DKIM-Signature field that is being verified.
type candidate struct {
	sig      Signature
	field    message.Field
	header   canon
	body     *bodyHash
	fields   []string // h=
	bodySum  []byte   // bh=
	value    []byte   // b=
	from, to int      // where b= stands in the field's value
	limit    int64    // l=; below zero there is none
}

// Verify verifies the signatures of a message whose header (with its empty line)
// and body are given. They come back in the order in which they stand. An error
// is the body's.
func Verify(ctx context.Context, header []byte, body io.Reader, lookup Lookup, now time.Time) ([]Signature, error) {
	var cands []*candidate
	for f := range message.Fields(header) {
		if !f.Is("dkim-signature") {
			continue
		}
		if len(cands) == MaxSignatures {
			break
		}
		c := &candidate{field: f}
		c.parse(now)
		cands = append(cands, c)
	}
	if err := hashBodies(cands, body); err != nil {
		return nil, err
	}
	out := make([]Signature, len(cands))
	for i, c := range cands {
		if c.sig.Result == "" {
			c.check(ctx, header, lookup)
		}
		out[i] = c.sig
	}
	return out, nil
}

// hashBodies reads the body once for all.
func hashBodies(cands []*candidate, body io.Reader) error {
	var to []io.Writer
	for _, c := range cands {
		if c.body != nil {
			to = append(to, c.body)
		}
	}
	if len(to) == 0 {
		return nil
	}
	_, err := io.Copy(io.MultiWriter(to...), body)
	return err
}

func (c *candidate) no(r Result, format string, args ...any) {
	c.sig.Result, c.sig.Reason = r, fmt.Sprintf(format, args...)
	c.body = nil
}

// parse reads the field, and settles what needs no key. RFC 6376 §6.1.1
func (c *candidate) parse(now time.Time) {
	tags, err := parseTags(string(c.field.Value))
	if err != nil {
		c.no(Neutral, "unreadable: %v", err)
		return
	}
	get := func(name string) string { v, _ := value(tags, name); return v }
	c.limit = -1
	c.sig.Algorithm, c.sig.Selector = get("a"), get("s")
	c.sig.Value = cut(unspaced(get("b")))[:min(8, len(unspaced(get("b"))))]
	for _, t := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if get(t) == "" {
			c.no(Neutral, "the tag %s= is missing", t)
			return
		}
	}
	d, err := mail.ParseDomain(get("d"))
	if err != nil || !strings.Contains(string(d), ".") {
		c.no(Neutral, "d=%s is no domain that can sign", cut(get("d")))
		return
	}
	c.sig.Domain = d
	if get("v") != "1" {
		c.no(Neutral, "version %q is unknown", cut(get("v")))
		return
	}
	if c.encoded(tags) && c.covered(tags) && c.identity(get("i")) && c.times(get("t"), get("x"), now) {
		c.body = &bodyHash{canon: c.body.canon, h: sha256.New(), limit: c.limit}
	}
}

// encoded reads algorithm, signature and canonicalization.
func (c *candidate) encoded(tags []tag) bool {
	get := func(name string) string { v, _ := value(tags, name); return v }
	switch c.sig.Algorithm {
	case "rsa-sha256", "ed25519-sha256":
	case "rsa-sha1":
		c.no(Policy, "rsa-sha1 proves nothing any more") // RFC 8301 §3.1
		return false
	default:
		c.no(Neutral, "algorithm %q is unknown", cut(c.sig.Algorithm))
		return false
	}
	var err1, err2 error
	c.value, err1 = base64.StdEncoding.DecodeString(unspaced(get("b")))
	c.bodySum, err2 = base64.StdEncoding.DecodeString(unspaced(get("bh")))
	if err1 != nil || err2 != nil {
		c.no(Neutral, "b= or bh= is no base64")
		return false
	}
	for _, t := range tags {
		if t.name == "b" {
			c.from, c.to = t.from, t.to
		}
	}
	h, b, two := strings.Cut(get("c"), "/")
	if h == "" {
		h = "simple"
	}
	if !two {
		b = "simple"
	}
	var ok1, ok2 bool
	var bc canon
	c.header, ok1 = parseCanon(h)
	bc, ok2 = parseCanon(b)
	if !ok1 || !ok2 {
		c.no(Neutral, "canonicalization %q is unknown", cut(get("c")))
		return false
	}
	c.body = &bodyHash{canon: bc}
	return true
}

// covered reads what is signed.
func (c *candidate) covered(tags []tag) bool {
	h, _ := value(tags, "h")
	c.fields = list(strings.ToLower(h))
	if !slices.Contains(c.fields, "from") {
		c.no(PermError, "the From field is not signed")
		return false
	}
	if q, ok := value(tags, "q"); ok && !slices.Contains(list(q), "dns/txt") {
		c.no(Neutral, "the key is not in the DNS")
		return false
	}
	if l, ok := value(tags, "l"); ok {
		n, err := strconv.ParseInt(l, 10, 64)
		if err != nil || n < 0 {
			c.no(Neutral, "l= is no length")
			return false
		}
		c.limit = n
	}
	return true
}

func (c *candidate) identity(i string) bool {
	c.sig.Identity = "@" + string(c.sig.Domain)
	if i == "" {
		return true
	}
	at := strings.LastIndexByte(i, '@')
	d, err := mail.ParseDomain(i[at+1:])
	if at < 0 || err != nil || d != c.sig.Domain && !strings.HasSuffix(string(d), "."+string(c.sig.Domain)) {
		c.no(PermError, "i= is not below d=")
		return false
	}
	c.sig.Identity = i[:at+1] + string(d)
	return true
}

func (c *candidate) times(t, x string, now time.Time) bool {
	at, err1 := parseTime(t)
	until, err2 := parseTime(x)
	switch {
	case err1 != nil || err2 != nil:
		c.no(Neutral, "t= or x= is no time")
	case x != "" && now.After(until.Add(clockSkew)):
		c.no(Fail, "the signature has expired")
	case t != "" && at.After(now.Add(clockSkew)):
		c.no(Fail, "the signature is from the future")
	case t != "" && x != "" && !until.After(at):
		c.no(Neutral, "the signature expires before it was made")
	default:
		return true
	}
	return false
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if len(s) > 12 {
		return time.Time{}, errors.New("not a time")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, errors.New("not a time")
	}
	return time.Unix(n, 0), nil
}

// check compares the body's hash, gets the key, and verifies.
func (c *candidate) check(ctx context.Context, header []byte, lookup Lookup) {
	sum := c.body.end()
	if subtle.ConstantTimeCompare(sum, c.bodySum) != 1 {
		c.no(Fail, "the body has been changed")
		return
	}
	if c.limit >= 0 && c.limit < c.body.n {
		c.no(Policy, "only the first %d bytes of the body are signed", c.limit)
		return
	}
	k := c.key(ctx, lookup)
	if k == nil {
		return
	}
	c.sig.Bits, c.sig.Testing = k.bits, k.testing
	c.compare(k, c.digest(header))
}

// key gets the key; nil if there is none that fits.
func (c *candidate) key(ctx context.Context, lookup Lookup) *publicKey {
	txts, err := lookup(ctx, recordName(c.sig.Selector, string(c.sig.Domain)))
	switch {
	case errors.Is(err, ErrNoKey):
		c.no(PermError, "there is no key")
		return nil
	case err != nil:
		c.no(TempError, "the key cannot be found out just now: %v", err)
		return nil
	case len(txts) != 1:
		c.no(PermError, "there are %d key records", len(txts))
		return nil
	}
	k, err := parseKey(txts[0])
	switch {
	case err != nil:
		c.no(PermError, "%v", err)
	case k.hashes != nil && !slices.Contains(k.hashes, "sha256"):
		c.no(PermError, "the key is not for sha256")
	case k.strict && !strings.HasSuffix(c.sig.Identity, "@"+string(c.sig.Domain)):
		c.no(PermError, "the key is for the domain itself only")
	default:
		return k
	}
	return nil
}

// digest hashes the fields that are signed, the last of a name first, and the
// signature's own field without its value. RFC 6376 §3.7
func (c *candidate) digest(header []byte) []byte {
	byName := map[string][]message.Field{}
	for f := range message.Fields(header) {
		name := strings.ToLower(string(f.Name))
		byName[name] = append(byName[name], f)
	}
	h := sha256.New()
	var buf []byte
	for _, name := range c.fields {
		have := byName[name]
		if len(have) == 0 {
			continue // signed as absent
		}
		buf = c.header.header(buf[:0], &have[len(have)-1])
		h.Write(buf)
		byName[name] = have[:len(have)-1]
	}
	h.Write(c.own())
	return h.Sum(nil)
}

// own gives the signature's field in canonical form, with an empty b=, without
// its line end.
func (c *candidate) own() []byte {
	f := c.field
	value := append(append([]byte(nil), f.Value[:c.from]...), f.Value[c.to:]...)
	f.Raw = append(append(append([]byte(nil), f.Raw[:len(f.Name)]...), between(&f)...), value...)
	f.Value = value
	out := c.header.header(nil, &f)
	if c.header == relaxed {
		out = out[:len(out)-2]
	}
	return out
}

// between gives what stands between a field's name and its value: the colon.
func between(f *message.Field) []byte {
	rest := f.Raw[len(f.Name):]
	i := 0
	for i < len(rest) && rest[i] != ':' {
		i++
	}
	return rest[:min(i+1, len(rest))]
}

func (c *candidate) compare(k *publicKey, digest []byte) {
	kind, _, _ := strings.Cut(c.sig.Algorithm, "-")
	good := false
	switch pub := k.key.(type) {
	case *rsa.PublicKey:
		if kind != "rsa" {
			c.no(PermError, "the key is of another kind than the signature")
			return
		}
		if k.bits < minBits {
			c.no(Policy, "an RSA key of %d bits proves nothing", k.bits)
			return
		}
		good = rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, c.value) == nil
	case ed25519.PublicKey:
		if kind != "ed25519" {
			c.no(PermError, "the key is of another kind than the signature")
			return
		}
		good = ed25519.Verify(pub, digest, c.value)
	}
	if !good {
		c.no(Fail, "the header has been changed, or the key is another")
		return
	}
	c.sig.Result = Pass
}

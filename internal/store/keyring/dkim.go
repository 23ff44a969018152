package keyring

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dkim"
)

const rsaBits = 2048 // RFC 8301 §3.2

// expires is how long signatures are good: long enough for slow queues, and too
// short to send old mail again and again.
const expires = 7 * 24 * time.Hour

// knownTime is how long it counts who signs: somebody else may change it.
const knownTime = time.Minute

// known is who signs for a domain, as of the time it was read.
type known struct {
	list []*dkim.Signer
	read time.Time
}

// A State is what a key is for.
type State byte

// The states, in the order in which a key has them.
const (
	Prepared State = iota // it is to be published, and signs nothing yet
	Signing
	Retired // it signs nothing any more, and must stay published
)

// String gives the state in words.
func (s State) String() string {
	switch s {
	case Prepared:
		return "prepared"
	case Signing:
		return "signing"
	case Retired:
		return "retired"
	}
	return "unknown"
}

// A Key signs, will sign, or has signed a domain's mail.
type Key struct {
	*dkim.Signer
	State State
	Since time.Time // of the state; zero: it is not known any more
	Seen  time.Time // when it was first seen to be published, of a prepared key
}

// Signers gives those who sign for a domain: one with an RSA key, which all
// verify, and one with an Ed25519 key. RFC 8463 §3
func (k *Keyring) Signers(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error) {
	k.mu.Lock()
	have, made := k.known[d], k.changes
	k.mu.Unlock()
	if have.list != nil && time.Since(have.read) < knownTime {
		return have.list, nil
	}
	keys, err := k.Keys(ctx, d)
	if err != nil {
		return nil, err
	}
	list := []*dkim.Signer{}
	for _, key := range keys {
		if key.State == Signing {
			list = append(list, key.Signer)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[mail.Domain]known{}
	}
	if k.changes == made { // or what was read may be of before the change
		k.known[d] = known{list, time.Now()}
	}
	return list, nil
}

// Keys gives all keys of a domain. If it has none, the first are made; they sign at
// once, as a signature that nobody can verify yet is as good as none.
func (k *Keyring) Keys(ctx context.Context, d mail.Domain) ([]Key, error) {
	list, err := k.read(ctx, d)
	if err != nil || list != nil {
		return list, err
	}
	now := time.Now()
	fresh, err := NewKeys(d, now, nil)
	if err != nil {
		return nil, err
	}
	for i := range fresh {
		fresh[i].State = Signing
	}
	return k.Change(ctx, d, func(have []Key) ([]Key, error) {
		if have != nil { // somebody else has meanwhile
			return have, nil
		}
		return fresh, nil
	})
}

// Have gives the keys of a domain; nil if it has none yet.
func (k *Keyring) Have(ctx context.Context, d mail.Domain) ([]Key, error) { return k.read(ctx, d) }

// NewKeys makes prepared keys whose selectors are not among those that there are.
func NewKeys(d mail.Domain, now time.Time, have []Key) ([]Key, error) {
	r, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	stamp := now.UTC().Format("20060102")
	taken := func(stamp string) bool {
		return slices.ContainsFunc(have, func(k Key) bool { return k.Selector == "r"+stamp || k.Selector == "e"+stamp })
	}
	for c, day := 'b', stamp; taken(stamp); c++ {
		stamp = day + string(c)
	}
	one := func(letter string, s crypto.Signer) Key {
		return Key{Signer: &dkim.Signer{Domain: d, Selector: letter + stamp, Key: s, Expires: expires}, State: Prepared, Since: now}
	}
	return []Key{one("r", r), one("e", e)}, nil
}

// Change has fn give new keys in place of those of a domain, which are nil if there
// are none, and gives them. fn may be called more than once.
func (k *Keyring) Change(ctx context.Context, d mail.Domain, fn func([]Key) ([]Key, error)) (list []Key, err error) {
	defer k.Forget(d)
	err = k.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}, Reads: [][]byte{key(d)}}, func(tx kv.Tx) error {
		have, err := readKeys(tx, d)
		if err != nil {
			return err
		}
		if list, err = fn(have); err != nil {
			return err
		}
		row, err := encode(list)
		if err != nil {
			return err
		}
		tx.Set(key(d), row)
		return nil
	})
	if _, refused := errors.AsType[*mail.Refusal](err); err != nil && !refused {
		return nil, fmt.Errorf("keyring: %s: %w", d, err)
	}
	return list, err
}

// Forget has the signers of a domain read anew.
func (k *Keyring) Forget(d mail.Domain) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	delete(k.known, d)
}

func key(d mail.Domain) []byte { return append(append(Lock.Prefix(), kindDKIM), d...) }

func (k *Keyring) read(ctx context.Context, d mail.Domain) (list []Key, err error) {
	err = k.DB.View(ctx, func(r kv.Reader) error {
		list, err = readKeys(r, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keyring: %s: %w", d, err)
	}
	return list, nil
}

func readKeys(r kv.Reader, d mail.Domain) ([]Key, error) {
	raw, err := r.Get(key(d))
	if err != nil || raw == nil {
		return nil, err
	}
	return decode(d, raw)
}

// keysVersion follows a zero in rows that have states. Those of old begin with how
// many keys there are, which all sign.
const keysVersion = 1

func encode(list []Key) ([]byte, error) {
	b := binary.AppendUvarint([]byte{0, keysVersion}, uint64(len(list)))
	for _, s := range list {
		der, err := x509.MarshalPKCS8PrivateKey(s.Key)
		if err != nil {
			return nil, err
		}
		b = append(kv.AppendBytes(kv.AppendBytes(b, s.Selector), der), byte(s.State))
		b = appendTime(appendTime(b, s.Since), s.Seen)
	}
	return b, nil
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.Unix())
}

func readTime(d *kv.Decoder) time.Time {
	if sec := d.Varint(); sec != 0 {
		return time.Unix(sec, 0).UTC()
	}
	return time.Time{}
}

func decode(d mail.Domain, raw []byte) ([]Key, error) {
	dec := kv.Decode(raw)
	n := dec.Uvarint()
	old := n != 0
	if !old {
		if v := dec.Byte(); v != keysVersion {
			return nil, fmt.Errorf("%w: of version %d", kv.ErrRow, v)
		}
		n = dec.Uvarint()
	}
	out := []Key{}
	for ; n > 0 && dec.More(); n-- {
		sel, der := dec.String(), dec.Bytes()
		private, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, err
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, kv.ErrRow
		}
		one := Key{Signer: &dkim.Signer{Domain: d, Selector: sel, Key: signer, Expires: expires}, State: Signing}
		if !old {
			one.State, one.Since, one.Seen = State(dec.Byte()), readTime(dec), readTime(dec)
		}
		out = append(out, one)
	}
	return out, dec.Err()
}

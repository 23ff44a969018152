// Package keyring keeps private keys: those that sign a domain's mail, which are
// made at first use and the same ever after, the secrets of return addresses,
// which are renewed, and the tokens with which we get access elsewhere.
package keyring

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dkim"
)

// lock guards all keys.
var lock = kv.Lock{Class: 'K'}

const (
	kindDKIM    = 0x01 // domain → keys
	kindReturns = 0x02 // → secrets of return addresses, the newest first: since when, bytes
	kindRefresh = 0x03 // name → hash of the first refresh token, the one that came in its place
)

const rsaBits = 2048 // RFC 8301 §3.2

// A Keyring gives keys. DB must be set; a Keyring must not be copied after
// first use.
type Keyring struct {
	DB kv.Store

	mu      sync.Mutex
	known   map[mail.Domain][]*dkim.Signer
	returns []secret
}

// Signers gives those who sign for a domain: one with an RSA key, which all
// verify, and one with an Ed25519 key. RFC 8463 §3
func (k *Keyring) Signers(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error) {
	k.mu.Lock()
	have := k.known[d]
	k.mu.Unlock()
	if have != nil {
		return have, nil
	}
	list, err := k.read(ctx, d)
	if err == nil && list == nil {
		list, err = k.make(ctx, d)
	}
	if err != nil {
		return nil, fmt.Errorf("keyring: %s: %w", d, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[mail.Domain][]*dkim.Signer{}
	}
	k.known[d] = list
	return list, nil
}

func key(d mail.Domain) []byte { return append(append(lock.Prefix(), kindDKIM), d...) }

func (k *Keyring) read(ctx context.Context, d mail.Domain) (list []*dkim.Signer, err error) {
	err = k.DB.View(ctx, func(r kv.Reader) error {
		raw, err := r.Get(key(d))
		if err != nil || raw == nil {
			list = nil
			return err
		}
		list, err = decode(d, raw)
		return err
	})
	return list, err
}

// make makes keys, unless somebody else has meanwhile.
func (k *Keyring) make(ctx context.Context, d mail.Domain) (list []*dkim.Signer, err error) {
	r, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	stamp := time.Now().UTC().Format("20060102")
	fresh := []*dkim.Signer{{Domain: d, Selector: "r" + stamp, Key: r}, {Domain: d, Selector: "e" + stamp, Key: e}}
	row, err := encode(fresh)
	if err != nil {
		return nil, err
	}
	err = k.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}, Reads: [][]byte{key(d)}}, func(tx kv.Tx) error {
		raw, err := tx.Get(key(d))
		if err != nil {
			return err
		}
		if raw != nil {
			list, err = decode(d, raw)
			return err
		}
		tx.Set(key(d), row)
		list, err = decode(d, row)
		return err
	})
	return list, err
}

func encode(list []*dkim.Signer) ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(len(list)))
	for _, s := range list {
		der, err := x509.MarshalPKCS8PrivateKey(s.Key)
		if err != nil {
			return nil, err
		}
		b = kv.AppendBytes(kv.AppendBytes(b, s.Selector), der)
	}
	return b, nil
}

// expires is how long signatures are good: long enough for slow queues, and too
// short to send old mail again and again.
const expires = 7 * 24 * time.Hour

func decode(d mail.Domain, raw []byte) ([]*dkim.Signer, error) {
	dec := kv.Decode(raw)
	var out []*dkim.Signer
	for n := dec.Uvarint(); n > 0 && dec.More(); n-- {
		sel, der := dec.String(), dec.Bytes()
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, err
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, kv.ErrRow
		}
		out = append(out, &dkim.Signer{Domain: d, Selector: sel, Key: signer, Expires: expires})
	}
	return out, dec.Err()
}

// Delete forgets the keys of a domain.
func (k *Keyring) Delete(ctx context.Context, d mail.Domain) error {
	err := k.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		tx.Delete(key(d))
		return nil
	})
	if err != nil {
		return fmt.Errorf("keyring: %s: %w", d, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, d)
	return nil
}

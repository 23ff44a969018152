// Package keyring keeps private keys: those that sign a domain's mail, which are
// made at first use and renewed when the operator wants it, the secrets of return
// addresses, which are renewed, and the tokens with which we get access elsewhere.
package keyring

import (
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Lock guards all keys.
var Lock = kv.Lock{Class: 'K'}

const (
	kindDKIM    = 0x01 // domain → keys
	kindReturns = 0x02 // → secrets of return addresses, the newest first: since when, bytes
	kindRefresh = 0x03 // name → hash of the first refresh token, the one that came in its place
)

// A Keyring gives keys. DB must be set; a Keyring must not be copied after
// first use.
type Keyring struct {
	DB kv.Store

	mu      sync.Mutex
	known   map[mail.Domain]known
	changes int // of keys, so that nobody remembers what was before one
	returns []secret
}

// Delete removes the keys of a domain, in the transaction that removes it, which needs
// Lock. Forget must follow.
func (*Keyring) Delete(tx kv.Tx, d mail.Domain) { tx.Delete(key(d)) }

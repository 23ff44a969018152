package keyring

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/srs"
)

const (
	// A secret is used for so long, then a new one is made;
	returnUse = 90 * 24 * time.Hour
	// and it is good for so long after, until the last address that was made with it
	// is too old.
	returnKeep = srs.MaxAge + 2*24*time.Hour
	secretLen  = 32
)

// A secret makes return addresses since its time.
type secret struct {
	since time.Time
	bytes []byte
}

func returnKey() []byte { return append(Lock.Prefix(), kindReturns) }

// Returns gives the secrets with which the senders of mail that is sent on are
// rewritten: the first is to be used, all are to be accepted.
func (k *Keyring) Returns(ctx context.Context) ([][]byte, error) {
	now := time.Now()
	k.mu.Lock()
	list := k.returns
	k.mu.Unlock()
	if len(list) == 0 || now.Sub(list[0].since) > returnUse {
		var err error
		if list, err = k.renew(ctx); err != nil {
			return nil, fmt.Errorf("keyring: return addresses: %w", err)
		}
		k.mu.Lock()
		k.returns = list
		k.mu.Unlock()
	}
	var out [][]byte
	for i, s := range list {
		if i == 0 || now.Sub(list[i-1].since) < returnKeep {
			out = append(out, s.bytes)
		}
	}
	return out, nil
}

// renew gives the secrets as they are stored, with a new one if the newest has
// been used for long enough.
func (k *Keyring) renew(ctx context.Context) (list []secret, err error) {
	fresh := make([]byte, secretLen)
	rand.Read(fresh)
	err = k.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}, Reads: [][]byte{returnKey()}}, func(tx kv.Tx) error {
		raw, err := tx.Get(returnKey())
		if err != nil {
			return err
		}
		now := tx.Now()
		list = nil
		dec := kv.Decode(raw)
		for dec.More() {
			s := secret{since: time.Unix(dec.Varint(), 0), bytes: dec.Bytes()}
			if n := len(list); n == 0 || now.Sub(list[n-1].since) < returnKeep {
				list = append(list, s)
			}
		}
		if err := dec.Err(); err != nil {
			return err
		}
		if len(list) > 0 && now.Sub(list[0].since) <= returnUse {
			return nil
		}
		list = append([]secret{{since: now, bytes: fresh}}, list...)
		var b []byte
		for _, s := range list {
			b = kv.AppendBytes(binary.AppendVarint(b, s.since.Unix()), s.bytes)
		}
		tx.Set(returnKey(), b)
		return nil
	})
	return list, err
}

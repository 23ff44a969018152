package keyring

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// RefreshToken gives the refresh token of that name: the one that was kept last,
// if it came in place of the first, which somebody gave us; else the first.
func (k *Keyring) RefreshToken(ctx context.Context, name, first string) (token string, err error) {
	token = first
	err = k.DB.View(ctx, func(r kv.Reader) error {
		raw, err := r.Get(refreshKey(name))
		if err != nil || raw == nil {
			return err
		}
		dec := kv.Decode(raw)
		of, kept := dec.Bytes(), dec.String()
		if err := dec.Err(); err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(of, firstSum(first)) == 1 {
			token = kept
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("keyring: refresh token of %s: %w", name, err)
	}
	return token, nil
}

// KeepRefreshToken keeps what has come in place of the first refresh token.
func (k *Keyring) KeepRefreshToken(ctx context.Context, name, first, token string) error {
	err := k.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
		tx.Set(refreshKey(name), kv.AppendBytes(kv.AppendBytes(nil, firstSum(first)), token))
		return nil
	})
	if err != nil {
		return fmt.Errorf("keyring: refresh token of %s: %w", name, err)
	}
	return nil
}

func refreshKey(name string) []byte { return append(append(Lock.Prefix(), kindRefresh), name...) }

func firstSum(first string) []byte {
	sum := sha256.Sum256([]byte(first))
	return sum[:]
}

// Check verifies that all keys can be read, and gives a sentence for each that
// cannot.
func (k *Keyring) Check(ctx context.Context) (wrong []string, err error) {
	err = k.DB.View(ctx, func(r kv.Reader) error {
		wrong = wrong[:0]
		for row, err := range r.Scan(kv.Prefix(Lock.Prefix())) {
			if err != nil {
				return err
			}
			kind, name := row.Key[len(Lock.Prefix())], string(row.Key[len(Lock.Prefix())+1:])
			dec := kv.Decode(row.Value)
			switch kind {
			case kindDKIM:
				_, err = decode(mail.Domain(name), row.Value)
			case kindReturns:
				for dec.More() {
					dec.Varint()
					dec.Bytes()
				}
				err = dec.Err()
			case kindRefresh:
				dec.Bytes()
				_ = dec.String()
				err = dec.Err()
			}
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("keyring: the keys of kind %d for %q cannot be read: %v", kind, name, err))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keyring: check: %w", err)
	}
	return wrong, nil
}

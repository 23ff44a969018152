package body

import (
	"context"
	"encoding/binary"
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/kv"
)

// A Holder is a row that refers to a body: Class and Space are those of the
// lock that guards it, Row its number there.
type Holder struct {
	Lock kv.Lock
	Row  uint64
}

// refKey is a Free row.
//
//	'~' 'R' blob(16) lock(9) row(8)
func refKey(id mail.BlobID, h Holder) []byte {
	b := refPrefix(id)
	b = h.Lock.AppendPrefix(b)
	return binary.BigEndian.AppendUint64(b, h.Row)
}

func refPrefix(id mail.BlobID) []byte {
	b := make([]byte, 0, 48)
	b = append(b, kv.Free, 'R')
	return append(b, id[:]...)
}

// Hold notes, in the transaction that writes the holder's row, that h refers to
// the body.
func Hold(tx kv.Tx, r Ref, h Holder) {
	if !r.Blob.IsZero() {
		tx.Set(refKey(r.Blob, h), []byte{})
	}
}

// Release notes, in the transaction that removes the holder's row, that h no
// longer refers to the body.
func Release(tx kv.Tx, r Ref, h Holder) {
	if !r.Blob.IsZero() {
		tx.Delete(refKey(r.Blob, h))
	}
}

var errFound = errors.New("found")

// Held tells whether anybody refers to the blob.
func (s *Store) Held(ctx context.Context, id mail.BlobID) (bool, error) {
	err := s.DB.View(ctx, func(rd kv.Reader) error {
		r := kv.Prefix(refPrefix(id))
		r.Limit = 1
		for _, err := range rd.Scan(r) {
			if err != nil {
				return err
			}
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// HeldBy tells whether h's reference row is there, for the checker.
func HeldBy(rd kv.Reader, r Ref, h Holder) (bool, error) {
	if r.Blob.IsZero() {
		return true, nil
	}
	v, err := rd.Get(refKey(r.Blob, h))
	return v != nil, err
}

// Sweep gives back the space of blobs that nobody refers to.
func (s *Store) Sweep(ctx context.Context) (blob.Swept, error) {
	return s.Blobs.Sweep(ctx, func(id mail.BlobID) (bool, error) { return s.Held(ctx, id) })
}

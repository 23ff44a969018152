package script

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// sweepSome is how many marks go in one transaction.
const sweepSome = 2000

// Sweep forgets marks that are good no more, and of more than MaxMarks those that end
// first.
func (s *Store) Sweep(ctx context.Context, a mail.AccountID, now time.Time) error {
	type mark struct {
		key   []byte
		until int64
	}
	var good []mark
	var gone [][]byte
	err := s.DB.View(ctx, func(r kv.Reader) error {
		good, gone = good[:0], gone[:0]
		for row, err := range r.Scan(kv.Prefix(key(a, kindMark))) {
			if err != nil {
				return err
			}
			until, n := binary.Varint(row.Value)
			if n <= 0 || until <= now.Unix() {
				gone = append(gone, bytes.Clone(row.Key))
			} else {
				good = append(good, mark{bytes.Clone(row.Key), until})
			}
		}
		return nil
	})
	if err != nil {
		return wrap(a, err)
	}
	if len(good) > MaxMarks {
		slices.SortFunc(good, func(x, y mark) int { return int(max(-1, min(1, x.until-y.until))) })
		for _, m := range good[:len(good)-MaxMarks] {
			gone = append(gone, m.key)
		}
	}
	for part := range slices.Chunk(gone, sweepSome) {
		err := s.update(ctx, a, func(tx kv.Tx) error {
			for _, k := range part {
				tx.Delete(k)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Check reads what is kept of an account, and gives a sentence for what is wrong.
func (s *Store) Check(ctx context.Context, a mail.AccountID) (wrong []string, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		wrong = wrong[:0]
		have, now, err := list(r, a)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("account %d: its scripts cannot be read: %v", a, err))
			return nil
		}
		if now.name != "" && !slices.ContainsFunc(have, func(i Info) bool { return i.Active }) {
			wrong = append(wrong, fmt.Sprintf("account %d: the active script %q is not there", a, now.name))
		}
		raw, err := r.Get(key(a, kindFault))
		if err == nil && raw != nil {
			if _, bad := decodeFault(raw); bad != nil {
				wrong = append(wrong, fmt.Sprintf("account %d: what went wrong with a script cannot be read", a))
			}
		}
		return err
	})
	return wrong, wrap(a, err)
}

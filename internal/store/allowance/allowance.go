// Package allowance counts to how many people each account has written, so that
// somebody who has found out a password cannot send to the whole world with it.
//
// The count is of the last day, in hours; it is one row under the account's lock:
//
//	30  (hour, count)…  oldest first
package allowance

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const kindSent = 0x30

// day is how many hours are counted.
const day = 24

// A Store counts. DB must be set.
type Store struct{ DB kv.Store }

type hour struct {
	at int64 // hours since 1970
	n  uint64
}

func key(a mail.AccountID) []byte { return append(mailbox.Lock(a).Prefix(), kindSent) }

// Take counts n recipients more, unless that would make more than limit within a
// day: then it counts nothing, and gives when there will be room for them. A
// message to more than limit at once never has room: the time is zero.
func (s *Store) Take(ctx context.Context, a mail.AccountID, n, limit int) (ok bool, room time.Time, err error) {
	plan := kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}
	err = s.DB.Update(ctx, plan, func(tx kv.Tx) error {
		ok, room = false, time.Time{}
		now := tx.Now().Unix() / 3600
		hours, total, err := read(tx, a, now)
		if err != nil {
			return err
		}
		if total+uint64(n) > uint64(limit) {
			room = frees(hours, total, uint64(n), uint64(limit))
			return nil
		}
		ok = true
		if last := len(hours) - 1; last >= 0 && hours[last].at == now {
			hours[last].n += uint64(n)
		} else {
			hours = append(hours, hour{now, uint64(n)})
		}
		var row []byte
		for _, h := range hours {
			row = binary.AppendUvarint(binary.AppendUvarint(row, uint64(h.at)), h.n)
		}
		tx.Set(key(a), row)
		return nil
	})
	if err != nil {
		err = fmt.Errorf("allowance: account %d: %w", a, err)
	}
	return ok, room, err
}

// Sent gives how many recipients the account has written to within a day.
func (s *Store) Sent(ctx context.Context, a mail.AccountID) (n int, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		_, total, err := read(r, a, time.Now().Unix()/3600)
		n = int(total)
		return err
	})
	return n, err
}

// read gives the hours that count, and their sum.
func read(r kv.Reader, a mail.AccountID, now int64) (hours []hour, total uint64, err error) {
	raw, err := r.Get(key(a))
	if err != nil {
		return nil, 0, err
	}
	d := kv.Decode(raw)
	for d.More() && d.Err() == nil {
		h := hour{int64(d.Uvarint()), d.Uvarint()}
		if h.at > now-day && h.at <= now { // a clock that was wrong must not count for ever
			hours = append(hours, h)
			total += h.n
		}
	}
	return hours, total, d.Err()
}

// frees gives when so many of the oldest will not count any more that there is
// room.
func frees(hours []hour, total, n, limit uint64) time.Time {
	for _, h := range hours {
		if total -= h.n; total+n <= limit {
			return time.Unix((h.at+day)*3600, 0)
		}
	}
	return time.Time{}
}

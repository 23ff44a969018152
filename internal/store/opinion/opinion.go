// Package opinion keeps what people think of who writes to them, as they show by what
// they move to Junk and out of it, or mark as junk. It is each owner's own, and holds no
// names: a row's key has a hash of one.
//
// All rows stand under the account's lock, and go with the account:
//
//	3e 00           how many rows there are
//	3e 01 hash(12)  when (seconds), 0 wanted or 1 junk, how often in a row
//
// What stands behind that in a row is passed over.
package opinion

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const (
	kind     = 0x3e
	subCount = 0x00
	subName  = 0x01
	hashLen  = 12
)

const (
	// Keep is how long an opinion counts that was not shown again.
	Keep = 365 * 24 * time.Hour
	// Max is how many an account has: the oldest go first, a quarter at a time.
	Max = 2000
)

// An Opinion is what somebody thinks of a sender. The zero Opinion is none.
type Opinion struct {
	At    time.Time // when it was shown last
	Junk  bool      // else what he sends is wanted
	Times int       // how often it was shown since the last time that it was the other
}

// A Store reads opinions. DB must be set.
type Store struct{ DB kv.Store }

func key(a mail.AccountID, sub byte) []byte {
	return append(mailbox.Lock(a).Prefix(), kind, sub)
}

func nameKey(a mail.AccountID, name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return append(key(a, subName), sum[:hashLen]...)
}

func (o Opinion) row() []byte {
	b := append(binary.AppendVarint(nil, o.At.Unix()), 0)
	if o.Junk {
		b[len(b)-1] = 1
	}
	return binary.AppendUvarint(b, uint64(o.Times))
}

func decode(raw []byte) (Opinion, error) {
	d := kv.Decode(raw)
	o := Opinion{At: time.Unix(d.Varint(), 0)}
	junk := d.Byte()
	o.Junk, o.Times = junk == 1, int(d.Uvarint())
	if err := d.Err(); err != nil || junk > 1 {
		return Opinion{}, fmt.Errorf("opinion: %w", kv.ErrRow)
	}
	return o, nil
}

// Note writes down, in a transaction that has the account's lock, that what somebody
// sends is junk, or is wanted. He is known by a name, as the caller writes it.
func Note(tx kv.Tx, a mail.AccountID, name string, junk bool) error {
	return note(tx, a, name, junk, 1)
}

// Confirm is Note for what has been shown once already by the same act, if it was: an
// opinion that is there counts as often as before.
func Confirm(tx kv.Tx, a mail.AccountID, name string, junk bool) error {
	return note(tx, a, name, junk, 0)
}

func note(tx kv.Tx, a mail.AccountID, name string, junk bool, more int) error {
	k := nameKey(a, name)
	raw, err := tx.Get(k)
	if err != nil {
		return err
	}
	if raw == nil {
		if err := room(tx, a); err != nil {
			return err
		}
	}
	o, err := decode(raw)
	if err != nil || o.Junk != junk || old(o, tx.Now()) {
		o.Times = 0 // one that cannot be read is written anew
	}
	tx.Set(k, Opinion{At: tx.Now(), Junk: junk, Times: max(o.Times+more, 1)}.row())
	return nil
}

// Forget forgets what is thought of somebody, in a transaction that has the account's
// lock.
func Forget(tx kv.Tx, a mail.AccountID, name string) error {
	k := nameKey(a, name)
	raw, err := tx.Get(k)
	if err != nil || raw == nil {
		return err
	}
	n, err := count(tx, a)
	if err != nil {
		return err
	}
	tx.Delete(k)
	tx.Set(key(a, subCount), binary.AppendUvarint(nil, max(n, 1)-1))
	return nil
}

func old(o Opinion, now time.Time) bool { return now.Sub(o.At) > Keep }

func count(r kv.Reader, a mail.AccountID) (uint64, error) {
	raw, err := r.Get(key(a, subCount))
	if err != nil || raw == nil {
		return 0, err
	}
	return kv.Decode(raw).Uvarint(), nil
}

// room counts a row that is to come, and makes room for it if there is none.
func room(tx kv.Tx, a mail.AccountID) error {
	n, err := count(tx, a)
	if err != nil {
		return err
	}
	if n >= Max {
		if n, err = trim(tx, a); err != nil {
			return err
		}
	}
	tx.Set(key(a, subCount), binary.AppendUvarint(nil, n+1))
	return nil
}

// trim forgets the oldest quarter, and what cannot be read, and tells how many are left.
func trim(tx kv.Tx, a mail.AccountID) (left uint64, err error) {
	type row struct {
		key []byte
		at  int64
	}
	var rows []row
	for r, err := range tx.Scan(kv.Prefix(key(a, subName))) {
		if err != nil {
			return 0, err
		}
		o, err := decode(r.Value)
		if err != nil {
			o = Opinion{}
		}
		rows = append(rows, row{bytes.Clone(r.Key), o.At.Unix()})
	}
	slices.SortStableFunc(rows, func(x, y row) int { return int(min(max(x.at-y.at, -1), 1)) })
	gone := len(rows) - Max*3/4
	for _, r := range rows[:max(gone, 0)] {
		tx.Delete(r.key)
	}
	return uint64(len(rows) - max(gone, 0)), nil
}

// Latest gives the newest of what an account's owner thinks of somebody who has these
// names.
func (s *Store) Latest(ctx context.Context, now time.Time, a mail.AccountID, names ...string) (latest Opinion, err error) {
	keys := make([][]byte, len(names))
	for i, n := range names {
		keys[i] = nameKey(a, n)
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		latest = Opinion{}
		rows, err := r.GetMany(keys...)
		for _, raw := range rows {
			if raw == nil || err != nil {
				continue
			}
			o, bad := decode(raw)
			if bad == nil && !old(o, now) && o.At.After(latest.At) { // check tells of a bad one
				latest = o
			}
		}
		return err
	})
	if err != nil {
		return Opinion{}, fmt.Errorf("opinion: %w", err)
	}
	return latest, nil
}

// Check gives a sentence for what is wrong with an account's rows.
func (s *Store) Check(ctx context.Context, a mail.AccountID) (wrong []string, err error) {
	var n, bad, said uint64
	err = s.DB.View(ctx, func(r kv.Reader) (err error) {
		n, bad = 0, 0
		if said, err = count(r, a); err != nil {
			return err
		}
		p := key(a, subName)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			n++
			if _, err := decode(row.Value); err != nil || len(row.Key) != len(p)+hashLen {
				bad++
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opinion: check: %w", err)
	}
	if bad > 0 {
		wrong = append(wrong, fmt.Sprintf("account %d: %d opinions of senders cannot be read", a, bad))
	}
	if n != said {
		wrong = append(wrong, fmt.Sprintf("account %d has %d opinions of senders, and says that there are %d", a, n, said))
	}
	return wrong, nil
}

// Package allowance counts to how many people each account writes, so that
// somebody who has found out a password cannot send to the whole world with it.
//
// How many an account may write to within a day is learned from the days before:
// some times its busiest one, but no more than a cap, and so many at least as are
// never strange. What has been stopped is remembered until it is over, for who
// looks after the server, and he can let it go.
//
// Both rows stand under the account's lock:
//
//	30  (hour, count)…                                  of the last day, oldest first
//	31  released, stopped, wanted, 0, (day, count)…     of the days before, oldest first
//
// Times are in seconds, hours and days since 1970; a 0 is where a later version
// may say how much more stands before the days.
package allowance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const (
	kindSent  = 0x30
	kindUsual = 0x31
)

const (
	// day is how many hours are counted.
	day = 24
	// days is how many days an account's busiest is looked for in.
	days = 30
	// factor is how many times the busiest day is usual.
	factor = 3
	// releasedFor is how long what was stopped may go, up to the cap: what goes
	// then is learned.
	releasedFor = 24 * time.Hour
	// toldFor is how long it is news that an account was stopped.
	toldFor = 24 * time.Hour
)

// A Store counts. DB must be set.
type Store struct {
	DB kv.Store
	// Cap is how many recipients an account may have within a day; 0: as many as it
	// likes, and nothing is counted.
	Cap int
	// Floor is how many are never strange; 0: nothing is learned, and the Cap alone
	// counts.
	Floor int
	// Log is told of rows that are damaged: then nothing is known of the account. nil:
	// nobody is.
	Log *slog.Logger
}

// An Answer is what Take says.
type Answer struct {
	OK    bool
	Limit int  // that counts now, within a day
	Usual bool // it has been learned: the Cap is higher
	// Sum is how many it would have been, with those that were asked for.
	Sum int
	// Room is when there will be room for so many; zero: never, or there is.
	Room time.Time
	// New tells that the account has not been stopped within an hour.
	New bool
}

// A State is how an account stands.
type State struct {
	Sent    int // within a day
	Busiest int // of the days that are looked at, of which today is none
	Limit   int // that counts now; 0: there is none
	Usual   bool
	// Released is until when only the Cap counts, Stopped when the account was stopped
	// the last time, and Wanted how many it would have been then; zero if that is over.
	Released, Stopped time.Time
	Wanted            int
}

type count struct {
	at int64 // hours or days since 1970
	n  uint64
}

// usual is what is known of the days before.
type usual struct {
	released, stopped int64
	wanted            uint64
	days              []count
}

func key(a mail.AccountID, kind byte) []byte { return append(mailbox.Lock(a).Prefix(), kind) }

// Take counts n recipients more, unless that would make more than the account may
// have within a day: then it counts nothing, but remembers that.
func (s *Store) Take(ctx context.Context, a mail.AccountID, n int) (out Answer, err error) {
	if s.Cap == 0 {
		return Answer{OK: true}, nil
	}
	plan := kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}
	err = s.DB.Update(ctx, plan, func(tx kv.Tx) error {
		out = Answer{}
		now := tx.Now()
		hours, total, u, err := s.known(tx, a, now)
		if err != nil {
			return err
		}
		out.Limit, out.Usual = s.limit(u, now)
		out.Sum = int(total) + n
		if out.Sum > out.Limit {
			out.Room = frees(hours, total, uint64(n), uint64(out.Limit))
			out.New = now.Unix()-u.stopped >= 3600
			u.stopped, u.wanted = now.Unix(), uint64(out.Sum)
			tx.Set(key(a, kindSent), row(nil, hours))
			tx.Set(key(a, kindUsual), u.row())
			return nil
		}
		out.OK = true
		hours = plus(hours, now.Unix()/3600, uint64(n))
		u.days = plus(u.days, now.Unix()/3600/day, uint64(n))
		tx.Set(key(a, kindSent), row(nil, hours))
		tx.Set(key(a, kindUsual), u.row())
		return nil
	})
	if err != nil {
		err = fmt.Errorf("allowance: account %d: %w", a, err)
	}
	return out, err
}

// limit gives what counts, and whether it has been learned.
func (s *Store) limit(u usual, now time.Time) (n int, learned bool) {
	if s.Cap == 0 || s.Floor == 0 || now.Unix() < u.released {
		return s.Cap, false
	}
	n = int(min(max(factor*u.busiest(now), uint64(s.Floor)), uint64(s.Cap)))
	return n, n < s.Cap
}

// busiest gives the count of the busiest day; today is not over.
func (u usual) busiest(now time.Time) (n uint64) {
	for _, d := range u.days {
		if d.at < now.Unix()/3600/day {
			n = max(n, d.n)
		}
	}
	return n
}

// Of gives how an account stands.
func (s *Store) Of(ctx context.Context, a mail.AccountID) (out State, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		now := time.Now()
		_, total, u, err := s.known(r, a, now)
		if err != nil {
			return err
		}
		out = State{Sent: int(total), Busiest: int(u.busiest(now))}
		out.Limit, out.Usual = s.limit(u, now)
		if now.Unix() < u.released {
			out.Released = time.Unix(u.released, 0)
		}
		if at := time.Unix(u.stopped, 0); now.Sub(at) < toldFor {
			out.Stopped, out.Wanted = at, int(u.wanted)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("allowance: account %d: %w", a, err)
	}
	return out, err
}

// Release has only the Cap count for an account, for a day.
func (s *Store) Release(ctx context.Context, a mail.AccountID) error {
	plan := kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}
	err := s.DB.Update(ctx, plan, func(tx kv.Tx) error {
		hours, _, u, err := s.known(tx, a, tx.Now())
		if err != nil {
			return err
		}
		u.released, u.stopped, u.wanted = tx.Now().Add(releasedFor).Unix(), 0, 0
		tx.Set(key(a, kindSent), row(nil, hours))
		tx.Set(key(a, kindUsual), u.row())
		return nil
	})
	if err != nil {
		err = fmt.Errorf("allowance: account %d: %w", a, err)
	}
	return err
}

// Check reads what is kept of an account, and gives a sentence for what cannot be
// understood.
func (s *Store) Check(ctx context.Context, a mail.AccountID) (wrong []string, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		wrong = wrong[:0]
		if _, _, _, err := read(r, a, time.Now()); errors.Is(err, errRow) {
			wrong = append(wrong, fmt.Sprintf("account %d: what it has sent of late cannot be read", a))
		} else if err != nil {
			return err
		}
		return nil
	})
	return wrong, err
}

var errRow = errors.New("a row is damaged")

// known is read, but damaged rows are as none: that an account may send must not hang
// on what it has sent. Whoever writes then has them whole again.
func (s *Store) known(r kv.Reader, a mail.AccountID, now time.Time) (hours []count, total uint64, u usual, err error) {
	hours, total, u, err = read(r, a, now)
	if !errors.Is(err, errRow) {
		return hours, total, u, err
	}
	if s.Log != nil {
		s.Log.Error("what an account has sent of late cannot be read; it is taken to have sent nothing", "account", a, "error", err)
	}
	return nil, 0, usual{}, nil
}

// read gives the hours that count, their sum, and what is known of the days.
func read(r kv.Reader, a mail.AccountID, now time.Time) (hours []count, total uint64, u usual, err error) {
	rows, err := r.GetMany(key(a, kindSent), key(a, kindUsual))
	if err != nil {
		return nil, 0, u, err
	}
	hour := now.Unix() / 3600
	d := kv.Decode(rows[0])
	hours = counts(d, hour, day)
	for _, h := range hours {
		total += h.n
	}
	if rows[1] == nil { // from before days were counted
		for _, h := range hours {
			u.days = plus(u.days, h.at/day, h.n)
		}
		return hours, total, u, damaged(d.Err())
	}
	if err := d.Err(); err != nil {
		return nil, 0, u, damaged(err)
	}
	d = kv.Decode(rows[1])
	u.released, u.stopped, u.wanted = int64(d.Uvarint()), int64(d.Uvarint()), d.Uvarint()
	for more := d.Uvarint(); more > 0 && d.Err() == nil; more-- {
		d.Uvarint()
	}
	u.days = counts(d, hour/day, days+1)
	return hours, total, u, damaged(d.Err())
}

// counts reads what counts at a time: what is not older than back, and what a clock
// that was wrong has put into the future must not count for ever.
func counts(d *kv.Decoder, now, back int64) (list []count) {
	for d.More() {
		c := count{int64(d.Uvarint()), d.Uvarint()}
		if c.at > now-back && c.at <= now && d.Err() == nil {
			list = append(list, c)
		}
	}
	return list
}

func damaged(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", errRow, err)
	}
	return err
}

// plus counts n more at a time, which is none before the last.
func plus(list []count, at int64, n uint64) []count {
	if last := len(list) - 1; last >= 0 && list[last].at >= at {
		list[last].n += n
		return list
	}
	return append(list, count{at, n})
}

func (u usual) row() []byte {
	var b []byte
	for _, v := range []uint64{uint64(u.released), uint64(u.stopped), u.wanted, 0} {
		b = binary.AppendUvarint(b, v)
	}
	return row(b, u.days)
}

func row(b []byte, list []count) []byte {
	for _, c := range list {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.at)), c.n)
	}
	return b
}

// frees gives when so many of the oldest will not count any more that there is
// room.
func frees(hours []count, total, n, limit uint64) time.Time {
	for _, h := range hours {
		if total -= h.n; total+n <= limit {
			return time.Unix((h.at+day)*3600, 0)
		}
	}
	return time.Time{}
}

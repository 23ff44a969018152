// Package acquaintance remembers who has written to us and to whom people here
// write, so that a stranger can be told from somebody who is known. It holds no
// names: a row's key is a hash, so that nobody can read from the store who writes
// to whom.
//
//	01 hash(16)  first, last (seconds), how often   who has written to us
//	02 hash(16)  first, last, how often             to whom people here have written
//	03 hash(16)  first, last, how often             who was asked to try again
//
// What is noted waits in memory and is written a little later, so that it costs no
// commit of its own: a crash forgets the last of it, and an honest sender has then
// to try once more.
package acquaintance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// lock guards all rows.
var lock = kv.Lock{Class: 'F'}

// A kind is what a row is about.
type kind byte

const (
	kindSender  kind = 0x01
	kindWritten kind = 0x02
	kindTried   kind = 0x03
)

// How long is remembered what was not renewed.
const (
	// KeepKnown is for who has written to us, and to whom people here have.
	KeepKnown = 180 * 24 * time.Hour
	// KeepTried is for who was asked to try again: as long as a patient sender waits
	// between two tries, and longer.
	KeepTried = 2 * 24 * time.Hour
)

const (
	flushAfter = time.Second
	// maxWaiting bounds what waits to be written; what is more is not remembered.
	maxWaiting = 20_000
	perCommit  = 2000 // rows
	// maxRows is how many of a kind are kept: the oldest go first.
	maxRows = 500_000
)

// A Record is what is known of somebody. What stands behind it in a row is passed
// over.
type Record struct {
	First, Last time.Time // zero: nothing is known
	Count       int       // messages that were taken from them, or sent to them
}

// A Store remembers. DB must be set; Run must run for anything to outlive the
// process.
type Store struct {
	DB kv.Store

	mu      sync.Mutex
	waiting map[string]delta
	writing map[string]delta // is no more in waiting, and perhaps not yet in DB
	lost    int64
	knock   chan struct{}
}

// A delta is what is to be added to a row.
type delta struct {
	first, last time.Time
	count       int
}

func key(k kind, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return string(h.Sum(append(lock.Prefix(), byte(k)))[:9+1+16])
}

func canonical(a mail.Address) string {
	return strings.ToLower(a.Local) + "@" + string(a.Domain)
}

// note adds to a row; false: there is no room to remember it.
func (s *Store) note(k string, d delta) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.waiting[k]
	if !ok {
		if len(s.waiting) >= maxWaiting {
			s.lost++
			return false
		}
		if s.waiting == nil {
			s.waiting = map[string]delta{}
		}
		old.first = d.first
	}
	if d.last.After(old.last) {
		old.last = d.last
	}
	old.count += d.count
	s.waiting[k] = old
	select {
	case s.bell() <- struct{}{}:
	default:
	}
	return true
}

func (s *Store) bell() chan struct{} {
	if s.knock == nil {
		s.knock = make(chan struct{}, 1)
	}
	return s.knock
}

// Took notes that a message was taken from somebody, by each of the names that he
// is known by: a domain, an author's address, a network, as the caller writes them.
func (s *Store) Took(now time.Time, names ...string) {
	for _, n := range names {
		s.note(key(kindSender, n), delta{first: now, last: now, count: 1})
	}
}

// Wrote notes that somebody here has written to an address.
func (s *Store) Wrote(now time.Time, to mail.Address) {
	s.note(key(kindWritten, canonical(to)), delta{first: now, last: now, count: 1})
}

// Tried notes that somebody was asked to try again, and for whom; false: it could not
// be noted.
func (s *Store) Tried(now time.Time, who string, sender, to mail.Address) bool {
	return s.note(key(kindTried, who, canonical(sender), canonical(to)), delta{first: now, last: now, count: 1})
}

// Of gives what is known of who has one of the names: of the one that is known
// best.
func (s *Store) Of(ctx context.Context, now time.Time, names ...string) (best Record, err error) {
	for _, n := range names {
		r, err := s.read(ctx, key(kindSender, n), now.Add(-KeepKnown))
		if err != nil {
			return Record{}, err
		}
		if r.Count > best.Count || best.First.IsZero() {
			best = r
		}
	}
	return best, nil
}

// Written tells since when people here have written to an address, and how often.
func (s *Store) Written(ctx context.Context, now time.Time, to mail.Address) (Record, error) {
	return s.read(ctx, key(kindWritten, canonical(to)), now.Add(-KeepKnown))
}

// Asked tells when somebody was first asked to try again.
func (s *Store) Asked(ctx context.Context, now time.Time, who string, sender, to mail.Address) (Record, error) {
	return s.read(ctx, key(kindTried, who, canonical(sender), canonical(to)), now.Add(-KeepTried))
}

// read gives a row with what still waits to be added; one that was not renewed since
// a time says nothing.
func (s *Store) read(ctx context.Context, k string, since time.Time) (r Record, err error) {
	s.mu.Lock()
	d, waits := s.waiting[k]
	w, writes := s.writing[k]
	s.mu.Unlock()
	err = s.DB.View(ctx, func(tx kv.Reader) error {
		raw, err := tx.Get([]byte(k))
		if err != nil {
			return err
		}
		r, err = decode(raw)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("acquaintance: %w", err)
	}
	if r.Last.Before(since) {
		r = Record{}
	}
	if writes && r.Last.Before(w.last.Truncate(time.Second)) { // else it has been written
		r = r.add(w)
	}
	if waits {
		r = r.add(d)
	}
	return r, nil
}

func (r Record) add(d delta) Record {
	if r.First.IsZero() {
		r.First = d.first
	}
	if d.last.After(r.Last) {
		r.Last = d.last
	}
	r.Count += d.count
	return r
}

func decode(raw []byte) (Record, error) {
	if raw == nil {
		return Record{}, nil
	}
	d := kv.Decode(raw)
	r := Record{First: time.Unix(d.Varint(), 0), Last: time.Unix(d.Varint(), 0), Count: int(d.Uvarint())}
	if err := d.Err(); err != nil {
		return Record{}, fmt.Errorf("a row cannot be read: %w", err)
	}
	return r, nil
}

func (r Record) row() []byte {
	b := binary.AppendVarint(binary.AppendVarint(nil, r.First.Unix()), r.Last.Unix())
	return binary.AppendUvarint(b, uint64(r.Count))
}

// Run writes what is noted until ctx ends, and the rest then. Errors go to report.
func (s *Store) Run(ctx context.Context, report func(error)) error {
	s.mu.Lock()
	knock := s.bell()
	s.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return s.Flush(context.WithoutCancel(ctx))
		case <-knock:
		}
		select {
		case <-ctx.Done():
		case <-time.After(flushAfter):
		}
		if err := s.Flush(context.WithoutCancel(ctx)); err != nil {
			report(err)
		}
	}
}

// Flush writes what waits. What cannot be written is forgotten: it is no mail.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	w, lost := s.waiting, s.lost
	s.waiting, s.writing, s.lost = nil, w, 0
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.writing = nil
		s.mu.Unlock()
	}()
	var errs []error
	for part := range slices.Chunk(slices.Sorted(maps.Keys(w)), perCommit) {
		errs = append(errs, s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
			for _, k := range part {
				raw, err := tx.Get([]byte(k))
				if err != nil {
					return err
				}
				r, err := decode(raw)
				if err != nil {
					r = Record{} // it is no mail: begin anew
				}
				if d := w[k]; r.Last.Before(d.first.Add(-keep(kind(k[9])))) {
					r = Record{}
				}
				tx.Set([]byte(k), r.add(w[k]).row())
			}
			return nil
		}))
	}
	if lost > 0 {
		errs = append(errs, fmt.Errorf("%d notes came too fast to be kept", lost))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("acquaintance: %w", err)
	}
	return nil
}

func keep(k kind) time.Duration {
	if k == kindTried {
		return KeepTried
	}
	return KeepKnown
}

// Sweep forgets what was not renewed for long, and the oldest of what is too much.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	for _, k := range []kind{kindSender, kindWritten, kindTried} {
		if err := s.sweep(ctx, k, now.Add(-keep(k)), maxRows); err != nil {
			return fmt.Errorf("acquaintance: sweep: %w", err)
		}
	}
	return nil
}

// sweep forgets the rows of a kind that were not renewed since a time, and more, the
// oldest first, until there are no more than a number.
func (s *Store) sweep(ctx context.Context, k kind, since time.Time, most int) error {
	var last []int64
	err := s.each(ctx, k, func(_ []byte, r Record, err error) {
		if err == nil && !r.Last.Before(since) {
			last = append(last, r.Last.Unix())
		}
	})
	if err != nil {
		return err
	}
	if len(last) > most {
		slices.Sort(last)
		since = time.Unix(last[len(last)-most], 0)
	}
	var old [][]byte
	err = s.each(ctx, k, func(key []byte, r Record, err error) {
		if err != nil || r.Last.Before(since) {
			old = append(old, bytes.Clone(key))
		}
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(old, perCommit) {
		err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
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

// each goes over the rows of a kind; err tells that one cannot be read.
func (s *Store) each(ctx context.Context, k kind, fn func(key []byte, r Record, err error)) error {
	at := append(lock.Prefix(), byte(k))
	high := kv.Next(at)
	const page = 5000
	for at != nil {
		from := at
		at = nil
		var keys [][]byte
		var rows [][]byte
		err := s.DB.View(ctx, func(r kv.Reader) error {
			keys, rows = keys[:0], rows[:0]
			for row, err := range r.Scan(kv.Range{Low: from, High: high, Limit: page}) {
				if err != nil {
					return err
				}
				keys, rows = append(keys, bytes.Clone(row.Key)), append(rows, bytes.Clone(row.Value))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range keys {
			r, err := decode(rows[i])
			fn(keys[i], r, err)
		}
		if len(keys) == page {
			at = append(bytes.Clone(keys[page-1]), 0)
		}
	}
	return nil
}

// Check gives a sentence for what cannot be read.
func (s *Store) Check(ctx context.Context) (wrong []string, err error) {
	bad := 0
	for _, k := range []kind{kindSender, kindWritten, kindTried} {
		err := s.each(ctx, k, func(key []byte, _ Record, err error) {
			if err != nil || len(key) != 9+1+16 {
				bad++
			}
		})
		if err != nil {
			return nil, fmt.Errorf("acquaintance: %w", err)
		}
	}
	if bad > 0 {
		wrong = append(wrong, fmt.Sprintf("acquaintance: %d rows cannot be read", bad))
	}
	return wrong, nil
}

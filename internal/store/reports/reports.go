// Package reports keeps what is told of mail between servers: what TLS came to
// in our sessions with others, and what mail came in their names, a day and a
// domain at a time, until it is sent to them; and what others have told us. RFC
// 8460, 9990
//
// What is counted waits in memory for a while; a crash loses the last of it.
//
// Rows are under the lock 'W':
//
//	1 day(4) domain → a report in JSON, as it will be sent: what we saw
//	2 time(8) salt(4) → what others saw of a domain of ours
//	3 day(4) domain → what became of the report on 1
//	4 time(8) salt(4) → what others saw of mail in the name of a domain of ours
//	5 day(4) domain 0 hash(16) → so many messages in a domain's name that were alike
//	6 day(4) domain → the DMARC policy of the domain, and how much there is of 5
//	7 day(4) domain → what became of the report on 5 and 6, which are gone then
//	8 time(8) salt(4) → what others told of one message in the name of a domain of ours
package reports

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/tlsrpt"
)

// lock guards all reports.
var lock = kv.Lock{Class: 'W'}

const (
	kindSeen      = 0x01
	kindTold      = 0x02
	kindSent      = 0x03
	kindSight     = 0x05
	kindPolicy    = 0x06
	kindSentDMARC = 0x07
	kindFailed    = 0x08
)

const (
	// maxWaiting bounds the days and domains that wait in memory to be written.
	maxWaiting = 20_000
	// maxKinds bounds the ways in which sessions with a domain can fail that are
	// told apart in a day, and maxPolicies the policies.
	maxKinds    = 20
	maxPolicies = 10
	// perCommit is how many rows are written at a time: the largest have some
	// 60 KB, and kv.MaxTx must hold them all.
	perCommit  = 10
	flushEvery = time.Minute
)

// A Day is a day in UTC, by its number since 1970.
type Day uint32

// DayOf gives the day of a time.
func DayOf(t time.Time) Day { return Day(t.Unix() / (24 * 60 * 60)) }

// Start gives when the day begins.
func (d Day) Start() time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

// End gives its last second.
func (d Day) End() time.Time { return (d + 1).Start().Add(-time.Second) }

// A Store counts and keeps. DB must be set; a Store must not be copied after
// first use.
type Store struct {
	DB kv.Store

	mu      sync.Mutex
	waiting map[seen]*tlsrpt.Report
	lost    int64
	sights  sights
}

// seen is a domain on a day.
type seen struct {
	day    Day
	domain mail.Domain
}

func seenKey(kind byte, s seen) []byte {
	k := append(lock.Prefix(), kind)
	return append(binary.BigEndian.AppendUint32(k, uint32(s.day)), s.domain...)
}

// Count counts a session with a domain's server: a success, or a failure, whose
// Sessions is 1. The policy says what asked for TLS.
func (s *Store) Count(now time.Time, d mail.Domain, policy tlsrpt.Policy, f *tlsrpt.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seen{DayOf(now), d}
	r := s.waiting[k]
	if r == nil {
		if len(s.waiting) >= maxWaiting {
			s.lost++
			return
		}
		if s.waiting == nil {
			s.waiting = map[seen]*tlsrpt.Report{}
		}
		r = &tlsrpt.Report{ID: "-", Start: k.day.Start(), End: k.day.End()}
		s.waiting[k] = r
	}
	policy.Successful, policy.Failed, policy.Failures = 1, 0, nil
	if f != nil {
		policy.Successful = 0
		policy.Sum(*f)
	}
	add(r, policy)
}

// add adds what was seen by a policy to a report. What goes beyond the bounds is
// counted, but no longer told apart.
func add(r *tlsrpt.Report, p tlsrpt.Policy) {
	at := -1
	for i := range r.Policies {
		if same(r.Policies[i], p) {
			at = i
		}
	}
	if at < 0 && len(r.Policies) < maxPolicies {
		empty := p
		empty.Successful, empty.Failed, empty.Failures = 0, 0, nil
		r.Policies = append(r.Policies, empty)
		at = len(r.Policies) - 1
	}
	at = max(at, 0)
	q := &r.Policies[at]
	q.Successful += p.Successful
	for _, f := range p.Failures {
		if len(q.Failures) >= maxKinds {
			last := &q.Failures[len(q.Failures)-1]
			last.Sessions += f.Sessions
			q.Failed += f.Sessions
			continue
		}
		q.Sum(f)
	}
}

func same(a, b tlsrpt.Policy) bool {
	if a.Kind != b.Kind || len(a.Strings) != len(b.Strings) {
		return false
	}
	for i := range a.Strings {
		if a.Strings[i] != b.Strings[i] {
			return false
		}
	}
	return true
}

// Run writes what is counted until ctx ends, and the rest then. Errors go to
// report.
func (s *Store) Run(ctx context.Context, report func(error)) error {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.Flush(context.WithoutCancel(ctx))
		case <-t.C:
		}
		if err := s.Flush(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
	}
}

// Flush writes what waits.
func (s *Store) Flush(ctx context.Context) error {
	return errors.Join(s.flushSessions(ctx), s.flushSights(ctx))
}

func (s *Store) flushSessions(ctx context.Context) error {
	s.mu.Lock()
	waiting, lost := s.waiting, s.lost
	s.waiting, s.lost = nil, 0
	s.mu.Unlock()
	part := make(map[seen]*tlsrpt.Report, perCommit)
	var errs []error
	for k, r := range waiting {
		part[k] = r
		if len(part) == perCommit {
			errs = append(errs, s.write(ctx, part))
			clear(part)
		}
	}
	if len(part) > 0 {
		errs = append(errs, s.write(ctx, part))
	}
	if lost > 0 {
		errs = append(errs, fmt.Errorf("reports: %d sessions were too many to be counted", lost))
	}
	return errors.Join(errs...)
}

func (s *Store) write(ctx context.Context, part map[seen]*tlsrpt.Report) error {
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		for k, fresh := range part {
			sum, err := readSeen(tx, k)
			if err != nil {
				return err
			}
			for _, p := range fresh.Policies {
				add(&sum, p)
			}
			row, err := sum.Append(nil)
			if err != nil {
				return err
			}
			if len(row) > kv.MaxValue {
				continue // what there is already must do
			}
			tx.Set(seenKey(kindSeen, k), row)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	return nil
}

// readSeen gives what was seen of a domain on a day, which may be nothing.
func readSeen(r kv.Reader, k seen) (tlsrpt.Report, error) {
	row, err := r.Get(seenKey(kindSeen, k))
	if err != nil || row == nil {
		return tlsrpt.Report{ID: "-", Start: k.day.Start(), End: k.day.End()}, err
	}
	return tlsrpt.Parse(row)
}

// A Seen is what we saw of a domain on a day.
type Seen struct {
	Day    Day
	Domain mail.Domain
	Report tlsrpt.Report
}

// After gives up to n of what was seen on a day and before another, behind a
// domain of the first, in their order.
func (s *Store) After(ctx context.Context, from Day, d mail.Domain, before Day, n int) (out []Seen, err error) {
	low := seenKey(kindSeen, seen{from, d})
	if d != "" {
		low = append(low, 0)
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(kv.Range{Low: low, High: seenKey(kindSeen, seen{before, ""}), Limit: n}) {
			if err != nil {
				return err
			}
			k := row.Key[kv.PrefixLen+1:]
			rep, err := tlsrpt.Parse(row.Value)
			if err != nil {
				return err
			}
			out = append(out, Seen{Day(binary.BigEndian.Uint32(k)), mail.Domain(k[4:]), rep})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return out, nil
}

// Lock is what MarkSent needs.
func Lock() kv.Lock { return lock }

// A Told is a report of others on a domain of ours.
type Told struct {
	Received time.Time
	Report   tlsrpt.Report
}

// Tell keeps a report of others, as much of it as there is room for.
func (s *Store) Tell(ctx context.Context, now time.Time, salt uint32, r tlsrpt.Report) error {
	r.Policies = r.Policies[:min(len(r.Policies), maxPolicies)]
	for i := range r.Policies {
		p := &r.Policies[i]
		p.Failures = p.Failures[:min(len(p.Failures), maxKinds)]
	}
	row, err := r.Append(nil)
	if err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	if len(row) > kv.MaxValue {
		for i := range r.Policies {
			r.Policies[i].Failures = nil
			r.Policies[i].Strings, r.Policies[i].MX = nil, nil
		}
		if row, err = r.Append(nil); err != nil {
			return fmt.Errorf("reports: %w", err)
		}
	}
	return s.put(ctx, toldKey(kindTold, now, salt), row)
}

func toldKey(kind byte, now time.Time, salt uint32) []byte {
	k := binary.BigEndian.AppendUint64(append(lock.Prefix(), kind), uint64(now.UnixNano()))
	return binary.BigEndian.AppendUint32(k, salt)
}

func (s *Store) put(ctx context.Context, k, row []byte) error {
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		tx.Set(k, row)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	return nil
}

// Latest gives up to n reports of others, the last first.
func (s *Store) Latest(ctx context.Context, n int) (out []Told, err error) {
	all := kv.Prefix(append(lock.Prefix(), kindTold))
	all.Reverse, all.Limit = true, n
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(all) {
			if err != nil {
				return err
			}
			rep, err := tlsrpt.Parse(row.Value)
			if err != nil {
				return err
			}
			at := binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:])
			out = append(out, Told{time.Unix(0, int64(at)).UTC(), rep})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return out, nil
}

// Expire forgets what is older than a time.
func (s *Store) Expire(ctx context.Context, before time.Time) error {
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		for _, kind := range []byte{kindSeen, kindSent, kindSight, kindPolicy, kindSentDMARC} {
			tx.DeleteRange(append(lock.Prefix(), kind), seenKey(kind, seen{DayOf(before), ""}))
		}
		for _, kind := range []byte{kindTold, kindDMARC, kindFailed} {
			tx.DeleteRange(append(lock.Prefix(), kind), toldKey(kind, before, 0))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reports: expire: %w", err)
	}
	return nil
}

// Check says what is wrong with the rows.
func (s *Store) Check(ctx context.Context) (wrong []string, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		wrong = nil
		for row, err := range r.Scan(kv.Prefix(lock.Prefix())) {
			if err != nil {
				return err
			}
			k := row.Key[kv.PrefixLen:]
			if err := checkRow(k, row.Value); err != nil {
				wrong = append(wrong, fmt.Sprintf("reports: %q cannot be read: %v", k, err))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return wrong, nil
}

// checkRow tells what is wrong with a row, whose key without its lock is k.
func checkRow(k, row []byte) (err error) {
	switch {
	case len(k) > 5 && k[0] == kindSeen, len(k) == 13 && k[0] == kindTold:
		_, err = tlsrpt.Parse(row)
	case len(k) == 13 && k[0] == kindDMARC:
		_, err = decodeJudged(time.Time{}, row)
	case len(k) == 13 && k[0] == kindFailed:
		_, err = decodeFailed(time.Time{}, row)
	case len(k) > 5+1+16 && k[0] == kindSight && k[len(k)-17] == 0:
		_, err = decodeRow(row)
	case len(k) > 5 && k[0] == kindPolicy:
		err = new(Sighted).decode(row)
	case len(k) > 5 && (k[0] == kindSent || k[0] == kindSentDMARC):
		err = new(Sending).decode(row)
	default:
		err = errors.New("there is no such kind")
	}
	return err
}

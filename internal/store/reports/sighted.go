package reports

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dmarc"
)

// Bounds on what is counted for reports on DMARC.
const (
	// maxSights and maxSightBytes bound what waits in memory to be written, of all
	// domains; maxRows and maxRowBytes what is told to a domain of one day: its
	// report must not become larger than dmarc.MaxReport. What is more is counted.
	maxSights     = 20_000
	maxSightBytes = 16 << 20
	maxRows       = 5000
	maxRowBytes   = 4 << 20
	// maxDKIM is how many signatures of a message are told of.
	maxDKIM = 10
	// sightsPerCommit is how many rows, and sightBytes how many bytes, are written at
	// a time.
	sightsPerCommit = 200
	sightBytes      = kv.MaxTx / 4
)

// A Sight is a message that the DMARC policy of its author's domain spoke for.
type Sight struct {
	Published dmarc.Published
	Wanted    []string  // where reports are to go, as the policy's rua= says
	Row       dmarc.Row // its Count does not matter: it is one message
}

// A Sighted is what we saw of a policy domain's mail on a day: its policy as it was
// last, and how much there is to tell.
type Sighted struct {
	Day       Day
	Domain    mail.Domain
	Published dmarc.Published
	Wanted    []string
	Messages  int64
	Rows      int64 // kinds of messages that are told apart
	More      int64 // messages of further kinds, which are not told of

	bytes int64
}

// A sightKey is one kind of messages.
type sightKey struct {
	seen
	sum [16]byte
}

// sights wait to be written.
type sights struct {
	counts map[sightKey]int64
	rows   map[sightKey][]byte
	latest map[seen]Sight
	bytes  int
	lost   int64
}

// Saw counts a message.
func (s *Store) Saw(now time.Time, x Sight) {
	row := appendRow(nil, x.Row)
	sum := sha256.Sum256(row)
	k := sightKey{seen: seen{DayOf(now), mail.Domain(x.Published.Domain)}, sum: [16]byte(sum[:])}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.sights
	if w.counts == nil {
		*w = sights{counts: map[sightKey]int64{}, rows: map[sightKey][]byte{}, latest: map[seen]Sight{}}
	}
	if w.counts[k] == 0 {
		if len(w.counts) >= maxSights || w.bytes+len(row) > maxSightBytes {
			w.lost++
			return
		}
		w.rows[k] = row
		w.bytes += len(row)
	}
	w.counts[k]++
	x.Row = dmarc.Row{}
	w.latest[k.seen] = x
}

// flushSights writes what waits, many rows at a time.
func (s *Store) flushSights(ctx context.Context) error {
	s.mu.Lock()
	w := s.sights
	s.sights = sights{}
	s.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(w.counts), func(a, b sightKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.domain, b.domain), slices.Compare(a.sum[:], b.sum[:]))
	})
	var errs []error
	for len(keys) > 0 {
		n, bytes := 0, 0
		for n < len(keys) && n < sightsPerCommit && (n == 0 || bytes < sightBytes) {
			bytes += len(w.rows[keys[n]])
			n++
		}
		errs = append(errs, s.writeSights(ctx, &w, keys[:n]))
		keys = keys[n:]
	}
	if w.lost > 0 {
		errs = append(errs, fmt.Errorf("reports: %d messages were of too many kinds to be counted", w.lost))
	}
	return errors.Join(errs...)
}

func (s *Store) writeSights(ctx context.Context, w *sights, keys []sightKey) error {
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		sums := map[seen]*Sighted{}
		for _, k := range keys {
			sum := sums[k.seen]
			if sum == nil {
				var err error
				if sum, err = readSighted(tx, k.seen); err != nil {
					return err
				}
				sum.Published, sum.Wanted = w.latest[k.seen].Published, w.latest[k.seen].Wanted
				sums[k.seen] = sum
			}
			if err := sum.add(tx, k, w.rows[k], w.counts[k]); err != nil {
				return err
			}
		}
		for k, sum := range sums {
			tx.Set(seenKey(kindPolicy, k), sum.row())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	return nil
}

// add counts n messages of one kind.
func (sum *Sighted) add(tx kv.Tx, k sightKey, row []byte, n int64) error {
	sum.Messages += n
	key := k.key()
	have, err := tx.Get(key)
	if err != nil {
		return err
	}
	if have != nil {
		d := kv.Decode(have)
		n += d.Varint()
		if err := d.Err(); err != nil {
			return err
		}
	} else {
		if sum.Rows >= maxRows || sum.bytes+int64(len(row)) > maxRowBytes {
			sum.More += n
			return nil
		}
		sum.Rows++
		sum.bytes += int64(len(row))
	}
	tx.Set(key, append(binary.AppendVarint(nil, n), row...))
	return nil
}

func (k sightKey) key() []byte { return append(append(seenKey(kindSight, k.seen), 0), k.sum[:]...) }

// sightsOf gives the range of the rows of a domain's day.
func sightsOf(k seen) kv.Range { return kv.Prefix(append(seenKey(kindSight, k), 0)) }

func readSighted(r kv.Reader, k seen) (*Sighted, error) {
	sum := &Sighted{Day: k.day, Domain: k.domain}
	row, err := r.Get(seenKey(kindPolicy, k))
	if err != nil || row == nil {
		return sum, err
	}
	return sum, sum.decode(row)
}

// SightedAfter gives up to n of what was seen on a day and before another, behind a
// domain of the first, in their order.
func (s *Store) SightedAfter(ctx context.Context, from Day, d mail.Domain, before Day, n int) (out []Sighted, err error) {
	low := seenKey(kindPolicy, seen{from, d})
	if d != "" {
		low = append(low, 0)
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(kv.Range{Low: low, High: seenKey(kindPolicy, seen{before, ""}), Limit: n}) {
			if err != nil {
				return err
			}
			k := row.Key[kv.PrefixLen+1:]
			sum := Sighted{Day: Day(binary.BigEndian.Uint32(k)), Domain: mail.Domain(k[4:])}
			if err := sum.decode(row.Value); err != nil {
				return err
			}
			out = append(out, sum)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return out, nil
}

// Rows gives the kinds of messages that were seen of a domain on a day.
func (s *Store) Rows(ctx context.Context, day Day, d mail.Domain) (out []dmarc.Row, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(sightsOf(seen{day, d})) {
			if err != nil {
				return err
			}
			one, err := decodeRow(row.Value)
			if err != nil {
				return err
			}
			out = append(out, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return out, nil
}

const sightedVersion = 1

func (sum *Sighted) row() []byte {
	p := sum.Published
	b := []byte{sightedVersion}
	for _, s := range []string{string(p.Policy), string(p.Subdomains), string(p.NonExistent), p.Discovery} {
		b = kv.AppendBytes(b, s)
	}
	b = append(b, bits(p.StrictDKIM, p.StrictSPF, p.Testing))
	b = binary.AppendUvarint(b, uint64(len(sum.Wanted)))
	for _, s := range sum.Wanted {
		b = kv.AppendBytes(b, s)
	}
	for _, n := range []int64{sum.Messages, sum.Rows, sum.More, sum.bytes} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func (sum *Sighted) decode(row []byte) error {
	d := kv.Decode(row)
	if d.Byte() != sightedVersion {
		return fmt.Errorf("%w: of a newer version", kv.ErrRow)
	}
	p := &sum.Published
	p.Domain = string(sum.Domain)
	p.Policy, p.Subdomains, p.NonExistent, p.Discovery = dmarc.Policy(d.String()), dmarc.Policy(d.String()), dmarc.Policy(d.String()), d.String()
	f := d.Byte()
	p.StrictDKIM, p.StrictSPF, p.Testing = f&1 != 0, f&2 != 0, f&4 != 0
	for n := d.Uvarint(); n > 0 && d.More(); n-- {
		sum.Wanted = append(sum.Wanted, d.String())
	}
	sum.Messages, sum.Rows, sum.More, sum.bytes = d.Varint(), d.Varint(), d.Varint(), d.Varint()
	return d.Err()
}

func bits(list ...bool) (b byte) {
	for i, set := range list {
		if set {
			b |= 1 << i
		}
	}
	return b
}

// appendRow appends all of a row but its count. Of people it has nothing.
func appendRow(b []byte, r dmarc.Row) []byte {
	b = kv.AppendBytes(b, r.Source.Unmap().AsSlice())
	b = append(kv.AppendBytes(b, r.Disposition), bits(r.DKIM, r.SPF))
	b = kv.AppendBytes(kv.AppendBytes(b, r.EnvelopeFrom), r.HeaderFrom)
	b = binary.AppendUvarint(b, uint64(len(r.Reasons)))
	for _, o := range r.Reasons {
		b = kv.AppendBytes(kv.AppendBytes(b, o.Type), o.Comment)
	}
	signed := r.DKIMs[:min(len(r.DKIMs), maxDKIM)]
	b = binary.AppendUvarint(b, uint64(len(signed)))
	for _, s := range signed {
		b = kv.AppendBytes(kv.AppendBytes(kv.AppendBytes(b, s.Domain), cut(s.Selector)), s.Result)
	}
	b = binary.AppendUvarint(b, uint64(len(r.SPFs)))
	for _, s := range r.SPFs {
		b = kv.AppendBytes(kv.AppendBytes(kv.AppendBytes(b, s.Domain), s.Scope), s.Result)
	}
	return b
}

func decodeRow(raw []byte) (r dmarc.Row, err error) {
	d := kv.Decode(raw)
	r.Count = d.Varint()
	r.Source, _ = netip.AddrFromSlice(d.Bytes())
	r.Disposition = d.String()
	f := d.Byte()
	r.DKIM, r.SPF = f&1 != 0, f&2 != 0
	r.EnvelopeFrom, r.HeaderFrom = d.String(), d.String()
	for n := d.Uvarint(); n > 0 && d.More(); n-- {
		r.Reasons = append(r.Reasons, dmarc.Override{Type: d.String(), Comment: d.String()})
	}
	for n := d.Uvarint(); n > 0 && d.More(); n-- {
		r.DKIMs = append(r.DKIMs, dmarc.DKIMResult{Domain: d.String(), Selector: d.String(), Result: d.String()})
	}
	for n := d.Uvarint(); n > 0 && d.More(); n-- {
		r.SPFs = append(r.SPFs, dmarc.SPFResult{Domain: d.String(), Scope: d.String(), Result: d.String()})
	}
	if err = d.Err(); err == nil && !r.Source.IsValid() {
		err = kv.ErrRow
	}
	return r, err
}

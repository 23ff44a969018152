package reports

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dmarc"
)

const (
	kindDMARC = 0x04
	// maxSources is how many rows of a report are kept: those with most messages.
	maxSources = 200
	maxName    = 100 // bytes of a name in it
)

// A Judged is what another receiver saw of mail in the name of a domain of ours.
type Judged struct {
	Received   time.Time
	By         string // the receiver
	Domain     string
	Policy     string // as the receiver found it
	Begin, End time.Time
	Sources    []Source
	More       int64 // messages of sources beyond those
}

// A Source is so many messages from one address that were judged alike.
type Source struct {
	IP          netip.Addr
	Messages    int64
	DKIM, SPF   bool // passed and aligned
	Disposition string
}

// JudgedOf sums a report up.
func JudgedOf(a dmarc.Aggregate) Judged {
	j := Judged{By: cut(a.Organization), Domain: cut(a.Published.Domain), Policy: cut(string(a.Published.Policy)), Begin: a.Begin, End: a.End}
	sums := map[Source]int64{}
	for _, r := range a.Rows {
		sums[Source{IP: r.Source.Unmap(), DKIM: r.DKIM, SPF: r.SPF, Disposition: cut(r.Disposition)}] += r.Count
	}
	for s, n := range sums {
		s.Messages = n
		j.Sources = append(j.Sources, s)
	}
	slices.SortFunc(j.Sources, func(a, b Source) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), a.IP.Compare(b.IP), cmp.Compare(a.flags(), b.flags()), cmp.Compare(a.Disposition, b.Disposition))
	})
	if len(j.Sources) > maxSources {
		for _, s := range j.Sources[maxSources:] {
			j.More += s.Messages
		}
		j.Sources = j.Sources[:maxSources]
	}
	return j
}

func cut(s string) string { return s[:min(len(s), maxName)] }

func (s Source) flags() byte {
	f := byte(0)
	if s.DKIM {
		f |= 1
	}
	if s.SPF {
		f |= 2
	}
	return f
}

func (j Judged) row() []byte {
	b := kv.AppendBytes(kv.AppendBytes(kv.AppendBytes(nil, j.By), j.Domain), j.Policy)
	b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, j.Begin.Unix()), j.End.Unix()), j.More)
	b = binary.AppendUvarint(b, uint64(len(j.Sources)))
	for _, s := range j.Sources {
		b = kv.AppendBytes(b, s.IP.AsSlice())
		b = kv.AppendBytes(append(binary.AppendVarint(b, s.Messages), s.flags()), s.Disposition)
	}
	return b
}

func decodeJudged(at time.Time, row []byte) (Judged, error) {
	d := kv.Decode(row)
	j := Judged{Received: at, By: d.String(), Domain: d.String(), Policy: d.String(), Begin: time.Unix(d.Varint(), 0).UTC(), End: time.Unix(d.Varint(), 0).UTC(), More: d.Varint()}
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		ip, _ := netip.AddrFromSlice(d.Bytes())
		s := Source{IP: ip, Messages: d.Varint()}
		f := d.Byte()
		s.DKIM, s.SPF, s.Disposition = f&1 != 0, f&2 != 0, d.String()
		j.Sources = append(j.Sources, s)
	}
	return j, d.Err()
}

// TellDMARC keeps what another receiver saw.
func (s *Store) TellDMARC(ctx context.Context, now time.Time, salt uint32, j Judged) error {
	return s.put(ctx, toldKey(kindDMARC, now, salt), j.row())
}

// PutDMARC keeps in a transaction what we have seen of a domain of ours ourselves. It
// needs Lock.
func PutDMARC(tx kv.Tx, now time.Time, id mail.TraceID, j Judged) {
	tx.Set(toldKey(kindDMARC, now, binary.BigEndian.Uint32(id[6:])), j.row())
}

// LatestDMARC gives up to n reports of other receivers, the last first.
func (s *Store) LatestDMARC(ctx context.Context, n int) ([]Judged, error) {
	return latest(ctx, s, kindDMARC, n, decodeJudged)
}

// latest gives up to n things of a kind that were told, the last first.
func latest[T any](ctx context.Context, s *Store, kind byte, n int, decode func(time.Time, []byte) (T, error)) (out []T, err error) {
	all := kv.Prefix(append(lock.Prefix(), kind))
	all.Reverse, all.Limit = true, n
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(all) {
			if err != nil {
				return err
			}
			v, err := decode(time.Unix(0, int64(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))).UTC(), row.Value)
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reports: %w", err)
	}
	return out, nil
}

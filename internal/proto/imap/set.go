package imap

import (
	"cmp"
	"slices"
	"strconv"

	"posthaste/internal/base/mail"
)

// A Set is messages as the client wrote them: by sequence number, or by UID in
// the commands that begin with UID. RFC 9051 §9, sequence-set
type Set struct {
	UID    bool    // the numbers are UIDs
	Saved  bool    // "$", the result of the last SEARCH; there are no Ranges. RFC 9051 §6.4.4.1
	Ranges []Range // ascending, and they do not overlap, as far as can be known with "*"
}

// A Range is numbers from First to Last. Star stands for "*", the highest
// number in the mailbox, whatever it is; it may be either end or both.
type Range struct{ First, Last uint32 }

// Star is "*". No message has this number.
const Star = 0

// maxRanges is how many ranges a set may have.
const maxRanges = 32 << 10

// set takes a sequence set.
func (d *Decoder) set(uid bool) Set {
	s := Set{UID: uid}
	if d.take('$') {
		s.Saved = true
		return s
	}
	for d.ok() {
		r := Range{First: d.setNumber()}
		r.Last = r.First
		if d.take(':') {
			r.Last = d.setNumber()
		}
		if s.Ranges = append(s.Ranges, r); len(s.Ranges) > maxRanges {
			d.fail("too many ranges")
		}
		if !d.take(',') {
			break
		}
	}
	s.Ranges = normalise(s.Ranges)
	return s
}

func (d *Decoder) setNumber() uint32 {
	if d.take('*') {
		return Star
	}
	return d.nz32()
}

// normalise sorts ranges, with those that have a star behind the others, and
// joins what overlaps or touches.
func normalise(ranges []Range) []Range {
	for i, r := range ranges {
		// "*:5" is "5:*"; a star stays behind.
		if r.First == Star || r.Last != Star && r.First > r.Last {
			ranges[i] = Range{r.Last, r.First}
		}
	}
	slices.SortFunc(ranges, func(a, b Range) int {
		if (a.Last == Star) != (b.Last == Star) {
			if a.Last == Star {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.First-1, b.First-1), cmp.Compare(a.Last, b.Last))
	})
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 {
			t := &out[n-1]
			switch {
			case t.Last == Star:
				continue // n:* has all of the later m:* and *
			case r.Last != Star && uint64(r.First) <= uint64(t.Last)+1:
				t.Last = max(t.Last, r.Last)
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// String gives the set as it goes over the wire.
func (s Set) String() string { return string(s.Append(nil)) }

// Append appends the set as it goes over the wire.
func (s Set) Append(dst []byte) []byte {
	if s.Saved {
		return append(dst, '$')
	}
	number := func(n uint32) {
		if n == Star {
			dst = append(dst, '*')
		} else {
			dst = strconv.AppendUint(dst, uint64(n), 10)
		}
	}
	for i, r := range s.Ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		number(r.First)
		if r.Last != r.First {
			dst = append(dst, ':')
			number(r.Last)
		}
	}
	return dst
}

// within gives r with its stars replaced by the highest number.
func (r Range) within(highest uint32) (first, last uint32) {
	first, last = r.First, r.Last
	if first == Star {
		first = highest
	}
	if last == Star {
		last = highest
	}
	return min(first, last), max(first, last)
}

// UIDSet gives the set as numbers, with star for "*". It is for UIDs in a
// mailbox that is not open in this session, as in the QRESYNC parameter.
func (s Set) UIDSet(star mail.UID) mail.UIDSet {
	ranges := make([]mail.UIDRange, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		first, last := r.within(uint32(star))
		ranges = append(ranges, mail.UIDRange{First: mail.UID(first), Last: mail.UID(last)})
	}
	return mail.UIDSetOf(ranges)
}

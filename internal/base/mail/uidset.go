package mail

import (
	"errors"
	"iter"
	"slices"
	"sort"
	"strconv"
)

// A UIDRange is the UIDs from First to Last, both of them included.
type UIDRange struct{ First, Last UID }

// A UIDSet is a set of UIDs, kept as ascending ranges that neither overlap nor
// touch, so that "all of it" costs as little as "one of it". Zero is no UID and
// is never in a set. The zero UIDSet is empty and ready for use; a set is
// copied by Clone, not by assignment, if one of the two is then changed.
type UIDSet struct{ ranges []UIDRange }

var errUIDSet = errors.New("not a set of UIDs")

// UIDs makes a set of the UIDs given, in any order.
func UIDs(uids ...UID) UIDSet {
	var s UIDSet
	for _, u := range uids {
		s.Add(u)
	}
	return s
}

// UIDSpan makes the set of all UIDs from first to last.
func UIDSpan(first, last UID) UIDSet {
	var s UIDSet
	s.AddRange(first, last)
	return s
}

// Add puts u into the set. It is fastest in ascending order.
func (s *UIDSet) Add(u UID) { s.AddRange(u, u) }

// AddRange puts all UIDs from first to last into the set, none if last is below
// first. It is fastest in ascending order.
func (s *UIDSet) AddRange(first, last UID) {
	first = max(first, 1)
	if last < first {
		return
	}
	n := len(s.ranges)
	if n == 0 || s.ranges[n-1].Last < first-1 {
		s.ranges = append(s.ranges, UIDRange{first, last})
		return
	}
	if t := &s.ranges[n-1]; t.First <= first {
		t.Last = max(t.Last, last)
		return
	}
	// i is the first range that touches or lies above, j the first wholly above.
	i := sort.Search(n, func(i int) bool { return s.ranges[i].Last >= first-1 })
	j := i + sort.Search(n-i, func(k int) bool { return s.ranges[i+k].First-1 > last })
	if i < j {
		first, last = min(first, s.ranges[i].First), max(last, s.ranges[j-1].Last)
	}
	s.ranges = slices.Replace(s.ranges, i, j, UIDRange{first, last})
}

// Remove takes u out of the set.
func (s *UIDSet) Remove(u UID) {
	i := s.find(u)
	if i == len(s.ranges) || u < s.ranges[i].First {
		return
	}
	r := s.ranges[i]
	switch {
	case r.First == r.Last:
		s.ranges = slices.Delete(s.ranges, i, i+1)
	case r.First == u:
		s.ranges[i].First++
	case r.Last == u:
		s.ranges[i].Last--
	default:
		s.ranges[i].Last = u - 1
		s.ranges = slices.Insert(s.ranges, i+1, UIDRange{u + 1, r.Last})
	}
}

// find gives the index of the first range that does not end below u.
func (s UIDSet) find(u UID) int {
	return sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].Last >= u })
}

// Contains tells whether u is in the set.
func (s UIDSet) Contains(u UID) bool {
	i := s.find(u)
	return i < len(s.ranges) && s.ranges[i].First <= u
}

// IsEmpty tells whether nothing is in the set.
func (s UIDSet) IsEmpty() bool { return len(s.ranges) == 0 }

// Len gives how many UIDs are in the set.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s.ranges {
		n += int(r.Last-r.First) + 1
	}
	return n
}

// Min gives the lowest UID of the set, zero if it is empty.
func (s UIDSet) Min() UID {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[0].First
}

// Max gives the highest UID of the set, zero if it is empty.
func (s UIDSet) Max() UID {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[len(s.ranges)-1].Last
}

// Ranges gives the ranges, ascending. They are the set's own: look, do not touch.
func (s UIDSet) Ranges() []UIDRange { return s.ranges }

// All goes over the UIDs of the set, ascending.
func (s UIDSet) All() iter.Seq[UID] {
	return func(yield func(UID) bool) {
		for _, r := range s.ranges {
			for u := r.First; ; u++ {
				if !yield(u) {
					return
				}
				if u == r.Last {
					break
				}
			}
		}
	}
}

// Clone gives a copy that shares nothing with s.
func (s UIDSet) Clone() UIDSet { return UIDSet{slices.Clone(s.ranges)} }

// Equal tells whether both have the same UIDs.
func (s UIDSet) Equal(t UIDSet) bool { return slices.Equal(s.ranges, t.ranges) }

// Union gives the UIDs that are in s or in t.
func (s UIDSet) Union(t UIDSet) UIDSet {
	var u UIDSet
	a, b := s.ranges, t.ranges
	for len(a) > 0 && len(b) > 0 {
		if a[0].First <= b[0].First {
			u.AddRange(a[0].First, a[0].Last)
			a = a[1:]
		} else {
			u.AddRange(b[0].First, b[0].Last)
			b = b[1:]
		}
	}
	for _, r := range append(slices.Clip(a), b...) {
		u.AddRange(r.First, r.Last)
	}
	return u
}

// Intersect gives the UIDs that are in both s and t.
func (s UIDSet) Intersect(t UIDSet) UIDSet {
	var u UIDSet
	a, b := s.ranges, t.ranges
	for len(a) > 0 && len(b) > 0 {
		u.AddRange(max(a[0].First, b[0].First), min(a[0].Last, b[0].Last))
		if a[0].Last < b[0].Last {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return u
}

// Subtract gives the UIDs that are in s and not in t.
func (s UIDSet) Subtract(t UIDSet) UIDSet {
	var u UIDSet
	b := t.ranges
	for _, r := range s.ranges {
		from := r.First
		for len(b) > 0 && b[0].Last < from {
			b = b[1:]
		}
		done := false
		for i := 0; i < len(b) && b[i].First <= r.Last; i++ {
			if b[i].First > from {
				u.AddRange(from, b[i].First-1)
			}
			if done = b[i].Last >= r.Last; done {
				break
			}
			from = b[i].Last + 1
		}
		if !done {
			u.AddRange(from, r.Last)
		}
	}
	return u
}

// String gives the set as IMAP writes it, "1:3,5"; "" if it is empty.
// RFC 9051 §9, uid-set
func (s UIDSet) String() string { return string(s.Append(nil)) }

// Append appends what String gives.
func (s UIDSet) Append(dst []byte) []byte {
	for i, r := range s.ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.First), 10)
		if r.Last > r.First {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Last), 10)
		}
	}
	return dst
}

// ParseUIDSet reads what String gives, and other orders of the same: "5,3:1".
// It does not take "*", which means nothing outside of a mailbox.
func ParseUIDSet(text string) (UIDSet, error) {
	if text == "" {
		return UIDSet{}, nil
	}
	var ranges []UIDRange
	for {
		first, rest, err := parseUID(text)
		if err != nil {
			return UIDSet{}, err
		}
		last := first
		if rest != "" && rest[0] == ':' {
			if last, rest, err = parseUID(rest[1:]); err != nil {
				return UIDSet{}, err
			}
		}
		ranges = append(ranges, UIDRange{min(first, last), max(first, last)})
		if rest == "" {
			return UIDSetOf(ranges), nil
		}
		if rest[0] != ',' {
			return UIDSet{}, errUIDSet
		}
		text = rest[1:]
	}
}

// UIDSetOf makes a set of ranges in any order, overlapping or not. It sorts
// them in place, and takes n log n steps whatever the order.
func UIDSetOf(ranges []UIDRange) UIDSet {
	slices.SortFunc(ranges, func(a, b UIDRange) int {
		if a.First < b.First {
			return -1
		}
		if a.First > b.First {
			return 1
		}
		return 0
	})
	var s UIDSet
	for _, r := range ranges {
		s.AddRange(r.First, r.Last)
	}
	return s
}

// parseUID takes a number above zero off the front of text.
func parseUID(text string) (UID, string, error) {
	n, i := uint64(0), 0
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		if n = n*10 + uint64(text[i]-'0'); n > 1<<32-1 {
			return 0, "", errUIDSet
		}
		i++
	}
	if n == 0 || text[0] == '0' {
		return 0, "", errUIDSet
	}
	return UID(n), text[i:], nil
}

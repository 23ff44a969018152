package message

import "slices"

// A FieldSet is a set of field names, compared without regard to case.
type FieldSet struct {
	lengths uint64   // bit n: there is a name of n bytes (63: of that or more)
	few     []string // in lower case
	many    map[string]struct{}
}

// fewNames is how many names are compared one by one.
const fewNames = 12

// maxName is how long a name may be to be found.
const maxName = 256

// NewFieldSet makes a set of names.
func NewFieldSet(names ...string) *FieldSet {
	s := &FieldSet{}
	for _, n := range names {
		if n == "" || len(n) > maxName {
			continue // no field has it
		}
		s.lengths |= 1 << min(len(n), 63)
		n = string(appendLower(nil, n))
		if s.many == nil && !slices.Contains(s.few, n) {
			s.few = append(s.few, n)
		}
		if s.many != nil {
			s.many[n] = struct{}{}
		} else if len(s.few) > fewNames {
			s.many = make(map[string]struct{}, len(names))
			for _, f := range s.few {
				s.many[f] = struct{}{}
			}
		}
	}
	return s
}

// Has tells whether name is in the set.
func (s *FieldSet) Has(name []byte) bool {
	if len(name) == 0 || s.lengths&(1<<min(len(name), 63)) == 0 {
		return false
	}
	if s.many == nil {
		for _, n := range s.few {
			if equalFold(name, n) {
				return true
			}
		}
		return false
	}
	if len(name) > maxName {
		return false
	}
	var buf [maxName]byte
	_, ok := s.many[string(appendLower(buf[:0], name))]
	return ok
}

func appendLower[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendSelected appends the fields of header that are in the set, byte by
// byte and in their order, without an empty line after them: what IMAP's
// HEADER.FIELDS wants before it. RFC 9051 §6.4.5.1
func (s *FieldSet) AppendSelected(dst, header []byte) []byte {
	return s.appendFields(dst, header, true)
}

// AppendOthers appends the fields that are not in the set: HEADER.FIELDS.NOT.
func (s *FieldSet) AppendOthers(dst, header []byte) []byte {
	return s.appendFields(dst, header, false)
}

// appendFields copies runs of fields, not fields.
func (s *FieldSet) appendFields(dst, header []byte, in bool) []byte {
	from := -1
	for off := 0; ; {
		f, next := nextField(header, off)
		switch take := next != off && s.Has(f.Name) == in; {
		case take && from < 0:
			from = off
		case !take && from >= 0:
			dst = append(dst, header[from:off]...)
			from = -1
		}
		if next == off {
			return dst
		}
		off = next
	}
}

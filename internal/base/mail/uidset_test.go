package mail

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestUIDSetText(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"1":                         "1",
		"1:3,5":                     "1:3,5",
		"5,3:1":                     "1:3,5",
		"3,1,2":                     "1:3",
		"1:10,3:4,8:12,14":          "1:12,14",
		"4294967295":                "4294967295",
		"4294967294,1:4294967293":   "1:4294967294",
		"1:4294967295,7,4294967295": "1:4294967295",
	} {
		s, err := ParseUIDSet(in)
		if err != nil || s.String() != want {
			t.Errorf("%q: got %q, %v; want %q", in, s, err, want)
		}
	}
	for _, in := range []string{"0", "*", "1:*", "1,", ",1", "1:", ":1", "1:2:3", "4294967296", "1 2", "-1", "01", "a", "1,,2", "0:3"} {
		if s, err := ParseUIDSet(in); err == nil {
			t.Errorf("%q: taken as %q", in, s)
		}
	}
}

// TestUIDSetModel holds random operations against a map.
func TestUIDSetModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var a, b UIDSet
		ma, mb := map[UID]bool{}, map[UID]bool{}
		for range 30 {
			s, m := &a, ma
			if rnd.IntN(2) == 0 {
				s, m = &b, mb
			}
			u := UID(rnd.IntN(40))
			switch rnd.IntN(3) {
			case 0:
				s.Add(u)
				m[u] = u != 0
			case 1:
				s.Remove(u)
				delete(m, u)
			default:
				v := u + UID(rnd.IntN(6)) - 1
				s.AddRange(u, v)
				for w := max(u, 1); w <= v && v < 100; w++ {
					m[w] = true
				}
				if u == 0 && v > 100 { // 0-1 wraps: everything
					*s, a, b = UIDSet{}, UIDSet{}, UIDSet{}
					clear(ma)
					clear(mb)
				}
			}
		}
		check := func(what string, s UIDSet, in func(UID) bool) {
			n := 0
			for u := range UID(50) {
				if s.Contains(u) != in(u) {
					t.Fatalf("seed %d: %s of %v and %v is %v: wrong about %d", seed, what, a, b, s, u)
				}
				if in(u) {
					n++
				}
			}
			if s.Len() != n || len(slices.Collect(s.All())) != n || s.IsEmpty() != (n == 0) {
				t.Fatalf("seed %d: %s: length %d, want %d", seed, what, s.Len(), n)
			}
			for i, r := range s.Ranges() {
				if r.First > r.Last || i > 0 && s.Ranges()[i-1].Last+1 >= r.First {
					t.Fatalf("seed %d: %s: ranges %v are not in order", seed, what, s.Ranges())
				}
			}
		}
		check("a", a, func(u UID) bool { return ma[u] })
		check("b", b, func(u UID) bool { return mb[u] })
		check("union", a.Union(b), func(u UID) bool { return ma[u] || mb[u] })
		check("intersection", a.Intersect(b), func(u UID) bool { return ma[u] && mb[u] })
		check("difference", a.Subtract(b), func(u UID) bool { return ma[u] && !mb[u] })
	}
}

func TestUIDSetEdges(t *testing.T) {
	const top = math.MaxUint32
	s := UIDSpan(1, top)
	if s.Len() != top || s.Max() != top || s.Min() != 1 {
		t.Fatal(s)
	}
	s.Remove(top)
	s.Remove(1)
	s.Remove(7)
	if s.String() != "2:6,8:4294967294" {
		t.Fatal(s)
	}
	s.Add(top)
	if got := s.Subtract(UIDSpan(3, top)).String(); got != "2" {
		t.Fatal(got)
	}
	if got := s.Subtract(UIDSpan(1, 9)).String(); got != "10:4294967295" {
		t.Fatal(got)
	}
	n := 0
	for range UIDSpan(top-2, top).All() {
		n++
	}
	if n != 3 {
		t.Fatal("All does not end at the highest UID:", n)
	}
	c := s.Clone()
	c.Add(1)
	if s.Contains(1) || !UIDs(3, 1, 2).Equal(UIDSpan(1, 3)) {
		t.Fatal("Clone or Equal")
	}
}

func FuzzUIDSet(f *testing.F) {
	for _, s := range []string{"1:3,5", "5,3:1", "4294967295,1", "1:*", "0", "2,,3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseUIDSet(in)
		if err != nil {
			return
		}
		again, err := ParseUIDSet(s.String())
		if err != nil || !again.Equal(s) {
			t.Fatalf("%q prints as %q, which reads as %v, %v", in, s, again, err)
		}
	})
}

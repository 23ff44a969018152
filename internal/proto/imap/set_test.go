package imap

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

func readSet(text string) (Set, error) {
	d, _ := dec("", false)
	d.line = []byte(text)
	s := d.set(false)
	d.end()
	return s, d.err
}

func TestSet(t *testing.T) {
	for in, want := range map[string]string{
		"1":                    "1",
		"2,4:7,9,12:*":         "2,4:7,9,12:*",
		"*:4,5:7":              "5:7,4:*",
		"7:4,1,2,3":            "1:7",
		"*":                    "*",
		"*:*":                  "*",
		"*,1":                  "1,*",
		"*:1,4294967295:*":     "1:*",
		"4294967295,1:2":       "1:2,4294967295",
		"*,5:*,3:*":            "3:*",
		"$":                    "$",
		"5,5,5:6,6":            "5:6",
		"4294967294:1,1,2,2:3": "1:4294967294",
	} {
		s, err := readSet(in)
		if err != nil || s.String() != want {
			t.Errorf("%s: got %s, %v; want %s", in, s, err, want)
		}
	}
	for _, in := range []string{"", "0", "1:", ":1", "1,,2", ",", "1,", "4294967296", "a", "1:2:3", "$,1", "1,$", "-1", "**"} {
		if s, err := readSet(in); err == nil {
			t.Errorf("%q: read as %s", in, s)
		}
	}
	if _, err := readSet(strings.Repeat("1,", maxRanges+1) + "1"); err == nil {
		t.Error("more ranges than allowed")
	}
}

// TestView holds random views and sets against a list of UIDs.
func TestView(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		v, model := new(View), []mail.UID{}
		next := mail.UID(1)
		for range 40 {
			switch rnd.IntN(3) {
			case 0, 1:
				next += mail.UID(rnd.IntN(3))
				v.Append(next)
				model = append(model, next)
				next++
			default:
				var gone mail.UIDSet
				var want, got []uint32
				for range rnd.IntN(4) {
					gone.Add(mail.UID(rnd.IntN(int(next) + 2)))
				}
				for u := range gone.All() {
					if i := slices.Index(model, u); i >= 0 {
						model = slices.Delete(model, i, i+1)
						want = append(want, uint32(i+1))
					}
				}
				v.ExpungeAll(gone, func(n uint32) { got = append(got, n) })
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d: expunge %v told %v, want %v", seed, gone, got, want)
				}
			}
			checkView(t, seed, rnd, v, model)
		}
	}
}

func checkView(t *testing.T, seed uint64, rnd *rand.Rand, v *View, model []mail.UID) {
	t.Helper()
	if int(v.Len()) != len(model) || !v.UIDs().Equal(mail.UIDs(model...)) {
		t.Fatalf("seed %d: view %v, model %v", seed, v.UIDs(), model)
	}
	for i, u := range model {
		if v.Seq(u) != uint32(i+1) || v.UID(uint32(i+1)) != u {
			t.Fatalf("seed %d: UID %d is %d, want %d", seed, u, v.Seq(u), i+1)
		}
	}
	if v.Seq(v.MaxUID()+1) != 0 || v.UID(v.Len()+1) != 0 || v.UID(0) != 0 || v.Seq(0) != 0 {
		t.Fatalf("seed %d: what is not there has a number", seed)
	}
	var set Set
	set.UID = rnd.IntN(2) == 0
	for range 1 + rnd.IntN(3) {
		set.Ranges = append(set.Ranges, Range{uint32(rnd.IntN(int(v.MaxUID()) + 3)), uint32(rnd.IntN(int(v.MaxUID()) + 3))})
	}
	set.Ranges = normalise(set.Ranges)
	got, err := v.Resolve(set)
	want, beyond := naive(set, model)
	if beyond != errors.Is(err, ErrNoSuchNumber) || err == nil && !got.Equal(want) {
		t.Fatalf("seed %d: %+v of %v is %v, %v; want %v, beyond %v", seed, set, model, got, err, want, beyond)
	}
	if nums := v.Numbers(got); nums.Len() != got.Len() {
		t.Fatalf("seed %d: numbers %v of %v", seed, nums, got)
	}
}

// naive resolves a set by looking at each message.
func naive(set Set, model []mail.UID) (out mail.UIDSet, beyond bool) {
	highest := uint32(len(model))
	if set.UID && highest > 0 {
		highest = uint32(model[len(model)-1])
	}
	for _, r := range set.Ranges {
		first, last := r.First, r.Last
		if first == Star {
			first = highest
		}
		if last == Star {
			last = highest
		}
		if first > last {
			first, last = last, first
		}
		beyond = beyond || !set.UID && (first == 0 || last > highest)
		for i, u := range model {
			n := uint32(i + 1)
			if set.UID {
				n = uint32(u)
			}
			if first <= n && n <= last {
				out.Add(u)
			}
		}
	}
	return out, beyond
}

func TestViewExpunge(t *testing.T) {
	v := NewView(mail.UIDSpan(10, 14))
	if v.Expunge(12) != 3 || v.Expunge(12) != 0 || v.Expunge(14) != 4 || v.UIDs().String() != "10:11,13" {
		t.Fatal(v.UIDs())
	}
	v.Append(13)
	v.Append(20)
	if v.UIDs().String() != "10:11,13,20" {
		t.Fatal(v.UIDs())
	}
}

func FuzzSet(f *testing.F) {
	for _, s := range []string{"1", "2,4:7,9,12:*", "*:4,5:7", "*:1,4294967295:*", "$", "1:2:3", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := readSet(in)
		if err != nil {
			return
		}
		again, err := readSet(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q prints as %s, which reads as %s, %v", in, s, again, err)
		}
		v := NewView(mail.UIDs(3, 4, 5, 9, 4294967295))
		s.UID = true
		u, err := v.Resolve(s)
		if err != nil || u.Subtract(v.UIDs()).Len() != 0 {
			t.Fatalf("%q: resolves to %v, %v", in, u, err)
		}
	})
}

func BenchmarkResolveAll(b *testing.B) {
	v := NewView(mail.UIDSpan(1, 100_000).Subtract(mail.UIDs(5, 900, 70_000)))
	set, _ := readSet("1:*")
	for b.Loop() {
		if u, _ := v.Resolve(set); u.Len() != 99_997 {
			b.Fatal(u.Len())
		}
	}
}

func BenchmarkDecodeFetch(b *testing.B) {
	line := strings.Repeat("a1 UID FETCH 1:100 (FLAGS UID BODY.PEEK[HEADER.FIELDS (From To Subject)])\r\n", 100)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		d, _ := dec(line, false)
		for range 100 {
			if _, err := d.Command(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

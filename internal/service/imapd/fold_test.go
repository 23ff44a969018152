package imapd

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Hello  World\r\n\tx":  "hello world x",
		"Grüße ΓΕΙΆ":           "gru\u0308ße ΓΕΙΑ\u0301",
		"gru\u0308ße γειά":     "gru\u0308ße ΓΕΙΑ\u0301",
		"ΣΊΣΥΦΟΣ":              "ΣΙ\u0301ΣΥΦΟΣ",
		"σίσυφος":              "ΣΙ\u0301ΣΥΦΟΣ",
		"ǆ ǅ Ǆ":                "dz\u030c dz\u030c dz\u030c",
		"ﬁne ½ ıK":             "fine 1⁄2 ik",
		"a\u00a0\u2003 b":      "a b",
		"한 \u1112\u1161\u11ab": "\u1112\u1161\u11ab \u1112\u1161\u11ab",
		"Привет ёж":            "ПРИВЕТ Е\u0308Ж",
		"\xff":                 "\ufffd",
	} {
		if got := string(fold(nil, []byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"i;octet", "i;octet", true},
		{"i;oct", "i;octet", false},
		{"*", "i;octet", true},
		{"i;*", "i;octet", true},
		{"cz;*", "i;octet", false},
		{"i;*-casemap", "i;ascii-casemap", true},
		{"*i*case*", "i;ascii-casemap", true},
		{"*case*case*", "i;ascii-casemap", false},
		{"i;octet*octet", "i;octet", false},
		{"", "i;octet", false},
	} {
		if got := fits(c.pattern, c.name); got != c.want {
			t.Errorf("fits(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// TestContains holds the quick ways of looking against the slow one.
func TestContains(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	alphabet := []string{"a", "B", "b", "z", "Z", " ", "\r\n", "é", "É", "1"}
	text := func(n int) []byte {
		var b []byte
		for range rnd.IntN(n) {
			b = append(b, alphabet[rnd.IntN(len(alphabet)-rnd.IntN(2)*3)]...)
		}
		return b
	}
	var s scratch
	for i := range 30_000 {
		s.compare = comparator(i % len(comparators))
		hay, needle := text(40), s.compare.fold(nil, text(5))
		if len(needle) == 0 {
			continue
		}
		want := bytes.Contains(s.compare.fold(nil, hay), needle)
		if got := s.has(hay, needle); got != want {
			t.Fatalf("%s has(%q, %q) = %v", comparators[s.compare], hay, needle, got)
		}
		if got, err := s.contains(iotest.OneByteReader(bytes.NewReader(hay)), needle); got != want || err != nil {
			t.Fatalf("%s contains(%q, %q) = %v, %v", comparators[s.compare], hay, needle, got, err)
		}
	}
	// Across the borders of pieces.
	s.compare = unicodeCasemap
	for _, at := range []int{piece - 3, piece - 1, piece, 2*piece - 2} {
		hay := []byte(strings.Repeat("x", at) + "É Needle" + strings.Repeat("y", piece))
		if !s.has(hay, fold(nil, []byte("é needle"))) {
			t.Errorf("not found at %d", at)
		}
		if ok, _ := s.contains(bytes.NewReader(hay), fold(nil, []byte("é needle"))); !ok {
			t.Errorf("not found by reading at %d", at)
		}
	}
}

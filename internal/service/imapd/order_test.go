package imapd

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/store/mailbox"
)

// TestOrder: messages are ordered as by comparing all their values, one criterion after
// the other.
func TestOrder(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	starts := []string{"", "RE", "A LONGER BEGINNING OF ", "EIGHT BY", strings.Repeat("SIXTEEN BYTES.. ", 3)}
	for round := range 300 {
		n := rnd.IntN(200)
		o := &ordering{rows: make([]*mailbox.Row, n)}
		for range 1 + rnd.IntN(3) {
			c := criterion{reverse: rnd.IntN(2) == 0}
			for range n {
				if len(o.by) == 1 {
					c.numbers = append(c.numbers, int64(rnd.IntN(5)-2))
					continue
				}
				text := []byte(starts[rnd.IntN(len(starts))])
				for range rnd.IntN(4) * rnd.IntN(6) {
					text = append(text, "\x00AB\xff"[rnd.IntN(4)])
				}
				c.texts = append(c.texts, text)
			}
			o.by = append(o.by, c)
		}
		want := make([]int, n)
		for i := range want {
			want[i] = i
		}
		slices.SortStableFunc(want, func(a, b int) int {
			for _, c := range o.by {
				d := 0
				if c.numbers != nil {
					d = cmp.Compare(c.numbers[a], c.numbers[b])
				} else {
					d = bytes.Compare(c.texts[a], c.texts[b])
				}
				if d != 0 && c.reverse {
					return -d
				}
				if d != 0 {
					return d
				}
			}
			return 0
		})
		if got := o.order(); !slices.Equal(got, want) {
			t.Fatalf("seed %d, round %d: %v, want %v", seed, round, got, want)
		}
	}
}

// BenchmarkOrder orders 100,000 subjects: those that differ early, and those of which many
// begin alike.
func BenchmarkOrder(b *testing.B) {
	for _, c := range []struct {
		name   string
		starts int
	}{{"early", 1 << 24}, {"late", 64}} {
		b.Run(c.name, func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			o := &ordering{rows: make([]*mailbox.Row, 100_000)}
			var by criterion
			for range o.rows {
				by.texts = append(by.texts, fmt.Appendf(nil, "%X AND WHAT STANDS IN EACH %010d", rnd.IntN(c.starts), rnd.IntN(1e6)))
			}
			o.by = []criterion{by}
			for b.Loop() {
				o.order()
			}
		})
	}
}

package mta

import (
	"fmt"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

// TestEgressOrder: a domain has the same first address every time, the addresses share
// the domains by their weights, and when one goes, only its domains move.
func TestEgressOrder(t *testing.T) {
	three := &Egress{Sources: []Source{{Hello: "a", Weight: 1}, {Hello: "b", Weight: 1}, {Hello: "c", Weight: 2}}}
	two := &Egress{Sources: three.Sources[:2]}
	now := time.Now()
	count := map[string]int{}
	for i := range 4000 {
		d := mail.Domain(fmt.Sprintf("d%d.example", i))
		first := three.order(d, string(d), now)[0]
		if first != three.order(d, string(d), now)[0] {
			t.Fatal("another the second time")
		}
		count[first.Hello]++
		if left := two.order(d, string(d), now)[0]; first.Hello != "c" && left.Hello != first.Hello {
			t.Fatalf("%s moved from %s to %s", d, first.Hello, left.Hello)
		}
	}
	if a, b, c := count["a"], count["b"], count["c"]; a < 850 || b < 850 || c < 1800 || c > 2200 {
		t.Errorf("%v", count)
	}
	d := mail.Domain("d.example")
	first := three.order(d, "site", now)[0]
	three.failed(first, "site", now.Add(time.Hour))
	if three.order(d, "site", now)[2] != first || three.order(d, "other", now)[0] != first || three.order(d, "site", now.Add(time.Hour))[0] != first {
		t.Error("one that was refused is last there, first elsewhere, and first again later")
	}
}

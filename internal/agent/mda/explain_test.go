package mda_test

import (
	"fmt"
	"strings"
	"testing"

	"posthaste/test/house"
)

// TestExplain: what is told is what happens.
func TestExplain(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	if err := h.Registrar.AddDomainAlias(ctx, "n.example", "a.example"); err != nil {
		t.Fatal(err)
	}
	h.Alias("info@a.example", "ada@a.example", "x@far.example", "nobody@b.example")
	h.Alias("@b.example", "eve@b.example")
	h.Alias("ring@a.example", "gnir@a.example")
	h.Alias("gnir@a.example", "ring@a.example")
	if err := h.Registrar.AddDomain(ctx, "xn--bcher-kva.example"); err != nil {
		t.Fatal(err)
	}
	h.Alias("dead@b\u00fccher.example", "nobody@a.example")
	for to, want := range map[string][]string{
		"ada@a.example": {"It is put into the mailbox of ada@a.example."},
		"Ada+x@n.example": {
			"n.example is another name of a.example.",
			`Ada+x@n.example is Ada@a.example with the detail "x", which one of "+" divides off.`,
			"It is put into the mailbox of ada@a.example.",
		},
		"info@a.example": {
			"info@a.example is an alias: its mail goes to the 3 addresses behind it.",
			"  It is put into the mailbox of ada@a.example.",
			"  x@far.example is elsewhere: the mail is sent on to the server of far.example.",
			"  Nobody is called nobody@b.example: it goes where all such mail of b.example goes.",
			"    It is put into the mailbox of eve@b.example.",
		},
		"ring@a.example": {
			"ring@a.example is an alias: its mail goes to the one address behind it.",
			"  gnir@a.example is an alias: its mail goes to the one address behind it.",
			"    ring@a.example is an alias: its mail goes to the one address behind it.",
			"    This has been told already; nobody gets the mail twice.",
			"So nobody gets it: mail to ring@a.example is refused.",
		},
		"dead@b\u00fccher.example": {
			"dead@b\u00fccher.example is an alias: its mail goes to the one address behind it.",
			"  There is nobody called nobody@a.example here: mail to it is refused.",
			"So nobody gets it: mail to dead@b\u00fccher.example is refused.",
		},
		"nobody@a.example":     {"There is nobody called nobody@a.example here: mail to it is refused."},
		"x@far.example":        {"far.example is not served here: we take mail for it only from people who have logged in, and pass it on."},
		"postmaster@n.example": {"postmaster@n.example is always taken, for whoever is in charge: nobody has been named for it.", "It is put into the mailbox of ada@a.example."},
	} {
		got, taken, err := h.Delivery.Explain(ctx, house.Address(to))
		refused := strings.HasSuffix(want[len(want)-1], "is refused.") || strings.HasPrefix(want[0], "far.example")
		if err != nil || taken == refused || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %v\n%s", to, err, strings.Join(got, "\n"))
		}
	}
	// However many there are, it ends.
	for i := range 12 {
		var to []string
		for j := range 12 {
			to = append(to, fmt.Sprintf("l%d-%d@c.example", i+1, j), fmt.Sprintf("z%d-%d@far.example", i, j))
		}
		for j := range 12 {
			h.Alias(fmt.Sprintf("l%d-%d@c.example", i, j), to...)
		}
	}
	got, taken, err := h.Delivery.Explain(ctx, house.Address("l0-0@c.example"))
	if err != nil || !taken || len(got) > 130 || !strings.HasPrefix(got[len(got)-1], "And so on") && !strings.Contains(strings.Join(got, "\n"), "And so on") {
		t.Errorf("%d lines, %v", len(got), err)
	}
}

package srs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func rewriter(d mail.Domain) *Rewriter {
	return &Rewriter{Domain: d, Secrets: [][]byte{[]byte("the secret of " + string(d))}}
}

func TestThereAndBack(t *testing.T) {
	r := rewriter("b.example")
	for _, a := range []mail.Address{
		{Local: "ada", Domain: "a.example"},
		{Local: "Ada.Hill+x=y", Domain: "sub.a.example"},
		{Local: "grüße", Domain: "a.example"},
		{Local: "with space", Domain: "a.example"},
		{Local: "srs0", Domain: "a.example"},
	} {
		f, ok := r.Forward(a, now)
		if !ok || f.Domain != "b.example" {
			t.Fatalf("%v: %v", a, f)
		}
		for _, later := range []time.Duration{0, MaxAge - day, -day} {
			if back, err := r.Reverse(f, now.Add(later)); err != nil || back != a {
				t.Errorf("%v by %v, %v later: %v, %v", a, f, later, back, err)
			}
		}
		// Whoever changes its case changes nothing that matters.
		upper := mail.Address{Local: strings.ToUpper(f.Local), Domain: f.Domain}
		if back, err := r.Reverse(upper, now); err != nil || !strings.EqualFold(back.Local, a.Local) {
			t.Errorf("%v: %v, %v", upper, back, err)
		}
		if _, err := r.Reverse(f, now.Add(MaxAge+2*day)); !errors.Is(err, ErrOld) {
			t.Errorf("%v when it is old: %v", f, err)
		}
	}
	if a, ok := r.Forward(mail.Address{}, now); !ok || !a.IsZero() {
		t.Error("the empty sender:", a)
	}
	own := mail.Address{Local: "bob", Domain: "b.example"}
	if a, ok := r.Forward(own, now); !ok || a != own {
		t.Error("our own:", a)
	}
	if a, ok := r.Forward(mail.Address{Local: strings.Repeat("x", 50), Domain: "a.example"}, now); ok {
		t.Error("too long:", a)
	}
}

// Three servers forward, one after the other; the bounce comes to the first, and
// from there to the sender.
func TestChain(t *testing.T) {
	sender := mail.Address{Local: "ada", Domain: "a.example"}
	b, c, d := rewriter("b.example"), rewriter("c.example"), rewriter("d.example")
	one, _ := b.Forward(sender, now)
	two, _ := c.Forward(one, now)
	three, ok := d.Forward(two, now)
	if !ok || !strings.HasPrefix(two.Local, "SRS1=") || !strings.HasPrefix(three.Local, "SRS1=") || len(three.Local) != len(two.Local) {
		t.Fatal(one, two, three)
	}
	for _, r := range []struct {
		*Rewriter
		a mail.Address
	}{{d, three}, {c, two}} {
		back, err := r.Reverse(r.a, now)
		if err != nil || back != one {
			t.Errorf("%v: %v, %v", r.a, back, err)
		}
	}
	if back, err := b.Reverse(one, now); err != nil || back != sender {
		t.Error(back, err)
	}
}

func TestForged(t *testing.T) {
	r := rewriter("b.example")
	good, _ := r.Forward(mail.Address{Local: "ada", Domain: "a.example"}, now)
	for what, c := range map[string]struct {
		local string
		want  error
	}{
		"another sender":   {strings.Replace(good.Local, "=ada", "=bob", 1), ErrForged},
		"another domain":   {strings.Replace(good.Local, "a.example", "c.example", 1), ErrForged},
		"another day":      {strings.Replace(good.Local, "="+date(now)+"=", "="+date(now.Add(-day))+"=", 1), ErrForged},
		"no hash":          {"SRS0=aa=a.example=ada", ErrForged},
		"nothing":          {"SRS0=", ErrForged},
		"an ordinary one":  {"ada", ErrNotOurs},
		"almost one":       {"srs0", ErrNotOurs},
		"SRS1 of nobody":   {"SRS1=aaaaaaaa=x.example==bbbb=cc=d=e", ErrForged},
		"SRS0 called SRS1": {"SRS1" + good.Local[4:], ErrForged},
	} {
		_, err := r.Reverse(mail.Address{Local: c.local, Domain: "b.example"}, now)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.Reverse(mail.Address{Local: good.Local, Domain: "c.example"}, now); !errors.Is(err, ErrNotOurs) {
		t.Error("of another domain:", err)
	}
	// A new secret: what the old one made is still good.
	newer := &Rewriter{Domain: "b.example", Secrets: [][]byte{[]byte("new"), r.Secrets[0]}}
	if _, err := newer.Reverse(good, now); err != nil {
		t.Error("made by the old secret:", err)
	}
	if _, err := (&Rewriter{Domain: "b.example", Secrets: [][]byte{[]byte("new")}}).Reverse(good, now); !errors.Is(err, ErrForged) {
		t.Error("made by a secret that is gone:", err)
	}
}

func FuzzReverse(f *testing.F) {
	r := rewriter("b.example")
	f.Add("SRS0=aaaaaaaa=bb=a.example=ada")
	f.Add("SRS1=aaaaaaaa=c.example==bbbb=cc=a.example=ada")
	f.Fuzz(func(t *testing.T, local string) {
		a := mail.Address{Local: local, Domain: "a.example"}
		if back, err := r.Reverse(mail.Address{Local: local, Domain: "b.example"}, now); err == nil {
			t.Errorf("%q is %v", local, back)
		}
		if fw, ok := r.Forward(a, now); ok && local != "" && !hasTag(strings.ToLower(local), "srs1") {
			back, err := r.Reverse(fw, now)
			if err != nil || !strings.EqualFold(back.Local, local) && !strings.EqualFold(back.Local, strings.ToLower(local)) {
				t.Errorf("%q, forwarded as %v: %v, %v", local, fw, back, err)
			}
		}
	})
}

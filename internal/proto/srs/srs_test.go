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

// TestShort: an address that stands for a message.
func TestShort(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	id := mail.NewTraceID(now)
	r := Rewriter{Domain: "fwd.example", Secrets: [][]byte{[]byte("new"), []byte("old")}}
	before := Rewriter{Domain: "fwd.example", Secrets: [][]byte{[]byte("old")}}
	for _, a := range []mail.Address{r.Short(id), before.Short(id)} {
		a.Local = strings.ToUpper(a.Local)
		if len(a.Local) > 64 || !Rewritten(a.Local) {
			t.Errorf("%s", a)
		}
		if got, err := r.ReverseShort(a, now.Add(20*24*time.Hour)); err != nil || got != id {
			t.Errorf("%s: %v, %v", a, got, err)
		}
		if _, err := r.ReverseShort(a, now.Add(22*24*time.Hour)); err != ErrOld {
			t.Errorf("%s: %v", a, err)
		}
		if _, err := r.ReverseShort(mail.Address{Local: a.Local, Domain: "x.example"}, now); err != ErrNotOurs {
			t.Errorf("%s: %v", a, err)
		}
	}
	other := mail.NewTraceID(now.Add(time.Second)).String()
	good := r.Short(id).Local
	for _, local := range []string{"SRS2=", "SRS2==", "SRS2=aaaaaaaa=" + id.String(), good[:14] + other, good + "x", "SRS2=" + other} {
		if _, err := r.ReverseShort(mail.Address{Local: local, Domain: "fwd.example"}, now); err != ErrForged {
			t.Errorf("%q: %v", local, err)
		}
	}
	for local, want := range map[string]bool{"srs": false, "srs0": false, "srs0x": false, "SRS0=x": true, "srs1+": true, "sRs1+x": true, "ssrs0=x": false} {
		if Rewritten(local) != want {
			t.Errorf("%q", local)
		}
	}
}

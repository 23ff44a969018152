package dmarc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

// zone is a Resolver over given records; "down" fails.
type zone struct {
	txt   map[string]string
	asked int
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) {
	z.asked++
	switch t, ok := z.txt[name]; {
	case !ok:
		return nil, ErrNoRecord
	case t == "down":
		return nil, errors.New("servers are down")
	default:
		return strings.Split(t, "|"), nil
	}
}

func (z *zone) Exists(_ context.Context, d mail.Domain) (bool, error) {
	return !strings.HasPrefix(string(d), "nowhere."), nil
}

func TestParse(t *testing.T) {
	r, ok := Parse("v=DMARC1; p=Reject ;sp=quarantine; np=none; adkim=s; aspf=r; t=y; psd=n; rua=mailto:a@x.example, mailto:b@x.example!10m; ruf=mailto:c@x.example; fo=1; future=7;")
	if !ok || r.Policy != Reject || r.Subdomains != Quarantine || r.NonExistent != PolicyNone || !r.StrictDKIM || r.StrictSPF || !r.Testing || r.PSD != 'n' || len(r.Aggregate) != 2 || len(r.Failure) != 1 {
		t.Errorf("%+v %v", r, ok)
	}
	for _, s := range []string{"", "v=DMARC1", "p=reject; v=DMARC1", "v=DMARC2; p=reject", "v=dmarc1; p=none", "v=spf1 -all", "v=DMARC1; p=destroy"} {
		if r, ok := Parse(s); ok {
			t.Errorf("%q is a record: %+v", s, r)
		}
	}
	if r, ok := Parse("v=DMARC1; p=destroy; rua=mailto:a@x.example"); !ok || r.Policy != PolicyNone {
		t.Errorf("a record to report to: %+v %v", r, ok)
	}
}

func TestEvaluate(t *testing.T) {
	z := &zone{txt: map[string]string{
		"_dmarc.example.com":           "v=DMARC1; p=reject; sp=quarantine; np=reject",
		"_dmarc.strict.example":        "v=DMARC1; p=reject; adkim=s; aspf=s",
		"_dmarc.testing.example":       "v=DMARC1; p=reject; t=y",
		"_dmarc.dept.example.com":      "v=DMARC1; p=none",
		"_dmarc.two.example":           "v=DMARC1; p=reject|v=DMARC1; p=none",
		"_dmarc.mixed.example":         "hello|v=DMARC1; p=quarantine",
		"_dmarc.down.example":          "down",
		"_dmarc.psd.example":           "v=DMARC1; p=quarantine; psd=y; np=reject",
		"_dmarc.shop.psd.example":      "v=DMARC1; p=none",
		"_dmarc.own.shop.psd.example":  "v=DMARC1; p=reject; psd=n",
		"_dmarc.l3.l2.l1.deep.example": "v=DMARC1; p=reject",
	}}
	pass := func(d mail.Domain) []Authenticated { return []Authenticated{{Domain: d, Pass: true}} }
	for name, c := range map[string]struct {
		author mail.Domain
		spf    Authenticated
		dkim   []Authenticated
		want   Result
		policy Policy
	}{
		"no record":                {"elsewhere.example", Authenticated{}, pass("elsewhere.example"), None, ""},
		"nothing shown":            {"example.com", Authenticated{}, nil, Fail, Reject},
		"same domain, DKIM":        {"example.com", Authenticated{}, pass("example.com"), Pass, Reject},
		"same domain, SPF":         {"example.com", pass("example.com")[0], nil, Pass, Reject},
		"subdomain signs":          {"example.com", Authenticated{}, pass("mail.example.com"), Pass, Reject},
		"parent signs":             {"news.example.com", Authenticated{}, pass("example.com"), Pass, Quarantine},
		"subdomain, nothing":       {"news.example.com", Authenticated{}, nil, Fail, Quarantine},
		"no such subdomain":        {"nowhere.example.com", Authenticated{}, nil, Fail, Reject},
		"own record":               {"dept.example.com", Authenticated{}, nil, Fail, PolicyNone},
		"another signs":            {"example.com", Authenticated{}, pass("example.net"), Fail, Reject},
		"alike is not the same":    {"example.com", Authenticated{}, pass("badexample.com"), Fail, Reject},
		"failed signature":         {"example.com", Authenticated{Domain: "example.com"}, []Authenticated{{Domain: "example.com"}}, Fail, Reject},
		"second signature":         {"example.com", Authenticated{}, append(pass("list.example"), pass("example.com")...), Pass, Reject},
		"strict, subdomain":        {"strict.example", pass("a.strict.example")[0], pass("a.strict.example"), Fail, Reject},
		"strict, same":             {"strict.example", Authenticated{}, pass("strict.example"), Pass, Reject},
		"testing":                  {"testing.example", Authenticated{}, nil, Fail, Reject},
		"two records":              {"two.example", Authenticated{}, nil, None, ""},
		"record among others":      {"mixed.example", Authenticated{}, nil, Fail, Quarantine},
		"servers down":             {"down.example", Authenticated{}, nil, TempError, ""},
		"key not found just now":   {"example.com", Authenticated{}, []Authenticated{{Domain: "example.com", TempError: true}}, TempError, Reject},
		"temporary and pass":       {"example.com", pass("example.com")[0], []Authenticated{{Domain: "example.com", TempError: true}}, Pass, Reject},
		"public suffix":            {"new.psd.example", Authenticated{}, nil, Fail, Quarantine},
		"public suffix, no domain": {"nowhere.psd.example", Authenticated{}, nil, Fail, Reject},
		"below a public suffix":    {"a.shop.psd.example", Authenticated{}, pass("b.shop.psd.example"), Pass, PolicyNone},
		"two below a suffix":       {"shop.psd.example", Authenticated{}, pass("other.psd.example"), Fail, PolicyNone},
		"own organization":         {"own.shop.psd.example", Authenticated{}, pass("shop.psd.example"), Fail, Reject},
	} {
		got := Evaluate(t.Context(), z, c.author, c.spf, c.dkim)
		if got.Result != c.want || got.Policy != c.policy {
			t.Errorf("%s: %+v, want %s %s", name, got, c.want, c.policy)
		}
	}
	if e := Evaluate(t.Context(), z, "testing.example", Authenticated{}, nil); !e.Testing {
		t.Error("t=y is not told")
	}
}

// TestWalkIsBounded: a long name asks no more than RFC 9989 §4.10 allows.
func TestWalkIsBounded(t *testing.T) {
	z := &zone{txt: map[string]string{"_dmarc.deep.example": "v=DMARC1; p=reject"}}
	d := mail.Domain(strings.Repeat("a.", 60) + "deep.example")
	e := Evaluate(t.Context(), z, d, Authenticated{}, nil)
	if e.Result != Fail || e.Record.Domain != "deep.example" || z.asked > maxLabels {
		t.Errorf("%+v after %d questions", e, z.asked)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("v=DMARC1; p=reject; rua=mailto:a@x")
	f.Add("v=DMARC1;;=;p")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := Parse(s); ok && (r.Policy == "" || len(r.Aggregate) > 20) {
			t.Errorf("%+v", r)
		}
	})
}

// TestBoth: who wants reports hears of DKIM and of SPF, whichever is enough.
func TestBoth(t *testing.T) {
	z := &zone{txt: map[string]string{
		"_dmarc.a.example":    "v=DMARC1; p=reject; rua=mailto:x@a.example",
		"_dmarc.b.example":    "v=DMARC1; p=reject",
		"_dmarc.lost.example": "down",
	}}
	pass := func(d mail.Domain) Authenticated { return Authenticated{Domain: d, Pass: true} }
	for _, c := range []struct {
		author, spf, dkim mail.Domain
		want              string
	}{
		{"a.example", "a.example", "a.example", "pass dkim true true"},
		{"a.example", "b.example", "a.example", "pass dkim true false"},
		{"a.example", "lost.example", "a.example", "pass dkim true false"},
		{"a.example", "x.a.example", "z.example", "pass spf false true"},
		{"b.example", "b.example", "b.example", "pass dkim true false"},
		{"b.example", "b.example", "z.example", "pass spf false true"},
		{"a.example", "z.example", "z.example", "fail  false false"},
	} {
		e := Evaluate(t.Context(), z, c.author, pass(c.spf), []Authenticated{pass("other.example"), pass(c.dkim)})
		if got := fmt.Sprint(e.Result, " ", e.Aligned, " ", e.DKIM, " ", e.SPF); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

package reports_test

import (
	"fmt"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/reports"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func list(t *testing.T, s *reports.Store) (out []string) {
	t.Helper()
	var at reports.Seen
	for {
		page, err := s.After(t.Context(), at.Day, at.Domain, reports.DayOf(noon)+10, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page {
			line := fmt.Sprintf("%s %s", x.Day.Start().Format("01-02"), x.Domain)
			for _, p := range x.Report.Policies {
				line += fmt.Sprintf(" %s %d/%d", p.Kind, p.Successful, p.Failed)
				for _, f := range p.Failures {
					line += fmt.Sprintf(" %s:%d", f.Result, f.Sessions)
				}
			}
			out = append(out, line)
			at = x
		}
		if len(page) < 2 {
			return out
		}
	}
}

// TestCount: sessions are summed by day, domain and policy, over restarts.
func TestCount(t *testing.T) {
	db := kv.Strict(memkv.New())
	s := &reports.Store{DB: db}
	sts := func(d mail.Domain, lines ...string) tlsrpt.Policy {
		return tlsrpt.Policy{Kind: tlsrpt.STS, Domain: string(d), Strings: lines}
	}
	bad := func(r tlsrpt.Result) *tlsrpt.Failure { return &tlsrpt.Failure{Result: r, MXHost: "mx", Sessions: 1} }
	for i := range 3 {
		s.Count(noon, "b.example", sts("b.example", "mode: enforce"), nil)
		s.Count(noon, "b.example", sts("b.example", "mode: enforce"), bad(tlsrpt.Expired))
		s.Count(noon.Add(14*time.Hour), "a.example", tlsrpt.Policy{Kind: tlsrpt.NoPolicy, Domain: "a.example"}, bad(tlsrpt.NoSTARTTLS))
		if i == 1 {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			s = &reports.Store{DB: db}
		}
	}
	s.Count(noon, "b.example", sts("b.example", "mode: testing"), bad(tlsrpt.HostMismatch))
	s.Count(noon, "c.example", sts("c.example"), nil)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "[11-22 b.example sts 3/3 certificate-expired:3 sts 0/1 certificate-host-mismatch:1 11-22 c.example sts 1/0 11-23 a.example no-policy-found 0/3 starttls-not-supported:3]"
	if got := fmt.Sprint(list(t, s)); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if wrong, err := s.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
	if err := s.Expire(t.Context(), noon.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s); len(got) != 1 {
		t.Error(got)
	}
}

// TestBounds: however many ways to fail there are, a row can be written.
func TestBounds(t *testing.T) {
	s := &reports.Store{DB: kv.Strict(memkv.New())}
	n := int64(0)
	for p := range 30 {
		for f := range 100 {
			s.Count(noon, "b.example", tlsrpt.Policy{Kind: tlsrpt.TLSA, Domain: "b.example", Strings: []string{fmt.Sprint(p)}}, &tlsrpt.Failure{Result: tlsrpt.Validation, Reason: fmt.Sprintf("%0200d", f), Sessions: 1})
			n++
		}
	}
	for range 2 {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	page, err := s.After(t.Context(), 0, "", reports.DayOf(noon)+1, 10)
	if err != nil || len(page) != 1 {
		t.Fatal(page, err)
	}
	for _, p := range page[0].Report.Policies {
		n -= p.Failed
		for _, f := range p.Failures {
			p.Failed -= f.Sessions
		}
		if p.Failed != 0 || len(p.Failures) > 20 {
			t.Error(p.Failed, len(p.Failures))
		}
	}
	if n != 0 {
		t.Errorf("%d sessions are not told of", n)
	}
}

// TestTold: reports of others are kept, the last first.
func TestTold(t *testing.T) {
	s := &reports.Store{DB: kv.Strict(memkv.New())}
	for i := range 3 {
		r := tlsrpt.Report{Organization: fmt.Sprint(i), ID: "x", Start: noon, End: noon.Add(time.Hour), Policies: []tlsrpt.Policy{{Kind: tlsrpt.STS, Domain: "a.example", Successful: 1}}}
		for f := range 500 {
			r.Policies[0].Sum(tlsrpt.Failure{Result: tlsrpt.Validation, Reason: fmt.Sprint(f), Sessions: 1})
		}
		if err := s.Tell(t.Context(), noon.Add(time.Duration(i)*time.Minute), 7, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Latest(t.Context(), 2)
	if err != nil || len(got) != 2 || got[0].Report.Organization != "2" || got[0].Report.Policies[0].Failed != 500 || !got[1].Received.Equal(noon.Add(time.Minute)) {
		t.Error(got, err)
	}
	if wrong, err := s.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
}

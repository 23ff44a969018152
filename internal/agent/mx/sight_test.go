package mx

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/spf"
)

// TestSight: what is told of a message is what was found, and what was done by the
// policy; of people it is nothing.
func TestSight(t *testing.T) {
	rec := func(p dmarc.Policy) dmarc.Record {
		return dmarc.Record{Domain: "a.example", Policy: p, Aggregate: []string{"mailto:r@a.example"}}
	}
	failed := func(p dmarc.Policy, testing bool) dmarc.Evaluation {
		return dmarc.Evaluation{Result: dmarc.Fail, Domain: "news.a.example", Policy: p, Record: rec(p), Testing: testing}
	}
	passed := func(p dmarc.Policy) dmarc.Evaluation {
		return dmarc.Evaluation{Result: dmarc.Pass, Domain: "news.a.example", Policy: p, Record: rec(p), DKIM: true}
	}
	unknown := failed(dmarc.Reject, false)
	unknown.Result = dmarc.TempError
	silent := failed(dmarc.Reject, false)
	silent.Record.Aggregate = nil
	for name, c := range map[string]struct {
		d    dmarc.Evaluation
		want string
	}{
		"refused":        {failed(dmarc.Reject, false), "reject []"},
		"to Junk":        {failed(dmarc.Quarantine, false), "quarantine []"},
		"nothing asked":  {failed(dmarc.PolicyNone, false), "none []"},
		"only a test":    {failed(dmarc.Reject, true), "none [policy_test_mode]"},
		"proven":         {passed(dmarc.Reject), "pass []"},
		"proven anyway":  {passed(dmarc.PolicyNone), "none []"},
		"no answer":      {unknown, "none [other]"},
		"no reports":     {silent, ""},
		"no policy":      {dmarc.Evaluation{Result: dmarc.None, Domain: "a.example"}, ""},
		"no such author": {dmarc.Evaluation{}, ""},
	} {
		ev := Evidence{Judged: true, FromFields: 1, Authors: 1, DMARC: c.d}
		got := ""
		if x, ok := ev.Sight(netip.MustParseAddr("192.0.2.1"), Judge(Policy{}, ev)); ok {
			var types []string
			for _, r := range x.Row.Reasons {
				types = append(types, r.Type)
			}
			got = fmt.Sprint(x.Row.Disposition, " ", types)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	ev := Evidence{Judged: true, FromFields: 1, Authors: 1, DMARC: passed(dmarc.Reject)}
	ev.SPF = SPF{Result: spf.SoftFail, Domain: "bounces.example", Sender: mail.Address{Local: "secret", Domain: "bounces.example"}}
	for _, s := range []string{"z.example fail", "news.a.example fail", "z.example pass", "a.example pass", "news.a.example pass"} {
		d, r, _ := strings.Cut(s, " ")
		ev.DKIM = append(ev.DKIM, dkim.Signature{Domain: mail.Domain(d), Selector: "s", Result: dkim.Result(r), Identity: "secret@" + d})
	}
	x, ok := ev.Sight(netip.MustParseAddr("::ffff:192.0.2.1"), Judge(Policy{}, ev))
	got := fmt.Sprint(x.Row.DKIMs)
	if want := "[{news.a.example s pass } {a.example s pass } {z.example s pass } {news.a.example s fail } {z.example s fail }]"; !ok || got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if r := x.Row; r.Source.String() != "192.0.2.1" || r.EnvelopeFrom != "bounces.example" || r.HeaderFrom != "news.a.example" || fmt.Sprint(r.SPFs) != "[{bounces.example mfrom softfail }]" || !r.DKIM || r.SPF {
		t.Errorf("%+v", r)
	}
	if all := fmt.Sprintf("%+v", x); strings.Contains(all, "secret") {
		t.Error("it tells of people:", all)
	}
	ev.SPF.Sender = mail.Address{} // HELO
	if x, _ := ev.Sight(netip.MustParseAddr("192.0.2.1"), Verdict{}); x.Row.EnvelopeFrom != "" || len(x.Row.SPFs) != 1 {
		t.Errorf("%+v", x.Row)
	}
	if _, ok := ev.Sight(netip.MustParseAddr("192.0.2.1"), Verdict{Refusal: &mail.Refusal{}}); ok {
		t.Error("it was refused before the policy had its say")
	}
}

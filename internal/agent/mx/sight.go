package mx

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/reports"
)

// Sight gives what there is to report of a message to the domain whose DMARC policy
// speaks for its author: false if nobody wants to hear of it. Of people it says
// nothing, of recipients not even their domains. RFC 9990 §3.1
func (ev Evidence) Sight(from netip.Addr, v Verdict) (reports.Sight, bool) {
	d := ev.DMARC
	wanted := d.Record.Aggregate
	if !ev.Judged || d.Domain == "" || len(wanted) == 0 || v.Again || v.Refusal != nil && d.Result != dmarc.Fail {
		return reports.Sight{}, false // or it was refused before the policy had its say
	}
	x := reports.Sight{Wanted: wanted}
	x.Published = dmarc.Published{
		Domain: string(d.Record.Domain), Policy: d.Record.Policy, Subdomains: d.Record.Subdomains, NonExistent: d.Record.NonExistent,
		StrictDKIM: d.Record.StrictDKIM, StrictSPF: d.Record.StrictSPF, Testing: d.Record.Testing, Discovery: "treewalk",
	}
	x.Row = dmarc.Row{Source: from.Unmap(), Count: 1, DKIM: d.DKIM, SPF: d.SPF, HeaderFrom: string(d.Domain)}
	x.Row.Disposition, x.Row.Reasons = disposition(d, v)
	for _, s := range ev.DKIM {
		if s.Domain != "" {
			x.Row.DKIMs = append(x.Row.DKIMs, dmarc.DKIMResult{Domain: string(s.Domain), Selector: s.Selector, Result: string(s.Result)})
		}
	}
	// Those that say most come first; not all may be told of. RFC 9990 §3.1.3
	rank := func(s dmarc.DKIMResult) int {
		n := 0
		if s.Result != string(dkim.Pass) {
			n = 4
		}
		switch {
		case s.Domain == string(d.Domain):
		case strings.HasSuffix("."+s.Domain, "."+x.Published.Domain):
			n++
		default:
			n += 2
		}
		return n
	}
	slices.SortStableFunc(x.Row.DKIMs, func(a, b dmarc.DKIMResult) int { return cmp.Compare(rank(a), rank(b)) })
	if ev.SPF.Domain != "" {
		if !ev.SPF.Sender.IsZero() {
			x.Row.EnvelopeFrom = string(ev.SPF.Domain)
		}
		x.Row.SPFs = []dmarc.SPFResult{{Domain: string(ev.SPF.Domain), Scope: "mfrom", Result: string(ev.SPF.Result)}}
	}
	return x, true
}

// disposition tells what came of the policy, and why it was not carried out if it
// was not. That a message goes to Junk because of who brought it is no matter of the
// policy, and neither is what filters say.
func disposition(d dmarc.Evaluation, v Verdict) (string, []dmarc.Override) {
	enforced := d.Policy == dmarc.Quarantine || d.Policy == dmarc.Reject
	switch {
	case d.Result == dmarc.Pass && enforced:
		return "pass", nil
	case d.Result == dmarc.Pass, !enforced:
		return "none", nil
	case d.Result == dmarc.TempError:
		return "none", []dmarc.Override{{Type: "other", Comment: "the DNS did not answer, so that nothing could be shown"}}
	case d.Testing:
		return "none", []dmarc.Override{{Type: "policy_test_mode"}}
	case v.Refusal != nil:
		return "reject", nil
	case v.Mailbox == mailbox.JunkRole:
		return "quarantine", nil
	}
	return "none", []dmarc.Override{{Type: "local_policy"}}
}

// Records asks the DNS for what DMARC needs to know.
type Records struct{ DNS dns.Resolver }

// TXT is as of dmarc.Resolver.
func (d Records) TXT(ctx context.Context, name string) ([]string, error) {
	ans, err := d.DNS.TXT(ctx, name)
	if dns.IsAbsent(err) {
		return nil, dmarc.ErrNoRecord
	}
	return ans.Records, err
}

// Exists is as of dmarc.Resolver: a name without any of these records may still
// have others, so only NXDOMAIN is a no.
func (d Records) Exists(ctx context.Context, name mail.Domain) (bool, error) {
	_, err := d.DNS.Addresses(ctx, name)
	switch {
	case err == nil, errors.Is(err, dns.ErrNoData):
		return true, nil
	case errors.Is(err, dns.ErrNoName):
		return false, nil
	}
	return false, err
}

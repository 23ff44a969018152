package mx

import (
	"context"
	"errors"
	"slices"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/bimi"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
)

// A Logo is what the author's domain says about its logo: for programs that show
// logos, in Authentication-Results and nowhere else. Result is empty if it was not
// asked.
type Logo struct {
	Result   string
	Domain   mail.Domain
	Selector string
	Record   bimi.Record
}

// logo asks the author's domain for its logo, and then the one that its DMARC record
// is of. Only a domain whose mail is proven, and which wants forged mail kept away,
// has one.
func (a *Agent) logo(ctx context.Context, header []byte, ev dmarc.Evaluation) Logo {
	if ev.Result != dmarc.Pass || ev.Testing || ev.Policy != dmarc.Quarantine && ev.Policy != dmarc.Reject {
		return Logo{}
	}
	l := Logo{Result: "none", Selector: bimi.DefaultSelector}
	if v, ok := message.Find(header, "bimi-selector"); ok {
		if s, ok := bimi.Selector(string(v.Value)); ok {
			l.Selector = s
		}
	}
	for _, d := range slices.Compact([]mail.Domain{ev.Domain, ev.Record.Domain}) {
		if d == "" {
			continue
		}
		ans, err := a.DNS.TXT(ctx, l.Selector+"._bimi."+string(d))
		if dns.IsAbsent(err) {
			continue
		}
		if l.Domain = d; err != nil {
			l.Result = "temperror"
			return l
		}
		if l.read(ans.Records) {
			return l
		}
	}
	return l
}

// read reads a domain's records, and tells whether there is one among them.
func (l *Logo) read(txts []string) bool {
	found := 0
	for _, t := range txts {
		r, err := bimi.Parse(t)
		if errors.Is(err, bimi.ErrNotBIMI) {
			continue
		}
		found++
		switch l.Record = r; {
		case err != nil || found > 1:
			l.Result = "fail"
		case r.Declined():
			l.Result = "declined"
		default:
			l.Result = "pass"
		}
	}
	return found > 0
}

// result is what Authentication-Results say of it: that nobody looked at evidence.
func (l Logo) result() authres.Result {
	out := authres.Result{Method: "bimi", Result: l.Result}
	if l.Domain != "" {
		out.Props = []authres.Prop{{Name: "header.d", Value: string(l.Domain)}, {Name: "header.selector", Value: l.Selector}}
	}
	if l.Result == "pass" {
		out.Props = append(out.Props, authres.Prop{Name: "policy.authority", Value: "none"})
	}
	return out
}

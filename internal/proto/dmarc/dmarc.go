// Package dmarc finds out what the domain in a message's From field wants done
// with mail that it cannot be shown to have sent, and whether this message is
// such mail: RFC 9989. It touches no network: records come by a Resolver from
// above.
package dmarc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
)

// A Result is what became of the evaluation. RFC 8601 §2.7, RFC 9989 §4.4
type Result string

// The results.
const (
	None      Result = "none"      // the domain says nothing
	Pass      Result = "pass"      // the domain has sent it
	Fail      Result = "fail"      // it cannot be shown
	TempError Result = "temperror" // it could not be found out just now
	PermError Result = "permerror" // the domain's record is unreadable
)

// A Policy is what the domain asks for. RFC 9989 §4.7
type Policy string

// The policies.
const (
	PolicyNone Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// ErrNoRecord is a Resolver's answer for a name without TXT records.
var ErrNoRecord = errors.New("dmarc: no record")

// A Resolver asks the DNS.
type Resolver interface {
	// TXT gives the texts of a name; ErrNoRecord if there are none.
	TXT(ctx context.Context, name string) ([]string, error)
	// Exists tells whether there is a domain of that name at all.
	Exists(ctx context.Context, d mail.Domain) (bool, error)
}

// A Record is what a domain publishes. RFC 9989 §4.7
type Record struct {
	Domain      mail.Domain // where it stands
	Policy      Policy      // p=
	Subdomains  Policy      // sp=, "" if it is not given
	NonExistent Policy      // np=
	StrictDKIM  bool        // adkim=s
	StrictSPF   bool        // aspf=s
	Testing     bool        // t=y: the policy is not to be carried out
	PSD         byte        // psd=: 'y', 'n' or 'u'
	Aggregate   []string    // rua=
	Failure     []string    // ruf=
}

// Parse reads a record. It tells nothing of texts that are no DMARC records.
func Parse(txt string) (Record, bool) {
	r := Record{PSD: 'u'}
	first, valid := true, false
	for part := range strings.SplitSeq(txt, ";") {
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if first {
			if name != "v" || value != "DMARC1" {
				return Record{}, false
			}
			first = false
			continue
		}
		if !ok {
			continue
		}
		switch name {
		case "p":
			r.Policy, valid = policy(value)
		case "sp":
			r.Subdomains, _ = policy(value)
		case "np":
			r.NonExistent, _ = policy(value)
		case "adkim":
			r.StrictDKIM = strings.EqualFold(value, "s")
		case "aspf":
			r.StrictSPF = strings.EqualFold(value, "s")
		case "t":
			r.Testing = strings.EqualFold(value, "y")
		case "psd":
			if v := strings.ToLower(value); v == "y" || v == "n" {
				r.PSD = v[0]
			}
		case "rua":
			r.Aggregate = addresses(value)
		case "ruf":
			r.Failure = addresses(value)
		}
	}
	if !valid {
		// Without a policy that can be read, what is left to do is to report.
		r.Policy = PolicyNone
		return r, !first && len(r.Aggregate) > 0
	}
	return r, true
}

func policy(s string) (Policy, bool) {
	switch p := Policy(strings.ToLower(s)); p {
	case PolicyNone, Quarantine, Reject:
		return p, true
	}
	return "", false
}

func addresses(s string) []string {
	var out []string
	for a := range strings.SplitSeq(s, ",") {
		if a = strings.TrimSpace(a); a != "" && len(out) < 20 {
			out = append(out, a)
		}
	}
	return out
}

// An Authenticated domain is one that SPF or DKIM has shown to be responsible.
type Authenticated struct {
	Domain    mail.Domain
	Pass      bool
	TempError bool // it could not be found out just now
}

// An Evaluation is what came out.
type Evaluation struct {
	Result  Result
	Reason  string
	Domain  mail.Domain // of the author
	Policy  Policy      // what is asked for, if Result is Fail
	Testing bool        // and not to be carried out
	Record  Record      // zero if there is none
	Aligned string      // "dkim" or "spf", if Result is Pass
	// DKIM and SPF tell which of them show the author's domain. After DKIM, SPF is
	// looked at only if the domain wants reports.
	DKIM, SPF bool
}

// Evaluate tells whether one of the domains that SPF and DKIM have shown is that
// of the author, and what the author's domain wants done if not.
func Evaluate(ctx context.Context, r Resolver, author mail.Domain, spf Authenticated, dkim []Authenticated) Evaluation {
	e := Evaluation{Domain: author}
	w := walker{r: r, seen: map[mail.Domain]found{}}
	rec, policy, err := w.policy(ctx, author)
	switch {
	case errors.Is(err, ErrNoRecord):
		e.Result = None
		return e
	case err != nil:
		e.Result, e.Reason = TempError, err.Error()
		return e
	}
	e.Record, e.Policy, e.Testing = rec, policy, rec.Testing
	temporary := false
	check := func(a Authenticated, strict bool) bool {
		if a.Domain == "" || !a.Pass && !a.TempError {
			return false
		}
		same, err := w.aligned(ctx, author, a.Domain, strict)
		if err != nil || same && a.TempError {
			temporary = true
			return false
		}
		return same
	}
	e.DKIM = slices.ContainsFunc(dkim, func(d Authenticated) bool { return check(d, rec.StrictDKIM) })
	if !e.DKIM || len(rec.Aggregate) > 0 {
		e.SPF = check(spf, rec.StrictSPF)
	}
	switch {
	case e.DKIM:
		e.Result, e.Aligned = Pass, "dkim"
		return e
	case e.SPF:
		e.Result, e.Aligned = Pass, "spf"
		return e
	}
	if temporary {
		e.Result, e.Reason = TempError, "whether it is the author's domain could not be found out just now"
		return e
	}
	e.Result = Fail
	e.Reason = fmt.Sprintf("neither SPF nor DKIM shows that it is from %s", author)
	return e
}

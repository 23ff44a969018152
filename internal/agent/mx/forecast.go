package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/authres"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/mailbox"
)

// A Forecast tells what other servers would say of an account's mail if it were
// sent on to them, from the mail that has come. Hostname is the one that
// Authentication-Results have.
type Forecast struct {
	Hostname  string
	DNS       dns.Resolver
	Mailboxes *mailbox.Store
}

// A Loss is mail of one domain that proves where it comes from only by the server
// that it came from: another server would not believe it from us.
type Loss struct {
	Domain   mail.Domain  // of the authors
	Policy   dmarc.Policy // what it asks others to do
	Messages int
}

const (
	// forecastMail is how many messages are looked at, the newest of INBOX, and
	// forecastDomains how many kinds of them are asked about.
	forecastMail    = 300
	forecastDomains = 50
)

// Forward gives what would be lost if an account's mail were sent on, the most
// first, and how many messages were looked at.
func (f *Forecast) Forward(ctx context.Context, id mail.AccountID) (looked int, losses []Loss, err error) {
	m, err := f.Mailboxes.Lookup(ctx, id, mailbox.InboxName)
	if err != nil {
		return 0, nil, fmt.Errorf("mx: forecast: %w", err)
	}
	snap, err := f.Mailboxes.Open(ctx, id, m.ID)
	if err != nil {
		return 0, nil, fmt.Errorf("mx: forecast: %w", err)
	}
	seen := map[proof]int{}
	for _, r := range snap.Rows(max(0, snap.Len()-forecastMail)) {
		b, err := f.Mailboxes.OpenEmail(ctx, id, r.Email)
		if errors.Is(err, mail.ErrNotFound) {
			continue // deleted this moment
		}
		if err != nil {
			return 0, nil, fmt.Errorf("mx: forecast: %w", err)
		}
		header, err := mda.Header(b)
		b.Close()
		if err != nil && err != io.EOF {
			return 0, nil, fmt.Errorf("mx: forecast: %w", err)
		}
		looked++
		if p, ok := f.proof(header); ok {
			seen[p]++
		}
	}
	by := map[mail.Domain]*Loss{}
	for p, n := range seen {
		if len(by) == forecastDomains {
			break
		}
		policy := f.policy(ctx, p)
		if policy != dmarc.Reject && policy != dmarc.Quarantine {
			continue
		}
		if by[p.author] == nil {
			by[p.author] = &Loss{Domain: p.author, Policy: policy}
		}
		by[p.author].Messages += n
	}
	for _, l := range by {
		losses = append(losses, *l)
	}
	slices.SortFunc(losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Domain, b.Domain))
	})
	return looked, losses, nil
}

// A proof is an author's domain and those that signed for it, divided by spaces.
type proof struct {
	author mail.Domain
	signed string
}

// proof gives what of a message's proof would outlast being sent on, if it had one.
func (f *Forecast) proof(header []byte) (proof, bool) {
	for field := range message.Fields(header) {
		if !field.Is("authentication-results") {
			continue
		}
		host, list, err := authres.Parse(string(field.Value))
		if err != nil || !strings.EqualFold(host, f.Hostname) {
			continue
		}
		var p proof
		var signed []string
		passed := false
		for _, r := range list {
			switch {
			case r.Method == "dmarc":
				p.author, passed = mail.Domain(strings.ToLower(r.Prop("header.from"))), r.Result == "pass"
			case r.Method == "dkim" && r.Result == "pass":
				signed = append(signed, strings.ToLower(r.Prop("header.d")))
			}
		}
		p.signed = strings.Join(signed, " ")
		return p, passed && p.author != ""
	}
	return proof{}, false
}

// policy gives what the next server is asked to do with such mail; "" if it passes
// there too, or the domain asks for nothing.
func (f *Forecast) policy(ctx context.Context, p proof) dmarc.Policy {
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	var signed []dmarc.Authenticated
	for _, d := range strings.Fields(p.signed) {
		signed = append(signed, dmarc.Authenticated{Domain: mail.Domain(d), Pass: true})
	}
	ev := dmarc.Evaluate(ctx, Records{f.DNS}, p.author, dmarc.Authenticated{}, signed)
	if ev.Result != dmarc.Fail || ev.Testing {
		return ""
	}
	return ev.Policy
}

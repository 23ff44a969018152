package reporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
)

// Generator is what reports name as the program that made them.
const Generator = "Posthaste"

// maxName is the longest name that can be asked for. RFC 1035 §3.1
const maxName = 253

// roundDMARC sends the aggregate reports of DMARC.
func (a *Agent) roundDMARC(ctx context.Context, from mail.Address, now time.Time) error {
	today := reports.DayOf(now.Add(-after))
	at := reports.Sighted{Day: today - lateDays}
	var errs []error
	for {
		list, err := a.Reports.SightedAfter(ctx, at.Day, at.Domain, today, page)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, at = range list {
			_, done, err := a.Reports.Sent(ctx, reports.OnDMARC, at.Day, at.Domain)
			if err == nil && !done {
				err = a.sendDMARC(ctx, at, from, now)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("on mail from %s: %w", at.Domain, err))
			}
		}
		if len(list) < page || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
}

// sendDMARC sends one report to who wants it, or notes why nobody gets it. What a
// domain of ours wants to hear at its own desk goes there at once.
func (a *Agent) sendDMARC(ctx context.Context, sum reports.Sighted, from mail.Address, now time.Time) error {
	to, notes, err := a.destinations(ctx, sum.Domain, sum.Wanted)
	if err != nil {
		return nil // the DNS does not answer: the next round asks again
	}
	s := reports.Sending{Subject: reports.OnDMARC, Day: sum.Day, Domain: sum.Domain, At: now, Counted: sum.Messages}
	var also func(kv.Tx)
	var items []queue.Item
	if len(to) > 0 {
		rep, err := a.aggregate(ctx, sum, from)
		if err != nil {
			return err
		}
		var away []dmarc.Destination
		for _, d := range to {
			here, err := atDesk(ctx, a.Directory, d.Address)
			switch {
			case err != nil:
				return err
			case here && strings.EqualFold(d.Address.Local, DMARCMailbox):
				s.To = append(s.To, d.Address.String())
				mine, id := reports.JudgedOf(rep), mail.NewTraceID(now)
				also = func(tx kv.Tx) { reports.PutDMARC(tx, now, id, mine) }
			default:
				away = append(away, d)
			}
		}
		var large []string
		if items, large, err = a.write(ctx, rep, from, away, now); err != nil {
			return err
		}
		notes = append(notes, large...)
	}
	s.Note = strings.Join(notes, "; ")
	return a.commit(ctx, s, from, items, also)
}

// write makes the items for those who take a message as large as this.
func (a *Agent) write(ctx context.Context, rep dmarc.Aggregate, from mail.Address, to []dmarc.Destination, now time.Time) (items []queue.Item, notes []string, err error) {
	if len(to) == 0 {
		return nil, nil, nil
	}
	l, err := a.letterDMARC(rep, from)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range to {
		l.to = append(l.to, d.Address)
	}
	text, header, err := l.bytes(a.Hostname, now)
	if err != nil {
		return nil, nil, err
	}
	all := len(l.to)
	l.to = l.to[:0]
	for _, d := range to {
		if d.Max > 0 && int64(len(text)) > d.Max {
			notes = append(notes, fmt.Sprintf("%s takes up to %d bytes, and the report has %d", d.Address, d.Max, len(text)))
			continue
		}
		l.to = append(l.to, d.Address)
	}
	if len(l.to) == 0 {
		return nil, notes, nil
	}
	if len(l.to) < all {
		if text, header, err = l.bytes(a.Hostname, now); err != nil {
			return nil, nil, err
		}
	}
	items, err = a.items(ctx, l, text, header, now)
	return items, notes, err
}

// destinations gives where the reports on a policy domain go, and what is wrong with
// the other places that it names. An error is the DNS's, and will pass. RFC 9990 §4
func (a *Agent) destinations(ctx context.Context, policy mail.Domain, uris []string) (out []dmarc.Destination, notes []string, err error) {
	add := func(d dmarc.Destination) {
		if !slices.ContainsFunc(out, func(o dmarc.Destination) bool { return o.Address == d.Address }) {
			out = append(out, d)
		}
	}
	for _, u := range uris {
		d, ok := dmarc.ParseDestination(u)
		if !ok {
			notes = append(notes, fmt.Sprintf("%.100q is nowhere that reports can be sent to", u))
			continue
		}
		if len(out) >= maxTo {
			notes = append(notes, fmt.Sprintf("%s is one too many", d.Address))
			continue
		}
		instead, ok, err := a.agreed(ctx, policy, d)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			notes = append(notes, fmt.Sprintf("%s does not say that it takes reports on %s (TXT record of %s)", d.Address.Domain, policy, dmarc.AgreementName(policy, d.Address.Domain)))
			continue
		}
		for _, d := range instead {
			add(d)
		}
	}
	return out[:min(len(out), maxTo)], notes, nil
}

// agreed tells whether a destination takes reports on a policy domain, and gives the
// addresses that they go to.
func (a *Agent) agreed(ctx context.Context, policy mail.Domain, d dmarc.Destination) ([]dmarc.Destination, bool, error) {
	host := d.Address.Domain
	mine, err := dmarc.Organization(ctx, a.Records, policy)
	if err != nil {
		return nil, false, err
	}
	theirs, err := dmarc.Organization(ctx, a.Records, host)
	if err != nil {
		return nil, false, err
	}
	if mine == theirs {
		return []dmarc.Destination{d}, true, nil
	}
	name := dmarc.AgreementName(policy, host)
	if len(name) > maxName {
		return nil, false, nil
	}
	ans, err := a.DNS.TXT(ctx, name)
	if err != nil && !dns.IsAbsent(err) {
		return nil, false, err
	}
	instead, ok := dmarc.Agreed(ans.Records)
	if !ok || len(instead) == 0 {
		return []dmarc.Destination{d}, ok, nil
	}
	var out []dmarc.Destination
	for _, u := range instead {
		o, ok := dmarc.ParseDestination(u)
		if !ok || o.Address.Domain != host {
			return nil, false, nil // neither there nor here: it could be a way to flood somebody
		}
		out = append(out, o)
	}
	return out, true, nil
}

// aggregate makes the report of a day.
func (a *Agent) aggregate(ctx context.Context, sum reports.Sighted, from mail.Address) (dmarc.Aggregate, error) {
	rows, err := a.Reports.Rows(ctx, sum.Day, sum.Domain)
	if err != nil {
		return dmarc.Aggregate{}, err
	}
	slices.SortStableFunc(rows, func(x, y dmarc.Row) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), x.Source.Compare(y.Source))
	})
	rep := dmarc.Aggregate{
		Organization: a.Hostname, Email: from.String(), Generator: Generator, ID: fmt.Sprintf("%s.%s@%s", sum.Day.Start().Format("20060102"), sum.Domain, a.Hostname),
		Begin: sum.Day.Start(), End: sum.Day.End(), Published: sum.Published, Rows: rows,
	}
	if sum.More > 0 {
		rep.Errors = []string{fmt.Sprintf("%d further messages are not told of: they were of too many kinds", sum.More)}
	}
	return rep, nil
}

// letterDMARC makes the message, to nobody yet. RFC 9990 §3.5
func (a *Agent) letterDMARC(rep dmarc.Aggregate, from mail.Address) (letter, error) {
	zipped, err := rep.Zip()
	if err != nil {
		return letter{}, err
	}
	var all, proven int64
	sources := map[netip.Addr]bool{}
	for _, r := range rep.Rows {
		all += r.Count
		if r.DKIM || r.SPF {
			proven += r.Count
		}
		sources[r.Source] = true
	}
	words := fmt.Sprintf("This is a report from %s on mail in the name of %s that came on %s (UTC):\n%d messages from %d addresses, of which %d were proven to be from the domain. The file that goes\nwith it has the details (DMARC, RFC 9990).\n",
		a.Hostname, rep.Published.Domain, rep.Begin.Format(time.DateOnly), all, len(sources), proven)
	return letter{
		from: from, name: "DMARC reports of " + a.Hostname, subject: rep.Subject(a.Hostname),
		body: message.Content{
			Type: "multipart/mixed",
			Parts: []message.Content{
				{Type: "text/plain", Data: []byte(words)},
				{Type: "application/gzip", Disposition: "attachment", Filename: rep.Filename(a.Hostname), Data: zipped},
			},
		},
	}, nil
}

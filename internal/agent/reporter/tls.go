package reporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
)

// roundTLS sends the reports on TLS.
func (a *Agent) roundTLS(ctx context.Context, from mail.Address, now time.Time) error {
	today := reports.DayOf(now.Add(-after))
	at := reports.Seen{Day: today - lateDays}
	var errs []error
	for {
		list, err := a.Reports.After(ctx, at.Day, at.Domain, today, page)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, at = range list {
			done, err := a.Reports.Sent(ctx, reports.OnTLS, at.Day, at.Domain)
			if err == nil && !done {
				err = a.sendTLS(ctx, at, from, now)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("on TLS with %s: %w", at.Domain, err))
			}
		}
		if len(list) < page || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
}

// sendTLS sends one report to who wants it, or notes that nobody does.
func (a *Agent) sendTLS(ctx context.Context, seen reports.Seen, from mail.Address, now time.Time) error {
	ans, err := a.DNS.TXT(ctx, tlsrpt.Name(seen.Domain))
	if err != nil && !dns.IsAbsent(err) {
		return nil // the next round asks again
	}
	s := reports.Sending{Subject: reports.OnTLS, Day: seen.Day, Domain: seen.Domain, At: now}
	for _, p := range seen.Report.Policies {
		s.Counted += p.Successful + p.Failed
	}
	var items []queue.Item
	if to := addresses(tlsrpt.Addresses(ans.Records)); len(to) > 0 {
		l, err := a.letterTLS(seen, from, to)
		if err != nil {
			return err
		}
		text, header, err := l.bytes(a.Hostname, now)
		if err != nil {
			return err
		}
		if items, err = a.items(ctx, l, text, header, now); err != nil {
			return err
		}
	}
	return a.commit(ctx, s, from, items, nil)
}

// addresses gives those of mailto: URIs.
func addresses(uris []string) (out []mail.Address) {
	for _, u := range uris {
		if d, ok := dmarc.ParseDestination(u); ok && len(out) < maxTo {
			out = append(out, d.Address)
		}
	}
	return out
}

// letterTLS makes the message. RFC 8460 §5.3
func (a *Agent) letterTLS(seen reports.Seen, from mail.Address, to []mail.Address) (letter, error) {
	r := seen.Report
	r.Organization, r.Contact = a.Hostname, from.String()
	r.Start, r.End = seen.Day.Start(), seen.Day.End()
	r.ID = fmt.Sprintf("%s.%s@%s", r.Start.Format("20060102"), seen.Domain, a.Hostname)
	zipped, err := r.Zip()
	if err != nil {
		return letter{}, err
	}
	var good, bad int64
	for _, p := range r.Policies {
		good, bad = good+p.Successful, bad+p.Failed
	}
	words := fmt.Sprintf("This is a report on TLS from %s about mail to %s on %s (UTC):\n%d sessions went well, %d did not. The file that goes with it has the details (RFC 8460).\n",
		a.Hostname, seen.Domain, r.Start.Format(time.DateOnly), good, bad)
	return letter{
		from: from, name: "TLS reports of " + a.Hostname, to: to, subject: r.Subject(a.Hostname, string(seen.Domain)),
		fields: []message.Param{{Name: "TLS-Report-Domain", Value: string(seen.Domain)}, {Name: "TLS-Report-Submitter", Value: a.Hostname}},
		body: message.Content{
			Type: "multipart/report", Params: []message.Param{{Name: "report-type", Value: "tlsrpt"}},
			Parts: []message.Content{
				{Type: "text/plain", Data: []byte(words)},
				{Type: "application/tlsrpt+gzip", Disposition: "attachment", Filename: r.Filename(a.Hostname, string(seen.Domain)), Data: zipped},
			},
		},
	}, nil
}

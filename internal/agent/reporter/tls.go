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
	posting, cancel := context.WithTimeout(ctx, postAll)
	defer cancel()
	today := reports.DayOf(now.Add(-after))
	at := reports.Seen{Day: today - lateDays}
	var errs []error
	for {
		list, err := a.Reports.After(ctx, at.Day, at.Domain, today, page)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, at = range list {
			if err := a.oneTLS(ctx, at, from, now, posting); err != nil {
				errs = append(errs, fmt.Errorf("on TLS with %s: %w", at.Domain, err))
			}
		}
		if len(list) < page || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
}

// oneTLS does what there is to do for one report: it is queued for those who want it
// by mail, and sent to those who want it by https, at once and in later rounds.
// Posting is the time that there is for the latter.
func (a *Agent) oneTLS(ctx context.Context, seen reports.Seen, from mail.Address, now time.Time, posting context.Context) error {
	s, done, err := a.Reports.Sent(ctx, reports.OnTLS, seen.Day, seen.Domain)
	if err != nil {
		return err
	}
	if !done {
		if s, done, err = a.sendTLS(ctx, seen, from, now); err != nil || !done {
			return err
		}
	}
	if len(s.Left) == 0 {
		return nil
	}
	return a.postTLS(ctx, seen, s, from, now, posting)
}

// sendTLS queues one report for who wants it, and notes what is left to do; false: it
// could not be found out yet who wants it.
func (a *Agent) sendTLS(ctx context.Context, seen reports.Seen, from mail.Address, now time.Time) (s reports.Sending, ok bool, err error) {
	ans, err := a.DNS.TXT(ctx, tlsrpt.Name(seen.Domain))
	if err != nil && !dns.IsAbsent(err) {
		return s, false, nil // the next round asks again
	}
	s = reports.Sending{Subject: reports.OnTLS, Day: seen.Day, Domain: seen.Domain, At: now}
	for _, p := range seen.Report.Policies {
		s.Counted += p.Successful + p.Failed
	}
	to, posts := places(tlsrpt.Addresses(ans.Records))
	s.Left = posts
	var items []queue.Item
	if len(to) > 0 {
		l, err := a.letterTLS(seen, from, to)
		if err != nil {
			return s, false, err
		}
		text, header, err := l.bytes(a.Hostname, now)
		if err != nil {
			return s, false, err
		}
		if items, err = a.items(ctx, l, text, header, now); err != nil {
			return s, false, err
		}
	}
	if err := a.commit(ctx, s, from, items, nil); err != nil {
		return s, false, err
	}
	return a.Reports.Sent(ctx, reports.OnTLS, seen.Day, seen.Domain)
}

// places gives the addresses of mailto: URIs, and those that are https.
func places(uris []string) (to []mail.Address, posts []string) {
	for _, uri := range uris {
		if len(to)+len(posts) == maxTo {
			break
		}
		if d, ok := dmarc.ParseDestination(uri); ok {
			to = append(to, d.Address)
		} else if postable(uri) {
			posts = append(posts, uri)
		}
	}
	return to, posts
}

// reportTLS gives the report as it is sent: the same however often.
func (a *Agent) reportTLS(seen reports.Seen, from mail.Address) tlsrpt.Report {
	r := seen.Report
	r.Organization, r.Contact = a.Hostname, from.String()
	r.Start, r.End = seen.Day.Start(), seen.Day.End()
	r.ID = fmt.Sprintf("%s.%s@%s", r.Start.Format("20060102"), seen.Domain, a.Hostname)
	return r
}

// letterTLS makes the message. RFC 8460 §5.3
func (a *Agent) letterTLS(seen reports.Seen, from mail.Address, to []mail.Address) (letter, error) {
	r := a.reportTLS(seen, from)
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

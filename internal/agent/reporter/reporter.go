// Package reporter tells other domains what TLS came to in our sessions with
// their servers, once a day, if they want to know; and takes what others tell
// us, of TLS and of mail in our domains' names. RFC 8460, 9990
package reporter

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/reports"
)

// An Agent reports. All fields must be set.
type Agent struct {
	Hostname  string
	DB        kv.Store
	DNS       dns.Resolver
	Directory *directory.Directory
	Bodies    *body.Store
	Queue     *queue.Queue
	Reports   *reports.Store
	Signers   func(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error)
	Log       *slog.Logger
}

const (
	// lateDays is for how many days it is tried to find out who wants a report.
	lateDays = 2
	// maxTo is to how many addresses a report is sent.
	maxTo = 5
	page  = 50
)

// Run sends reports until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := a.Round(ctx, time.Now()); err != nil && ctx.Err() == nil {
			a.Log.Error("reports on TLS cannot be sent", "error", err)
		}
	}
}

// Round sends the reports of days that are over. One that cannot be sent does not
// hold up the others.
func (a *Agent) Round(ctx context.Context, now time.Time) error {
	if err := a.Reports.Flush(ctx); err != nil {
		return err
	}
	ours, err := a.Directory.Domains(ctx)
	if err != nil || len(ours) == 0 {
		return err // nobody whom it could be from
	}
	from := mail.Address{Local: "postmaster", Domain: ours[0].Name}
	today := reports.DayOf(now)
	at := reports.Seen{Day: today - lateDays}
	var errs []error
	for {
		list, err := a.Reports.After(ctx, at.Day, at.Domain, today, page)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, at = range list {
			done, err := a.Reports.Sent(ctx, at.Day, at.Domain)
			if err == nil && !done {
				err = a.send(ctx, at, from, now)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at.Domain, err))
			}
		}
		if len(list) < page || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
}

// send sends one report to who wants it, or notes that nobody does.
func (a *Agent) send(ctx context.Context, seen reports.Seen, from mail.Address, now time.Time) error {
	ans, err := a.DNS.TXT(ctx, tlsrpt.Name(seen.Domain))
	if err != nil && !dns.IsAbsent(err) {
		return nil // the next round asks again
	}
	to := addresses(tlsrpt.Addresses(ans.Records))
	var items []queue.Item
	if len(to) > 0 {
		if items, err = a.items(ctx, seen, from, to, now); err != nil {
			return err
		}
	}
	locks := []kv.Lock{reports.Lock()}
	for _, it := range items {
		locks = append(locks, queue.ShardOf(it.Envelope.Trace))
	}
	return a.DB.Update(ctx, kv.Plan{Locks: locks}, func(tx kv.Tx) error {
		reports.MarkSent(tx, seen.Day, seen.Domain)
		for _, it := range items {
			if _, err := a.Queue.Put(tx, it); err != nil {
				return err
			}
			id, rcpt := it.Envelope.Trace, it.Envelope.Recipients[0].Address
			journal.Write(tx, trace.Event{Trace: id, Time: tx.Now(), Kind: trace.Submitted, Sender: from, Size: it.Size()}, trace.Event{Trace: id, Time: tx.Now(), Kind: trace.Queued, Rcpt: rcpt})
		}
		return nil
	})
}

// addresses gives those of mailto: URIs.
func addresses(uris []string) (out []mail.Address) {
	for _, u := range uris {
		if len(u) < len("mailto:") || !strings.EqualFold(u[:len("mailto:")], "mailto:") {
			continue
		}
		rest, _, _ := strings.Cut(u[len("mailto:"):], "?")
		text, err := url.PathUnescape(rest)
		if err != nil {
			continue
		}
		if a, err := mail.ParseAddress(text); err == nil && a.IsASCII() && len(out) < maxTo {
			out = append(out, a)
		}
	}
	return out
}

// items makes the message for the queue, an item for each address; its body is
// durable then.
func (a *Agent) items(ctx context.Context, seen reports.Seen, from mail.Address, to []mail.Address, now time.Time) ([]queue.Item, error) {
	text, header, err := a.compose(seen, from, to, now)
	if err != nil {
		return nil, err
	}
	signers, err := a.Signers(ctx, from.Domain)
	if err != nil {
		return nil, err
	}
	var fields []byte
	for _, s := range signers {
		field, err := s.Sign(text[:header], bytes.NewReader(text[header:]), now)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field...)
	}
	st, err := a.Bodies.Stage(ctx, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer st.Close()
	ref, err := a.Bodies.Keep(ctx, st, len(to))
	if err != nil {
		return nil, err
	}
	var out []queue.Item
	for _, r := range to {
		// Nobody needs to hear that a report did not arrive: the sender is <>.
		env := mail.Envelope{Trace: mail.NewTraceID(now), Recipients: []mail.Recipient{{Address: r}}}
		out = append(out, queue.Item{Envelope: env, Domain: r.Domain, Body: ref, Prefix: fields})
	}
	return out, nil
}

// compose writes the message, and gives the length of its header. RFC 8460 §5.3
func (a *Agent) compose(seen reports.Seen, from mail.Address, to []mail.Address, now time.Time) (text []byte, header int, err error) {
	r := seen.Report
	r.Organization, r.Contact = a.Hostname, from.String()
	r.Start, r.End = seen.Day.Start(), seen.Day.End()
	r.ID = fmt.Sprintf("%s.%s@%s", r.Start.Format("20060102"), seen.Domain, a.Hostname)
	zipped, err := r.Zip()
	if err != nil {
		return nil, 0, err
	}
	var salt [12]byte
	rand.Read(salt[:])
	var contacts []message.Contact
	for _, t := range to {
		contacts = append(contacts, message.Contact{Address: t})
	}
	var good, bad int64
	for _, p := range r.Policies {
		good, bad = good+p.Successful, bad+p.Failed
	}
	words := fmt.Sprintf("This is a report on TLS from %s about mail to %s on %s (UTC):\n%d sessions went well, %d did not. The file that goes with it has the details (RFC 8460).\n",
		a.Hostname, seen.Domain, r.Start.Format(time.DateOnly), good, bad)
	var b message.Builder
	b.Date("Date", now)
	b.Addresses("From", message.Contact{Name: "TLS reports of " + a.Hostname, Address: from})
	b.Addresses("To", contacts...)
	b.Text("Subject", r.Subject(a.Hostname, string(seen.Domain)))
	b.IDs("Message-ID", "<"+hex.EncodeToString(salt[:])+"@"+a.Hostname+">")
	b.Field("TLS-Report-Domain", string(seen.Domain))
	b.Field("TLS-Report-Submitter", a.Hostname)
	b.Field("Auto-Submitted", "auto-generated")
	b.Body(message.Content{
		Type: "multipart/report", Params: []message.Param{{Name: "report-type", Value: "tlsrpt"}}, Boundary: "report-" + hex.EncodeToString(salt[:]),
		Parts: []message.Content{
			{Type: "text/plain", Data: []byte(words)},
			{Type: "application/tlsrpt+gzip", Disposition: "attachment", Filename: r.Filename(a.Hostname, string(seen.Domain)), Data: zipped},
		},
	})
	text, err = b.Bytes()
	if err != nil {
		return nil, 0, err
	}
	return text, bytes.Index(text, []byte("\r\n\r\n")) + 4, nil
}

// read gives the report on TLS in a message: the first part that is one.
func read(r io.ReaderAt, size int64) (tlsrpt.Report, error) {
	b, err := part(r, size, tlsrpt.MaxReport, isTLS)
	if err != nil {
		return tlsrpt.Report{}, err
	}
	return tlsrpt.Parse(b)
}

// readDMARC gives the aggregate report in a message.
func readDMARC(r io.ReaderAt, size int64) (dmarc.Aggregate, error) {
	b, err := part(r, size, dmarc.MaxReport, isDMARC)
	if err != nil {
		return dmarc.Aggregate{}, err
	}
	return dmarc.ParseAggregate(b)
}

// part gives what is in the first part that is one.
func part(r io.ReaderAt, size, most int64, is func(*message.Part) bool) ([]byte, error) {
	root, err := message.Parse(r, size)
	if err != nil {
		return nil, err
	}
	left := 100 // parts that are looked at
	p := find(root, is, &left)
	if p == nil {
		return nil, errors.New("there is no report in it")
	}
	return io.ReadAll(io.LimitReader(message.NewBodyReader(p, r), most+1))
}

func isTLS(p *message.Part) bool {
	return strings.EqualFold(p.Type, "application") && (strings.EqualFold(p.Subtype, "tlsrpt+gzip") || strings.EqualFold(p.Subtype, "tlsrpt+json"))
}

// isDMARC: many call it something else than they should. RFC 9990 §3.5.2
func isDMARC(p *message.Part) bool {
	switch strings.ToLower(p.Type + "/" + p.Subtype) {
	case "application/gzip", "application/x-gzip", "application/gzip-compressed", "application/zip", "application/x-zip-compressed", "application/xml", "text/xml", "application/octet-stream":
		return true
	}
	return false
}

func find(p *message.Part, is func(*message.Part) bool, left *int) *message.Part {
	if *left--; *left < 0 {
		return nil
	}
	if is(p) {
		return p
	}
	for _, sub := range p.Children {
		if found := find(sub, is, left); found != nil {
			return found
		}
	}
	return nil
}

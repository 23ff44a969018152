// Package reporter tells other domains, once a day, what TLS came to in our
// sessions with their servers, and what mail came here in their names, if they want
// to know; and takes what others tell us of the same. RFC 8460, 9990
package reporter

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
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
	Records   dmarc.Resolver // DNS, for DMARC
	Directory *directory.Directory
	Bodies    *body.Store
	Queue     *queue.Queue
	Journal   *journal.Journal
	Reports   *reports.Store
	Signers   func(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error)
	// Web sends what goes by https: only to hosts with a certificate of their name.
	Web *http.Client
	Log *slog.Logger
}

const (
	// lateDays is for how many days it is tried to find out who wants a report.
	lateDays = 2
	// after is how long after its end a day is reported: the last that was counted
	// may still have to be written.
	after = 10 * time.Minute
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
			a.Log.Error("reports cannot be sent", "error", err)
		}
	}
}

// Round sends the reports of days that are over. One that cannot be sent does not
// hold up the others.
func (a *Agent) Round(ctx context.Context, now time.Time) error {
	if err := a.Reports.Flush(ctx); err != nil {
		return err
	}
	from, err := a.from(ctx)
	if err != nil || from.IsZero() {
		return err
	}
	return errors.Join(a.roundTLS(ctx, from, now), a.roundDMARC(ctx, from, now))
}

// from gives the address that reports come from: that of the domain which our host is
// in, if that is one of ours, or else of the first. Zero: there is nobody whom they
// could be from.
func (a *Agent) from(ctx context.Context) (mail.Address, error) {
	ours, err := a.Directory.Domains(ctx)
	if err != nil || len(ours) == 0 {
		return mail.Address{}, err
	}
	best := ours[0].Name
	for d := a.Hostname; d != ""; _, d, _ = strings.Cut(d, ".") {
		for _, o := range ours {
			if string(o.Name) == d {
				return mail.Address{Local: "postmaster", Domain: o.Name}, nil
			}
		}
	}
	return mail.Address{Local: "postmaster", Domain: best}, nil
}

// A letter is a message that carries a report.
type letter struct {
	from    mail.Address
	name    string // of who it is from
	to      []mail.Address
	subject string
	fields  []message.Param // further ones
	body    message.Content
}

// bytes writes the letter, and gives the length of its header.
func (l letter) bytes(host string, now time.Time) (text []byte, header int, err error) {
	var salt [12]byte
	rand.Read(salt[:])
	var contacts []message.Contact
	for _, t := range l.to {
		contacts = append(contacts, message.Contact{Address: t})
	}
	var b message.Builder
	b.Date("Date", now)
	b.Addresses("From", message.Contact{Name: l.name, Address: l.from})
	b.Addresses("To", contacts...)
	b.Text("Subject", l.subject)
	b.IDs("Message-ID", "<"+hex.EncodeToString(salt[:])+"@"+host+">")
	for _, f := range l.fields {
		b.Field(f.Name, f.Value)
	}
	b.Field("Auto-Submitted", "auto-generated")
	l.body.Boundary = "report-" + hex.EncodeToString(salt[:])
	b.Body(l.body)
	if text, err = b.Bytes(); err != nil {
		return nil, 0, err
	}
	return text, bytes.Index(text, []byte("\r\n\r\n")) + 4, nil
}

// items makes what goes into the queue, an item for each address; the body is durable
// then.
func (a *Agent) items(ctx context.Context, l letter, text []byte, header int, now time.Time) ([]queue.Item, error) {
	signers, err := a.Signers(ctx, l.from.Domain)
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
	ref, err := a.Bodies.Keep(ctx, st, len(l.to))
	if err != nil {
		return nil, err
	}
	var out []queue.Item
	for _, r := range l.to {
		// Nobody needs to hear that a report did not arrive: the sender is <>.
		env := mail.Envelope{Trace: mail.NewTraceID(now), Recipients: []mail.Recipient{{Address: r}}}
		out = append(out, queue.Item{Envelope: env, Domain: r.Domain, Body: ref, Prefix: fields})
	}
	return out, nil
}

// commit notes what becomes of a report, and queues it; also, if it is set, does what
// else belongs to it. If another has done it meanwhile, nothing is done.
func (a *Agent) commit(ctx context.Context, s reports.Sending, from mail.Address, items []queue.Item, also func(kv.Tx)) error {
	locks := []kv.Lock{reports.Lock()}
	for _, it := range items {
		locks = append(locks, queue.ShardOf(it.Envelope.Trace))
		s.To = append(s.To, it.Envelope.Recipients[0].Address.String())
		s.Mail = append(s.Mail, it.Envelope.Trace)
	}
	var events []trace.Event
	err := a.DB.Update(ctx, kv.Plan{Locks: locks}, func(tx kv.Tx) error {
		events = events[:0]
		if first, err := reports.MarkSent(tx, s); err != nil || !first {
			return err
		}
		for _, it := range items {
			if _, err := a.Queue.Put(tx, it); err != nil {
				return err
			}
			id, rcpt := it.Envelope.Trace, it.Envelope.Recipients[0].Address
			story := []trace.Event{
				{Trace: id, Time: tx.Now(), Kind: trace.Submitted, Sender: from, Size: it.Size()},
				{Trace: id, Time: tx.Now(), Kind: trace.Queued, Rcpt: rcpt},
			}
			journal.Write(tx, story...)
			events = append(events, story...)
		}
		if also != nil {
			also(tx)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reporter: %w", err)
	}
	a.Journal.Wrote(events...)
	return nil
}

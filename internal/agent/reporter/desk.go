package reporter

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/reports"
)

// Mailbox is the local part of the address, in each domain of ours, that others
// send their reports on TLS to. What comes there is read by us and by nobody
// else.
const Mailbox = "tls-reports"

const (
	maxMessage = 4 << 20 // bytes of a message with a report
	maxPerDay  = 2000    // reports that are taken
)

// errFull, errForm and errProof refuse what is no report that we keep.
var (
	errFull  = mail.Refuse("4.3.2", "too many reports today", "")
	errForm  = mail.Refuse("5.6.0", "this address takes reports on TLS only, as RFC 8460 has them", "")
	errProof = mail.Refuse("5.7.20", "reports must be signed by DKIM", "") // RFC 8460 §3
)

// A Door is what receives mail.
type Door interface {
	Accepts(ctx context.Context, sender, to mail.Address) error
	Deliver(ctx context.Context, m mda.Mail) error
}

// A Desk stands before a Door and takes the reports out. All fields must be set;
// a Desk must not be copied after first use.
type Desk struct {
	Door
	Directory *directory.Directory
	Reports   *reports.Store
	Journal   *journal.Journal

	mu    sync.Mutex
	today reports.Day
	taken int
}

// wants tells whether an address is for reports.
func (d *Desk) wants(ctx context.Context, to mail.Address) (bool, error) {
	if !strings.EqualFold(to.Local, Mailbox) {
		return false, nil
	}
	return d.Directory.HasDomain(ctx, to.Domain)
}

// Accepts takes the address for reports beside those that the Door takes.
func (d *Desk) Accepts(ctx context.Context, sender, to mail.Address) error {
	if ours, err := d.wants(ctx, to); err != nil || ours {
		return err
	}
	return d.Door.Accepts(ctx, sender, to)
}

// Deliver keeps a report, and gives the Door what is for others.
func (d *Desk) Deliver(ctx context.Context, m mda.Mail) error {
	var ours, rest []mail.Recipient
	for _, r := range m.Envelope.Recipients {
		is, err := d.wants(ctx, r.Address)
		if err != nil {
			return err
		}
		if is {
			ours = append(ours, r)
		} else {
			rest = append(rest, r)
		}
	}
	if len(ours) > 0 {
		if err := d.take(ctx, m); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		m.Envelope.Recipients = rest
		return d.Door.Deliver(ctx, m)
	}
	for _, e := range append(slices.Clone(m.Events), trace.Event{
		Trace: m.Envelope.Trace, Time: time.Now(), Kind: trace.Stored, Rcpt: ours[0].Address, Mailbox: "reports on TLS",
	}) {
		d.Journal.Add(e)
	}
	return nil
}

func (d *Desk) take(ctx context.Context, m mda.Mail) error {
	now := time.Now()
	if bytes.Contains(m.Trace, []byte("Authentication-Results:")) && !bytes.Contains(m.Trace, []byte("dkim=pass")) {
		return errProof
	}
	if m.Body.Size() > maxMessage {
		return errForm
	}
	r, err := read(m.Body, m.Body.Size())
	if err != nil {
		no := *errForm
		no.Reason = err.Error()
		return &no
	}
	if !d.room(now) {
		return errFull
	}
	return d.Reports.Tell(ctx, now, binary.BigEndian.Uint32(m.Envelope.Trace[6:]), r)
}

// room tells whether one more report is taken today.
func (d *Desk) room(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if day := reports.DayOf(now); day != d.today {
		d.today, d.taken = day, 0
	}
	d.taken++
	return d.taken <= maxPerDay
}

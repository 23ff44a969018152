package reporter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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

// The local parts of the addresses, in each domain of ours, that others send their
// reports to: on TLS, on mail in the domain's name, and on single messages in its name
// that were not proven. What comes there is read by us and by nobody else.
const (
	Mailbox        = "tls-reports"
	DMARCMailbox   = "dmarc-reports"
	FailureMailbox = "dmarc-failures"
)

const (
	maxMessage = 4 << 20 // bytes of a message with a report
	maxPerDay  = 2000    // reports that are taken
)

// errFull, errForm and errProof refuse what is no report that we keep.
var (
	errFull  = mail.Refuse("4.3.2", "too many reports today", "")
	errForm  = mail.Refuse("5.6.0", "this address takes reports only: on TLS (RFC 8460), aggregate reports of DMARC (RFC 9990) and failure reports (RFC 9991), each at an address of its own", "")
	errProof = mail.Refuse("5.7.20", "reports must be signed by DKIM", "") // RFC 8460 §3
)

// A Door is what receives mail.
type Door interface {
	Accepts(ctx context.Context, sender mail.Address, to mail.Recipient) error
	Deliver(ctx context.Context, m mda.Mail) error
}

// A Desk stands before a Door and takes the reports out. All fields must be set;
// a Desk must not be copied after first use.
type Desk struct {
	Door
	Directory *directory.Directory
	Reports   *reports.Store
	Journal   *journal.Journal

	reading sync.Mutex

	mu    sync.Mutex
	today reports.Day
	taken int
}

// atDesk tells whether an address is for reports: an account or an alias of that
// name goes before us, a catch-all does not.
func atDesk(ctx context.Context, dir *directory.Directory, to mail.Address) (bool, error) {
	switch strings.ToLower(to.Local) {
	case Mailbox, DMARCMailbox, FailureMailbox:
	default:
		return false, nil
	}
	t, err := dir.Resolve(ctx, to)
	switch {
	case errors.Is(err, mail.ErrNotFound):
	case err != nil:
		return false, err
	case t.Alias == nil || t.Alias.Address.Local != "":
		return false, nil
	}
	return dir.HasDomain(ctx, to.Domain)
}

// Saw counts a message for the report to the domain that it claims to be from, unless
// it is for us alone: two who report to each other on reports would never end.
func (d *Desk) Saw(ctx context.Context, env mail.Envelope, s reports.Sight) {
	for _, r := range env.Recipients {
		if ours, err := atDesk(ctx, d.Directory, r.Address); err == nil && !ours {
			d.Reports.Saw(time.Now(), s)
			return
		}
	}
}

// Accepts takes the address for reports beside those that the Door takes.
func (d *Desk) Accepts(ctx context.Context, sender mail.Address, to mail.Recipient) error {
	if ours, err := atDesk(ctx, d.Directory, to.Address); err != nil || ours {
		return err
	}
	return d.Door.Accepts(ctx, sender, to)
}

// Deliver keeps a report, and gives the Door what is for others.
func (d *Desk) Deliver(ctx context.Context, m mda.Mail) error {
	var ours, rest []mail.Recipient
	for _, r := range m.Envelope.Recipients {
		is, err := atDesk(ctx, d.Directory, r.Address)
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
		if err := d.take(ctx, m, ours[0].Address); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		m.Envelope.Recipients = rest
		return d.Door.Deliver(ctx, m)
	}
	for _, e := range append(slices.Clone(m.Events), trace.Event{
		Trace: m.Envelope.Trace, Time: time.Now(), Kind: trace.Stored, Rcpt: ours[0].Address, Mailbox: "reports of others",
	}) {
		d.Journal.Add(e)
	}
	return nil
}

func (d *Desk) take(ctx context.Context, m mda.Mail, to mail.Address) error {
	now, salt := time.Now(), binary.BigEndian.Uint32(m.Envelope.Trace[6:])
	onTLS := strings.EqualFold(to.Local, Mailbox)
	if onTLS && bytes.Contains(m.Trace, []byte("Authentication-Results:")) && !bytes.Contains(m.Trace, []byte("dkim=pass")) {
		return errProof
	}
	if m.Body.Size() > maxMessage {
		return errForm
	}
	if !d.room(now) {
		return errFull
	}
	d.reading.Lock() // one at a time: unpacked, they can be large
	defer d.reading.Unlock()
	switch strings.ToLower(to.Local) {
	case Mailbox:
		r, err := read(m.Body, m.Body.Size())
		if err != nil {
			return noReport(err)
		}
		return d.Reports.Tell(ctx, now, salt, r)
	case FailureMailbox:
		f, err := readFailure(m.Body, m.Body.Size())
		if err != nil {
			return noReport(err)
		}
		return d.Reports.TellFailed(ctx, now, salt, f)
	}
	a, err := readDMARC(m.Body, m.Body.Size())
	if err != nil {
		return noReport(err)
	}
	return d.Reports.TellDMARC(ctx, now, salt, reports.JudgedOf(a))
}

func noReport(err error) error {
	no := *errForm
	no.Reason = err.Error()
	return &no
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

package dsn

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// Bytes writes the report. It is to be sent from <> to r.To.
func (r *Report) Bytes() ([]byte, error) {
	if r.To.IsZero() {
		return nil, fmt.Errorf("dsn: %w", ErrNullSender)
	}
	if len(r.Recipients) == 0 {
		return nil, fmt.Errorf("dsn: a report on nobody")
	}
	orig, err := r.original()
	if err != nil {
		return nil, fmt.Errorf("dsn: read the message: %w", err)
	}
	worst := r.worst()
	b := message.Builder{UTF8: r.NeedsUTF8()}
	b.Date("Date", r.Date)
	b.Addresses("From", message.Contact{Name: "Mail Delivery System", Address: r.From})
	b.Addresses("To", message.Contact{Address: r.To})
	b.Text("Subject", subjects[worst])
	b.IDs("Message-ID", r.MessageID)
	if id := orig.id(); id != "" {
		b.IDs("In-Reply-To", id)
		b.IDs("References", id)
	}
	b.Field("Auto-Submitted", "auto-replied") // RFC 3834 §5.1.6
	status := "message/delivery-status"
	if r.NeedsUTF8() {
		status = "message/global-delivery-status" // RFC 6533 §4
	}
	b.Body(message.Content{
		Type:     "multipart/report",
		Params:   []message.Param{{Name: "report-type", Value: "delivery-status"}},
		Boundary: r.Boundary,
		Parts: []message.Content{
			{Type: "text/plain", Description: "Notification", Data: r.words(worst, orig)},
			{Type: status, Description: "Delivery report", Data: r.status()},
			orig.content(r.NeedsUTF8()),
		},
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("dsn: %w", err)
	}
	return out, nil
}

// worst gives the action that people must hear of first.
func (r *Report) worst() Action {
	for _, a := range []Action{Failed, Delayed, Relayed, Expanded} {
		for i := range r.Recipients {
			if r.Recipients[i].action() == a {
				return a
			}
		}
	}
	return Delivered
}

var subjects = map[Action]string{
	Failed:    "Undelivered mail: your message could not be delivered",
	Delayed:   "Delayed mail: your message has not been delivered yet",
	Relayed:   "Relayed mail: your message has been passed on",
	Expanded:  "Your message has been passed on to a list",
	Delivered: "Delivered mail: your message has arrived",
}

// status gives the fields for programs: those of the message, then a group for
// each recipient. RFC 3464 §2.2, §2.3
func (r *Report) status() []byte {
	var s []byte
	if r.EnvelopeID != "" {
		s = appendField(s, "Original-Envelope-Id", clean(r.ascii(r.EnvelopeID), 200))
	}
	s = appendField(s, "Reporting-MTA", "dns; "+clean(r.ascii(r.Host), 255))
	if !r.Arrival.IsZero() {
		s = appendDate(s, "Arrival-Date", r.Arrival)
	}
	if !r.DeliverBy.IsZero() {
		s = appendDate(s, "Deliver-By-Date", r.DeliverBy)
	}
	if !r.Trace.IsZero() {
		s = appendField(s, "X-Posthaste-Trace", r.Trace.String())
	}
	for i := range r.Recipients {
		s = append(s, '\n')
		s = r.recipient(s, &r.Recipients[i])
	}
	return s
}

func (r *Report) recipient(s []byte, rc *Recipient) []byte {
	o := &rc.Outcome
	switch {
	case rc.ORCPT != "":
		s = appendField(s, "Original-Recipient", clean(r.ascii(rc.ORCPT), 900))
	case !o.Recipient.Original.IsZero():
		s = appendField(s, "Original-Recipient", r.address(o.Recipient.Original))
	}
	s = appendField(s, "Final-Recipient", r.address(o.Recipient.Address))
	s = appendField(s, "Action", string(rc.action()))
	s = appendField(s, "Status", o.Status.String())
	if o.Remote != "" {
		s = appendField(s, "Remote-MTA", "dns; "+clean(r.ascii(o.Remote), 255))
	}
	if text := clean(r.ascii(o.Text), maxAnswer); text != "" {
		kind := "smtp; " // what a remote host said by SMTP. RFC 3464 §2.3.6
		if o.Remote == "" {
			kind = "X-Posthaste; "
		}
		s = appendField(s, "Diagnostic-Code", kind+text)
	}
	if !rc.LastAttempt.IsZero() {
		s = appendDate(s, "Last-Attempt-Date", rc.LastAttempt)
	}
	if rc.action() == Delayed && !rc.RetryUntil.IsZero() {
		s = appendDate(s, "Will-Retry-Until", rc.RetryUntil)
	}
	return s
}

// address gives an address with its type. Where only ASCII may go, the rest is
// written as \x{...}. RFC 6533 §3
func (r *Report) address(a mail.Address) string {
	if a.IsASCII() {
		return "rfc822; " + clean(a.String(), 900)
	}
	return "utf-8; " + clean(r.ascii(a.String()), 900)
}

// ascii gives s as it can stand in the status part of this report.
func (r *Report) ascii(s string) string {
	if r.NeedsUTF8() {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if c < utf8.RuneSelf {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return b.String()
}

func appendField(s []byte, name, value string) []byte {
	return append(append(append(append(s, name...), ": "...), value...), '\n')
}

func appendDate(s []byte, name string, t time.Time) []byte {
	return append(message.AppendDate(append(append(s, name...), ": "...), t), '\n')
}

// maxAnswer is how much of what a remote host said is quoted.
const maxAnswer = 600

// clean gives s on one line of at most n bytes, with nothing that cannot be
// seen.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return s
}

// An original is what is known of the message that is reported on.
type original struct {
	header []byte
	full   []byte // empty if only the header goes back
}

// original reads what goes back.
func (r *Report) original() (original, error) {
	if r.Original == nil {
		return original{}, nil
	}
	b := make([]byte, min(r.Size, MaxReturn))
	if n, err := r.Original.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return original{}, err
	}
	var o original
	end := 0 // whole fields only
	for f := range message.Fields(b) {
		if next := f.Offset + len(f.Raw); next < len(b) || r.Size <= MaxReturn {
			end = next
		}
	}
	o.header = b[:end]
	if r.Return == mail.ReturnFull && r.Size <= MaxReturn && r.worst() == Failed && message.CanCarry(b) && (r.NeedsUTF8() || isASCII(b)) {
		o.full = b
	}
	return o, nil
}

func (o *original) field(name string) string {
	f, _ := message.Find(o.header, name)
	return f.Text()
}

// id gives the Message-ID, if it can be written again.
func (o *original) id() string {
	ids := message.MessageIDs(o.field("message-id"))
	if len(ids) == 0 || len(ids[0]) > 500 || !isVisible(ids[0]) {
		return ""
	}
	return ids[0]
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isVisible(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func (o *original) content(global bool) message.Content {
	c := message.Content{Type: "text/rfc822-headers", Description: "Header of the message", Data: o.header}
	switch {
	case len(o.full) > 0 && global:
		c = message.Content{Type: "message/global", Description: "The message", Data: o.full}
	case len(o.full) > 0:
		c = message.Content{Type: "message/rfc822", Description: "The message", Data: o.full}
	case global:
		c.Type = "message/global-headers"
	default:
		// 8 bit bytes are in an unknown charset; utf-8 is what it is if it is
		// anything.
		if isASCII(o.header) {
			c.Params = []message.Param{{Name: "charset", Value: "us-ascii"}}
		}
	}
	return c
}

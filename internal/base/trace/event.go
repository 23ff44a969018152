// Package trace has the events of a message's life: one closed list, used by
// the log, by the stored journal, and by the story that `why` tells. Every
// event carries the message's TraceID, which is made when MAIL FROM is heard,
// so that mail refused before it became a message has a story too.
package trace

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"time"

	"posthaste/internal/base/mail"
)

// A Kind says what happened.
type Kind byte

// The events of a message's life. Their numbers are stored: only append.
const (
	Refused   Kind = iota + 1 // we said no to the peer: to MAIL, RCPT or DATA
	Received                  // the message was taken, and is ours to keep
	Submitted                 // as Received, from one of our users
	Queued                    // a recipient waits to be reached
	Stored                    // it is in a mailbox
	_                         // was never written
	Delivered                 // a remote host took it for a recipient
	Deferred                  // not now; Next says when again
	Failed                    // never
	Reported                  // the sender was told; Link is the report
	Dropped                   // an operator removed it from the queue
	Broken                    // we failed; the peer was told to try again later
	Judged                    // what SPF, DKIM and DMARC say of it, in Text
	Held                      // an operator holds it back
	Released                  // and no longer
	Rerouted                  // an operator has it go another way, in Text; "" is the usual
	Discarded                 // the rules of whom it was for, in Text, have it put nowhere
	Answered                  // by the rules of whom it was for; Link is the answer
)

var words = [...]string{
	Refused: "refused", Received: "received", Submitted: "submitted", Queued: "queued", Stored: "stored",
	Delivered: "delivered", Deferred: "deferred", Failed: "failed", Reported: "reported", Dropped: "dropped", Broken: "broken", Judged: "judged",
	Held: "held", Released: "released", Rerouted: "rerouted", Discarded: "discarded",
	Answered: "answered",
}

// Kinds gives all kinds.
func Kinds() (out []Kind) {
	for k, w := range words {
		if w != "" {
			out = append(out, Kind(k))
		}
	}
	return out
}

// String gives the word that the log uses.
func (k Kind) String() string {
	if int(k) < len(words) && words[k] != "" {
		return words[k]
	}
	return "unknown"
}

// An Event is one thing that happened to a message. Fields that say nothing
// about a kind are zero.
type Event struct {
	Trace   mail.TraceID
	Time    time.Time
	Kind    Kind
	Sender  mail.Address // Received, Submitted, Refused
	Rcpt    mail.Address // whom it is about; zero for all
	Status  mail.Status
	Text    string       // the answer, ours or the remote host's, one line; Stored: why there, if its owner had a say in it; Reported: the action, as RFC 3464 names it
	Remote  string       // the other side: "host [address]"
	TLS     string       // "TLS1.3 …"; empty in clear
	From    string       // our side, if we have several: "host [address]"; Queued: the address of the account elsewhere that it goes by
	Mailbox string       // Stored: its name
	Size    int64        // Received, Submitted
	Next    time.Time    // Deferred
	Link    mail.TraceID // Reported: the report; Received: what it reports on
}

// maxText bounds what a stored event keeps of what others said.
const maxText = 500

// Log writes the event as one line with fixed keys. What others said is quoted
// by the handler, and cut.
func (e Event) Log(l *slog.Logger) {
	if !l.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	attrs := make([]any, 0, 20)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, Cut(value, maxText)))
		}
	}
	add("id", e.Trace.String())
	add("sender", e.Sender.String())
	add("rcpt", e.Rcpt.String())
	if e.Status != (mail.Status{}) {
		add("status", e.Status.String())
	}
	if r, ok := e.Remedy(); ok {
		add("reason", r.Name)
	}
	add("text", e.Text)
	add("remote", e.Remote)
	add("tls", e.TLS)
	add("from", e.From)
	add("mailbox", e.Mailbox)
	if e.Size > 0 {
		attrs = append(attrs, slog.Int64("size", e.Size))
	}
	if !e.Next.IsZero() {
		attrs = append(attrs, slog.Time("next", e.Next))
	}
	if !e.Link.IsZero() {
		add("link", e.Link.String())
	}
	l.Info(e.Kind.String(), attrs...)
}

// Cut shortens s to at most n bytes, at the border of a character.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// Plain gives of what others said only what is printable ASCII, at most n bytes: it
// fits into a reply and into a line of the log.
func Plain(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return Cut(s, n)
}

// Append appends the event in the form that Decode reads, without its Trace.
func (e Event) Append(b []byte) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendVarint(b, e.Time.UnixMilli())
	var fields [11]string
	fields[0], fields[1] = e.Sender.Local, string(e.Sender.Domain)
	fields[2], fields[3] = e.Rcpt.Local, string(e.Rcpt.Domain)
	fields[4], fields[5], fields[6], fields[7] = Cut(e.Text, maxText), Cut(e.Remote, maxText), e.TLS, e.Mailbox
	if e.Status != (mail.Status{}) {
		fields[8] = e.Status.String()
	}
	if !e.Link.IsZero() {
		fields[9] = string(e.Link[:])
	}
	fields[10] = Cut(e.From, maxText)
	var mask uint64
	for i, f := range fields {
		if f != "" {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	for _, f := range fields {
		if f != "" {
			b = append(binary.AppendUvarint(b, uint64(len(f))), f...)
		}
	}
	b = binary.AppendVarint(b, e.Size)
	next := int64(0)
	if !e.Next.IsZero() {
		next = e.Next.Unix()
	}
	return binary.AppendVarint(b, next)
}

// Decode reads the events of one message from b, which holds what Append
// appended. What it cannot read ends it.
func Decode(id mail.TraceID, b []byte) []Event {
	var out []Event
	for len(b) > 0 {
		e, rest, ok := decode(b)
		if !ok {
			return out
		}
		e.Trace = id
		out, b = append(out, e), rest
	}
	return out
}

func decode(b []byte) (e Event, rest []byte, ok bool) {
	e.Kind, b = Kind(b[0]), b[1:]
	varint := func() int64 {
		v, n := binary.Varint(b)
		if ok = n > 0; ok {
			b = b[n:]
		}
		return v
	}
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if ok = n > 0; ok {
			b = b[n:]
		}
		return v
	}
	e.Time = time.UnixMilli(varint())
	if !ok {
		return e, nil, false
	}
	mask := uvarint()
	if !ok {
		return e, nil, false
	}
	var fields [11]string
	for i := range fields {
		if mask&(1<<i) == 0 {
			continue
		}
		n := uvarint()
		if !ok || n > uint64(len(b)) {
			return e, nil, false
		}
		fields[i], b = string(b[:n]), b[n:]
	}
	e.Sender = mail.Address{Local: fields[0], Domain: mail.Domain(fields[1])}
	e.Rcpt = mail.Address{Local: fields[2], Domain: mail.Domain(fields[3])}
	e.Text, e.Remote, e.TLS, e.Mailbox = fields[4], fields[5], fields[6], fields[7]
	if fields[8] != "" {
		e.Status, _ = mail.ParseStatus(fields[8])
	}
	copy(e.Link[:], fields[9])
	e.From = fields[10]
	if e.Size = varint(); !ok {
		return e, nil, false
	}
	next := varint()
	if next != 0 {
		e.Next = time.Unix(next, 0)
	}
	return e, b, ok
}

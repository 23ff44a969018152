package dsn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// An Incoming is a report that somebody sent us.
type Incoming struct {
	Host       string // who reports
	EnvelopeID string // as we said in MAIL
	Arrival    time.Time
	Recipients []Recipient // at most MaxRecipients
	// MessageID is that of the message reported on, with brackets; empty if the
	// report does not have its header.
	MessageID string
}

// MaxRecipients is how many recipients of a report are looked at.
const MaxRecipients = 1000

// maxStatus is how much of the part for programs is looked at.
const maxStatus = 256 << 10

// maxOriginal is how much of the returned header is looked at.
const maxOriginal = 64 << 10

// ErrNoReport means that a message is no delivery status notification.
var ErrNoReport = errors.New("no delivery report")

// Read reads a report, in any of the forms of RFC 3464 and RFC 6533. root is
// the tree of the message r. Recipients whose address or action cannot be read
// are left out.
func Read(root *message.Part, r io.ReaderAt) (*Incoming, error) {
	report := findReport(root)
	if report == nil {
		return nil, fmt.Errorf("dsn: %w", ErrNoReport)
	}
	in := &Incoming{}
	found := false
	for _, p := range report.Children {
		switch {
		case isStatus(p) && !found:
			b, err := io.ReadAll(io.LimitReader(message.NewBodyReader(p, r), maxStatus))
			if err != nil {
				return nil, fmt.Errorf("dsn: read a report: %w", err)
			}
			in.status(b)
			found = true
		case in.MessageID == "":
			id, err := originalID(p, r)
			if err != nil {
				return nil, fmt.Errorf("dsn: read a report: %w", err)
			}
			in.MessageID = id
		}
	}
	if !found {
		return nil, fmt.Errorf("dsn: %w", ErrNoReport)
	}
	return in, nil
}

// findReport finds the multipart with the report: the message itself, or what
// a list or a gateway wrapped.
func findReport(root *message.Part) *message.Part {
	n := 0
	for p := range root.All() {
		if n++; n > 100 {
			break
		}
		for _, c := range p.Children {
			if isStatus(c) {
				return p
			}
		}
	}
	return nil
}

func isStatus(p *message.Part) bool {
	return p.Is("message", "delivery-status") || p.Is("message", "global-delivery-status")
}

// originalID gives the Message-ID in a part that holds the message or its
// header.
func originalID(p *message.Part, r io.ReaderAt) (string, error) {
	id := ""
	switch {
	case p.Message != nil:
		id = p.Message.Envelope.MessageID
	case p.Is("text", "rfc822-headers"), p.Is("message", "global-headers"), p.Is("message", "rfc822-headers"):
		b, err := io.ReadAll(io.LimitReader(message.NewBodyReader(p, r), maxOriginal))
		if err != nil {
			return "", err
		}
		f, _ := message.Find(b, "message-id")
		id = f.Text()
	}
	if ids := message.MessageIDs(id); len(ids) > 0 {
		return ids[0], nil
	}
	return "", nil
}

// status reads the groups of fields, which empty lines are between.
func (in *Incoming) status(b []byte) {
	for first := true; len(b) > 0; {
		group := map[string]string{}
		n := 0
		for f := range message.Fields(b) {
			n += len(f.Raw)
			name := strings.ToLower(string(f.Name))
			if _, has := group[name]; !has && name != "" {
				group[name] = f.Text()
			}
		}
		switch {
		case n == 0: // an empty line
			i := bytes.IndexByte(b, '\n')
			b = b[i+1:]
			continue
		case first:
			in.Host = value(group["reporting-mta"])
			in.EnvelopeID = group["original-envelope-id"]
			in.Arrival = date(group["arrival-date"])
			// Some leave out the group for the message.
			if group["final-recipient"] == "" {
				break
			}
			fallthrough
		default:
			if rc, ok := recipient(group); ok && len(in.Recipients) < MaxRecipients {
				in.Recipients = append(in.Recipients, rc)
			}
		}
		first = false
		b = b[n:]
	}
}

func recipient(group map[string]string) (Recipient, bool) {
	rc := Recipient{
		Action:      Action(strings.ToLower(firstWord(group["action"]))),
		ORCPT:       group["original-recipient"],
		LastAttempt: date(group["last-attempt-date"]),
		RetryUntil:  date(group["will-retry-until"]),
	}
	switch rc.Action {
	case Failed, Delayed, Delivered, Relayed, Expanded:
	default:
		return rc, false
	}
	addr, err := mail.ParseAddress(unescape(value(group["final-recipient"])))
	orig, origErr := mail.ParseAddress(unescape(value(rc.ORCPT)))
	switch {
	case err != nil && origErr != nil:
		return rc, false
	case err != nil:
		addr = orig
	}
	rc.Outcome.Recipient.Address = addr
	if origErr == nil && orig != addr {
		rc.Outcome.Recipient.Original = orig
	}
	if rc.Outcome.Status, err = mail.ParseStatus(firstWord(group["status"])); err != nil {
		rc.Outcome.Status = mail.Status{Class: classes[rc.Action]}
	}
	rc.Outcome.Text = clean(value(group["diagnostic-code"]), maxAnswer)
	rc.Outcome.Remote = clean(value(group["remote-mta"]), 255)
	return rc, true
}

var classes = map[Action]uint16{Failed: 5, Delayed: 4, Delivered: 2, Relayed: 2, Expanded: 2}

func firstWord(s string) string {
	if i := strings.IndexAny(s, " \t("); i >= 0 {
		return s[:i]
	}
	return s
}

// value takes the type off "type; value", and brackets that should not be
// there off an address.
func value(s string) string {
	_, v, ok := strings.Cut(s, ";")
	if !ok {
		v = s
	}
	v = strings.TrimSpace(v)
	if len(v) > 2 && v[0] == '<' && v[len(v)-1] == '>' {
		v = v[1 : len(v)-1]
	}
	return v
}

func date(s string) time.Time {
	t, err := message.ParseDate(s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// unescape takes \x{...} back. RFC 6533 §3
func unescape(s string) string {
	if len(s) > 1000 || !strings.Contains(s, `\x{`) {
		return s
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		hex, after, ok := strings.Cut(rest, "}")
		r, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || !utf8.ValidRune(rune(r)) {
			b.WriteString(`\x{`)
			s = rest
			continue
		}
		b.WriteRune(rune(r))
		s = after
	}
}

package trace

import (
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/remedy"
)

// Story tells what happened to a message, a sentence an event, in words that
// need no knowledge of mail servers. The proof stands on a line below, in
// parentheses. Attempts that ended alike, one after the other, are told of once.
// Times are given in the zone of loc.
func Story(events []Event, loc *time.Location) []string {
	var out []string
	for _, l := range fold(events) {
		line := l.begin.In(loc).Format(stamp) + "  " + l.sentence(loc)
		if p := l.proof(); p != "" {
			line += "\n" + strings.Repeat(" ", len(stamp)+2) + "(" + p + ")"
		}
		out = append(out, line)
	}
	return out
}

const stamp = "2006-01-02 15:04:05"

// A line is an event, the last of times that are alike, of which the first was at
// begin.
type line struct {
	Event
	begin time.Time
	times int
}

func fold(events []Event) []*line {
	var out []*line
	last := map[mail.Address]*line{}
	for _, e := range events {
		if l := last[e.Rcpt]; l != nil && l.like(e) {
			l.Event = e
			l.times++
			continue
		}
		l := &line{Event: e, begin: e.Time, times: 1}
		last[e.Rcpt] = l
		out = append(out, l)
	}
	return out
}

// like tells whether an attempt ended as that before it.
func (l *line) like(e Event) bool {
	if l.Kind != Deferred || e.Kind != Deferred {
		return false
	}
	before, known := l.Remedy()
	now, _ := e.Remedy()
	return before == now && (known || l.Text == e.Text)
}

func (l *line) sentence(loc *time.Location) string {
	if l.Kind == Deferred {
		return l.deferred(loc)
	}
	return l.Event.sentence()
}

func (e Event) who() string {
	if e.Rcpt.IsZero() {
		return "everybody it was for"
	}
	return e.Rcpt.String()
}

func (e Event) sentence() string {
	who := e.who()
	sender := "the mail system itself"
	if !e.Sender.IsZero() {
		sender = e.Sender.String()
	}
	switch e.Kind {
	case Refused:
		if e.Rcpt.IsZero() {
			return fmt.Sprintf("We refused a message from %s: %s.", sender, clause(e.Text))
		}
		return fmt.Sprintf("We refused mail from %s to %s: %s.", sender, who, clause(e.Text))
	case Received:
		return fmt.Sprintf("We received the message from %s.", sender)
	case Submitted:
		return fmt.Sprintf("%s handed us the message to send.", sender)
	case Queued:
		if e.From != "" {
			return fmt.Sprintf("It waits in the queue to be sent to %s by the account elsewhere with the address %s.", who, e.From)
		}
		if e.Text != "" {
			return fmt.Sprintf("It waits in the queue to be sent on to %s, where mail for %s goes.", who, e.Text)
		}
		return fmt.Sprintf("It waits in the queue to be sent to %s.", who)
	case Stored:
		if e.Text != "" {
			return fmt.Sprintf("It was put into the mailbox %q of %s: %s.", e.Mailbox, who, clause(e.Text))
		}
		return fmt.Sprintf("It was put into the mailbox %q of %s.", e.Mailbox, who)
	case Delivered:
		s := fmt.Sprintf("%s took it for %s%s", host(e.Remote), who, protected(e.TLS))
		if e.From != "" {
			s += "; we sent it from " + e.From
		}
		return s + "."
	case Failed:
		return e.failed(who)
	case Reported:
		became, ok := reported[e.Text]
		if !ok {
			became = "what became of it"
		}
		return fmt.Sprintf("We told %s %s.", who, became)
	case Dropped:
		return fmt.Sprintf("An administrator removed it from the queue; %s will not get it.", who)
	case Held:
		return fmt.Sprintf("An administrator holds it back; %s will not get it until he lets it go.", who)
	case Released:
		return fmt.Sprintf("An administrator let it go; it is sent to %s now.", who)
	case Rerouted:
		if e.Text == "" {
			return fmt.Sprintf("An administrator has it go to %s by the usual way again.", who)
		}
		return fmt.Sprintf("An administrator has it go to %s by another way: %s.", who, clause(e.Text))
	case Discarded:
		return fmt.Sprintf("The rules of %s (%s) have it put nowhere.", who, clause(e.Text))
	case Answered:
		return fmt.Sprintf("The rules of %s have sent an answer.", who)
	case Judged:
		return fmt.Sprintf("We checked where it comes from: %s.", clause(e.Text))
	case Broken:
		return "Something went wrong on our side, and we asked the sender to try again later."
	}
	return "Something happened that this version does not know."
}

// reported has what a sender was told, by the action that the report is of.
var reported = map[string]string{
	"failed":    "that it could not be delivered",
	"delayed":   "that it takes longer",
	"delivered": "that it has arrived",
	"relayed":   "that it was passed on",
	"expanded":  "that it was passed on to several people",
}

func (e Event) failed(who string) string {
	s := fmt.Sprintf("It could not be delivered to %s", who)
	long, said := remedy.Tried(e.Text)
	if long != "" {
		s += ", though we tried for " + long
	}
	s += ", and we gave up"
	if r, ok := e.Remedy(); ok {
		return s + ". " + r.What + " " + r.Final()
	}
	return s + ": " + clause(said) + "."
}

func (l *line) deferred(loc *time.Location) string {
	r, known := l.Remedy()
	s := fmt.Sprintf("It could not be delivered to %s yet", l.who())
	if known {
		s += ". " + r.What
	} else {
		s += ": " + clause(l.Text) + "."
	}
	const minute = "2006-01-02 15:04"
	if l.times > 1 {
		s += fmt.Sprintf(" We have tried %d times, the last time at %s.", l.times, l.Time.In(loc).Format(minute))
	}
	nothing := !known || r.Do == remedy.Wait
	if !l.Next.IsZero() {
		s += " We try again at " + l.Next.In(loc).Format(minute)
		if nothing {
			return s + "; there is nothing to do."
		}
		s += "."
	}
	if !nothing {
		s += " " + strings.TrimPrefix(r.Do, "It is tried again. ") // it says so already
	}
	return s
}

// Remedy gives what the answer means that held the message up, if that is known.
func (e Event) Remedy() (remedy.Remedy, bool) {
	if e.Kind != Deferred && e.Kind != Failed {
		return remedy.Remedy{}, false
	}
	return remedy.Of(remedy.Answer{Status: e.Status, Text: e.Text, Remote: e.Remote})
}

// clause makes what somebody said fit into a sentence.
func clause(s string) string {
	s = strings.TrimRight(strings.TrimSpace(s), ".")
	if s == "" {
		return "no reason was given"
	}
	return s
}

func host(remote string) string {
	name, _, _ := strings.Cut(remote, " ")
	if name == "" {
		return "The other server"
	}
	return name
}

// protected says how a message travelled, of the words that stand in TLS.
func protected(tls string) string {
	version, _, _ := strings.Cut(tls, " TLS_")
	_, how, _ := strings.Cut(tls, ", ")
	switch {
	case version == "":
		return ""
	case how != "":
		return ", over an encrypted connection (" + version + ") to a server that has proved to be the right one (" + strings.TrimPrefix(how, "verified by ") + ")"
	}
	return ", over an encrypted connection (" + version + ")"
}

func (e Event) proof() string {
	var parts []string
	if e.Status.Class != 0 {
		parts = append(parts, "status "+e.Status.String())
	}
	if e.Remote != "" {
		parts = append(parts, e.Remote)
	}
	if e.TLS != "" {
		parts = append(parts, e.TLS)
	}
	if _, known := e.Remedy(); (known || e.Kind == Delivered) && e.Text != "" {
		how := "it answered"
		if e.Remote == "" && e.Kind != Delivered {
			how = "in our log"
		}
		parts = append(parts, how+fmt.Sprintf(" %q", e.Text))
	}
	if e.Size > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", e.Size))
	}
	if !e.Link.IsZero() {
		parts = append(parts, "see "+e.Link.String())
	}
	return strings.Join(parts, ", ")
}

package sieve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// How long somebody who was answered is not answered again. RFC 5230 §4.1, RFC 6131
const (
	usualVacation = 7 * 24 * time.Hour
	leastVacation = 24 * time.Hour // by :days
	leastOfAll    = time.Minute    // by :seconds
	mostVacation  = 90 * 24 * time.Hour
)

// vacation. RFC 5230
func (c *compiler) vacation(n *node) command {
	tags := with(map[string]argKind{
		"days": argNumber, "seconds": argNumber, "subject": argText, "from": argText, "addresses": argList, "mime": none, "handle": argText, "fcc": argText,
	}, flagTags, boxTags)
	t := c.take(n, tags, argText)
	if t == nil {
		return nil
	}
	mark := Mark{Kind: 'v', For: usualVacation}
	switch c.only(t, "days", "seconds") {
	case "days":
		mark.For = min(max(time.Duration(min(t.tags["days"].num, 1000))*24*time.Hour, leastVacation), mostVacation)
	case "seconds":
		c.needs(n.line, ":seconds", "vacation-seconds")
		mark.For = max(seconds(t.tags["seconds"].num, mostVacation), leastOfAll)
	}
	get := func(tag string) value {
		if a, ok := t.tags[tag]; ok {
			return c.value(a)
		}
		return value{}
	}
	subject, from, handle, text := get("subject"), get("from"), get("handle"), c.value(t.pos[0])
	if s, ok := from.constant(); ok && t.is("from") && !isAddress(s) {
		c.fail(n.line, "%q is no address", s)
	}
	var addresses []value
	if a, ok := t.tags["addresses"]; ok {
		addresses = c.texts(a)
	}
	fcc, flags := c.fcc(t), c.flagsOf(t)
	return commandFunc(func(m *machine) error {
		if slices.ContainsFunc(m.actions, func(a Action) bool { return a.Kind == Vacation }) {
			return &Error{n.line, "a script answers by vacation once"}
		}
		a := &Answer{Subject: subject.of(m), From: from.of(m), Addresses: all(m, addresses), MIME: t.is("mime"), Text: text.of(m), Mark: mark}
		if t.is("from") && !isAddress(a.From) {
			return &Error{n.line, fmt.Sprintf("%q is no address", a.From)}
		}
		if len(a.Text) > maxReason {
			return &Error{n.line, fmt.Sprintf("an answer has %d bytes at most", maxReason)}
		}
		// Another text is another answer, unless a handle says that it is the same.
		// RFC 5230 §4.2
		a.Mark.Key = "h " + handle.of(m)
		if !t.is("handle") {
			a.Mark.Key = fmt.Sprintf("t %q %q %v %q", a.Subject, a.From, a.MIME, a.Text)
		}
		if fcc != nil {
			place := fcc.of(m)
			a.Copy, a.CopyFlags = &place, m.flagsNow(flags)
		}
		m.say(n.line, "answer by vacation, if it is a message that is answered")
		return m.do(Action{Kind: Vacation, Line: n.line, Answer: a})
	})
}

func isAddress(s string) bool {
	_, ok := oneAddress(s)
	return ok
}

// fcc gives where a copy of an answer goes; nil if nowhere. RFC 8580
func (c *compiler) fcc(t *taken) *where {
	a, ok := t.tags["fcc"]
	if !ok {
		for _, tag := range []string{"create", "specialuse", "mailboxid", "flags"} {
			if t.is(tag) {
				c.fail(t.line, ":%s wants :fcc", tag)
			}
		}
		return nil
	}
	c.needs(t.line, ":fcc", "fcc")
	w := c.where(t, a)
	return &w
}

// Answers tells whether a message is one that an automatic answer is given to, and why
// not: it was written to one of these addresses by a person, as far as can be seen.
// RFC 5230 §4.5, §4.6, RFC 3834 §2
func (a *Answer) Answers(header []byte, sender mail.Address, own func(mail.Address) bool) (ok bool, why string) {
	if sender.IsZero() {
		return false, "it is a report"
	}
	if own(sender) {
		return false, "it was sent by the account itself"
	}
	low := strings.ToLower(sender.Local)
	for _, p := range []string{"owner-", "mailer-daemon", "listserv", "majordomo", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce"} {
		if strings.HasPrefix(low, p) {
			return false, "its sender is a program"
		}
	}
	for _, s := range []string{"-request", "-owner", "-bounces", "-relay"} {
		if strings.HasSuffix(low, s) {
			return false, "its sender is a mailing list"
		}
	}
	for f := range message.Fields(header) {
		if why := automatic(&f); why != "" {
			return false, why
		}
	}
	if !a.addressed(header, own) {
		return false, "it names no address of the account: that may be told by :addresses"
	}
	return true, ""
}

// automatic tells why a field shows that no person waits for an answer.
func automatic(f *message.Field) string {
	value := strings.ToLower(f.Text())
	switch {
	case len(f.Name) > 5 && strings.EqualFold(string(f.Name[:5]), "list-"):
		return "it came by a mailing list"
	case f.Is("auto-submitted") && !strings.HasPrefix(value, "no"):
		return "a program has sent it"
	case f.Is("precedence") && (value == "bulk" || value == "list" || value == "junk"):
		return "it is bulk mail"
	case f.Is("x-auto-response-suppress") && (strings.Contains(value, "all") || strings.Contains(value, "oof")):
		return "its sender wants no answers"
	case f.Is("x-loop"), f.Is("x-autoreply"), f.Is("x-autorespond"), f.Is("feedback-id"):
		return "a program has sent it"
	}
	return ""
}

// addressed tells whether the message names an address of the account.
func (a *Answer) addressed(header []byte, own func(mail.Address) bool) bool {
	for f := range message.Fields(header) {
		if !f.Is("to") && !f.Is("cc") && !f.Is("bcc") && !f.Is("resent-to") && !f.Is("resent-cc") && !f.Is("resent-bcc") {
			continue
		}
		for _, c := range message.ParseAddresses(f.Text()) {
			if c.Address.IsZero() {
				continue
			}
			if own(c.Address) || slices.ContainsFunc(a.Addresses, func(s string) bool { return strings.EqualFold(s, c.Address.String()) }) {
				return true
			}
		}
	}
	return false
}

// Package arf reads feedback reports: what a receiver tells of one message, in a
// part of type message/feedback-report, and what it gives of the message itself.
// RFC 5965, 6591, 9991
package arf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// Bounds on reports of others.
const (
	MaxReport = 64 << 10 // bytes of the report, and of the header of the message
	maxText   = 300      // bytes of a text
	maxFields = 200
)

// A Report is what is told of a message. All of it is as somebody says, texts are
// cut to a bearable length. To whom the message went is left out: that is no matter
// of the domain that it claims to be from.
type Report struct {
	Type      string // "auth-failure", "abuse" …
	Agent     string // the program that made it
	Arrival   time.Time
	Source    netip.Addr  // zero: it does not say
	Domain    mail.Domain // whose name the message bears
	Failure   string      // "dmarc", "dkim", "spf" …
	Alignment string      // which of dkim and spf are not aligned, "none" if both are
	Delivery  string      // what became of the message
	Results   string      // of an Authentication-Results field
	Sender    mail.Address
	DKIM      mail.Domain // of the signature that it is about
	Selector  string

	// Of the message's header, if it comes along.
	Author    mail.Address
	Subject   string
	MessageID string
}

// Parse reads the text of a message/feedback-report, and the header of the message
// that comes with it, which may be empty.
func Parse(text, header []byte) (Report, error) {
	var r Report
	if len(text) > MaxReport {
		return r, fmt.Errorf("arf: the report has more than %d bytes", MaxReport)
	}
	n := 0
	seen := map[string]bool{}
	for f := range message.Fields(append(text[:len(text):len(text)], "\r\n\r\n"...)) {
		if n++; n > maxFields {
			return r, errors.New("arf: the report has too many fields")
		}
		name := strings.ToLower(string(f.Name))
		if seen[name] {
			continue // some may be there several times: the first is as good
		}
		seen[name] = true
		r.take(name, short(f.Text()))
	}
	if r.Type == "" || r.Domain == "" {
		return r, errors.New("arf: the report does not say of what kind it is, or of which domain")
	}
	if len(header) > MaxReport {
		header = header[:MaxReport]
	}
	if f, ok := message.Find(header, "subject"); ok {
		r.Subject = short(message.DecodeWords(f.Text()))
	}
	if f, ok := message.Find(header, "message-id"); ok {
		r.MessageID = short(f.Text())
	}
	if _, authors := message.Authors(header); len(authors) > 0 {
		r.Author = authors[0].Address
	}
	return r, nil
}

func (r *Report) take(name, value string) {
	lower := short(strings.ToLower(value))
	switch name {
	case "feedback-type":
		r.Type = lower
	case "user-agent":
		r.Agent = value
	case "arrival-date", "received-date":
		if t, err := message.ParseDate(value); err == nil && r.Arrival.IsZero() {
			r.Arrival = t.UTC()
		}
	case "source-ip":
		r.Source, _ = netip.ParseAddr(value)
		r.Source = r.Source.Unmap()
	case "reported-domain":
		r.Domain, _ = mail.ParseDomain(strings.TrimSuffix(value, "."))
	case "auth-failure":
		r.Failure = lower
	case "identity-alignment":
		r.Alignment = lower
	case "delivery-result":
		r.Delivery = lower
	case "authentication-results":
		r.Results = value
	case "original-mail-from":
		r.Sender, _ = mail.ParseAddress(strings.Trim(value, "<>"))
	case "dkim-domain":
		r.DKIM, _ = mail.ParseDomain(value)
	case "dkim-selector":
		r.Selector = value
	}
}

func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

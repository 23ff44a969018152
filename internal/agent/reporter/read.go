package reporter

import (
	"errors"
	"io"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/arf"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/reports"
)

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

// readFailure gives the failure report in a message, and what it has of the message
// that it is about: the whole of it, or its header.
func readFailure(r io.ReaderAt, size int64) (reports.Failed, error) {
	root, err := message.Parse(r, size)
	if err != nil {
		return reports.Failed{}, err
	}
	left := maxParts
	p := find(root, func(p *message.Part) bool { return p.Is("message", "feedback-report") }, &left)
	if p == nil {
		return reports.Failed{}, errNone
	}
	text, err := io.ReadAll(io.LimitReader(message.NewBodyReader(p, r), arf.MaxReport+1))
	if err != nil {
		return reports.Failed{}, err
	}
	var header []byte
	left = maxParts
	about := func(p *message.Part) bool {
		return p != root && (p.Is("message", "rfc822") || p.Is("text", "rfc822-headers"))
	}
	if p := find(root, about, &left); p != nil {
		if header, err = io.ReadAll(io.LimitReader(message.NewBodyReader(p, r), arf.MaxReport)); err != nil {
			return reports.Failed{}, err
		}
	}
	f := reports.Failed{}
	if len(root.Envelope.From) > 0 {
		f.By, _ = mail.ParseDomain(root.Envelope.From[0].Domain)
	}
	f.Report, err = arf.Parse(text, header)
	return f, err
}

// maxParts is how many parts of a message are looked at.
const maxParts = 100

var errNone = errors.New("there is no report in it")

// part gives what is in the first part that is one.
func part(r io.ReaderAt, size, most int64, is func(*message.Part) bool) ([]byte, error) {
	root, err := message.Parse(r, size)
	if err != nil {
		return nil, err
	}
	left := maxParts
	p := find(root, is, &left)
	if p == nil {
		return nil, errNone
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

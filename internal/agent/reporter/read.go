package reporter

import (
	"errors"
	"io"
	"strings"

	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/tlsrpt"
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

// part gives what is in the first part that is one.
func part(r io.ReaderAt, size, most int64, is func(*message.Part) bool) ([]byte, error) {
	root, err := message.Parse(r, size)
	if err != nil {
		return nil, err
	}
	left := 100 // parts that are looked at
	p := find(root, is, &left)
	if p == nil {
		return nil, errors.New("there is no report in it")
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

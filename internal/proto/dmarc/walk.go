package dmarc

import (
	"context"
	"errors"
	"strings"

	"posthaste/internal/base/mail"
)

// maxLabels is how many labels a domain may have for all its parents to be
// asked: longer ones skip to their last seven. RFC 9989 §4.10
const maxLabels = 8

// A walker asks for records, each once.
type walker struct {
	r    Resolver
	seen map[mail.Domain]found
}

type found struct {
	rec Record
	err error // ErrNoRecord, or temporary
}

// record gives the record at a domain.
func (w *walker) record(ctx context.Context, d mail.Domain) (Record, error) {
	if f, ok := w.seen[d]; ok {
		return f.rec, f.err
	}
	f := w.ask(ctx, d)
	w.seen[d] = f
	return f.rec, f.err
}

func (w *walker) ask(ctx context.Context, d mail.Domain) found {
	txts, err := w.r.TXT(ctx, "_dmarc."+string(d))
	if err != nil {
		return found{err: err}
	}
	var recs []Record
	for _, t := range txts {
		if rec, ok := Parse(t); ok {
			recs = append(recs, rec)
		}
	}
	if len(recs) != 1 { // several are as good as none. RFC 9989 §4.10
		return found{err: ErrNoRecord}
	}
	recs[0].Domain = d
	return found{rec: recs[0]}
}

// walk asks a domain and its parents, from the longest name to the shortest, and
// gives the records that there are, until one says where to stop.
func (w *walker) walk(ctx context.Context, d mail.Domain) ([]Record, error) {
	var out []Record
	for d != "" {
		rec, err := w.record(ctx, d)
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return nil, err
		}
		if err == nil {
			out = append(out, rec)
			if rec.PSD != 'u' {
				return out, nil
			}
		}
		d = parent(d)
	}
	return out, nil
}

// parent gives the next domain of a walk, "" after the last.
func parent(d mail.Domain) mail.Domain {
	labels := strings.Split(string(d), ".")
	if len(labels) > maxLabels {
		return mail.Domain(strings.Join(labels[len(labels)-maxLabels+1:], "."))
	}
	return mail.Domain(strings.Join(labels[1:], "."))
}

// Organization gives the organizational domain of d. RFC 9989 §4.10.2
func Organization(ctx context.Context, r Resolver, d mail.Domain) (mail.Domain, error) {
	w := walker{r: r, seen: map[mail.Domain]found{}}
	return w.organization(ctx, d)
}

// organization gives the organizational domain of d: where the walk that begins
// at d ends. RFC 9989 §4.10.2
func (w *walker) organization(ctx context.Context, d mail.Domain) (mail.Domain, error) {
	recs, err := w.walk(ctx, d)
	if err != nil {
		return "", err
	}
	for _, r := range recs {
		switch {
		case r.PSD == 'n':
			return r.Domain, nil
		case r.PSD == 'y' && r.Domain != d:
			return below(d, r.Domain), nil
		}
	}
	if len(recs) > 0 {
		return recs[len(recs)-1].Domain, nil // the one with the fewest labels
	}
	return d, nil
}

// below gives the domain one label below suffix that d is in.
func below(d, suffix mail.Domain) mail.Domain {
	front := strings.TrimSuffix(string(d), "."+string(suffix))
	return mail.Domain(front[strings.LastIndexByte(front, '.')+1:] + "." + string(suffix))
}

// policy gives the record that speaks for the author's domain, and what it asks
// for. RFC 9989 §4.10.1
func (w *walker) policy(ctx context.Context, author mail.Domain) (Record, Policy, error) {
	rec, err := w.record(ctx, author)
	if err == nil {
		return rec, rec.Policy, nil
	}
	if !errors.Is(err, ErrNoRecord) {
		return Record{}, "", err
	}
	recs, err := w.walk(ctx, author)
	if err != nil {
		return Record{}, "", err
	}
	if len(recs) == 0 {
		return Record{}, "", ErrNoRecord
	}
	org, err := w.organization(ctx, author)
	if err != nil {
		return Record{}, "", err
	}
	rec = recs[len(recs)-1] // the public suffix's, if the organization has none
	for _, r := range recs {
		if r.Domain == org {
			rec = r
		}
	}
	p := rec.Policy
	if rec.Subdomains != "" {
		p = rec.Subdomains
	}
	if rec.NonExistent != "" {
		exists, err := w.r.Exists(ctx, author)
		if err != nil {
			return Record{}, "", err
		}
		if !exists {
			p = rec.NonExistent
		}
	}
	return rec, p, nil
}

// aligned tells whether a domain that has been shown is the author's: the same,
// or, unless strict, of the same organization. RFC 9989 §4.4
func (w *walker) aligned(ctx context.Context, author, shown mail.Domain, strict bool) (bool, error) {
	if author == shown {
		return true, nil
	}
	if strict {
		return false, nil
	}
	a, err := w.organization(ctx, author)
	if err != nil {
		return false, err
	}
	b, err := w.organization(ctx, shown)
	return a == b, err
}

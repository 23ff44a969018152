package admind

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"posthaste/internal/agent/postmaster"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/reports"
)

type (
	// A Safety is how safely mail went to a domain in the last days, for each way
	// in which it did.
	Safety struct {
		Domain   string          `json:"domain"`
		Policy   string          `json:"policy"` // "tlsa", "sts" or "no-policy-found"
		Good     int64           `json:"good"`   // sessions
		Failed   int64           `json:"failed"`
		Failures []SafetyTrouble `json:"failures,omitempty"`
	}
	// A SafetyTrouble is a way in which sessions with TLS failed.
	SafetyTrouble struct {
		Result   string    `json:"result"` // as RFC 8460 names it
		Host     string    `json:"host,omitempty"`
		Reason   string    `json:"reason,omitempty"`
		Sessions int64     `json:"sessions"`
		Last     time.Time `json:"last"` // the day
	}
)

// safetyDays is how many days are told of.
const safetyDays = 7

func (s *Server) safety(r *http.Request) (any, error) {
	ctx := r.Context()
	if err := s.Reports.Flush(ctx); err != nil {
		return nil, err
	}
	type key struct{ domain, policy string }
	sums := map[key]*Safety{}
	today := reports.DayOf(time.Now())
	at := reports.Seen{Day: today - safetyDays + 1}
	for {
		list, err := s.Reports.After(ctx, at.Day, at.Domain, today+1, 100)
		if err != nil {
			return nil, err
		}
		for _, seen := range list {
			for _, p := range seen.Report.Policies {
				k := key{seen.Domain.Unicode(), string(p.Kind)}
				if sums[k] == nil {
					sums[k] = &Safety{Domain: k.domain, Policy: k.policy}
				}
				sums[k].add(p, seen.Day)
			}
			at = seen
		}
		if len(list) < 100 {
			break
		}
	}
	out := []Safety{}
	for _, sum := range sums {
		out = append(out, *sum)
	}
	slices.SortFunc(out, func(a, b Safety) int {
		return cmp.Or(cmp.Compare(b.Failed, a.Failed), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Policy, b.Policy))
	})
	return out, nil
}

func (s *Safety) add(p tlsrpt.Policy, day reports.Day) {
	s.Good += p.Successful
	s.Failed += p.Failed
next:
	for _, f := range p.Failures {
		for i := range s.Failures {
			if t := &s.Failures[i]; t.Result == string(f.Result) && t.Host == f.MXHost && t.Reason == f.Reason {
				t.Sessions += f.Sessions
				t.Last = day.Start()
				continue next
			}
		}
		s.Failures = append(s.Failures, SafetyTrouble{Result: string(f.Result), Host: f.MXHost, Reason: f.Reason, Sessions: f.Sessions, Last: day.Start()})
	}
}

// Safety tells how safely mail went to others in the last days.
func (c *Client) Safety(ctx context.Context) (out []Safety, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/tls", nil, &out)
}

// fullNote is what a check tells of a full disk.
const fullNote = "The disk is full: new mail is put off (452 4.3.1). Mail can still be deleted, which makes room after an hour, and the queue goes on; make room on the disk of the data folder, and mail is taken again by itself."

// earlyNote is what a check tells of mail that was let go because of a full disk.
func earlyNote(r postmaster.Relief) string {
	const form = "2006-01-02 15:04:05"
	return fmt.Sprintf("Deleted mail was let go early because the disk was full, the last time at %s: %d messages, the last of which was deleted at %s, can no longer be restored here.",
		r.Last.Local().Format(form), r.Messages, r.Before.Local().Format(form))
}

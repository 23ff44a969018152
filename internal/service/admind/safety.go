package admind

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

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

// A TLSReport is what somebody else told of a domain of ours.
type TLSReport struct {
	Received time.Time `json:"received"`
	From     string    `json:"from"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end"`
	Seen     []Safety  `json:"seen"`
}

// maxReports is how many reports are told of.
const maxReports = 200

func (s *Server) toldTLS(r *http.Request) (any, error) {
	list, err := s.Reports.Latest(r.Context(), maxReports)
	if err != nil {
		return nil, err
	}
	out := []TLSReport{}
	for _, told := range list {
		rep := TLSReport{Received: told.Received, From: told.Report.Organization, Begin: told.Report.Start, End: told.Report.End}
		for _, p := range told.Report.Policies {
			seen := Safety{Domain: p.Domain, Policy: string(p.Kind), Good: p.Successful, Failed: p.Failed}
			for _, f := range p.Failures {
				seen.Failures = append(seen.Failures, SafetyTrouble{Result: string(f.Result), Host: f.MXHost, Reason: f.Reason, Sessions: f.Sessions, Last: told.Report.End})
			}
			rep.Seen = append(rep.Seen, seen)
		}
		out = append(out, rep)
	}
	return out, nil
}

// TLSReports gives what others told of our domains, the last first.
func (c *Client) TLSReports(ctx context.Context) (out []TLSReport, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/reports/tls", nil, &out)
}

type (
	// A DMARCReport is what another receiver saw of mail in the name of a domain of
	// ours.
	DMARCReport struct {
		Received time.Time     `json:"received"`
		From     string        `json:"from"`
		Domain   string        `json:"domain"`
		Policy   string        `json:"policy"`
		Begin    time.Time     `json:"begin"`
		End      time.Time     `json:"end"`
		Sources  []DMARCSource `json:"sources"`
		More     int64         `json:"more,omitempty"` // messages of further sources
	}
	// A DMARCSource is so many messages from one address that were judged alike.
	DMARCSource struct {
		IP          string `json:"ip"`
		Messages    int64  `json:"messages"`
		DKIM        bool   `json:"dkim"`
		SPF         bool   `json:"spf"`
		Disposition string `json:"disposition"`
	}
)

func (s *Server) toldDMARC(r *http.Request) (any, error) {
	list, err := s.Reports.LatestDMARC(r.Context(), maxReports)
	if err != nil {
		return nil, err
	}
	out := []DMARCReport{}
	for _, j := range list {
		rep := DMARCReport{Received: j.Received, From: j.By, Domain: j.Domain, Policy: j.Policy, Begin: j.Begin, End: j.End, More: j.More}
		for _, src := range j.Sources {
			rep.Sources = append(rep.Sources, DMARCSource{IP: src.IP.String(), Messages: src.Messages, DKIM: src.DKIM, SPF: src.SPF, Disposition: src.Disposition})
		}
		out = append(out, rep)
	}
	return out, nil
}

// DMARCReports gives what other receivers saw, the last first.
func (c *Client) DMARCReports(ctx context.Context) (out []DMARCReport, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/reports/dmarc", nil, &out)
}

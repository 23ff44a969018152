package admind

import (
	"context"
	"net/http"
	"time"

	"posthaste/internal/store/reports"
)

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

// A FailureReport is what another receiver told of one message in the name of a domain
// of ours that was not proven to be from it.
type FailureReport struct {
	Received  time.Time `json:"received"`
	From      string    `json:"from"`
	Domain    string    `json:"domain"`
	IP        string    `json:"ip,omitempty"`
	Failure   string    `json:"failure,omitempty"`  // as RFC 6591 names it
	Delivery  string    `json:"delivery,omitempty"` // what became of the message
	Results   string    `json:"results,omitempty"`  // as of Authentication-Results
	Sender    string    `json:"sender,omitempty"`
	Author    string    `json:"author,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	MessageID string    `json:"messageId,omitempty"`
	Arrival   time.Time `json:"arrival,omitzero"`
}

func (s *Server) toldFailures(r *http.Request) (any, error) {
	list, err := s.Reports.LatestFailed(r.Context(), maxReports)
	if err != nil {
		return nil, err
	}
	out := []FailureReport{}
	for _, f := range list {
		x := f.Report
		one := FailureReport{
			Received: f.Received, From: f.By.Unicode(), Domain: x.Domain.Unicode(), Failure: x.Failure, Delivery: x.Delivery, Results: x.Results,
			Subject: x.Subject, MessageID: x.MessageID, Arrival: x.Arrival,
		}
		if x.Source.IsValid() {
			one.IP = x.Source.String()
		}
		if !x.Sender.IsZero() {
			one.Sender = x.Sender.String()
		}
		if !x.Author.IsZero() {
			one.Author = x.Author.String()
		}
		out = append(out, one)
	}
	return out, nil
}

// FailureReports gives what other receivers told of single messages, the last first.
func (c *Client) FailureReports(ctx context.Context) (out []FailureReport, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/reports/failures", nil, &out)
}

// A SentReport is what became of a report of ours on a day of another domain.
type SentReport struct {
	About   string    `json:"about"` // "tls" or "dmarc"
	Day     time.Time `json:"day"`
	Domain  string    `json:"domain"`
	At      time.Time `json:"at,omitzero"` // when it was made; zero: it is not known any more
	Counted int64     `json:"counted"`     // sessions or messages
	To      []string  `json:"to,omitempty"`
	IDs     []string  `json:"ids,omitempty"`  // of the messages that carry it
	Note    string    `json:"note,omitempty"` // what was wrong with other places that were named
	Left    []string  `json:"left,omitempty"` // URIs at which it is still tried
}

func (s *Server) sentReports(r *http.Request) (any, error) {
	list, err := s.Reports.LatestSent(r.Context(), maxReports)
	if err != nil {
		return nil, err
	}
	out := []SentReport{}
	for _, x := range list {
		one := SentReport{About: "tls", Day: x.Day.Start(), Domain: x.Domain.Unicode(), At: x.At, Counted: x.Counted, To: x.To, Note: x.Note, Left: x.Left}
		if x.Subject == reports.OnDMARC {
			one.About = "dmarc"
		}
		for _, id := range x.Mail {
			one.IDs = append(one.IDs, id.String())
		}
		out = append(out, one)
	}
	return out, nil
}

// SentReports gives what became of our reports to others, the last days first.
func (c *Client) SentReports(ctx context.Context) (out []SentReport, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/reports/sent", nil, &out)
}

// Package tlsrpt reads and writes reports on TLS between mail servers: RFC 8460.
package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"posthaste/internal/base/mail"
)

// Bounds on reports of others.
const (
	MaxReport   = 10 << 20 // bytes, unpacked
	MaxPolicies = 1000
	MaxFailures = 10_000 // of one policy
)

// A Kind is what made TLS necessary. RFC 8460 §4.2
type Kind string

// The kinds.
const (
	TLSA     Kind = "tlsa"
	STS      Kind = "sts"
	NoPolicy Kind = "no-policy-found"
)

// A Result is how TLS failed. RFC 8460 §4.3
type Result string

// The results.
const (
	NoSTARTTLS      Result = "starttls-not-supported"
	HostMismatch    Result = "certificate-host-mismatch"
	Expired         Result = "certificate-expired"
	NotTrusted      Result = "certificate-not-trusted"
	Validation      Result = "validation-failure" // anything else
	TLSAInvalid     Result = "tlsa-invalid"
	DNSSECInvalid   Result = "dnssec-invalid"
	DANERequired    Result = "dane-required"
	STSFetch        Result = "sts-policy-fetch-error"
	STSInvalid      Result = "sts-policy-invalid"
	STSWebPKI       Result = "sts-webpki-invalid"
	maxText                = 1000 // of one text in a report of others
	maxPolicyString        = 100
)

// A Report is what one sender saw of one domain's servers in a span of time.
type Report struct {
	Organization string
	Contact      string
	ID           string
	Start, End   time.Time
	Policies     []Policy
}

// A Policy is what was tried, and how often it went well.
type Policy struct {
	Kind       Kind
	Domain     string
	Strings    []string // the policy's lines or TLSA records
	MX         []string // the policy's patterns
	Successful int64    // sessions
	Failed     int64
	Failures   []Failure
}

// A Failure is so many sessions that failed in one way.
type Failure struct {
	Result      Result
	SendingIP   string
	MXHost      string
	MXHelo      string
	ReceivingIP string
	Sessions    int64
	Info        string // a URI with more
	Reason      string // text
}

// Name gives the name that has the domain's TXT record. RFC 8460 §3
func Name(d mail.Domain) string { return "_smtp._tls." + string(d) }

// Addresses reads from the domain's TXT records where reports are wanted: mailto:
// and https: URIs. There are none if there is no record, or more than one.
func Addresses(texts []string) []string {
	var uris []string
	records := 0
	for _, t := range texts {
		version, rest, _ := strings.Cut(t, ";")
		if strings.TrimRight(version, " \t") != "v=TLSRPTv1" {
			continue
		}
		records++
		for part := range strings.SplitSeq(rest, ";") {
			name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
			if strings.TrimRight(name, " \t") != "rua" {
				continue
			}
			for u := range strings.SplitSeq(value, ",") {
				u = strings.Trim(u, " \t")
				if lower := strings.ToLower(u); strings.HasPrefix(lower, "mailto:") || strings.HasPrefix(lower, "https:") {
					uris = append(uris, u)
				}
			}
		}
	}
	if records != 1 {
		return nil
	}
	return uris
}

// Record gives our own TXT record.
func Record(address string) string { return "v=TLSRPTv1; rua=mailto:" + address }

// The JSON of RFC 8460 §4.4.
type (
	report struct {
		Organization string    `json:"organization-name"`
		Range        dateRange `json:"date-range"`
		Contact      string    `json:"contact-info"`
		ID           string    `json:"report-id"`
		Policies     []policy  `json:"policies"`
	}
	dateRange struct {
		Start time.Time `json:"start-datetime"`
		End   time.Time `json:"end-datetime"`
	}
	policy struct {
		Policy   described `json:"policy"`
		Summary  summary   `json:"summary"`
		Failures []failure `json:"failure-details,omitempty"`
	}
	described struct {
		Kind    Kind   `json:"policy-type"`
		Strings texts  `json:"policy-string,omitempty"`
		Domain  string `json:"policy-domain"`
		MX      texts  `json:"mx-host,omitempty"`
	}
	summary struct {
		Successful int64 `json:"total-successful-session-count"`
		Failed     int64 `json:"total-failure-session-count"`
	}
	failure struct {
		Result      Result `json:"result-type"`
		SendingIP   string `json:"sending-mta-ip,omitempty"`
		MXHost      string `json:"receiving-mx-hostname,omitempty"`
		MXHelo      string `json:"receiving-mx-helo,omitempty"`
		ReceivingIP string `json:"receiving-ip,omitempty"`
		Sessions    int64  `json:"failed-session-count"`
		Info        string `json:"additional-information,omitempty"`
		Reason      string `json:"failure-reason-code,omitempty"`
	}
	// texts is a list, which some write as one string.
	texts []string
)

// UnmarshalJSON reads a list or a string.
func (t *texts) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*t = texts{s}
		return err
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// Append writes the report as JSON.
func (r Report) Append(b []byte) ([]byte, error) {
	out := report{Organization: r.Organization, Contact: r.Contact, ID: r.ID, Range: dateRange{r.Start.UTC(), r.End.UTC()}, Policies: []policy{}}
	for _, p := range r.Policies {
		q := policy{Policy: described{p.Kind, p.Strings, p.Domain, p.MX}, Summary: summary{p.Successful, p.Failed}}
		for _, f := range p.Failures {
			q.Failures = append(q.Failures, failure(f))
		}
		out.Policies = append(out.Policies, q)
	}
	text, err := json.Marshal(out)
	return append(b, text...), err
}

// Zip writes the report as it is sent: JSON, packed. RFC 8460 §5.2
func (r Report) Zip() ([]byte, error) {
	text, err := r.Append(nil)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(text)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// Parse reads a report of others, packed or not. Texts in it are cut to a
// bearable length, and what is too much of it is an error.
func Parse(b []byte) (Report, error) {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return Report{}, fmt.Errorf("tlsrpt: %w", err)
		}
		if b, err = io.ReadAll(io.LimitReader(z, MaxReport+1)); err != nil {
			return Report{}, fmt.Errorf("tlsrpt: %w", err)
		}
	}
	if len(b) > MaxReport {
		return Report{}, fmt.Errorf("tlsrpt: the report has more than %d bytes", MaxReport)
	}
	var in report
	if err := json.Unmarshal(b, &in); err != nil {
		return Report{}, fmt.Errorf("tlsrpt: %w", err)
	}
	if len(in.Policies) == 0 || len(in.Policies) > MaxPolicies {
		return Report{}, fmt.Errorf("tlsrpt: the report has %d policies", len(in.Policies))
	}
	if in.Range.Start.IsZero() || in.Range.End.Before(in.Range.Start) {
		return Report{}, errors.New("tlsrpt: the report says not what time it is of")
	}
	r := Report{Organization: short(in.Organization), Contact: short(in.Contact), ID: short(in.ID), Start: in.Range.Start, End: in.Range.End}
	for _, p := range in.Policies {
		if p.Summary.Successful < 0 || p.Summary.Failed < 0 || len(p.Failures) > MaxFailures {
			return Report{}, errors.New("tlsrpt: the report counts what cannot be")
		}
		q := Policy{
			Kind: Kind(short(string(p.Policy.Kind))), Domain: short(p.Policy.Domain), Strings: shorts(p.Policy.Strings), MX: shorts(p.Policy.MX),
			Successful: p.Summary.Successful, Failed: p.Summary.Failed,
		}
		for _, f := range p.Failures {
			if f.Sessions < 0 {
				return Report{}, errors.New("tlsrpt: the report counts what cannot be")
			}
			q.Failures = append(q.Failures, Failure{
				Result: Result(short(string(f.Result))), SendingIP: short(f.SendingIP), MXHost: short(f.MXHost), MXHelo: short(f.MXHelo),
				ReceivingIP: short(f.ReceivingIP), Sessions: f.Sessions, Info: short(f.Info), Reason: short(f.Reason),
			})
		}
		r.Policies = append(r.Policies, q)
	}
	return r, nil
}

func short(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "�")
}

func shorts(in []string) []string {
	if len(in) > maxPolicyString {
		in = in[:maxPolicyString]
	}
	var out []string
	for _, s := range in {
		out = append(out, short(s))
	}
	return out
}

// Filename gives the name of the attachment. RFC 8460 §5.1
func (r Report) Filename(submitter, domain string) string {
	return fmt.Sprintf("%s!%s!%d!%d.json.gz", submitter, domain, r.Start.Unix(), r.End.Unix())
}

// Subject gives the subject of the message that carries the report. RFC 8460 §5.3
func (r Report) Subject(submitter, domain string) string {
	return fmt.Sprintf("Report Domain: %s Submitter: %s Report-ID: <%s>", domain, submitter, r.ID)
}

// Sum adds a failure to those of a policy: to one that is the same in all, if
// there is one.
func (p *Policy) Sum(f Failure) {
	p.Failed += f.Sessions
	for i := range p.Failures {
		same := p.Failures[i]
		same.Sessions = f.Sessions
		if same == f {
			p.Failures[i].Sessions += f.Sessions
			return
		}
	}
	p.Failures = append(p.Failures, f)
}

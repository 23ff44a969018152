package dmarc

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// Bounds on reports of others.
const (
	MaxReport = 10 << 20 // bytes, unpacked
	MaxRows   = 100_000
	maxText   = 1000 // bytes of a text
	maxAuths  = 100  // results of a row
)

// An Aggregate report is what one receiver saw of one domain's mail in a span of
// time. RFC 9990 §3.1
type Aggregate struct {
	Organization string
	Email        string
	Contact      string
	ID           string
	Generator    string
	Begin, End   time.Time
	Errors       []string
	Published    Published
	Rows         []Row
}

// Published is the policy as the receiver found it.
type Published struct {
	Domain      string
	Policy      Policy
	Subdomains  Policy
	NonExistent Policy
	StrictDKIM  bool
	StrictSPF   bool
	Testing     bool
	Discovery   string // "treewalk" or "psl"
}

// A Row is so many messages that were alike.
type Row struct {
	Source       netip.Addr
	Count        int64
	Disposition  string // "none", "pass", "quarantine" or "reject"
	DKIM, SPF    bool   // passed and aligned
	Reasons      []Override
	EnvelopeTo   string
	EnvelopeFrom string
	HeaderFrom   string
	DKIMs        []DKIMResult
	SPFs         []SPFResult
}

// An Override is why the policy was not carried out. RFC 9990 §3.1.1.10
type Override struct{ Type, Comment string }

// A DKIMResult is what became of one signature.
type DKIMResult struct{ Domain, Selector, Result, Human string }

// An SPFResult is what SPF said of one name.
type SPFResult struct{ Domain, Scope, Result, Human string }

// The XML of RFC 9990, appendix A.
type (
	xmlFeedback struct {
		XMLName   xml.Name     `xml:"feedback"`
		NS        string       `xml:"xmlns,attr,omitempty"`
		Version   string       `xml:"version,omitempty"`
		Metadata  xmlMetadata  `xml:"report_metadata"`
		Published xmlPublished `xml:"policy_published"`
		Records   []xmlRecord  `xml:"record"`
	}
	xmlMetadata struct {
		Organization string   `xml:"org_name"`
		Email        string   `xml:"email"`
		Contact      string   `xml:"extra_contact_info,omitempty"`
		ID           string   `xml:"report_id"`
		Begin        int64    `xml:"date_range>begin"`
		End          int64    `xml:"date_range>end"`
		Errors       []string `xml:"error,omitempty"`
		Generator    string   `xml:"generator,omitempty"`
	}
	xmlPublished struct {
		Domain      string `xml:"domain"`
		Discovery   string `xml:"discovery_method,omitempty"`
		Policy      string `xml:"p"`
		Subdomains  string `xml:"sp,omitempty"`
		NonExistent string `xml:"np,omitempty"`
		ADKIM       string `xml:"adkim,omitempty"`
		ASPF        string `xml:"aspf,omitempty"`
		Testing     string `xml:"testing,omitempty"`
	}
	xmlRecord struct {
		Source       string      `xml:"row>source_ip"`
		Count        int64       `xml:"row>count"`
		Disposition  string      `xml:"row>policy_evaluated>disposition"`
		DKIM         string      `xml:"row>policy_evaluated>dkim"`
		SPF          string      `xml:"row>policy_evaluated>spf"`
		Reasons      []xmlReason `xml:"row>policy_evaluated>reason"`
		EnvelopeTo   string      `xml:"identifiers>envelope_to,omitempty"`
		EnvelopeFrom string      `xml:"identifiers>envelope_from,omitempty"`
		HeaderFrom   string      `xml:"identifiers>header_from"`
		DKIMs        []xmlDKIM   `xml:"auth_results>dkim"`
		SPFs         []xmlSPF    `xml:"auth_results>spf"`
	}
	xmlReason struct {
		Type    string `xml:"type"`
		Comment string `xml:"comment,omitempty"`
	}
	xmlDKIM struct {
		Domain   string `xml:"domain"`
		Selector string `xml:"selector"`
		Result   string `xml:"result"`
		Human    string `xml:"human_result,omitempty"`
	}
	xmlSPF struct {
		Domain string `xml:"domain"`
		Scope  string `xml:"scope,omitempty"`
		Result string `xml:"result"`
		Human  string `xml:"human_result,omitempty"`
	}
)

func passFail(pass bool) string {
	if pass {
		return "pass"
	}
	return "fail"
}

func mode(strict bool) string {
	if strict {
		return "s"
	}
	return "r"
}

// Append writes the report as XML.
func (a Aggregate) Append(b []byte) ([]byte, error) {
	x := xmlFeedback{
		NS: "urn:ietf:params:xml:ns:dmarc-2.0", Version: "1.0",
		Metadata: xmlMetadata{a.Organization, a.Email, a.Contact, a.ID, a.Begin.Unix(), a.End.Unix(), a.Errors, a.Generator},
		Published: xmlPublished{
			Domain: a.Published.Domain, Discovery: a.Published.Discovery, Policy: string(a.Published.Policy), Subdomains: string(a.Published.Subdomains),
			NonExistent: string(a.Published.NonExistent), ADKIM: mode(a.Published.StrictDKIM), ASPF: mode(a.Published.StrictSPF), Testing: "n",
		},
	}
	if a.Published.Testing {
		x.Published.Testing = "y"
	}
	for _, r := range a.Rows {
		rec := xmlRecord{
			Source: r.Source.String(), Count: r.Count, Disposition: r.Disposition, DKIM: passFail(r.DKIM), SPF: passFail(r.SPF),
			EnvelopeTo: r.EnvelopeTo, EnvelopeFrom: r.EnvelopeFrom, HeaderFrom: r.HeaderFrom,
		}
		for _, o := range r.Reasons {
			rec.Reasons = append(rec.Reasons, xmlReason(o))
		}
		for _, d := range r.DKIMs {
			rec.DKIMs = append(rec.DKIMs, xmlDKIM(d))
		}
		for _, s := range r.SPFs {
			rec.SPFs = append(rec.SPFs, xmlSPF(s))
		}
		x.Records = append(x.Records, rec)
	}
	text, err := xml.MarshalIndent(x, "", " ")
	if err != nil {
		return b, fmt.Errorf("dmarc: %w", err)
	}
	b = append(b, xml.Header...)
	return append(append(b, text...), '\n'), nil
}

// Zip writes the report as it is sent. RFC 9990 §3.5.2
func (a Aggregate) Zip() ([]byte, error) {
	text, err := a.Append(nil)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err = z.Write(text)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// Filename gives the name of the attachment. RFC 9990 §3.5.3
func (a Aggregate) Filename(receiver string) string {
	return fmt.Sprintf("%s!%s!%d!%d.xml.gz", receiver, a.Published.Domain, a.Begin.Unix(), a.End.Unix())
}

// Subject gives the subject of the message that carries the report. RFC 9990
// §3.5.1
func (a Aggregate) Subject(submitter string) string {
	return fmt.Sprintf("Report Domain: %s Submitter: %s Report-ID: <%s>", a.Published.Domain, submitter, a.ID)
}

// ParseAggregate reads a report of others: XML as it is, or in gzip or zip. Older
// forms than RFC 9990's are read too. Texts are cut to a bearable length; what is
// too much is an error.
func ParseAggregate(b []byte) (Aggregate, error) {
	b, err := unpack(b)
	if err != nil {
		return Aggregate{}, fmt.Errorf("dmarc: %w", err)
	}
	var x xmlFeedback
	d := xml.NewDecoder(bytes.NewReader(bytes.ToValidUTF8(b, []byte("?"))))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	if err := decode(d, &x); err != nil {
		return Aggregate{}, fmt.Errorf("dmarc: %w", err)
	}
	if len(x.Records) > MaxRows {
		return Aggregate{}, fmt.Errorf("dmarc: the report has %d records", len(x.Records))
	}
	m, p := x.Metadata, x.Published
	a := Aggregate{
		Organization: short(m.Organization), Email: short(m.Email), Contact: short(m.Contact), ID: short(m.ID), Generator: short(m.Generator),
		Begin: time.Unix(m.Begin, 0).UTC(), End: time.Unix(m.End, 0).UTC(),
		Published: Published{
			Domain: short(p.Domain), Policy: Policy(short(p.Policy)), Subdomains: Policy(short(p.Subdomains)), NonExistent: Policy(short(p.NonExistent)),
			StrictDKIM: is(p.ADKIM, "s"), StrictSPF: is(p.ASPF, "s"), Testing: is(p.Testing, "y"), Discovery: short(p.Discovery),
		},
	}
	if p.Domain == "" || m.Begin <= 0 || m.End < m.Begin {
		return Aggregate{}, errors.New("dmarc: the report does not say of which domain and time it is")
	}
	for i, e := range m.Errors {
		if i < maxAuths {
			a.Errors = append(a.Errors, short(e))
		}
	}
	for _, r := range x.Records {
		row, err := r.row()
		if err != nil {
			return Aggregate{}, err
		}
		a.Rows = append(a.Rows, row)
	}
	return a, nil
}

// decode reads the report, which some wrap into something else.
func decode(d *xml.Decoder, x *xmlFeedback) error {
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if e, ok := t.(xml.StartElement); ok && e.Name.Local == "feedback" {
			return d.DecodeElement(x, &e)
		}
	}
}

func (r xmlRecord) row() (Row, error) {
	ip, err := netip.ParseAddr(strings.TrimSpace(r.Source))
	if err != nil || r.Count < 0 {
		return Row{}, fmt.Errorf("dmarc: a record of %d messages from %.80q", r.Count, r.Source)
	}
	row := Row{
		Source: ip, Count: r.Count, Disposition: strings.ToLower(short(r.Disposition)), DKIM: is(r.DKIM, "pass"), SPF: is(r.SPF, "pass"),
		EnvelopeTo: short(r.EnvelopeTo), EnvelopeFrom: short(r.EnvelopeFrom), HeaderFrom: short(r.HeaderFrom),
	}
	for i, o := range r.Reasons {
		if i < maxAuths {
			row.Reasons = append(row.Reasons, Override{short(o.Type), short(o.Comment)})
		}
	}
	for i, d := range r.DKIMs {
		if i < maxAuths {
			row.DKIMs = append(row.DKIMs, DKIMResult{short(d.Domain), short(d.Selector), strings.ToLower(short(d.Result)), short(d.Human)})
		}
	}
	for i, s := range r.SPFs {
		if i < maxAuths {
			row.SPFs = append(row.SPFs, SPFResult{short(s.Domain), strings.ToLower(short(s.Scope)), strings.ToLower(short(s.Result)), short(s.Human)})
		}
	}
	return row, nil
}

func is(s, word string) bool { return strings.EqualFold(strings.TrimSpace(s), word) }

func short(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// unpack gives the XML in gzip or zip, or what is neither as it is.
func unpack(b []byte) ([]byte, error) {
	var r io.Reader
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		r = z
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		if len(z.File) != 1 {
			return nil, fmt.Errorf("the archive has %d files", len(z.File))
		}
		f, err := z.File[0].Open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	default:
		r = bytes.NewReader(b)
	}
	out, err := io.ReadAll(io.LimitReader(r, MaxReport+1))
	if err == nil && len(out) > MaxReport {
		err = fmt.Errorf("the report has more than %d bytes", MaxReport)
	}
	return out, err
}

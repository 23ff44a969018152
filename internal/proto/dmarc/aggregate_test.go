package dmarc

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func sample() Aggregate {
	begin := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	return Aggregate{
		Organization: "b.example", Email: "postmaster@b.example", ID: "20261121.1@b.example", Generator: "Posthaste", Begin: begin, End: begin.Add(24*time.Hour - time.Second),
		Published: Published{Domain: "a.example", Policy: Quarantine, Subdomains: Reject, StrictSPF: true, Discovery: "treewalk"},
		Rows: []Row{
			{
				Source: netip.MustParseAddr("192.0.2.1"), Count: 12, Disposition: "pass", DKIM: true, EnvelopeFrom: "a.example", HeaderFrom: "a.example",
				DKIMs: []DKIMResult{{"a.example", "s1", "pass", ""}}, SPFs: []SPFResult{{"a.example", "mfrom", "fail", ""}},
			},
			{
				Source: netip.MustParseAddr("2001:db8::1"), Count: 1, Disposition: "none", HeaderFrom: "x.a.example",
				Reasons: []Override{{"trusted_forwarder", "<by & \"through\" a list>"}}, SPFs: []SPFResult{{"list.example", "mfrom", "pass", ""}},
			},
		},
	}
}

func TestAggregate(t *testing.T) {
	a := sample()
	text, err := a.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">`, "<version>1.0</version>", "<begin>1795219200</begin>", "<p>quarantine</p>", "<sp>reject</sp>",
		"<adkim>r</adkim>", "<aspf>s</aspf>", "<testing>n</testing>", "<source_ip>2001:db8::1</source_ip>", "&lt;by &amp;", "<selector>s1</selector>",
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	packed, err := a.Zip()
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, _ := z.Create("report.xml")
	f.Write(text)
	z.Close()
	for what, b := range map[string][]byte{"plain": text, "gzip": packed, "zip": archive.Bytes()} {
		if got, err := ParseAggregate(b); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	if n := a.Filename("b.example"); n != "b.example!a.example!1795219200!1795305599.xml.gz" {
		t.Error(n)
	}
	if s := a.Subject("b.example"); s != "Report Domain: a.example Submitter: b.example Report-ID: <20261121.1@b.example>" {
		t.Error(s)
	}
}

// TestForm: what is written has the elements of RFC 9990's schema, those that have an
// order in it, and no others.
func TestForm(t *testing.T) {
	a := sample()
	a.Contact, a.Errors = "x", []string{"y"}
	a.Published.NonExistent, a.Published.Testing = PolicyNone, true
	text, err := a.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	ordered := map[string]string{
		"feedback": "version report_metadata policy_published record", "record": "row identifiers auth_results",
		"policy_evaluated": "disposition dkim spf reason", "auth_results": "dkim spf",
	}
	any := map[string]string{
		"report_metadata": "org_name email extra_contact_info report_id date_range error generator", "date_range": "begin end",
		"policy_published": "domain p sp np adkim aspf discovery_method fo testing", "row": "source_ip count policy_evaluated", "reason": "type comment",
		"identifiers": "header_from envelope_from envelope_to", "dkim": "domain selector result human_result", "spf": "domain scope result human_result",
	}
	values := map[string]string{
		"p": "none quarantine reject", "sp": "none quarantine reject", "np": "none quarantine reject", "adkim": "r s", "aspf": "r s", "testing": "y n",
		"disposition": "none pass quarantine reject", "discovery_method": "psl treewalk", "scope": "mfrom", "result": "none pass fail softfail policy neutral temperror permerror",
		"type": "local_policy mailing_list other policy_test_mode trusted_forwarder", "version": "1.0",
	}
	type open struct {
		name string
		last int
	}
	stack := []open{{}}
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		in := &stack[len(stack)-1]
		switch e := tok.(type) {
		case xml.StartElement:
			if e.Name.Space != "urn:ietf:params:xml:ns:dmarc-2.0" {
				t.Errorf("%v is in another space", e.Name)
			}
			list, strict := ordered[in.name]
			if !strict {
				list = any[in.name]
			}
			at := slices.Index(strings.Fields(list), e.Name.Local)
			if in.name != "" && at < 0 || strict && at < in.last {
				t.Errorf("%s in %s is not in its place", e.Name.Local, in.name)
			}
			in.last = at
			stack = append(stack, open{name: e.Name.Local})
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if list := values[in.name]; list != "" && !slices.Contains(strings.Fields(list), string(e)) {
				t.Errorf("%s is %q", in.name, e)
			}
		}
	}
}

func TestHostileAggregate(t *testing.T) {
	var bomb, many bytes.Buffer
	z := zip.NewWriter(&bomb)
	f, _ := z.Create("report.xml")
	f.Write(bytes.Repeat([]byte(" "), MaxReport+10))
	z.Close()
	z = zip.NewWriter(&many)
	z.Create("a.xml")
	z.Create("b.xml")
	z.Close()
	text, _ := sample().Append(nil)
	for what, b := range map[string][]byte{
		"nothing": nil, "a bomb": bomb.Bytes(), "two files": many.Bytes(), "no XML": []byte("hello"), "half": text[:len(text)/2],
		"an entity":      bytes.Replace(text, []byte("<feedback"), []byte(`<!DOCTYPE feedback [<!ENTITY x "yyyyyyyy">]><feedback`), 1),
		"less than none": bytes.Replace(text, []byte("<count>12"), []byte("<count>-12"), 1),
		"no address":     bytes.Replace(text, []byte("192.0.2.1"), []byte("somewhere"), 1),
		"no domain":      bytes.Replace(text, []byte("<domain>a.example</domain>"), nil, 1),
	} {
		if what == "an entity" {
			b = bytes.Replace(b, []byte("<org_name>b.example"), []byte("<org_name>&x;"), 1)
		}
		if a, err := ParseAggregate(b); err == nil {
			t.Errorf("%s: %+v", what, a)
		}
	}
	long := bytes.Replace(text, []byte("<org_name>b.example"), []byte("<org_name>"+strings.Repeat("é", maxText)), 1)
	if a, err := ParseAggregate(long); err != nil || len(a.Organization) > maxText {
		t.Error(len(a.Organization), err)
	}
}

// Reports that others have really sent.
func TestPublishedAggregates(t *testing.T) {
	var files []string
	for up := "."; len(files) == 0 && len(up) < 30; up += "/.." {
		files, _ = filepath.Glob(up + "/shared/testdata/dmarc-reports-parsedmarc/aggregate/*.xml*")
	}
	if len(files) == 0 {
		t.Skip("the published reports are not here")
	}
	read := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseAggregate(b)
		if strings.Contains(f, "invalid_xml") {
			if err == nil {
				t.Error("what is no XML was read")
			}
			continue
		}
		if err != nil || len(a.Rows) == 0 {
			t.Errorf("%s: %d rows, %v", filepath.Base(f), len(a.Rows), err)
			continue
		}
		read++
	}
	if read < 10 {
		t.Errorf("only %d were read", read)
	}
}

func FuzzAggregate(f *testing.F) {
	text, _ := sample().Append(nil)
	f.Add(text)
	f.Add([]byte("<feedback><report_metadata><date_range><begin>1</begin><end>2</end></date_range></report_metadata><policy_published><domain>x</domain></policy_published></feedback>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAggregate(b)
		if err != nil {
			return
		}
		text, err := a.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseAggregate(text)
		if err != nil || len(again.Rows) != len(a.Rows) || again.Published.Domain != a.Published.Domain && strings.ToValidUTF8(a.Published.Domain, "") == a.Published.Domain && strings.IndexFunc(a.Published.Domain, func(r rune) bool { return r < ' ' || r > 0xfffd || r == '\ufffd' }) < 0 {
			t.Errorf("%+v, then %+v, %v", a, again, err)
		}
	})
}

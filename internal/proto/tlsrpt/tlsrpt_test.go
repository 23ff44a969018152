package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ texts, want string }{
		{"v=TLSRPTv1; rua=mailto:reports@example.com", "[mailto:reports@example.com]"},
		{"v=TLSRPTv1;rua=https://reporting.example.com/v1/tlsrpt , mailto:a@b.example", "[https://reporting.example.com/v1/tlsrpt mailto:a@b.example]"},
		{"v=TLSRPTv1; rua=ftp://x.example", "[]"},
		{"v=TLSRPTv1", "[]"},
		{"v=spf1 -all", "[]"},
		{"v=TLSRPTv1; rua=mailto:a@x.example|v=TLSRPTv1; rua=mailto:b@x.example", "[]"},
	} {
		if got := Addresses(strings.Split(c.texts, "|")); fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v", c.texts, got)
		}
	}
	if got := Addresses([]string{Record("tls@example.org")}); len(got) != 1 || got[0] != "mailto:tls@example.org" {
		t.Error(got)
	}
}

func example() Report {
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	p := Policy{Kind: STS, Domain: "company-y.example", Strings: []string{"version: STSv1", "mode: testing"}, MX: []string{"*.mail.company-y.example"}, Successful: 5326}
	for range 3 {
		p.Sum(Failure{Result: Expired, SendingIP: "2001:db8:abcd:0012::1", MXHost: "mx1.mail.company-y.example", Sessions: 100})
	}
	p.Sum(Failure{Result: NoSTARTTLS, SendingIP: "192.0.2.1", MXHost: "mx2.mail.company-y.example", ReceivingIP: "203.0.113.2", Sessions: 3, Reason: "said 502"})
	return Report{Organization: "Company-X", Contact: "sts-reporting@company-x.example", ID: "5065427c", Start: day, End: day.Add(24*time.Hour - time.Second), Policies: []Policy{p}}
}

func TestReport(t *testing.T) {
	r := example()
	if len(r.Policies[0].Failures) != 2 || r.Policies[0].Failed != 303 || r.Policies[0].Failures[0].Sessions != 300 {
		t.Errorf("summed up wrongly: %+v", r.Policies[0])
	}
	text, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"start-datetime":"2026-11-21T00:00:00Z"`, `"total-failure-session-count":303`, `"result-type":"certificate-expired"`, `"policy-type":"sts"`, `"failed-session-count":300`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	packed, err := r.Zip()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{text, packed} {
		if got, err := Parse(b); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := r.Filename("company-x.example", "company-y.example"); n != "company-x.example!company-y.example!1795219200!1795305599.json.gz" {
		t.Error(n)
	}
	if s := r.Subject("mail.sender.example.com", "example.com"); s != "Report Domain: example.com Submitter: mail.sender.example.com Report-ID: <5065427c>" {
		t.Error(s)
	}
}

func TestHostile(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write([]byte(`{"organization-name":"`))
	z.Write(bytes.Repeat([]byte("a"), MaxReport))
	z.Close()
	for what, b := range map[string][]byte{
		"a bomb": bomb.Bytes(), "nothing": nil, "no JSON": []byte("<xml/>"), "no policies": []byte(`{"date-range":{"start-datetime":"2024-02-22T00:00:00Z","end-datetime":"2024-02-23T00:00:00Z"}}`),
		"no time":        []byte(`{"policies":[{}]}`),
		"less than none": []byte(`{"date-range":{"start-datetime":"2024-02-22T00:00:00Z","end-datetime":"2024-02-23T00:00:00Z"},"policies":[{"summary":{"total-failure-session-count":-1}}]}`),
		"half packed":    {0x1f, 0x8b, 8, 0},
	} {
		if r, err := Parse(b); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
	long := `{"organization-name":"` + strings.Repeat("x", 5000) + `","date-range":{"start-datetime":"2024-02-22T00:00:00Z","end-datetime":"2024-02-23T00:00:00Z"},"policies":[{"policy":{"mx-host":["a","b"]}}]}`
	if r, err := Parse([]byte(long)); err != nil || len(r.Organization) != maxText || len(r.Policies[0].MX) != 2 {
		t.Error(len(r.Organization), err)
	}
}

// Reports that others have really sent.
func TestPublished(t *testing.T) {
	var files []string
	for up := "."; len(files) == 0 && len(up) < 30; up += "/.." {
		files, _ = filepath.Glob(up + "/shared/testdata/dmarc-reports-parsedmarc/smtp_tls/*.json")
	}
	if len(files) == 0 {
		t.Skip("the published reports are not here")
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(b)
		if err != nil || len(r.Policies) == 0 || r.Policies[0].Domain == "" {
			t.Errorf("%s: %+v, %v", filepath.Base(f), r, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	text, _ := example().Append(nil)
	f.Add(text)
	f.Add([]byte(`{"date-range":{"start-datetime":"2024-02-22T00:00:00Z","end-datetime":"2024-02-23T00:00:00Z"},"policies":[{"policy":{"mx-host":"a"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		text, err := r.Append(nil)
		if err != nil {
			return // a year that JSON has no form for
		}
		if again, err := Parse(text); err != nil || len(again.Policies) != len(r.Policies) {
			t.Errorf("%+v, then %+v, %v", r, again, err)
		}
	})
}

//go:build interop

package interop

import (
	"compress/gzip"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/reporter"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/reports"
	inner "posthaste/test/house"
)

// reportOf gives the message with our report on two kinds of mail from a.example.
func reportOf(t *testing.T) []byte {
	t.Helper()
	h := inner.New(t, "mx.b.example")
	h.Domain("b.example")
	var z zone.Zone
	a := &reporter.Agent{
		Hostname: h.Hostname, DB: h.DB, DNS: &z, Records: mx.Records{DNS: &z}, Directory: h.Directory, Bodies: h.Bodies, Queue: h.Queue, Journal: h.Journal,
		Reports: &reports.Store{DB: h.DB}, Signers: h.Keys.Signers, Log: h.Log,
	}
	x := reports.Sight{Published: dmarc.Published{Domain: "a.example", Policy: dmarc.Reject, Subdomains: dmarc.PolicyNone, Testing: true, Discovery: "treewalk"}, Wanted: []string{"mailto:r@a.example"}}
	x.Row = dmarc.Row{
		Source: netip.MustParseAddr("192.0.2.1"), Disposition: "pass", DKIM: true, HeaderFrom: "a.example", EnvelopeFrom: "bounces.example",
		DKIMs: []dmarc.DKIMResult{{Domain: "a.example", Selector: "s1", Result: "pass"}}, SPFs: []dmarc.SPFResult{{Domain: "bounces.example", Scope: "mfrom", Result: "softfail"}},
	}
	day := time.Now().Add(-24 * time.Hour)
	for range 3 {
		a.Reports.Saw(day, x)
	}
	x.Row = dmarc.Row{
		Source: netip.MustParseAddr("2001:db8::1"), Disposition: "none", HeaderFrom: "shop.a.example", Reasons: []dmarc.Override{{Type: "policy_test_mode"}},
		SPFs: []dmarc.SPFResult{{Domain: "z.example", Scope: "mfrom", Result: "none"}},
	}
	a.Reports.Saw(day, x)
	if err := a.Round(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	items := h.Items()
	if len(items) != 1 {
		t.Fatal(h.Waiting())
	}
	b, err := h.Bodies.Open(t.Context(), items[0].Body, items[0].Prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestDMARCReport: other people's programs read our report as it is meant.
func TestDMARCReport(t *testing.T) {
	t.Parallel()
	text := reportOf(t)
	root := message.ParseBytes(text)
	part := root.Children[1]
	name := ""
	for _, p := range part.DispositionParams {
		if p.Name == "filename" {
			name = p.Value
		}
	}
	zipped, err := io.ReadAll(message.NewBodyReader(part, strings.NewReader(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, zipped, 0o600); err != nil {
		t.Fatal(err)
	}
	out := job{name: "dmarc-cat", args: []string{file}}.ok(t)
	for _, want := range []string{"mx.b.example", "Domain: a.example", "p=reject", "Reports(2)", "192.0.2.1", "2001:db8::1", "shop.a.example"} {
		if !strings.Contains(out, want) {
			t.Errorf("dmarc-cat does not know %q:\n%s", want, out)
		}
	}

	// Mail::DMARC of 2021 looks for elements without a name space, which RFC 9990 wants.
	z, err := gzip.NewReader(strings.NewReader(string(zipped)))
	if err != nil {
		t.Fatal(err)
	}
	xml, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(string(xml), ` xmlns="urn:ietf:params:xml:ns:dmarc-2.0"`, "", 1)
	if plain == string(xml) {
		t.Error("there is no name space")
	}
	script, err := filepath.Abs(filepath.Join("testdata", "dmarc.pl"))
	if err != nil {
		t.Fatal(err)
	}
	out = job{name: "perl", args: []string{script}, in: plain}.ok(t)
	want := "a.example reject mx.b.example 2\n192.0.2.1 3 none pass fail a.example\n2001:db8::1 1 none fail fail shop.a.example\n"
	if out != want {
		t.Errorf("Mail::DMARC read\n%swant\n%s", out, want)
	}
}

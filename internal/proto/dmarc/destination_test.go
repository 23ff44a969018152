package dmarc

import (
	"fmt"
	"strings"
	"testing"
)

func TestDestination(t *testing.T) {
	for in, want := range map[string]string{
		"mailto:a@x.example":             "a@x.example 0",
		" MAILTO:a@X.example!10m ":       "a@x.example 10485760",
		"mailto:a@x.example!50K":         "a@x.example 51200",
		"mailto:a@x.example!1234":        "a@x.example 1234",
		"mailto:a%21b@x.example!1g":      "a!b@x.example 1073741824",
		"mailto:a@x.example?subject=x":   "a@x.example 0",
		"mailto:a@x.example!":            "",
		"mailto:a@x.example!0m":          "",
		"mailto:a@x.example!10x":         "",
		"mailto:a@x.example!99999999t":   "",
		"mailto:a":                       "",
		"mailto:":                        "",
		"a@x.example":                    "",
		"https://x.example/reports":      "",
		"mailto:%zz@x.example":           "",
		"mailto:a@x.example%0d%0abcc: b": "",
		"mailto:ä@x.example":             "",
	} {
		got := ""
		if d, ok := ParseDestination(in); ok {
			got = fmt.Sprintf("%s %d", d.Address, d.Max)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestAgreed(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "false []",
		"v=DMARC1":               "true []",
		"v=DMARC1;":              "true []",
		" V = DMARC1 ; x=y":      "true []",
		"v=DMARC2|v=DMARC1":      "true []",
		"v=dmarc1":               "false []",
		"rua=mailto:a@x.example": "false []",
		"v=spf1 -all":            "false []",
		"v=DMARC1; rua=mailto:a@x.example,mailto:b@x.example": "true [mailto:a@x.example mailto:b@x.example]",
	} {
		instead, ok := Agreed(strings.Split(in, "|"))
		if got := fmt.Sprint(ok, instead); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if n := AgreementName("blue.example.com", "red.example.net"); n != "blue.example.com._report._dmarc.red.example.net" {
		t.Error(n)
	}
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"mailto:a@x.example!10m", "v=DMARC1; rua=mailto:a@x.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := ParseDestination(s); ok {
			again, ok := ParseDestination("mailto:" + strings.NewReplacer("%", "%25", "!", "%21", "?", "%3f").Replace(d.Address.String()))
			if !ok || again.Address != d.Address || d.Max < 0 {
				t.Errorf("%q: %+v, then %+v %v", s, d, again, ok)
			}
		}
		if instead, ok := Agreed([]string{s}); !ok && instead != nil || len(instead) > 20 {
			t.Errorf("%q: %v %v", s, instead, ok)
		}
	})
}

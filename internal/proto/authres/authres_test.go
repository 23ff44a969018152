package authres

import (
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	got := string(Append(nil, "mx.example.org", []Result{
		{Method: "spf", Result: "pass", Props: []Prop{{"smtp.mailfrom", "ada@example.com"}}},
		{Method: "dkim", Result: "fail", Reason: "the \"body\"\r\nhas changed", Props: []Prop{{"header.d", "example.com"}, {"header.b", "a=b"}}},
	}))
	want := "Authentication-Results: mx.example.org;\r\n\tspf=pass\r\n\t\tsmtp.mailfrom=ada@example.com;\r\n\tdkim=fail reason=\"the \\\"body\\\"  has changed\"\r\n\t\theader.d=example.com\r\n\t\theader.b=\"a=b\"\r\n"
	if got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if got := string(Append(nil, "x", nil)); got != "Authentication-Results: x; none\r\n" {
		t.Errorf("%q", got)
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		" mx.example.org; spf=pass": "mx.example.org", "MX.Example.ORG 1; none": "mx.example.org", " (a (b) \\) c) \"mx.example.org\" ; none": "mx.example.org",
		"\r\n\tmx.example.org(c);x": "mx.example.org", "": "", "(": "", "(a": "", "\"x": "", "mx": "mx",
	} {
		if got := Host(in); got != want {
			t.Errorf("%q is by %q, want %q", in, got, want)
		}
	}
}

func FuzzHost(f *testing.F) {
	f.Add("mx.example.org; spf=pass")
	f.Add("((()")
	f.Fuzz(func(t *testing.T, s string) {
		Host(s)
		field := string(Append(nil, s, []Result{{Method: s, Result: s, Reason: s, Props: []Prop{{s, s}}}}))
		if strings.Count(field, "\n") != 3 || !strings.HasSuffix(field, "\r\n") || strings.ContainsAny(strings.ReplaceAll(field, "\r\n\t", ""), "\x00\v\f") {
			t.Errorf("%q", field)
		}
	})
}

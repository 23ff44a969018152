package authres

import (
	"reflect"
	"strings"
	"testing"
)

// The first are examples of RFC 8601, appendix B.
var fields = map[string]string{
	"example.org 1; none": "example.org",
	"example.com;\r\n\t spf=pass smtp.mailfrom=example.net":                                                  "example.com spf=pass[smtp.mailfrom=example.net]",
	"example.com; auth=pass (cram-md5) smtp.auth=sender@example.net; spf=fail smtp.mailfrom=example.net":     "example.com auth=pass[smtp.auth=sender@example.net] spf=fail[smtp.mailfrom=example.net]",
	"example.com; dkim=pass reason=\"good signature\" header.i=@mail-router.example.net":                     "example.com dkim=pass(good signature)[header.i=@mail-router.example.net]",
	"foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n":  "-",
	"foo.example.net (foobar) 1 (baz); dkim/1 (One yay) = (wait for it) fail policy (A dot can go here) = x": "foo.example.net dkim=fail[policy=x]",
	"h; dmarc=fail header.from=\"a\\\"b\"; ":                                                                 "h dmarc=fail[header.from=a\"b]",
	"":                                                                                                       "-",
	"h; =x":                                                                                                  "-",
	"h; spf":                                                                                                 "-",
	"h; spf=":                                                                                                "-",
	"h; spf=x y":                                                                                             "-",
	"h x \"":                                                                                                 "-",
	"h; spf=pass \"":                                                                                         "-",
	"h":                                                                                                      "h",
}

func written(host string, list []Result) string {
	var b strings.Builder
	b.WriteString(host)
	for _, r := range list {
		b.WriteString(" " + r.Method + "=" + r.Result)
		if r.Reason != "" {
			b.WriteString("(" + r.Reason + ")")
		}
		for _, p := range r.Props {
			b.WriteString("[" + p.Name + "=" + p.Value + "]")
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for in, want := range fields {
		host, list, err := Parse(in)
		got := written(host, list)
		if err != nil {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzParse: what was read is written and read as the same.
func FuzzParse(f *testing.F) {
	for in := range fields {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, list, err := Parse(in)
		if err != nil {
			return
		}
		once := Value(host, list)
		host2, list2, err := Parse(once)
		if err != nil {
			return // what cannot stand in a token was left out
		}
		twice := Value(host2, list2)
		if host3, list3, err := Parse(twice); err != nil || host3 != host2 || !reflect.DeepEqual(list3, list2) {
			t.Errorf("%q: %q and %q, %v", in, once, twice, err)
		}
	})
}

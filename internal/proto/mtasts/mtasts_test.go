package mtasts

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

func TestID(t *testing.T) {
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1;id=1"}, "1"},
		{[]string{"v=STSv1 ; other=x; id = abc ; id=later"}, "abc"},
		{[]string{"v=spf1 -all", "v=STSv1; id=7"}, "7"},
		{[]string{"v=STSv1; id=1", "v=STSv1; id=2"}, ""},
		{[]string{"v=STSv1; id="}, ""},
		{[]string{"v=STSv1"}, ""},
		{[]string{"v=STSv1; id=not-an-id"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("a", 33)}, ""},
		{[]string{" v=STSv1; id=1"}, ""},
		{[]string{"id=1; v=STSv1"}, ""},
		{[]string{"v=STSv10; id=1"}, ""},
		{nil, ""},
	} {
		if got, ok := ID(c.texts); got != c.want || ok != (c.want != "") {
			t.Errorf("%q: %q, %v", c.texts, got, ok)
		}
	}
	if id, ok := ID([]string{Record("42")}); id != "42" || !ok {
		t.Error("our own record")
	}
}

func TestParse(t *testing.T) {
	// The example of RFC 8461 §3.2
	p, err := Parse([]byte("version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n"))
	want := Policy{Enforce, 604800 * time.Second, []string{"mail.example.com", "*.example.net", "backupmx.example.com"}}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("%+v, %v", p, err)
	}
	if back, err := Parse(p.Append(nil)); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("written and read: %+v, %v", back, err)
	}
	for host, ok := range map[mail.Domain]bool{
		"mail.example.com": true, "a.example.net": true, "a.b.example.net": false, "example.net": false, "backupmx.example.com": true,
		"x.mail.example.com": false, "evil-example.net": false,
	} {
		if p.Allows(host) != ok {
			t.Errorf("%s: %v", host, !ok)
		}
	}
	for text, word := range map[string]string{
		"":                              "lacks",
		"version: STSv1\nmode: enforce": "lacks",
		"version: STSv1\nmode: enforce\nmax_age: 1":                      "no mail server",
		"version: STSv2\nmode: none\nmax_age: 1":                         "not STSv1",
		"version: STSv1\nmode: sometimes\nmax_age: 1":                    "no mode",
		"version: STSv1\nmode: none\nmax_age: -1":                        "no number",
		"version: STSv1\nmode: none\nmax_age: 1\nwhat is this":           "no colon",
		"version: STSv1\nmode: testing\nmax_age: 1\nmx: *.*.example.org": "no name",
		"<html>":                        "no colon",
		"\xff\xfe":                      "no text",
		strings.Repeat("x: y\n", 20000): "more than",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	// What is unknown is left alone, the first of two counts, and no age is beyond a year.
	p, err = Parse([]byte("version: STSv1\r\nmode: none\r\nmode: enforce\r\nfuture: thing\r\nmax_age: 9999999999\r\n\r\n"))
	if err != nil || p.Mode != None || p.MaxAge != maxAge {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 604800\n"))
	f.Add([]byte("version:STSv1\r\nmode:none\r\nmax_age:0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if again, err := Parse(p.Append(nil)); err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%+v, then %+v, %v", p, again, err)
		}
	})
}

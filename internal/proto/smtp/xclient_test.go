package smtp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

func (x XClient) String() string {
	var parts []string
	add := func(name string, v any, has bool) {
		if has {
			parts = append(parts, fmt.Sprintf("%s=%v", name, v))
		}
	}
	if x.Name != nil {
		add("name", *x.Name, true)
	}
	if x.Addr != nil {
		add("addr", *x.Addr, true)
	}
	if x.Port != nil {
		add("port", *x.Port, true)
	}
	if x.Hello != nil {
		add("hello", *x.Hello, true)
	}
	if x.Login != nil {
		add("login", *x.Login, true)
	}
	return strings.Join(parts, " ")
}

func TestParseXClient(t *testing.T) {
	for in, want := range map[string]string{
		"ADDR=192.0.2.1 NAME=spike.example":         "name=spike.example addr=192.0.2.1",
		"addr=IPV6:2001:db8::1 port=25":             "addr=2001:db8::1 port=25",
		"ADDR=::ffff:192.0.2.1":                     "addr=192.0.2.1",
		"NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL]":     "name= addr=invalid IP",
		"LOGIN=ada@a.example HELO=pc PROTO=ESMTP":   "hello=pc login=ada@a.example",
		"LOGIN=a+2Bb@a.example":                     "login=a+b@a.example",
		"LOGIN=[UNAVAILABLE] PORT=[UNAVAILABLE]":    "port=0 login=",
		"DESTADDR=192.0.2.9 DESTPORT=25 PROTO=SMTP": "",
		"HELO=[192.0.2.1]":                          "hello=[192.0.2.1]",
		"":                                          "!",
		"ADDR":                                      "!",
		"ADDR=":                                     "!",
		"ADDR=pc":                                   "!",
		"ADDR=192.0.2.1 ADDR=192.0.2.2":             "!",
		"PORT=65536":                                "!",
		"PROTO=HTTP":                                "!",
		"HELO=a+0Ab":                                "!",
		"NAME=a+20b":                                "!",
		"DESTPORT=x":                                "!",
		"SOURCE=LOCAL":                              "!",
	} {
		c, err := ParseCommand([]byte("XCLIENT " + in))
		got := c.XClient.String()
		if err != nil {
			got = "!"
			if !errors.Is(err, ErrAttribute) {
				t.Errorf("%q: %v", in, err)
			}
		}
		if c.Verb != XCLIENT || got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzXClient(f *testing.F) {
	f.Add("ADDR=192.0.2.1 NAME=[UNAVAILABLE] LOGIN=a+2Bb")
	f.Fuzz(func(t *testing.T, s string) {
		x, err := parseXClient(s)
		if _, refused := errors.AsType[*mail.Refusal](err); err != nil && !refused {
			t.Fatal(err)
		}
		if x.Hello != nil && strings.ContainsAny(*x.Hello, "\r\n ") {
			t.Fatalf("%q", *x.Hello)
		}
	})
}

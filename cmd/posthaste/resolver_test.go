package main

import (
	"log/slog"
	"strings"
	"testing"

	"posthaste/internal/server/config"
	"posthaste/internal/server/resolver"
)

func TestNewResolver(t *testing.T) {
	c := config.Default().DNS
	c.Servers = []string{"127.0.0.1:53"}
	for _, tc := range []struct {
		dnssec          string
		recursive       bool
		validate, probe bool
	}{
		{"auto", false, true, true},
		{"always", false, true, false},
		{"never", false, false, false},
		{"auto", true, true, false},
		{"never", true, false, false},
	} {
		c.DNSSEC, c.Recursive = tc.dnssec, tc.recursive
		got, err := newResolver(c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r := got.(*resolver.Resolver)
		_, forward := r.Source.(*resolver.Forward)
		if (r.Validator != nil) != tc.validate || forward == tc.recursive || tc.validate && r.Probe != tc.probe {
			t.Errorf("%+v: %+v", tc, r)
		}
	}
	for anchor, want := range map[string]string{
		". DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16": "",
		"example. DS 1 8 2 68":  "no DS record of the root",
		". A 192.0.2.1":         "no DS record of the root",
		"what is this supposed": "trust_anchors",
	} {
		_, err := trustAnchors([]string{anchor})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", anchor, err)
		}
	}
}

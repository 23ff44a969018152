package mx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
)

// scenario is a document of the public test suite of SPF.
type scenario struct {
	Description string
	Tests       map[string]struct {
		Helo, Host, Mailfrom, Explanation string
		Result                            any
	}
	Zonedata map[string][]any
}

// suite is its zone as a resolver.
type suite struct {
	rows map[string][]any
}

// all gives the values of a type at a name, after CNAMEs.
// TLSA is not asked for by SPF.
func (s suite) TLSA(_ context.Context, name string) (dns.Answer[dns.TLSA], error) {
	return dns.Answer[dns.TLSA]{}, &dns.Error{Name: name, Type: "TLSA", Err: dns.ErrNoData}
}

func (s suite) all(name, typ string) ([]any, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for range 10 {
		rows, ok := s.rows[name]
		if !ok {
			return nil, &dns.Error{Name: name, Type: typ, Err: dns.ErrNoName}
		}
		var out []any
		next, has, spf := "", false, []any(nil)
		for _, r := range rows {
			if r == "TIMEOUT" {
				if len(out) > 0 {
					break // only the types that are not listed before it
				}
				return nil, &dns.Error{Name: name, Type: typ, Err: dns.ErrTemporary}
			}
			for k, v := range r.(map[string]any) {
				switch k {
				case typ:
					if has = true; v == "TIMEOUT" {
						return nil, &dns.Error{Name: name, Type: typ, Err: dns.ErrTemporary}
					}
					if v != "NONE" {
						out = append(out, v)
					}
				case "SPF":
					spf = append(spf, v)
				case "CNAME":
					next = strings.ToLower(v.(string))
				}
			}
		}
		if typ == "TXT" && !has {
			out = spf // the suite writes most records once, as type 99
		}
		if len(out) > 0 {
			return out, nil
		}
		if next == "" {
			return nil, &dns.Error{Name: name, Type: typ, Err: dns.ErrNoData}
		}
		name = next
	}
	return nil, &dns.Error{Name: name, Type: typ, Err: dns.ErrTemporary}
}

func (s suite) TXT(_ context.Context, name string) (a dns.Answer[string], err error) {
	all, err := s.all(name, "TXT")
	for _, v := range all {
		switch v := v.(type) {
		case string:
			a.Records = append(a.Records, v)
		case []any:
			t := ""
			for _, p := range v {
				t += p.(string)
			}
			a.Records = append(a.Records, t)
		}
	}
	return a, err
}

func (s suite) MX(_ context.Context, d mail.Domain) (a dns.Answer[dns.MX], err error) {
	all, err := s.all(string(d), "MX")
	for _, v := range all {
		mx := v.([]any)
		host := mail.Domain(strings.ToLower(strings.TrimSuffix(mx[1].(string), ".")))
		a.Records = append(a.Records, dns.MX{Preference: uint16(mx[0].(int)), Host: host})
	}
	return a, err
}

func (s suite) Addresses(_ context.Context, d mail.Domain) (a dns.Answer[netip.Addr], err error) {
	for _, typ := range []string{"A", "AAAA"} {
		all, e := s.all(string(d), typ)
		err = errors.Join(err, e)
		for _, v := range all {
			a.Records = append(a.Records, netip.MustParseAddr(v.(string)))
		}
	}
	if len(a.Records) > 0 {
		err = nil
	}
	return a, err
}

func (s suite) PTR(_ context.Context, ip netip.Addr) (a dns.Answer[mail.Domain], err error) {
	all, err := s.all(reverse(ip), "PTR")
	for _, v := range all {
		d, _ := mail.ParseDomain(v.(string))
		a.Records = append(a.Records, d)
	}
	return a, err
}

func reverse(ip netip.Addr) string {
	var labels []string
	if ip.Is4() {
		for _, b := range ip.As4() {
			labels = append(labels, fmt.Sprint(b))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, b := range ip.As16() {
		labels = append(labels, fmt.Sprintf("%x", b>>4), fmt.Sprintf("%x", b&15))
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".ip6.arpa"
}

// TestOpenSPF runs the public suite of RFC 7208 through the agent.
func TestOpenSPF(t *testing.T) {
	file := ""
	dir, _ := os.Getwd()
	for range 8 {
		dir = filepath.Dir(dir)
		if p := filepath.Join(dir, "shared", "testdata", "spf-openspf", "rfc7208-tests.yml"); file == "" {
			if _, err := os.Stat(p); err == nil {
				file = p
			}
		}
	}
	if file == "" {
		t.Skip("the public suite is not here")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, explained := 0, 0
	for dec := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var sc scenario
		if err := dec.Decode(&sc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		rows := map[string][]any{}
		for k, v := range sc.Zonedata {
			rows[strings.ToLower(k)] = v
		}
		for name, c := range sc.Tests {
			n++
			want := fmt.Sprint(c.Result)
			if list, ok := c.Result.([]any); ok {
				want = strings.Trim(fmt.Sprint(list), "[]")
			}
			got, why := runSPF(suite{rows}, c.Host, c.Helo, c.Mailfrom)
			if c.Explanation != "" {
				if c.Explanation == "DEFAULT" {
					c.Explanation = ""
				}
				if explained++; !strings.EqualFold(why, c.Explanation) { // hexadecimal digits in either case
					t.Errorf("%s: %s: explained by %q, want %q", sc.Description, name, why, c.Explanation)
				}
			}
			if !slices.Contains(strings.Fields(want), got) {
				t.Errorf("%s: %s: %s, want %s", sc.Description, name, got, want)
			}
		}
	}
	if n < 200 || explained < 10 {
		t.Error("only", n, "cases were run, and", explained, "explanations")
	}
}

func runSPF(r dns.Resolver, host, helo, from string) (result, why string) {
	a := &Agent{DNS: r}
	peer := mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(host), 25), Hello: helo}
	var env mail.Envelope
	if from != "" {
		// As MAIL would have it: what is no address never comes so far.
		at := strings.LastIndexByte(from, '@')
		d, err := mail.ParseDomain(from[at+1:])
		if err != nil {
			return "none", ""
		}
		env.Sender = mail.Address{Local: strings.TrimSuffix(from[:at+1], "@"), Domain: d}
		if env.Sender.Local == "" {
			env.Sender.Local = "postmaster"
		}
	}
	out := a.spf(context.Background(), peer, env)
	return string(out.Result), out.Explanation
}

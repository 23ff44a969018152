package spf

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// zone is a Resolver over given records; "down" fails.
type zone struct {
	txt   map[string]string
	a     map[string]string
	mx    map[string]string
	ptr   string
	asked int
}

func list(s string, ok bool) ([]string, error) {
	switch {
	case !ok:
		return nil, ErrNoRecord
	case s == "down":
		return nil, errors.New("servers are down")
	}
	return strings.Split(s, "|"), nil
}

func (z *zone) TXT(_ context.Context, name string) ([]string, error) {
	z.asked++
	s, ok := z.txt[name]
	return list(s, ok)
}

func (z *zone) addresses(name string, kind func(netip.Addr) bool) (out []netip.Addr, err error) {
	z.asked++
	s, ok := z.a[name]
	all, err := list(s, ok)
	for _, t := range all {
		if ip := netip.MustParseAddr(t); kind(ip) {
			out = append(out, ip)
		}
	}
	return out, err
}

func (z *zone) A(_ context.Context, name string) ([]netip.Addr, error) {
	return z.addresses(name, netip.Addr.Is4)
}

func (z *zone) AAAA(_ context.Context, name string) ([]netip.Addr, error) {
	return z.addresses(name, netip.Addr.Is6)
}

func (z *zone) MX(_ context.Context, name string) ([]string, error) {
	z.asked++
	s, ok := z.mx[name]
	return list(s, ok)
}

func (z *zone) PTR(context.Context, netip.Addr) ([]string, error) {
	z.asked++
	return list(z.ptr, z.ptr != "")
}

func TestCheck(t *testing.T) {
	z := &zone{
		txt: map[string]string{
			"ip.example":       "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all",
			"a.example":        "v=spf1 a mx:other.example/24 ~all",
			"include.example":  "v=spf1 include:ip.example ?all",
			"redirect.example": "v=spf1 redirect=ip.example",
			"loop.example":     "v=spf1 include:loop.example -all",
			"two.example":      "v=spf1 -all|v=spf1 +all",
			"down.example":     "down",
			"late.example":     "v=spf1 +all ip4:nonsense",
			"void.example":     "v=spf1 a:n1.example a:n2.example a:n3.example -all",
			"macro.example":    "v=spf1 exists:%{ir}.%{l1r-}.%{v}.list.example -all",
			"ptr.example":      "v=spf1 ptr -all",
			"none.example":     "v=spf10 -all",
		},
		a:   map[string]string{"a.example": "192.0.2.9|2001:db8::9", "mx.other.example": "198.51.100.1", "1.2.0.192.ada.in-addr.list.example": "127.0.0.2", "host.ptr.example": "192.0.2.1"},
		mx:  map[string]string{"other.example": "mx.other.example"},
		ptr: "other.name.example|host.ptr.example",
	}
	for _, c := range []struct {
		domain, ip string
		want       Result
	}{
		{"ip.example", "192.0.2.1", Pass},
		{"ip.example", "::ffff:192.0.2.1", Pass},
		{"ip.example", "192.0.3.1", Fail},
		{"ip.example", "2001:db8:1::1", Pass},
		{"a.example", "192.0.2.9", Pass},
		{"a.example", "2001:db8::9", Pass},
		{"a.example", "198.51.100.200", Pass},
		{"a.example", "203.0.113.1", SoftFail},
		{"include.example", "192.0.2.1", Pass},
		{"include.example", "203.0.113.1", Neutral},
		{"redirect.example", "203.0.113.1", Fail},
		{"loop.example", "192.0.2.1", PermError},
		{"two.example", "192.0.2.1", PermError},
		{"down.example", "192.0.2.1", TempError},
		{"late.example", "192.0.2.1", PermError},
		{"void.example", "192.0.2.1", PermError},
		{"macro.example", "192.0.2.1", Pass},
		{"macro.example", "192.0.2.2", Fail},
		{"ptr.example", "192.0.2.1", Pass},
		{"none.example", "192.0.2.1", None},
		{"nowhere.example", "192.0.2.1", None},
		{"localhost", "192.0.2.1", None},
	} {
		got, why := Check(t.Context(), z, Query{IP: netip.MustParseAddr(c.ip), Domain: c.domain, Local: "ada", Helo: "x"})
		if got != c.want || why == "" {
			t.Errorf("%s from %s: %s (%s), want %s", c.domain, c.ip, got, why, c.want)
		}
	}
}

// TestWorkIsBounded: no record makes us ask more than the RFC allows.
func TestWorkIsBounded(t *testing.T) {
	z := &zone{txt: map[string]string{"x.example": "v=spf1 " + strings.Repeat("include:x.example mx:x.example ", 200) + "-all"}}
	if got, _ := Check(t.Context(), z, Query{IP: netip.MustParseAddr("192.0.2.1"), Domain: "x.example"}); got != PermError || z.asked > 2*maxLookups+2 {
		t.Error(got, z.asked)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("v=spf1 a mx/24//64 ptr:x.y ip4:1.2.3.4/8 include:%{d2r}.x exists:%{l-+}.y redirect=z.x exp=a.b", "local", "192.0.2.1")
	f.Add("v=spf1 %{s}%% -all", "a.b", "2001:db8::1")
	f.Fuzz(func(t *testing.T, rec, local, ip string) {
		addr, err := netip.ParseAddr(ip)
		if err != nil || addr.Zone() != "" {
			return
		}
		z := &zone{txt: map[string]string{"x.example": rec}, ptr: "x.example"}
		res, _ := Check(t.Context(), z, Query{IP: addr, Domain: "x.example", Local: local, Helo: local})
		if res == "" || z.asked > 100 {
			t.Errorf("%q: %q after %d questions", rec, res, z.asked)
		}
		z.txt["why.example"] = rec
		z.txt["x.example"] = "v=spf1 exp=why.example -all"
		why := Explain(t.Context(), z, Query{IP: addr, Domain: "x.example", Local: local, Helo: local})
		if len(why) > maxExplanation || strings.ContainsFunc(why, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q: explained by %q", rec, why)
		}
	})
}

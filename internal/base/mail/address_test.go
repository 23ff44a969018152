package mail

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseDomain(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, c := range []struct{ in, want string }{ // "" is an error
		{"example.org", "example.org"},
		{"EXAMPLE.Org.", "example.org"},
		{"a", "a"},
		{"_dmarc.example.org", "_dmarc.example.org"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example", "xn--bcher-kva.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"faß.de", "xn--fa-hia.de"},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{label + ".org", label + ".org"},
		{"[192.0.2.1]", "[192.0.2.1]"},
		{"[IPv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"},
		{"[ipv6:::1]", "[IPv6:::1]"},
		{"", ""},
		{".", ""},
		{".org", ""},
		{"a..b", ""},
		{"example.org..", ""},
		{"-a.org", ""},
		{"a-.org", ""},
		{"a.org-", ""},
		{"a b.org", ""},
		{"a\x00.org", ""},
		{"a@b", ""},
		{"\xff.org", ""},
		{label + "a.org", ""},
		{strings.Repeat("a.", 127) + "a", ""},
		{strings.Repeat("ü", 600), ""},
		{"[192.0.2.1", ""},
		{"[192.0.2]", ""},
		{"[2001:db8::1]", ""},
		{"[IPv6:192.0.2.1]", ""},
		{"[IPv6:fe80::1%eth0]", ""},
		{"[tag:content]", ""},
		{"[]", ""},
	} {
		got, err := ParseDomain(c.in)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%.40q: %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for in, want := range map[Domain]string{"[192.0.2.1]": "192.0.2.1", "[IPv6:::1]": "::1"} {
		if ip, ok := in.IP(); !ok || ip != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, %v", in, ip, ok)
		}
	}
	if _, ok := Domain("192.0.2.1").IP(); ok {
		t.Error("a name is no literal")
	}
	if got := Domain("xn--bcher-kva.example").Unicode(); got != "bücher.example" {
		t.Errorf("for people: %s", got)
	}
}

func TestParseAddress(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct{ in, local, want string }{ // a want of "" is an error
		{"ada@example.org", "ada", "ada@example.org"},
		{"Ada.Love@EXAMPLE.org", "Ada.Love", "Ada.Love@example.org"},
		{"a+b!#$%&'*/=?^_`{|}~-@x", "a+b!#$%&'*/=?^_`{|}~-", "a+b!#$%&'*/=?^_`{|}~-@x"},
		{`"ada"@x`, "ada", "ada@x"},
		{`"a b"@x`, "a b", `"a b"@x`},
		{`"a\"\\\b"@x`, `a"\b`, `"a\"\\b"@x`},
		{`"a@b"@x`, "a@b", `"a@b"@x`},
		{`"a..b"@x`, "a..b", `"a..b"@x`},
		{`".a"@x`, ".a", `".a"@x`},
		{"grüße@bücher.example", "grüße", "grüße@xn--bcher-kva.example"},
		{`"grüße an"@x`, "grüße an", `"grüße an"@x`},
		{"ada@[192.0.2.1]", "ada", "ada@[192.0.2.1]"},
		{long + "@x", long, long + "@x"},
		{`"` + long + `"@x`, long, long + "@x"},
		{"", "", ""},
		{"ada", "", ""},
		{"@x", "", ""},
		{"ada@", "", ""},
		{"ada@x@y", "", ""},
		{".a@x", ".a", `".a"@x`},
		{"a.@x", "a.", `"a."@x`},
		{"a..b@x", "a..b", `"a..b"@x`},
		{".@x", "", ""},
		{"..@x", "", ""},
		{"a b@x", "", ""},
		{"<ada@x>", "", ""},
		{"ada@x ", "", ""},
		{"@y:ada@x", "", ""},
		{"(c)ada@x", "", ""},
		{`""@x`, "", ""},
		{`"a@x`, "", ""},
		{`"a"b@x`, "", ""},
		{`"a\`, "", ""},
		{"\"a\\\x01\"@x", "", ""},
		{"\"a\r\nb\"@x", "", ""},
		{"a\x00@x", "", ""},
		{"\xff@x", "", ""},
		{"x" + long + "@x", "", ""},
		{`"x` + long + `"@x`, "", ""},
	} {
		a, err := ParseAddress(c.in)
		if a.Local != c.local || a.String() != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%.40q: %q %q, %v; want %q %q", c.in, a.Local, a, err, c.local, c.want)
		}
		if err == nil && a.Path() != "<"+c.want+">" {
			t.Errorf("%q: path %s", c.in, a.Path())
		}
	}
	var null Address
	if !null.IsZero() || null.Path() != "<>" {
		t.Errorf("the null path is %s", null.Path())
	}
	if got := (Address{Local: "postmaster"}).Path(); got != "<postmaster>" {
		t.Errorf("without a domain: %s", got)
	}
	if (Address{Local: "grüße"}).IsASCII() || !(Address{Local: "ada"}).IsASCII() {
		t.Error("IsASCII")
	}
}

// FuzzAddress: what is printed is read as the same address, and nothing in it
// can end a command or a path early.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"ada@example.org", `"a b\"c"@x`, "grüße@bücher.example", "a@[IPv6:::1]", `".."@x`, "a@b.c.", `"\\"@x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if a != (Address{}) {
				t.Errorf("%q: an error and %v", s, a)
			}
			return
		}
		text := a.String()
		if strings.ContainsAny(text, "\r\n\x00") {
			t.Errorf("%q: prints %q", s, text)
		}
		b, err := ParseAddress(text)
		if err != nil || b != a {
			t.Errorf("%q: prints %q, which is %v, %v", s, text, b, err)
		}
	})
}

// FuzzDomain: the canonical form is a fixed point.
func FuzzDomain(f *testing.F) {
	for _, s := range []string{"example.org", "BÜCHER.example.", "[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--a", "a_b", "faß.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDomain(s)
		if err != nil {
			return
		}
		again, err := ParseDomain(string(d))
		if err != nil || again != d {
			t.Errorf("%q is %q, which is %q, %v", s, d, again, err)
		}
		if strings.ToLower(string(d)) != string(d) && !strings.HasPrefix(string(d), "[IPv6:") {
			t.Errorf("%q: %q is not in lower case", s, d)
		}
		d.Unicode()
	})
}

package mx_test

import (
	"strings"
	"testing"

	"posthaste/internal/base/dns"
)

// TestLogo: what a domain says about its logo counts if its mail is proven.
func TestLogo(t *testing.T) {
	z, _ := world(t)
	z.Text("default._bimi.good.example", "v=BIMI1; l=https://good.example/l.svg; a=https://good.example/v.pem").Text("old._bimi.good.example", "v=BIMI1; l=; a=")
	z.Text("default._bimi.loose.example", "v=BIMI1; l=https://loose.example/l.svg").Text("_dmarc.loose.example", "v=DMARC1; p=none").Text("loose.example", "v=spf1 ip4:192.0.2.1 -all")
	z.Text("wrong._bimi.good.example", "v=BIMI1; l=http://good.example/l.svg").Text("two._bimi.good.example", "v=BIMI1; l=").Text("two._bimi.good.example", "v=BIMI1; l=")
	z.Fail("down._bimi.good.example", dns.ErrTemporary)
	for name, c := range map[string]struct{ from, head, want string }{
		"default":   {"x@good.example", "", "bimi=pass\r\n\t\theader.d=good.example\r\n\t\theader.selector=default\r\n\t\tpolicy.authority=none"},
		"declined":  {"x@good.example", "BIMI-Selector: v=BIMI1; s=old;\r\n", "bimi=declined"},
		"wrong":     {"x@good.example", "BIMI-Selector: v=BIMI1; s=wrong\r\n", "bimi=fail"},
		"two":       {"x@good.example", "BIMI-Selector: v=BIMI1; s=two\r\n", "bimi=fail"},
		"down":      {"x@good.example", "BIMI-Selector: v=BIMI1; s=down\r\n", "bimi=temperror"},
		"no such":   {"x@good.example", "BIMI-Selector: v=BIMI1; s=nosuch\r\n", ""},
		"no policy": {"x@loose.example", "", ""},
		"no proof":  {"x@other.example", "", ""},
	} {
		h, _ := newHouse(t)
		h.MX.DNS = z
		text := c.head + "BIMI-Location: v=BIMI1; l=https://evil.example/l.svg\r\nBIMI-Indicator: PHN2Zz4=\r\nFrom: " + c.from + "\r\n\r\nx\r\n"
		if _, err := receive(h, c.from, "ada@a.example", text); err != nil {
			t.Fatal(err)
		}
		got := h.Inbox("ada@a.example")[0]
		if !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "bimi=") || strings.Contains(got, "evil.example") || strings.Contains(got, "PHN2Zz4") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

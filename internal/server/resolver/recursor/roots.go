package recursor

import (
	"net/netip"

	"github.com/miekg/dns"
)

// Roots gives the addresses of the root servers, as IANA has published them.
func Roots() []netip.Addr {
	var out []netip.Addr
	for _, s := range [...]string{
		"198.41.0.4", "170.247.170.2", "192.33.4.12", "199.7.91.13", "192.203.230.10", "192.5.5.241", "192.112.36.4",
		"198.97.190.53", "192.36.148.17", "192.58.128.30", "193.0.14.129", "199.7.83.42", "202.12.27.33",
		"2001:503:ba3e::2:30", "2801:1b8:10::b", "2001:500:2::c", "2001:500:2d::d", "2001:500:a8::e", "2001:500:2f::f",
		"2001:500:12::d0d", "2001:500:1::53", "2001:7fe::53", "2001:503:c27::2:30", "2001:7fd::1", "2001:500:9f::42",
		"2001:dc3::35",
	} {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// Anchors gives the digests of the root's keys: of 2017, and of 2024, which signs
// from October 2026 on.
func Anchors() []*dns.DS {
	ds := func(tag uint16, digest string) *dns.DS {
		return &dns.DS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeDS, Class: dns.ClassINET}, KeyTag: tag, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: digest}
	}
	return []*dns.DS{
		ds(20326, "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"),
		ds(38696, "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"),
	}
}

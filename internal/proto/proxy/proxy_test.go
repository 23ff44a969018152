package proxy

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// v2 gives a header of version 2.
func v2(command, family byte, body string) string {
	b := append([]byte(nil), signature...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(b) + body
}

func TestParse(t *testing.T) {
	four := "\xc0\x00\x02\x01\xc0\x00\x02\x02\x30\x39\x00\x19"
	six := string(netip.MustParseAddr("2001:db8::1").AsSlice()) + string(netip.MustParseAddr("2001:db8::2").AsSlice()) + "\x30\x39\x00\x19"
	for _, c := range []struct{ in, from, to string }{
		{"PROXY TCP4 192.0.2.1 192.0.2.2 12345 25\r\n", "192.0.2.1:12345", "192.0.2.2:25"},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 12345 25\r\n", "[2001:db8::1]:12345", "[2001:db8::2]:25"},
		{"PROXY UNKNOWN\r\n", "", ""},
		{"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "", ""},
		{v2(1, 0x11, four), "192.0.2.1:12345", "192.0.2.2:25"},
		{v2(1, 0x11, four+"\x04\x00\x01x"), "192.0.2.1:12345", "192.0.2.2:25"},
		{v2(1, 0x21, six), "[2001:db8::1]:12345", "[2001:db8::2]:25"},
		{v2(0, 0x00, ""), "", ""},
		{v2(0, 0x11, four), "", ""},
		{v2(1, 0x31, strings.Repeat("x", 216)), "", ""},
	} {
		h, n, err := Parse([]byte(c.in + "EHLO"))
		text := func(a netip.AddrPort) string {
			if !a.IsValid() {
				return ""
			}
			return a.String()
		}
		if err != nil || n != len(c.in) || text(h.From) != c.from || text(h.To) != c.to {
			t.Errorf("%q: %v, %d, %v", c.in, h, n, err)
		}
		for i := range len(c.in) {
			if _, _, err := Parse([]byte(c.in[:i])); !errors.Is(err, ErrShort) {
				t.Errorf("%q: %v", c.in[:i], err)
			}
		}
	}
	for _, in := range []string{
		"EHLO x\r\n", "PROXX", "PROXY TCP4 192.0.2.1 192.0.2.2 12345\r\n", "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 99999 25\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY " + strings.Repeat("x", 200), "\r\n\r\n\x00\r\nQUIX\n", v2(1, 0x11, "short"), v2(2, 0x11, four), v2(1, 0x12, four), v2(1, 0x11, strings.Repeat("x", 5000)),
	} {
		if h, _, err := Parse([]byte(in)); !errors.Is(err, ErrHeader) {
			t.Errorf("%q: %v, %v", in, h, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("PROXY TCP4 192.0.2.1 192.0.2.2 12345 25\r\n")
	f.Add(v2(1, 0x11, "\xc0\x00\x02\x01\xc0\x00\x02\x02\x30\x39\x00\x19"))
	f.Fuzz(func(t *testing.T, in string) {
		h, n, err := Parse([]byte(in))
		if n > len(in) || err != nil && (n != 0 || h != Header{}) || h.From.IsValid() != h.To.IsValid() {
			t.Errorf("%v, %d, %v", h, n, err)
		}
		if errors.Is(err, ErrShort) && len(in) >= MaxHeader {
			t.Error("it never has enough")
		}
	})
}

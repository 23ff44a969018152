package message

import (
	"reflect"
	"testing"
	"time"
)

func TestDecodeWords(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"=?utf-8?q?J=C3=B6rg?=", "Jörg"},
		{"=?UTF-8?Q?a_b?= c", "a b c"},
		{"=?utf-8?b?SsO2cmc=?=", "Jörg"},
		{"=?iso-8859-1?q?a?= =?iso-8859-1?q?b?=", "ab"},
		{"=?iso-8859-1?q?a?=\r\n =?utf-8?q?b?=", "ab"},
		{"x =?utf-8?q?a?= y =?utf-8?q?b?= z", "x a y b z"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=B6?=", "ö"}, // a character in two words
		{"=?utf-8*de?q?a?=", "a"},
		{"=?iso-8859-1?q?=A4?= =?iso-8859-15?q?=A4?=", "¤€"},
		{"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?gb2312?b?1tDOxA==?=", "中文"},
		{"=?koi8-r?q?=F0=D2=C9?=", "При"},
		{"=?utf-7?q?+AOQ-x?=", "äx"},
		{"=?utf-16?b?AGEAYg==?=", "ab"},
		{"=?nonsense?q?=E4?=", "ä"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?utf-8?q?a", "=?utf-8?q?a"},
		{"=??q?a?=", "=??q?a?="},
		{"=?utf-8?q?=ZZ=4?=", "=ZZ=4"},
		{"=?utf-8?q?=0D=0AX:_y=00?=", "X: y"}, // no line breaks out of a word
		{"\xe4 raw", "ä raw"},
		{"J\xc3\xb6rg", "Jörg"},
		{"=?utf-8?q?two words?=", "two words"},
		{"a=?utf-8?q?b?=c", "abc"},
		{"=?utf-8?b?SGk?=", "Hi"},
	} {
		if got := DecodeWords(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
	for _, s := range []string{"plain", "Jörg", "日本語のとても長い件名です。これは七十五文字を超えますから二つの語になります", "=?utf-8?q?x?=", "a\tb"} {
		enc := string(AppendWords(nil, s))
		if got := DecodeWords(enc); got != s || !isPlainASCII(enc) {
			t.Errorf("%q: %q: %q", s, enc, got)
		}
	}
}

func TestDecodeParam(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`; filename=a.txt`, "a.txt"},
		{`; FILENAME="a b.txt"`, "a b.txt"},
		{`; filename=a b (1).txt`, "a b"},
		{`; filename="a\"b"`, `a"b`},
		{`; filename*=utf-8''%e2%82%ac%20x`, "€ x"},
		{`; filename*=iso-8859-1'en'%A3%20x`, "£ x"},
		{`; filename*0="a"; filename*1="b"; filename*2=c`, "abc"},
		{`; filename*2=c; filename*0="a"; filename*1="b"`, "abc"},
		{`; filename*0*=utf-8''%e2%82; filename*1*=%ac; filename*2=".txt%20"`, "€.txt%20"},
		{`; filename*0=a; filename*2=c`, "a"},
		{`; filename*1=b`, ""},
		{`; filename=plain; filename*=utf-8''ext`, "ext"},
		{`; filename*4294967295=x; filename=y`, "y"},
		{`; filename="=?utf-8?q?=C3=A4?="`, "ä"},
		{`; filename=`, ""},
		{`; filename*=x`, "x"},
		{`; x; filename=a`, "a"},
		{` filename=a`, "a"},
		{`; filename = a ; y=z`, "a"},
		{`; filename="a`, "a"},
	} {
		if got, _ := DecodeParam(parseParams(nil, tt.in, MaxParams), "filename"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.in, got, tt.want)
		}
	}
	p := ParseBytes([]byte("Content-Type: application/pdf; name=\"C:\\\\x\\\\y.pdf\"\r\nContent-Disposition: attachment\r\n\r\n"))
	if got := Filename(p); got != "y.pdf" || !p.IsAttachment() {
		t.Errorf("file name %q", got)
	}
}

func TestContentTypes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"text/html", "text/html"},
		{"TEXT/HTML; charset=x", "text/html charset=x"},
		{"text", "text/plain"},
		{"multipart; boundary=x", "multipart/mixed boundary=x"},
		{"nonsense", "text/plain"},
		{"", "text/plain"},
		{"text/", "text/plain"},
		{"/html", "text/plain"},
		{"text (c) / (d) html (e); a=b", "text/html a=b"},
		{"text/html charset=x", "text/html charset=x"},
		{"application/x; a=1; b=\"2;3\"; c", "application/x a=1 b=2;3"},
	} {
		p := ParseBytes([]byte("Content-Type: " + tt.in + "\r\n\r\n"))
		got := p.MediaType()
		for _, q := range p.Params {
			got += " " + q.Name + "=" + q.Value
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestParseDate(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
		{"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z"},
		{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", ""},
		{"Thu,\r\n 13 Feb 1969 23:32 -0330 (Newfoundland Time)", "1969-02-13T23:32:00-03:30"},
		{"1 Jan 2024 00:00:00 EST", "2024-01-01T00:00:00-05:00"},
		{"1 Jan 2024 00:00:00 Z", "2024-01-01T00:00:00Z"},
		{"1 Jan 2024 00:00:00 XYZ", "2024-01-01T00:00:00Z"},
		{"1 Jan 2024 00:00:00", "2024-01-01T00:00:00Z"},
		{"Mon Jan  1 10:00:00 2024", "2024-01-01T10:00:00Z"},
		{"Mon, 01-Jan-2024 10:00:00 GMT+0100", "2024-01-01T10:00:00+01:00"},
		{"Monday, 1 January 2024 10:00:00 +01:00", "2024-01-01T10:00:00+01:00"},
		{"1 Jan 2024 10:00:00+0100", "2024-01-01T10:00:00+01:00"},
		{"1 Jan 2024 1:00:00 PM +0000", "2024-01-01T13:00:00Z"},
		{"1 Jan 2024 23:59:60 +0000", "2024-01-02T00:00:00Z"},
		{"1 Jan 100 00:00:00 +0000", "2000-01-01T00:00:00Z"},
		{"1 Jan 2024", "2024-01-01T00:00:00Z"},
		{"29 Feb 2023 00:00:00 +0000", ""},
		{"32 Jan 2024 00:00:00 +0000", ""},
		{"1 Foo 2024 00:00:00 +0000", ""},
		{"1 Jan 2024 25:00:00 +0000", ""},
		{"1 Jan 2024 00:00:00 +9999", ""},
		{"1 Jan 99999 00:00:00 +0000", ""},
		{"yesterday", ""},
		{"", ""},
	} {
		got, err := ParseDate(tt.in)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q: %v", tt.in, got)
			}
			continue
		}
		if err != nil || got.Format(time.RFC3339) != tt.want {
			t.Errorf("%q: %v, %v, want %s", tt.in, got.Format(time.RFC3339), err, tt.want)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"<a@b>", []string{"<a@b>"}},
		{"<a@b> <c@d>\r\n\t<e@f>", []string{"<a@b>", "<c@d>", "<e@f>"}},
		{"<a@b><c@d>", []string{"<a@b>", "<c@d>"}},
		{"Your message of Monday <a@b>", []string{"<a@b>"}},
		{"<a <b@c>", []string{"<b@c>"}},
		{"<a@\r\n b>", []string{"<a@b>"}},
		{"<a@b", nil},
		{"<>", nil},
		{"a@b", nil},
	} {
		if got := MessageIDs(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %q", tt.in, got)
		}
	}
}

func TestBaseSubject(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		reply    bool
	}{
		{"a", "a", false},
		{"  a \t b  ", "a b", false},
		{"Re: a", "a", true},
		{"RE : Fwd: fw: a", "a", true},
		{"Re: [list] a", "a", true},
		{"[list] Re: a", "a", true},
		{"[list] a", "a", false},
		{"[list]", "[list]", false},
		{"[a][b]", "[b]", false},
		{"Re[2]: a", "a", true},
		{"Re [2] : a", "a", true},
		{"a (fwd)", "a", true},
		{"a (fwd) (FWD)  ", "a", true},
		{"[Fwd: Re: a]", "a", true},
		{"[fwd: [fwd: a (fwd)]]", "a", true},
		{"Re:", "", true},
		{"Rest: a", "Rest: a", false},
		{"Re a", "Re a", false},
		{"[a[b]] c", "[a[b]] c", false},
		{"=?utf-8?q?Re:_=C3=A4?=", "ä", true},
		{"", "", false},
	} {
		if got, reply := BaseSubject(tt.in); got != tt.want || reply != tt.reply {
			t.Errorf("%q: %q %v, want %q %v", tt.in, got, reply, tt.want, tt.reply)
		}
	}
}

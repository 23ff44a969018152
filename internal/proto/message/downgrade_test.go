package message

import (
	"testing"
)

// TestDowngrade: what each kind of field becomes. RFC 6858 §2
func TestDowngrade(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Subject: Grüße\r\n\r\n", "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n\r\n"},
		{"Subject: =?UTF-8?Q?a=C3=BC?= ü\n\n", "Subject: =?UTF-8?B?YcO8IMO8?=\r\n\n"},
		{"From: Zoë <zoe@example.org>\r\nX:  as\r\n it was\r\n\r\n", "From: =?UTF-8?B?Wm/Dqw==?= <zoe@example.org>\r\nX:  as\r\n it was\r\n\r\n"},
		{"To: a@bücher.example, b@example.org\r\n\r\n", "To: a@xn--bcher-kva.example, b@example.org\r\n\r\n"},
		{"From: zoë@example.org\r\n\r\n", "From: =?UTF-8?B?SW50ZXJuYXRpb25hbGl6ZWQgQWRkcmVzcyB6b8OrQGV4YW1wbGUub3JnIFJl?=\r\n =?UTF-8?B?bW92ZWQ=?= :;\r\n\r\n"},
		{"To: Grün: zoë@example.org, b@example.org, c@example.org;, d@example.org\r\n", "To: =?UTF-8?B?R3LDvG4=?=: b@example.org, c@example.org;, d@example.org\r\n"},
		{"Message-ID: <ü@example.org>\r\nDate: x\r\n", "Date: x\r\n"},
		{"Content-Type: text/plain; name=\"ü.txt\"; charset=utf-8\r\n", "Content-Type: text/plain; name*=utf-8''%C3%BC.txt; charset=utf-8\r\n"},
		{"Content-Type: té/xt\r\n", ""},
		{"X-Thing: naïve\r\n", "X-Thing: =?UTF-8?B?bmHDr3Zl?=\r\n"},
	} {
		if !NeedsUTF8([]byte(tt.in)) {
			t.Errorf("%q needs no UTF-8", tt.in)
		}
		if got := string(Downgrade(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%q became\n%q, want\n%q", tt.in, got, tt.want)
		}
	}
	for _, s := range []string{"Subject: plain\r\n\r\n", "Subject: Gr\xfc\xdfe\r\n\r\n", ""} {
		if NeedsUTF8([]byte(s)) {
			t.Errorf("%q needs UTF-8", s)
		}
	}
}

// FuzzDowngrade: what comes out is ASCII, has no field that was not there, and
// stays as it is.
func FuzzDowngrade(f *testing.F) {
	f.Add([]byte("From: a@b, ü <ü@ü.example>, G: x@y;\r\nSubject: ü\r\n ü\r\nContent-Type: a/b; c=ü\r\n\r\n"))
	f.Add([]byte("To: \"\\ü\" (ü) <@x:ü@y>;;:::\nContent-Disposition: ü; *=ü;filename*0*=\"ü\"\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		if !NeedsUTF8(header) {
			return
		}
		fields, had := 0, 0
		for range Fields(header) {
			had++
		}
		out := Downgrade(nil, header)
		end := 0
		for fl := range Fields(out) {
			fields++
			end = fl.Offset + len(fl.Raw)
		}
		if !isASCII(out[:end]) || fields > had {
			t.Fatalf("%q became %q", header, out)
		}
		if again := Downgrade(nil, out); string(again) != string(out) {
			t.Fatalf("%q became %q, and that %q", header, out, again)
		}
	})
}

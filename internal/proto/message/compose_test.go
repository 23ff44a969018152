package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

func address(t testing.TB, s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBuilder(t *testing.T) {
	var b Builder
	b.Addresses("From", Contact{Name: "Jörg Müller", Address: address(t, "j@example.org")})
	b.Addresses("To", Contact{Name: "Doe, J.", Address: address(t, "d@example.org")},
		Contact{Address: address(t, "a@example.org"), Group: "Team"}, Contact{Address: address(t, "b@example.org"), Group: "Team"})
	b.Text("Subject", "Grüße")
	b.Date("Date", time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)))
	b.IDs("Message-ID", "<1@example.org>")
	b.Field("X-Long", strings.TrimSpace(strings.Repeat("word ", 30)))
	b.Body(Content{Type: "multipart/mixed", Boundary: "=_b", Parts: []Content{
		{Type: "text/plain", Data: []byte("Hi\n")},
		{Type: "image/png", Filename: "naïve.png", Data: []byte{0, 1, 2}, ID: "<i@x>", Description: "dé"},
	}})
	got, err := b.Bytes()
	want := "From: =?UTF-8?B?SsO2cmcgTcO8bGxlcg==?= <j@example.org>\r\n" +
		"To: \"Doe, J.\" <d@example.org>, Team: a@example.org, b@example.org;\r\n" +
		"Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n" +
		"Date: Fri, 2 Jan 2026 03:04:05 +0100\r\n" +
		"Message-ID: <1@example.org>\r\n" +
		"X-Long: word word word word word word word word word word word word word word\r\n" +
		" word word word word word word word word word word word word word word word\r\n word\r\n" +
		"MIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n" +
		"--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHi\r\n\r\n" +
		"--=_b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename*=utf-8''na%C3%AFve.png\r\n" +
		"Content-ID: <i@x>\r\nContent-Description: =?UTF-8?B?ZMOp?=\r\n\r\nAAEC\r\n\r\n--=_b--\r\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

func TestBuilderRefuses(t *testing.T) {
	for name, fn := range map[string]func(b *Builder){
		"CRLF in a field":      func(b *Builder) { b.Field("X", "a\r\nB: c") },
		"LF in text":           func(b *Builder) { b.Text("Subject", "a\nB: c") },
		"NUL":                  func(b *Builder) { b.Field("X", "a\x00") },
		"name":                 func(b *Builder) { b.Field("X:", "a") },
		"no name":              func(b *Builder) { b.Field("", "a") },
		"not ASCII":            func(b *Builder) { b.Field("X", "ä") },
		"CR in a display name": func(b *Builder) { b.Addresses("To", Contact{Name: "a\rb", Address: address(t, "a@b")}) },
		"no address":           func(b *Builder) { b.Addresses("To", Contact{Name: "a"}) },
		"UTF-8 address":        func(b *Builder) { b.Addresses("To", Contact{Address: address(t, "ä@b")}) },
		"long word":            func(b *Builder) { b.Field("X", strings.Repeat("x", 1000)) },
		"id":                   func(b *Builder) { b.IDs("Message-ID", "a@b") },
		"boundary in data": func(b *Builder) {
			b.Body(Content{Type: "multipart/mixed", Boundary: "x", Parts: []Content{{Type: "text/plain", Data: []byte("--x")}}})
		},
		"no boundary":           func(b *Builder) { b.Body(Content{Type: "multipart/mixed", Parts: []Content{{Type: "text/plain"}}}) },
		"parts of text":         func(b *Builder) { b.Body(Content{Type: "text/plain", Parts: []Content{{Type: "text/plain"}}}) },
		"type":                  func(b *Builder) { b.Body(Content{Type: "text/plain; charset=x"}) },
		"CRLF in a file name":   func(b *Builder) { b.Body(Content{Type: "text/plain", Filename: "a\r\nb"}) },
		"8bit that is not":      func(b *Builder) { b.Body(Content{Type: "image/png", Encoding: "8bit", Data: []byte{0}}) },
		"unknown encoding":      func(b *Builder) { b.Body(Content{Type: "image/png", Encoding: "x"}) },
		"field after the body":  func(b *Builder) { b.Body(Content{Type: "text/plain"}); b.Field("X", "y") },
		"parameter with a name": func(b *Builder) { b.Body(Content{Type: "text/plain", Params: []Param{{"a b", "c"}}}) },
	} {
		var b Builder
		fn(&b)
		if got, err := b.Bytes(); !errors.Is(err, ErrCompose) {
			t.Errorf("%s: %v %q", name, err, got)
		}
	}
}

func TestBuilderUTF8(t *testing.T) {
	b := Builder{UTF8: true}
	b.Addresses("To", Contact{Name: "Jörg", Address: address(t, "jö@example.org")})
	b.Text("Subject", "ä")
	got, err := b.Bytes()
	if want := "To: Jörg <jö@example.org>\r\nSubject: ä\r\n"; err != nil || string(got) != want {
		t.Errorf("%v %s", err, got)
	}
}

// TestEncodings writes bodies of all sorts and reads them again.
func TestEncodings(t *testing.T) {
	for _, tt := range []struct{ typ, data, encoding string }{
		{"text/plain", "abc\r\n", ""},
		{"text/plain", "abc", ""},
		{"text/plain", "Grüße an alle die das hier lesen\r\nFrom hier\r\n.\r\n", "quoted-printable"},
		{"text/plain", "日本語の文章\r\n", "base64"},
		{"text/plain", strings.Repeat("x", 2000), "quoted-printable"},
		{"image/png", "\x00\r\n\n\r", "base64"},
		{"message/rfc822", "Subject: ä\r\n\r\nx\r\n", "8bit"},
		{"text/plain", "trailing \r\ntab\t\r\n " + strings.Repeat("ä", 3), "base64"},
	} {
		var b Builder
		b.Body(Content{Type: tt.typ, Data: []byte(tt.data)})
		msg, err := b.Bytes()
		if err != nil {
			t.Errorf("%q: %v", tt.data, err)
			continue
		}
		p := ParseBytes(msg)
		got, err := io.ReadAll(NewBodyReader(p, bytes.NewReader(msg)))
		if err != nil || string(got) != tt.data || p.Encoding != tt.encoding {
			t.Errorf("%q as %q: %q %v", tt.data, p.Encoding, got, err)
		}
	}
	// A long name comes back whole.
	name := strings.Repeat("ä€x ", 60) + ".txt"
	var b Builder
	b.Body(Content{Type: "text/plain", Filename: name})
	msg, err := b.Bytes()
	if err != nil || Filename(ParseBytes(msg)) != name {
		t.Errorf("name: %v\n%s", err, msg)
	}
}

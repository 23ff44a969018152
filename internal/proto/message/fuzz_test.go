package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, s := range bombs() {
		if len(s) < 2000 {
			f.Add([]byte(s))
		}
	}
	f.Add([]byte("Content-Type: multipart/digest; boundary=\"x\"\r\n\r\n--x\r\n\r\nFrom: a@b\r\n\r\nbody\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := check(t, b)
		for p := range root.All() {
			io.Copy(io.Discard, NewTextReader(p, bytes.NewReader(b)))
			Filename(p)
		}
		if n := utf8.RuneCountInString(Preview(root, bytes.NewReader(b))); n > MaxPreview {
			t.Errorf("preview of %d", n)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(header), "subject")
	f.Add([]byte("a:b\nc:d\r\n e\n\nx"), "c")
	f.Fuzz(func(t *testing.T, h []byte, name string) {
		at := 0
		for fd := range Fields(h) {
			if fd.Offset != at || !bytes.Equal(fd.Raw, h[at:at+len(fd.Raw)]) || len(fd.Raw) == 0 {
				t.Fatalf("field at %d: %+v", at, fd)
			}
			at += len(fd.Raw)
		}
		s := NewFieldSet(name, "from")
		in, out := s.AppendSelected(nil, h), s.AppendOthers(nil, h)
		if len(in)+len(out) != at {
			t.Fatalf("%d and %d of %d", len(in), len(out), at)
		}
		kept := RemoveFields(h, func(f Field) bool { return s.Has(f.Name) })
		if !bytes.Equal(kept, append(out, h[at:]...)) {
			t.Fatalf("%q, want %q", kept, out)
		}
		Authors(h)
	})
}

func FuzzAddresses(f *testing.F) {
	for _, tt := range addressLists {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		depth := 0
		for _, a := range ParseAddressList(s) {
			switch a.Kind {
			case GroupStart:
				depth++
			case GroupEnd:
				depth--
			}
			if depth < 0 || depth > 1 || strings.ContainsAny(a.Name+a.Local+a.Domain, "\r\n\x00") {
				t.Fatalf("%q: %+v", s, a)
			}
		}
		if depth != 0 {
			t.Fatalf("%q leaves a group open", s)
		}
		// What can be written comes back as it was.
		for _, c := range ParseAddresses(s) {
			b := Builder{UTF8: true}
			b.Addresses("To", Contact{Name: c.Name, Address: c.Address})
			h, err := b.Bytes()
			if err != nil {
				continue
			}
			again := ParseAddresses(Text(h, "to"))
			if len(again) != 1 || again[0].Address.Domain != c.Address.Domain {
				t.Fatalf("%+v written as %q is %+v", c, h, again)
			}
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("=?utf-8?q?a=C3?= =?utf-8?q?=A4?=", "=?utf-7?b?K0FBQQ==?=")
	f.Fuzz(func(t *testing.T, a, b string) {
		d := DecodeWords(a + b)
		if !utf8.ValidString(d) || strings.ContainsAny(d, "\r\n\x00") {
			t.Fatalf("%q gives %q", a+b, d)
		}
		if len(d) > 4*(len(a)+len(b))+8 {
			t.Fatalf("%d bytes from %d", len(d), len(a)+len(b))
		}
		if enc := string(AppendWords(nil, d)); DecodeWords(enc) != d && isPlainASCII(enc) && strings.Contains(enc, "?B?") {
			t.Fatalf("%q: %q: %q", d, enc, DecodeWords(enc))
		}
		BaseSubject(a)
		MessageIDs(a)
		v, _ := DecodeParam(parseParams(nil, a, MaxParams), "a")
		if !utf8.ValidString(v) {
			t.Fatalf("%q gives %q", a, v)
		}
	})
}

func FuzzDate(f *testing.F) {
	f.Add("Fri, 21 Nov 1997 09:55:06 -0600")
	f.Add("Mon Jan  1 10:00:00 2024")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		if err != nil {
			return
		}
		again, err := ParseDate(string(AppendDate(nil, d)))
		if err != nil || !again.Equal(d) {
			t.Fatalf("%q: %v: %v %v", s, d, again, err)
		}
	})
}

func FuzzDecodePart(f *testing.F) {
	for _, s := range bombs() {
		if b := ParseBytes([]byte(s)).AppendBinary(nil); len(b) < 1000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePart(b)
		if err != nil {
			return
		}
		bin := p.AppendBinary(nil)
		again, err := DecodePart(bin)
		if err != nil || !bytes.Equal(again.AppendBinary(nil), bin) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

func FuzzBodyReader(f *testing.F) {
	f.Add("base64", "utf-8", []byte("aGVsbG8="), 3)
	f.Add("quoted-printable", "utf-7", []byte("a=20=\r\nb  \r\n"), 5)
	f.Add("", "iso-2022-jp", []byte("\x1b$BF|K\\"), 4)
	f.Fuzz(func(t *testing.T, enc, charset string, body []byte, cut int) {
		p := &Part{Type: "text", Subtype: "plain", Encoding: enc, Params: []Param{{"charset", charset}}, BodySize: int64(len(body))}
		text, err := io.ReadAll(NewTextReader(p, bytes.NewReader(body)))
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("%q: %v", text, err)
		}
		if len(text) > 8*len(body)+16 {
			t.Fatalf("%d bytes of %d", len(text), len(body))
		}
		// A cut anywhere changes nothing.
		whole, err := io.ReadAll(NewBodyReader(p, bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		d := newDecoder(enc)
		if d == nil || len(body) == 0 {
			return
		}
		cut = int(uint(cut) % uint(len(body)))
		parts := d.end(d.decode(d.decode(nil, body[:cut]), body[cut:]))
		if !bytes.Equal(parts, whole) {
			t.Fatalf("%q, in two %q", whole, parts)
		}
	})
}

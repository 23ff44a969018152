package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func armor(b []byte) (string, error) {
	var out bytes.Buffer
	err := Armor(&out, bytes.NewReader(b), int64(len(b)))
	return out.String(), err
}

// TestArmor: binary parts become lines of text; all else stays, or is refused.
func TestArmor(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for name, c := range map[string]struct{ in, want string }{
		"no MIME":            {"Subject: x\r\n\r\nhello", "Subject: x\r\n\r\nhello\r\n"},
		"says binary, is 8":  {"Content-Transfer-Encoding: binary\r\nX: y\r\n\r\nhellö\r\n", "Content-Transfer-Encoding: 8bit\r\nX: y\r\n\r\nhellö\r\n"},
		"text":               {"X: y\r\nContent-Transfer-Encoding:\r\n BINARY\r\n\r\na=\nb \rc\r\nd and so on, as people write", "X: y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3D=0Ab =0Dc\r\nd and so on, as people write\r\n"},
		"long line":          {"Content-Transfer-Encoding: binary\r\n\r\n" + long, "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(strings.Repeat("x", 75)+"=\r\n", 13) + strings.Repeat("x", 25) + "\r\n"},
		"data":               {"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n\xff", "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAA0K/w==\r\n"},
		"twice":              {"Content-Transfer-Encoding: binary\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\x00", "Content-Transfer-Encoding: base64\r\nContent-Type: image/png\r\n\r\nAA==\r\n"},
		"in parts":           {"Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: binary\r\n\r\npre\r\n--B\r\n\r\nplain\r\n--B\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\x01\r\n--B--\r\npost\r\n", "Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: 8bit\r\n\r\npre\r\n--B\r\n\r\nplain\r\n--B\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAE=\r\n\r\n--B--\r\npost\r\n"},
		"in a message":       {"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n"},
		"boundary in it":     {"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\nx\n--C\n\r\n--B--\r\n", "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\neAotLUMK\r\n\r\n--B--\r\n"},
		"NUL in the header":  {"Subject: x\x00\r\n\r\nhello\r\n", ""},
		"LF in the header":   {"Subject: x\nX: y\r\n\r\nhello\r\n", ""},
		"CR in it, 8bit":     {"Content-Transfer-Encoding: 8bit\r\n\r\na\rb\r\n", ""},
		"NUL, says nothing":  {"\r\na\x00b\r\n", ""},
		"NUL in preamble":    {"Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n--B\r\n\r\nx\r\n--B--\r\n", ""},
		"NUL, no boundary":   {"Content-Type: multipart/mixed\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n", ""},
		"NUL behind it":      {"Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: binary\r\n\r\n--B\r\n\r\nx\r\n--B--\r\n\x00", ""},
		"ends in CR":         {"Subject: x\r\n\r\nhello\r", ""},
		"empty":              {"", "\r\n"},
		"header of binary":   {"Content-Transfer-Encoding: binary\r\nX: \x00\r\n\r\nx\r\n", ""},
		"message, cut short": {"Content-Type: message/partial\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00", ""},
	} {
		got, err := armor([]byte(c.in))
		if c.want == "" {
			if !errors.Is(err, ErrStray) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, c.want)
		}
	}
}

// TestArmorLarge: what is large is streamed, and comes back as it was.
func TestArmorLarge(t *testing.T) {
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	for _, typ := range []string{"text/plain", "application/octet-stream"} {
		in := append([]byte("Content-Type: "+typ+"\r\nContent-Transfer-Encoding: binary\r\n\r\n"), data...)
		got, err := armor(in)
		if err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(NewBodyReader(ParseBytes([]byte(got)), strings.NewReader(got)))
		if err != nil || !bytes.Equal(back, data) {
			t.Errorf("%s: %d bytes came back, %v", typ, len(back), err)
		}
	}
	in := []byte("Content-Transfer-Encoding: binary\r\n\r\nx")
	if err := Armor(io.Discard, unreadable{bytes.NewReader(in)}, int64(len(in))); !errors.Is(err, iotest.ErrTimeout) {
		t.Error(err)
	}
}

// unreadable fails behind the first read.
type unreadable struct{ *bytes.Reader }

func (f unreadable) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, iotest.ErrTimeout
	}
	return f.Reader.ReadAt(p, off)
}

// FuzzArmor: whatever comes, what is written is lines, parts are where they were, and
// what was binary decodes to what it was.
func FuzzArmor(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: binary\r\n\r\n--B\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\x01\r\n--B--\r\n"))
	f.Add([]byte("Content-Transfer-Encoding: binary\r\n\r\na\nb=\xff\r"))
	f.Add([]byte("Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: binary\r\n\r\n\r"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := armor(in)
		if err != nil {
			if !errors.Is(err, ErrStray) {
				t.Fatal(err)
			}
			return
		}
		if !strings.HasSuffix(got, "\r\n") || strayIn(0, []byte(got)) != nil {
			t.Fatalf("%q is no lines", got)
		}
		before, after := leaves(in), leaves([]byte(got))
		if len(before) != len(after) {
			t.Fatalf("%q has %d parts, %q has %d", in, len(before), got, len(after))
		}
		for i := range before {
			was, is := before[i], after[i]
			if was.binary && is.data != was.data && is.data != was.data+"\r\n" {
				t.Fatalf("part %d was %q, is %q in %q", i, was.data, is.data, got)
			}
		}
	})
}

type leafData struct {
	binary bool
	data   string
}

func leaves(b []byte) (out []leafData) {
	for p := range ParseBytes(b).All() {
		if len(p.Children) > 0 || p.Message != nil {
			continue
		}
		data, _ := io.ReadAll(NewBodyReader(p, bytes.NewReader(b)))
		out = append(out, leafData{equalFold(p.Encoding, "binary") && !p.IsMultipart() && !p.IsType("message"), string(data)})
	}
	return out
}

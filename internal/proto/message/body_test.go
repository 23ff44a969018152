package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func part(typ, charset, enc, body string) (*Part, []byte) {
	b := []byte("Content-Type: " + typ + "; charset=" + charset + "\r\nContent-Transfer-Encoding: " + enc + "\r\n\r\n" + body)
	return ParseBytes(b), b
}

func TestBodyReader(t *testing.T) {
	for _, tt := range []struct{ enc, in, want string }{
		{"7bit", "a=20b\r\n", "a=20b\r\n"},
		{"x-unknown", "a=20b\r\n", "a=20b\r\n"},
		{"base64", "aGVsbG8=", "hello"},
		{"BASE64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64", "aGVsbG8", "hello"},
		{"base64", "aGVsbG8=aGVsbG8=", "hellohello"},
		{"base64", "a G*V!s-bG8=", "hello"},
		{"base64", "a", ""},
		{"base64", "", ""},
		{"quoted-printable", "a=20b=\r\nc =\r\nd  \r\ne\t", "a bc d\r\ne"},
		{"quoted-printable", "a=\nb", "ab"},
		{"quoted-printable", "=e4=E4", "\xe4\xe4"},
		{"quoted-printable", "=ZZ=4=", "=ZZ=4"},
		{"quoted-printable", "a=  \r\nb", "ab"},
		{"quoted-printable", "a =  b", "a =  b"},
		{"quoted-printable", "a\r b\r\n", "a\r b\r\n"},
		{"quoted-printable", "a \r\n \r\nb", "a\r\n\r\nb"},
		{"quoted-printable", "==41", "=A"},
		{"quoted-printable", "=4", "=4"},
		{"quoted-printable", "a\r", "a\r"},
		{"quoted-printable", strings.Repeat(" ", 5000) + "x", strings.Repeat(" ", 5000) + "x"},
	} {
		p, b := part("text/plain", "utf-8", tt.enc, tt.in)
		got, err := io.ReadAll(NewBodyReader(p, bytes.NewReader(b)))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s %q: %q %v, want %q", tt.enc, tt.in, got, err, tt.want)
		}
		var one []byte
		for d, i := newDecoder(tt.enc), 0; d != nil; i++ { // byte by byte
			if i == len(tt.in) {
				if one = d.end(one); string(one) != tt.want {
					t.Errorf("%s %q byte by byte: %q", tt.enc, tt.in, one)
				}
				break
			}
			one = d.decode(one, []byte(tt.in[i:i+1]))
		}
	}
}

func newDecoder(enc string) decoder {
	switch strings.ToLower(enc) {
	case "base64":
		return &base64Decoder{}
	case "quoted-printable":
		return &qpDecoder{}
	}
	return nil
}

// TestDecodersAgainstStandard compares with the standard library on what it
// encodes itself.
func TestDecodersAgainstStandard(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		data := make([]byte, rnd.IntN(5000))
		for i := range data {
			data[i] = byte(rnd.IntN(256) & rnd.IntN(256))
		}
		p, b := part("application/x", "x", "base64", base64.StdEncoding.EncodeToString(data))
		if got, err := io.ReadAll(iotest.HalfReader(NewBodyReader(p, bytes.NewReader(b)))); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("base64: %v", err)
		}
		var buf bytes.Buffer
		w := quotedprintable.NewWriter(&buf)
		w.Binary = true
		w.Write(data)
		w.Close()
		p, b = part("application/x", "x", "quoted-printable", buf.String())
		if got, err := io.ReadAll(iotest.OneByteReader(NewBodyReader(p, bytes.NewReader(b)))); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("quoted-printable: %v\n%q\n%q", err, got, data)
		}
		text := appendCRLF(nil, data)
		enc := appendQuotedPrintable(nil, text)
		if got, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(enc))); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("our quoted-printable: %v", err)
		}
		for line := range strings.Lines(string(enc)) {
			if len(line) > 78 {
				t.Fatalf("line of %d", len(line))
			}
		}
	}
}

func TestTextReader(t *testing.T) {
	for _, tt := range []struct{ charset, in, want string }{
		{"us-ascii", "abc", "abc"},
		{"us-ascii", "\xe4\xc3\xa4", "ää"},
		{"utf-8", "ä\xff", "ä\uFFFD"},
		{"iso-8859-1", "\xe4\x80", "ä€"},
		{"windows-1251", "\xcf", "П"},
		{"iso-2022-jp", "\x1b$BF|K\\\x1b(B!", "日本!"},
		{"hz-gb-2312", "~{VPND~}", "中文"},
		{"big5", "\xa4\xa4", "中"},
		{"euc-kr", "\xc7\xd1", "한"},
		{"utf-7", "+AOQ- a+-b +2D3cqQ-", "ä a+b 💩"},
		{"utf-7", "+2D0-x", "\uFFFDx"},
		{"utf-16le", "a\x00\xe4\x00", "aä"},
		{"cp1252", "\x80", "€"},
		{"iso8859-15", "\xa4", "€"},
		{"made-up", "\xe4", "ä"},
		{strings.Repeat("x", 5000), "\xe4", "ä"},
	} {
		p, b := part("text/plain", tt.charset, "8bit", tt.in)
		for _, r := range []io.Reader{NewTextReader(p, bytes.NewReader(b)), iotest.OneByteReader(NewTextReader(p, bytes.NewReader(b)))} {
			if got, err := io.ReadAll(r); err != nil || string(got) != tt.want {
				t.Errorf("%.20s %q: %q %v, want %q", tt.charset, tt.in, got, err, tt.want)
			}
		}
	}
}

func TestPreview(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"\r\nHello\r\n\r\n  you\t!\r\n", "Hello you !"},
		{"Content-Type: text/html\r\n\r\n<html><head><title>t</title><style>p{}</style></head><body><p>Hi&nbsp;<b>th</b>ere &lt;x&gt;</p><p>2 < 3<!-- no --></p><script>x</script>", "Hi there <x> 2 < 3"},
		{"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\nContent-Type: text/html\r\n\r\nhtml\r\n--y\r\n\r\nplain\r\n--y--\r\n--x--", "plain"},
		{"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Disposition: attachment\r\n\r\nno\r\n--x\r\n\r\nyes\r\n--x--", "yes"},
		{"Content-Type: image/png\r\n\r\nabc", ""},
		{"\r\n" + strings.Repeat("ä ", 1000), strings.TrimSpace(strings.Repeat("ä ", 128))},
		{"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8=", "Hello"},
		{"\r\na\u202eb\u200b\x07c", "abc"},
	} {
		b := []byte(tt.in)
		if got := Preview(ParseBytes(b), bytes.NewReader(b)); got != tt.want {
			t.Errorf("%.60q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

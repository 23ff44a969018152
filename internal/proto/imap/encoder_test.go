package imap

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

func TestStrings(t *testing.T) {
	for _, tc := range []struct{ in, plain, utf8 string }{
		{"", `""`, `""`},
		{"a b", `"a b"`, `"a b"`},
		{`a"b\c`, `"a\"b\\c"`, `"a\"b\\c"`},
		{"a\r\nx OK", "{7}\r\na\r\nx OK", "{7}\r\na\r\nx OK"},
		{"ü", "{2}\r\nü", `"ü"`},
		{"\xff", "{1}\r\n\xff", "{1}\r\n\xff"},
		{"a\x00b", "{3}\r\na b", "{3}\r\na b"},
		{"\x7f", "{1}\r\n\x7f", "{1}\r\n\x7f"},
		{strings.Repeat("x", 1001), "{1001}\r\n" + strings.Repeat("x", 1001), "{1001}\r\n" + strings.Repeat("x", 1001)},
	} {
		if got := string(AppendString([]byte("p"), tc.in)); got != "p"+tc.plain {
			t.Errorf("%q: got %q", tc.in, got)
		}
		if got := string(AppendStringUTF8([]byte("p"), tc.in)); got != "p"+tc.utf8 {
			t.Errorf("%q in UTF-8: got %q", tc.in, got)
		}
	}
}

func TestEncoder(t *testing.T) {
	var out bytes.Buffer
	e := NewEncoder(&out)
	e.Raw("* ").Num(18446744073709551615).Raw(" ").Flags([]string{FlagSeen, "$x", "b ad", "", `\*`, "\r\n"}).CRLF()
	e.Raw("* LIST () ").Mailbox("Entwürfe & x").Raw(" ").Mailbox("a&b").Raw(" ").Mailbox(`q"`).CRLF()
	e.UTF8 = true
	e.Mailbox("Entwürfe & x").CRLF()
	e.Date(time.Date(1996, 7, 7, 2, 4, 25, 0, time.FixedZone("", -(7*3600+30*60)))).CRLF()
	e.Status("a1", NO, CodeNonExistent, "evil\r\n* BYE\x00é").Status("*", OK, "", "").Continue("")
	e.Literal(strings.NewReader("a\x00b\x00"), 4).Literal8(strings.NewReader("a\x00b"), 3).LiteralBytes([]byte("\x00c")).CRLF()
	e.Raw("* STATUS x ").StatusItems(StatusMessages|StatusSize, &StatusValues{Messages: 3, Size: 1 << 40}).CRLF()
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "* 18446744073709551615 (\\Seen $x \\*)\r\n" +
		"* LIST () \"Entw&APw-rfe &- x\" \"a&-b\" \"q\\\"\"\r\n" +
		"\"Entwürfe & x\"\r\n" +
		"\"07-Jul-1996 02:04:25 -0730\"\r\n" +
		"a1 NO [NONEXISTENT] evil??* BYE???\r\n* OK OK\r\n+ \r\n" +
		"{4}\r\na\x80b\x80~{3}\r\na\x00b{2}\r\n\x80c\r\n" +
		"* STATUS x (MESSAGES 3 SIZE 1099511627776)\r\n"
	if out.String() != want {
		t.Errorf("got\n%q\nwant\n%q", out.String(), want)
	}
	from, to := mail.UIDSpan(304, 305), mail.UIDs(3956, 3958)
	for got, want := range map[Code]string{
		CodeAppendUID(38505, to):                        "APPENDUID 38505 3956,3958",
		CodeCopyUID(38505, from, to):                    "COPYUID 38505 304:305 3956,3958",
		CodeModified(mail.UIDs(7, 9)):                   "MODIFIED 7,9",
		CodeNumber("UIDNEXT", 4392):                     "UIDNEXT 4392",
		CodePermanentFlags([]string{FlagDeleted, `\*`}): `PERMANENTFLAGS (\Deleted \*)`,
		CodeCapability("IMAP4rev1 IMAP4rev2 STARTTLS"):  "CAPABILITY IMAP4rev1 IMAP4rev2 STARTTLS",
	} {
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestEncoderFails(t *testing.T) {
	e := NewEncoder(badWriter{})
	for range 1000 {
		e.Raw(strings.Repeat("x", 1000))
	}
	if e.Err() == nil || cap(e.buf) > 100_000 {
		t.Fatal(e.Err(), cap(e.buf))
	}
	var out bytes.Buffer
	e = NewEncoder(&out)
	e.Literal(strings.NewReader("abc"), 5)
	if err := e.Flush(); !errors.Is(err, errShort) || out.Len() > 0 {
		t.Fatal(err, out.String())
	}
	big := strings.Repeat("0123456789", 50_000)
	e = NewEncoder(&out)
	e.Literal(strings.NewReader(big), int64(len(big)))
	if err := e.Flush(); err != nil || out.String() != "{500000}\r\n"+big || cap(e.buf) > 100_000 {
		t.Fatal(err, out.Len(), cap(e.buf))
	}
}

// FuzzString looks that what we write is read as what it was.
func FuzzString(f *testing.F) {
	f.Add("a\"b\\ü\r\n")
	f.Add("\x00\xff")
	f.Fuzz(func(t *testing.T, in string) {
		want := strings.ReplaceAll(in, "\x00", " ")
		for _, text := range [][]byte{AppendString(nil, in), AppendStringUTF8(nil, in), AppendAstring(nil, in)} {
			d, _ := dec("a LOGIN "+string(text)+" x\r\n", false)
			c, err := d.Command()
			if err != nil || c.Args.(*Login).User != want {
				t.Fatalf("%q is written %q, which reads as %+v, %v", in, text, c.Args, err)
			}
		}
	})
}

func TestDates(t *testing.T) {
	for _, s := range []string{"17-Jul-1996 02:44:25 -0700", "01-Jan-0001 00:00:00 +0000", "29-Feb-2024 23:59:59 +1345"} {
		d, ok := ParseDateTime(s)
		if got := string(AppendDateTime(nil, d)); !ok || got != `"`+s+`"` {
			t.Errorf("%s: got %s, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "17-Jul-1996 02:44:25", "17-Jul-1996 24:00:00 +0000", "31-Feb-2024 00:00:00 +0000", "17-Jux-1996 02:44:25 -0700",
		"17-Jul-1996 02:44:25 =0700", "17-Jul-1996 02:44:25 -0760", "00-Jul-1996 02:44:25 -0700", "17-Jul-+996 02:44:25 -0700",
	} {
		if d, ok := ParseDateTime(s); ok {
			t.Errorf("%q read as %v", s, d)
		}
	}
	if d, ok := ParseDateTime("7-Jul-1996 02:44:25 -0700"); !ok || d.Day() != 7 {
		t.Error(d, ok)
	}
}

// TestEnvelope has the example of RFC 3501 §8 and what hurts.
func TestEnvelope(t *testing.T) {
	terry := []message.Address{{Name: "Terry Gray", Local: "gray", Domain: "cac.washington.edu"}}
	e := &message.Envelope{
		Date:    "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
		Subject: "IMAP4rev1 WG mtg summary and minutes",
		From:    terry,
		To:      []message.Address{{Local: "imap", Domain: "cac.washington.edu"}},
		Cc: []message.Address{
			{Kind: message.GroupStart, Name: "A Group"},
			{Local: "x", Domain: "y"},
			{Kind: message.GroupEnd},
			{Name: "Jörg\" x", Local: "no at"},
		},
		MessageID: "<B27397-0100000@cac.washington.edu>",
	}
	gray := `(("Terry Gray" NIL "gray" "cac.washington.edu")) `
	want := `("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" ` + gray + gray + gray +
		`((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "A Group" NIL) (NIL NIL "x" "y") (NIL NIL NIL NIL) ({8}` + "\r\nJörg\" x NIL \"no at\" \"\")) " +
		`NIL NIL "<B27397-0100000@cac.washington.edu>")`
	want = strings.ReplaceAll(strings.ReplaceAll(want, ") (NIL NIL", ")(NIL NIL"), ") ({8}", ")({8}")
	if got := string(AppendEnvelope(nil, e)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBodyStructure(t *testing.T) {
	text := &message.Part{
		Type: "TEXT", Subtype: "PLAIN", Params: []message.Param{{Name: "CHARSET", Value: "US-ASCII"}, {Name: "NAME", Value: "cc.diff"}},
		ID: "<960723163407.20117h@cac.washington.edu>", Description: "Compiler diff", Encoding: "BASE64", BodySize: 4554, Lines: 73,
	}
	file := &message.Part{
		Type: "application", Subtype: "pdf", BodySize: 7, Disposition: "attachment", MD5: "x==", Location: "http://x", Language: []string{"en", "de"},
		DispositionParams: []message.Param{{Name: "filename*0*", Value: "utf-8''a"}},
	}
	inner := &message.Part{Type: "text", Subtype: "html", BodySize: 1, Lines: 1, Envelope: &message.Envelope{Subject: "s"}}
	msg := &message.Part{Type: "message", Subtype: "RFC822", BodySize: 9, Lines: 4, Message: inner}
	root := &message.Part{Type: "multipart", Subtype: "MIXED", Params: []message.Param{{Name: "boundary", Value: "a'()+_,-./:=?"}}, Children: []*message.Part{text, file, msg}}
	env := `(NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL)`
	basic := `(("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 4554 73)` +
		`("application" "pdf" NIL NIL NIL "7BIT" 7)("message" "RFC822" NIL NIL NIL "7BIT" 9 ` + env + ` ("text" "html" NIL NIL NIL "7BIT" 1 1) 4) "MIXED")`
	extended := `(("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 4554 73 NIL NIL NIL NIL)` +
		`("application" "pdf" NIL NIL NIL "7BIT" 7 "x==" ("attachment" ("filename*0*" "utf-8''a")) ("en" "de") "http://x")` +
		`("message" "RFC822" NIL NIL NIL "7BIT" 9 ` + env + ` ("text" "html" NIL NIL NIL "7BIT" 1 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL) ` +
		`"MIXED" ("boundary" "a'()+_,-./:=?") NIL NIL NIL)`
	if got := string(AppendBodyStructure(nil, root, Basic)); got != basic {
		t.Errorf("got\n%s\nwant\n%s", got, basic)
	}
	if got := string(AppendBodyStructure(nil, root, Extended)); got != extended {
		t.Errorf("got\n%s\nwant\n%s", got, extended)
	}
	broken := &message.Part{Type: "Multipart", Subtype: "x"}
	if got := string(AppendBodyStructure(nil, broken, Basic)); got != `(("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0) "x")` {
		t.Error(got)
	}
	if got := string(AppendBodyStructure(nil, broken, Extended)); got != `(("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL) "x" NIL NIL NIL NIL)` {
		t.Error(got)
	}
	opaque := &message.Part{Type: "message", Subtype: "rfc822"}
	if got := string(AppendBodyStructure(nil, opaque, Basic)); got != `("message" "rfc822" NIL NIL NIL "7BIT" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0) 0)` {
		t.Error(got)
	}
}

// TestDefaultCharset tells the charset of plain text that has none. RFC 2046 §4.1.2
func TestDefaultCharset(t *testing.T) {
	name := message.Param{Name: "name", Value: "x"}
	for _, tc := range []struct {
		part message.Part
		want string
	}{
		{message.Part{Type: "text", Subtype: "plain"}, `("charset" "us-ascii")`},
		{message.Part{Type: "TEXT", Subtype: "Plain", Params: []message.Param{name}}, `("name" "x" "charset" "us-ascii")`},
		{message.Part{Type: "text", Subtype: "plain", Params: []message.Param{{Name: "Charset", Value: "utf-8"}}}, `("Charset" "utf-8")`},
		{message.Part{Type: "text", Subtype: "plain", Params: []message.Param{{Name: "charset*", Value: "''utf-8"}}}, `("charset*" "''utf-8")`},
		{message.Part{Type: "text", Subtype: "plain", Encoding: "8bit"}, `NIL`},
		{message.Part{Type: "text", Subtype: "html"}, `NIL`},
		{message.Part{Type: "application", Subtype: "plain"}, `NIL`},
	} {
		got := string(AppendBodyStructure(nil, &tc.part, Basic))
		if want := `("` + tc.part.Type + `" "` + tc.part.Subtype + `" ` + tc.want + ` NIL NIL`; !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s...", got, want)
		}
	}
}

func TestSectionAppend(t *testing.T) {
	for _, s := range []string{"[]", "[1]", "[1.2.HEADER]", "[TEXT]", "[3.MIME]", "[HEADER.FIELDS (From to)]", "[4.HEADER.FIELDS.NOT (\"x y\")]"} {
		d, _ := dec("a FETCH 1 BODY"+s+"\r\n", false)
		c, err := d.Command()
		if err != nil {
			t.Fatal(s, err)
		}
		if got := string(c.Args.(*Fetch).Items[0].Section.Append(nil)); got != s {
			t.Errorf("%s: got %s", s, got)
		}
	}
}

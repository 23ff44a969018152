package smtp

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func TestParseCommand(t *testing.T) {
	bob := addr(t, "bob@example.org")
	for _, c := range []struct {
		line string
		want Command
		err  error
	}{
		{"EHLO client.example.org", Command{Verb: EHLO, Host: "client.example.org"}, nil},
		{"ehlo [IPv6:2001:db8::1]", Command{Verb: EHLO, Host: "[IPv6:2001:db8::1]"}, nil},
		{"HELO under_score ", Command{Verb: HELO, Host: "under_score"}, nil},
		{"EHLO büro-pc", Command{Verb: EHLO, Host: "xn--bro-pc-3ya"}, nil},
		{"LHLO x", Command{Verb: LHLO, Host: "x"}, nil},
		{"EHLO", Command{Verb: EHLO}, ErrHost},
		{"EHLO a b", Command{Verb: EHLO}, ErrHost},
		{"EHLO (evil)", Command{Verb: EHLO}, ErrHost},
		{"EHLO " + strings.Repeat("a", 256), Command{Verb: EHLO}, ErrHost},
		{"MAIL FROM:<>", Command{Verb: MAIL}, nil},
		{"MAIL FROM:<bob@example.org>", Command{Verb: MAIL, Path: bob}, nil},
		{"mail from:<bob@EXAMPLE.org.> size=7 body=8bitmime smtputf8", Command{Verb: MAIL, Path: bob, Mail: MailParams{Size: 7, EightBit: true, UTF8: true}}, nil},
		{"MAIL FROM: <bob@example.org>  SIZE=0  BODY=7BIT", Command{Verb: MAIL, Path: bob}, nil},
		{"MAIL FROM:<bob@example.org> AUTH=e+3Dmc2@example.com", Command{Verb: MAIL, Path: bob, Mail: MailParams{Auth: "e=mc2@example.com"}}, nil},
		{"MAIL FROM:<bob@example.org> AUTH=<>", Command{Verb: MAIL, Path: bob, Mail: MailParams{Auth: "<>"}}, nil},
		{"MAIL FROM:<bob@example.org> SIZE=18446744073709551616", Command{Verb: MAIL, Path: bob, Mail: MailParams{Size: math.MaxInt64}}, nil},
		{"MAIL FROM:<bob@example.org> SIZE=-1", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> SIZE=", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> SIZE=1 SIZE=1", Command{Verb: MAIL, Path: bob, Mail: MailParams{Size: 1}}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> SMTPUTF8=1", Command{Verb: MAIL, Path: bob, Mail: MailParams{UTF8: true}}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> AUTH=+0Ax", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> AUTH=+3", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> BODY=BinaryMIME", Command{Verb: MAIL, Path: bob, Mail: MailParams{Binary: true}}, nil},
		{"MAIL FROM:<bob@example.org> BODY=9BIT", Command{Verb: MAIL, Path: bob}, ErrParameter},
		{"MAIL FROM:<bob@example.org> RET=full ENVID=QQ314159", Command{Verb: MAIL, Path: bob, Mail: MailParams{Return: mail.ReturnFull, EnvelopeID: "QQ314159"}}, nil},
		{"MAIL FROM:<bob@example.org> RET=HDRS ENVID=a+20b+2B+3D", Command{Verb: MAIL, Path: bob, Mail: MailParams{Return: mail.ReturnHeader, EnvelopeID: "a b+="}}, nil},
		{"MAIL FROM:<bob@example.org> HOLDFOR=86400", Command{Verb: MAIL, Path: bob, Mail: MailParams{HoldFor: 24 * time.Hour}}, nil},
		{"MAIL FROM:<bob@example.org> HOLDUNTIL=2026-12-24T18:00:00+01:00", Command{Verb: MAIL, Path: bob, Mail: MailParams{HoldUntil: time.Date(2026, 12, 24, 18, 0, 0, 0, time.FixedZone("", 3600))}}, nil},
		{"MAIL FROM:<bob@example.org> BY=120;r", Command{Verb: MAIL, Path: bob, Mail: MailParams{By: By{Asked: true, Within: 2 * time.Minute, Return: true}}}, nil},
		{"MAIL FROM:<bob@example.org> BY=+999999999;RT", Command{Verb: MAIL, Path: bob, Mail: MailParams{By: By{Asked: true, Within: 999999999 * time.Second, Return: true, Trace: true}}}, nil},
		{"MAIL FROM:<bob@example.org> BY=-1;NT", Command{Verb: MAIL, Path: bob, Mail: MailParams{By: By{Asked: true, Within: -time.Second, Trace: true}}}, nil},
		{"MAIL FROM:<bob@example.org> BY=0;N", Command{Verb: MAIL, Path: bob, Mail: MailParams{By: By{Asked: true}}}, nil},
		{"MAIL FROM:<bob@example.org> BY=0;R", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> BY=1000000000;R", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> BY=1;X", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> BY=1", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> BY=", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> MT-PRIORITY=-9", Command{Verb: MAIL, Path: bob, Mail: MailParams{Priority: -9}}, nil},
		{"MAIL FROM:<bob@example.org> mt-priority=4", Command{Verb: MAIL, Path: bob, Mail: MailParams{Priority: 4}}, nil},
		{"MAIL FROM:<bob@example.org> MT-PRIORITY=10", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> MT-PRIORITY=-0", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> MT-PRIORITY=+1", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> MT-PRIORITY=", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> requiretls", Command{Verb: MAIL, Path: bob, Mail: MailParams{RequireTLS: true}}, nil},
		{"MAIL FROM:<bob@example.org> REQUIRETLS=", Command{Verb: MAIL, Path: bob, Mail: MailParams{RequireTLS: true}}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> HOLDFOR=0", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> HOLDFOR=1234567890", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> HOLDUNTIL=tomorrow", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> HOLDFOR=1 HOLDUNTIL=2026-12-24T18:00:00Z", Command{Verb: MAIL, Path: bob, Mail: MailParams{HoldFor: time.Second, HoldUntil: time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)}}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> RET=", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> RET=HDRS RET=HDRS", Command{Verb: MAIL, Path: bob, Mail: MailParams{Return: mail.ReturnHeader}}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> ENVID=", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> ENVID=+0D+0Ax", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> ENVID=+C3+BC", Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org> ENVID=" + strings.Repeat("x", 101), Command{Verb: MAIL, Path: bob}, ErrSyntax},
		{"MAIL FROM:<bob@example.org>SIZE=1", Command{Verb: MAIL}, ErrSender},
		{"MAIL FROM:<postmaster>", Command{Verb: MAIL}, ErrSender},
		{"MAIL FROM:bob@example.org", Command{Verb: MAIL, Path: bob}, nil},
		{"MAIL   FROM: bob@example.org  SIZE=7 ", Command{Verb: MAIL, Path: bob, Mail: MailParams{Size: 7}}, nil},
		{"MAIL FROM:", Command{Verb: MAIL}, ErrSender},
		{"MAIL FROM:bob", Command{Verb: MAIL}, ErrSender},
		{"MAIL FROM:bob@example.org>", Command{Verb: MAIL}, ErrSender},
		{"MAIL FROM:@a:bob@example.org", Command{Verb: MAIL}, ErrSender},
		{"MAIL FROM:Bob <bob@example.org>", Command{Verb: MAIL}, ErrSender},
		{`MAIL FROM:"b ob"@example.org`, Command{Verb: MAIL}, ErrSender},
		{"RCPT TO:bob@example.org NOTIFY=", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:bob@example.org", Command{Verb: RCPT, Path: bob}, nil},
		{"MAIL <bob@example.org>", Command{Verb: MAIL}, ErrSyntax},
		{"MAIL FROM:<bob@example.org", Command{Verb: MAIL}, ErrSender},
		{"MAIL", Command{Verb: MAIL}, ErrSyntax},
		{"RCPT TO:<Postmaster>", Command{Verb: RCPT, Path: mail.Address{Local: "postmaster"}}, nil},
		{"RCPT TO:<bob>", Command{Verb: RCPT}, ErrRecipient},
		{"RCPT TO:<>", Command{Verb: RCPT}, ErrRecipient},
		{"RCPT TO:<bob@example.org> NOTIFY=NEVER", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{Notify: mail.NotifyNever}}, nil},
		{"RCPT TO:<bob@example.org> NOTIFY=success,Failure,DELAY ORCPT=rfc822;Bob+2B1@Example.ORG", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{Notify: mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay, Original: "rfc822;Bob+1@Example.ORG"}}, nil},
		{`RCPT TO:<bob@example.org> ORCPT=UTF-8;gr\x{FC}n\x{5C}@b\x{20AC}.example`, Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{Original: `utf-8;grün\@b€.example`}}, nil},
		{"RCPT TO:<bob@example.org> ORCPT=utf-8;grün@b.example", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{Original: "utf-8;grün@b.example"}}, nil},
		{"RCPT TO:<bob@example.org> NOTIFY=NEVER,SUCCESS", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> NOTIFY=SUCCESS,SUCCESS", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> NOTIFY=", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> NOTIFY=ALWAYS", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> NOTIFY=NEVER NOTIFY=NEVER", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{Notify: mail.NotifyNever}}, ErrSyntax},
		{"RCPT TO:<bob@example.org> ORCPT=bob@example.org", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> ORCPT=rfc822;", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> ORCPT=;x", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> ORCPT=rfc822;b+C3+BC", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{`RCPT TO:<bob@example.org> ORCPT=utf-8;\x{0A}x`, Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{`RCPT TO:<bob@example.org> ORCPT=utf-8;\x{D800}`, Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{`RCPT TO:<bob@example.org> ORCPT=utf-8;\x`, Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> ORCPT=rfc822;" + strings.Repeat("x", 500), Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> RRVS=2026-01-02T03:04:05Z", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{ValidSince: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}, nil},
		{"RCPT TO:<bob@example.org> rrvs=2026-01-02t04:04:05+01:00;r", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{ValidSince: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ValidOnly: true}}, nil},
		{"RCPT TO:<bob@example.org> RRVS=2026-01-02T03:04:05Z;C", Command{Verb: RCPT, Path: bob, Rcpt: RcptParams{ValidSince: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}, nil},
		{"RCPT TO:<bob@example.org> RRVS=2026-01-02T03:04:05Z;X", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> RRVS=2026-01-02T03:04:05Z;", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> RRVS=2026-01-02", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> RRVS=", Command{Verb: RCPT, Path: bob}, ErrSyntax},
		{"RCPT TO:<bob@example.org> BY=1", Command{Verb: RCPT, Path: bob}, ErrParameter},
		{"RCPT FROM:<bob@example.org>", Command{Verb: RCPT}, ErrSyntax},
		{"RCPT TO:<bøb@example.org>", Command{Verb: RCPT, Path: mail.Address{Local: "bøb", Domain: "example.org"}, NonASCII: true}, nil},
		{"RCPT TO:<bob@bücher.example>", Command{Verb: RCPT, Path: mail.Address{Local: "bob", Domain: "xn--bcher-kva.example"}, NonASCII: true}, nil},
		{"DATA", Command{Verb: DATA}, nil},
		{"DATA x", Command{Verb: DATA}, ErrNoArgument},
		{"quit  ", Command{Verb: QUIT}, nil},
		{"RSET now", Command{Verb: RSET}, ErrNoArgument},
		{"STARTTLS", Command{Verb: STARTTLS}, nil},
		{"NOOP some words", Command{Verb: NOOP, Text: "some words"}, nil},
		{"VRFY bob", Command{Verb: VRFY, Text: "bob"}, nil},
		{"VRFY", Command{Verb: VRFY}, ErrSyntax},
		{"EXPN ", Command{Verb: EXPN}, ErrSyntax},
		{"BDAT 10", Command{Verb: BDAT, Size: 10}, nil},
		{"BDAT 0 last", Command{Verb: BDAT, Last: true}, nil},
		{"BDAT 99999999999999", Command{Verb: BDAT, Size: 99999999999999}, nil},
		{"BDAT", Command{Verb: BDAT}, ErrChunkSize},
		{"BDAT -1", Command{Verb: BDAT}, ErrChunkSize},
		{"BDAT 0x10", Command{Verb: BDAT}, ErrChunkSize},
		{"BDAT 1e3", Command{Verb: BDAT}, ErrChunkSize},
		{"BDAT 10 LASTX", Command{Verb: BDAT}, ErrChunkSize},
		{"BDAT 10  LAST", Command{Verb: BDAT}, ErrChunkSize},
		{"BDAT 18446744073709551616", Command{Verb: BDAT, Size: math.MaxInt64}, nil},
		{"BURL imap://a@b.example/INBOX/;uid=1 last", Command{Verb: BURL, URL: "imap://a@b.example/INBOX/;uid=1", Last: true}, nil},
		{"burl x", Command{Verb: BURL, URL: "x"}, nil},
		{"BURL", Command{Verb: BURL}, ErrSyntax},
		{"BURL x y", Command{Verb: BURL}, ErrSyntax},
		{"BURL x LAST LAST", Command{Verb: BURL}, ErrSyntax},
		{"AUTH PLAIN", Command{Verb: AUTH, Mechanism: "PLAIN"}, nil},
		{"AUTH plain =", Command{Verb: AUTH, Mechanism: "PLAIN", Initial: []byte{}}, nil},
		{"AUTH PLAIN AGEAYg==", Command{Verb: AUTH, Mechanism: "PLAIN", Initial: []byte("\x00a\x00b")}, nil},
		{"AUTH PLAIN AGEAYg", Command{Verb: AUTH, Mechanism: "PLAIN"}, ErrBase64},
		{"AUTH PLAIN AGEAYg== x", Command{Verb: AUTH, Mechanism: "PLAIN"}, ErrBase64},
		{"AUTH", Command{Verb: AUTH}, ErrSyntax},
		{"", Command{}, ErrUnknown},
		{" NOOP", Command{}, ErrUnknown},
		{"XCLIENT", Command{Verb: XCLIENT}, ErrAttribute},
		{"XFORWARD ADDR=1.2.3.4", Command{}, ErrUnknown},
		{"NOOP\x00", Command{}, ErrControl},
		{"NOOP \r", Command{Verb: NOOP}, ErrControl},
		{"MAIL FROM:<a\x00b@example.org>", Command{Verb: MAIL}, ErrControl},
		{"GET / HTTP/1.1", Command{Verb: HTTP}, ErrUnknown},
		{"post /x HTTP/1.1", Command{Verb: HTTP}, ErrUnknown},
	} {
		got, err := ParseCommand([]byte(c.line))
		if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%q:\n got %+v, %v\nwant %+v, %v", c.line, got, err, c.want, c.err)
		}
	}
}

// TestRelayForms looks at what addresses that were made to be misread are read
// as: the domain is what follows the last unquoted @, or it is no address.
func TestRelayForms(t *testing.T) {
	for in, want := range map[string]string{
		"<victim%x.example@d.example>":                "victim%x.example@d.example",
		"<victim%x.example@[192.0.2.1]>":              "victim%x.example@[192.0.2.1]",
		"<victim%x.example>":                          "",
		"<victim%x.example@>":                         "",
		`<"victim@x.example">`:                        "",
		`<"victim@x.example"@d.example>`:              `"victim@x.example"@d.example`,
		`<"victim@x.example>"@d.example>`:             `"victim@x.example>"@d.example`,
		"<victim@x.example@d.example>":                "",
		"<@d.example:victim@x.example>":               "victim@x.example",
		"<@[192.0.2.1]:victim@x.example>":             "victim@x.example",
		"<@[IPv6:2001:db8::1],@a.b:victim@x.example>": "victim@x.example",
		"<@a.example,@b.example:victim@x.example>":    "victim@x.example",
		"<@a.example:@b.example:victim@x.example>":    "",
		"<@a.example victim@x.example>":               "",
		"<@a.example:>":                               "",
		"<@:victim@x.example>":                        "",
		"<x.example!victim>":                          "",
		"<x.example!victim@d.example>":                "x.example!victim@d.example",
		"<victim:x@d.example>":                        "",
		"<victim@x.example.>":                         "victim@x.example",
		"<victim@x.example ,a@d.example>":             "",
		"<victim@x.example,a@d.example>":              "",
		"<a:victim@x.example;>":                       "",
		"<victim@x.example> <a@d.example>":            "",
		"<|cmd@d.example>":                            "|cmd@d.example",
		`<"|cmd x"@d.example>`:                        `"|cmd x"@d.example`,
		"<${run{}}@d.example>":                        "${run{}}@d.example",
		"<victim@[3221225985]>":                       "",
		"<victim@[IPv6:::1]>":                         "victim@[IPv6:::1]",
		`<"a\"@x.example>`:                            "",
	} {
		c, err := ParseCommand([]byte("RCPT TO:" + in))
		if got := c.Path.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"MAIL FROM:<a@b> SIZE=1", "MAIL FROM:<a@b> RET=FULL ENVID=a+2Bb", "MAIL FROM:<a@b> REQUIRETLS BY=-7;NT MT-PRIORITY=-3", "RCPT TO:<a@b> RRVS=2026-01-02T03:04:05.6Z;R", "RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\\x{FC}", "RCPT TO:<@a:\"x y\"@c>", "BDAT 1 LAST", "AUTH PLAIN AGEAYg==", "EHLO x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := ParseCommand(line)
		if err != nil {
			if _, ok := errors.AsType[*mail.Refusal](err); !ok {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if c.Verb != MAIL && c.Verb != RCPT {
			return
		}
		// What the client's side writes of it is read as the same.
		s := sending{c: &Client{ext: Extensions{UTF8: true, DSN: true, RequireTLS: true, DeliverBy: true, Priority: true, RRVS: true}, o: ClientOptions{Now: func() time.Time { return mail.TraceID{}.Time() }}}, env: c.Mail.Envelope(mail.TraceID{}, c.Path)}
		s.env.UTF8 = true
		print := s.appendMail(nil, 0)
		if c.Verb == RCPT {
			print = s.appendRcpt(nil, c.Rcpt.Recipient(c.Path))
		}
		d, err := ParseCommand(bytes.TrimSuffix(print, crlf))
		if err != nil || d.Path != c.Path || d.Mail.Return != c.Mail.Return || d.Mail.RequireTLS != c.Mail.RequireTLS || d.Mail.By != c.Mail.By || d.Mail.Priority != c.Mail.Priority || d.Rcpt.Notify != c.Rcpt.Notify || !d.Rcpt.ValidSince.Equal(c.Rcpt.ValidSince.Truncate(time.Second)) || d.Rcpt.ValidOnly != c.Rcpt.ValidOnly ||
			d.Mail.EnvelopeID != c.Mail.EnvelopeID && d.Mail.EnvelopeID != "" || d.Rcpt.Original != c.Rcpt.Original && d.Rcpt.Original != "" {
			t.Fatalf("%q reads as %+v, which is %q, which reads as %+v, %v", line, c, print, d, err)
		}
	})
}

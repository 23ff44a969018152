package arf

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"posthaste/internal/proto/message"
)

const report = "Feedback-Type: auth-failure\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\nOriginal-Mail-From: <a+b@sender.example>\r\n" +
	"Original-Rcpt-To: <secret@receiver.example>\r\nReceived-Date: Sun, 22 Nov 2026 12:00:00 +0100\r\nSource-IP: ::ffff:192.0.2.1\r\n" +
	"Authentication-Results: mx.receiver.example;\r\n\tdkim=fail header.d=sender.example\r\nReported-Domain: Sender.Example.\r\nDKIM-Domain: sender.example\r\n" +
	"DKIM-Selector: s\r\nAuth-Failure: DMARC\r\nIdentity-Alignment: none\r\nDelivery-Result: reject\r\nReported-Domain: other.example\r\n"

const header = "From: =?utf-8?q?J=C3=B6?= <jo@sender.example>\r\nSubject: =?utf-8?q?H=C3=A9?=\r\n there\r\nMessage-ID: <1@sender.example>\r\n\r\n"

func TestParse(t *testing.T) {
	r, err := Parse([]byte(report), []byte(header))
	got := fmt.Sprintf("%+v", r)
	want := "{Type:auth-failure Agent:SomeGenerator/1.0 Arrival:2026-11-22 11:00:00 +0000 UTC Source:192.0.2.1 Domain:sender.example Failure:dmarc Alignment:none Delivery:reject " +
		"Results:mx.receiver.example; dkim=fail header.d=sender.example Sender:a+b@sender.example DKIM:sender.example Selector:s Author:jo@sender.example Subject:Hé there MessageID:<1@sender.example>}"
	if got != want || err != nil {
		t.Errorf("%s\n%v, want\n%s", got, err, want)
	}
	if strings.Contains(got, "secret") {
		t.Error("it tells to whom the message went")
	}
	for what, text := range map[string]string{
		"nothing": "", "no kind": "Reported-Domain: a.example\r\n", "no domain": "Feedback-Type: auth-failure\r\n", "a broken domain": "Feedback-Type: abuse\r\nReported-Domain: a b\r\n",
		"too long": report + "X: " + strings.Repeat("x", MaxReport), "many fields": strings.Repeat("X: x\r\n", 300) + report, "no fields": "hello\r\n\r\n" + report,
	} {
		if r, err := Parse([]byte(text), nil); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
	long, err := Parse([]byte(report), []byte("Subject: "+strings.Repeat("é", 1000)+"\r\n\r\n"))
	if err != nil || len(long.Subject) > maxText {
		t.Error(len(long.Subject), err)
	}
}

// Reports that others have really sent.
func TestPublished(t *testing.T) {
	var files []string
	for up := "."; len(files) == 0 && len(up) < 30; up += "/.." {
		files, _ = filepath.Glob(up + "/shared/testdata/dmarc-reports-parsedmarc/failure/*.eml")
	}
	if len(files) == 0 {
		t.Skip("the published reports are not here")
	}
	read := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for p := range message.ParseBytes(b).All() {
			if !p.Is("message", "feedback-report") {
				continue
			}
			text, err := io.ReadAll(message.NewBodyReader(p, bytes.NewReader(b)))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Parse(text, nil)
			if err != nil || r.Type != "auth-failure" || !r.Source.IsValid() || r.Arrival.IsZero() {
				t.Errorf("%s: %+v %v", filepath.Base(f), r, err)
			}
			read++
		}
	}
	if read < 3 {
		t.Errorf("only %d reports were there to be read", read)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(report), []byte(header))
	f.Fuzz(func(t *testing.T, text, header []byte) {
		r, err := Parse(text, header)
		if err != nil {
			return
		}
		for _, s := range []string{r.Type, r.Agent, r.Failure, r.Alignment, r.Delivery, r.Results, r.Selector, r.Subject, r.MessageID} {
			if len(s) > maxText || s != strings.ToValidUTF8(s, "") {
				t.Errorf("%q", s)
			}
		}
	})
}

package reporter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"posthaste/internal/base/mail"
)

const failure = "From: noreply@c.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n" +
	"--b\r\n\r\nA message failed.\r\n" +
	"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\nAuth-Failure: dmarc\r\nSource-IP: 192.0.2.7\r\nReported-Domain: b.example\r\nOriginal-Rcpt-To: secret@c.example\r\nDelivery-Result: reject\r\n"

// TestFailure: failure reports are read, with the message or its header behind them
// or without; to whom that went is not kept.
func TestFailure(t *testing.T) {
	header := "From: boss@b.example\r\nTo: secret@c.example\r\nSubject: Money\r\nMessage-ID: <1@b.example>\r\n\r\n"
	for name, c := range map[string]struct{ text, want, no string }{
		"the message": {failure + "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + header + "From: other@b.example\r\n\r\n--b--\r\n", "c.example b.example dmarc 192.0.2.7 reject boss@b.example Money", ""},
		"its header":  {failure + "\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + header + "--b--\r\n", "c.example b.example dmarc 192.0.2.7 reject boss@b.example Money", ""},
		"nothing":     {failure + "\r\n--b--\r\n", "c.example b.example dmarc 192.0.2.7 reject ", ""},
		"no report":   {"From: a@c.example\r\n\r\nBuy!\r\n", "", "5.6.0"},
		"another":     {"From: a@c.example\r\nContent-Type: application/tlsrpt+json\r\n\r\n" + json + "\r\n", "", "5.6.0"},
		"of nobody":   {strings.Replace(failure, "Reported-Domain: b.example\r\n", "", 1) + "\r\n--b--\r\n", "", "5.6.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newSide(t, "mx.b.example", "b.example")
				err := b.receive(t, "dmarc-failures@b.example", c.text)
				no, _ := errors.AsType[*mail.Refusal](err)
				if c.no == "" && err != nil || c.no != "" && (no == nil || no.Status.String() != c.no) {
					t.Fatal(err)
				}
				list, err := b.reports.LatestFailed(t.Context(), 9)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, f := range list {
					r := f.Report
					got += fmt.Sprint(f.By, " ", r.Domain, " ", r.Failure, " ", r.Source, " ", r.Delivery, " ", r.Author.String(), " ", r.Subject)
					if strings.Contains(fmt.Sprintf("%+v", f), "secret") {
						t.Errorf("it tells to whom the message went: %+v", f)
					}
				}
				if strings.TrimSpace(got) != strings.TrimSpace(c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
				if wrong, err := b.reports.Check(t.Context()); err != nil || len(wrong) > 0 {
					t.Error(wrong, err)
				}
			})
		})
	}
}

package mta_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
)

// plainHost puts a host on the network that knows no extensions. It refuses who
// is called "never", and says "later" to who is called "later".
func (w *world) plainHost(domain, name, ip string) {
	w.zone.MXHost(mail.Domain(domain), 10, mail.Domain(name))
	w.zone.Address(mail.Domain(name), ip)
	w.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(ip), 25), func(c net.Conn) {
		defer c.Close()
		fmt.Fprintf(c, "220 %s\r\n", name)
		in := false
		for s := bufio.NewScanner(c); s.Scan(); {
			line, answer := s.Text(), "250 OK"
			switch {
			case in && line != ".":
				continue
			case line == "DATA":
				in, answer = true, "354 go"
			case strings.HasPrefix(line, "RCPT TO:<never@"):
				answer = "550 no such user"
			case strings.HasPrefix(line, "RCPT TO:<later@"):
				answer = "450 4.2.1 later"
			case strings.HasPrefix(line, "RCPT") && !strings.HasSuffix(line, ">"), strings.HasPrefix(line, "MAIL") && !strings.HasSuffix(line, ">"):
				answer = "555 5.5.4 no parameters here"
			default:
				in = false
			}
			fmt.Fprint(c, answer+"\r\n")
		}
	})
}

// TestNotify: what the sender asked for goes on to hosts that know it, and is
// done by us where they do not. RFC 3461 §5.2.1, §5.2.2
func TestNotify(t *testing.T) {
	all := mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay
	for _, c := range []struct {
		to     string
		notify mail.Notify
		want   []string // reports after a day, and at the end
	}{
		{"now@plain.example", 0, nil},
		{"now@plain.example", all, []string{"Relayed mail: your message has been passed on | now@plain.example | relayed | 2.0.0"}},
		{"now@plain.example", mail.NotifyFailure, nil},
		{"now@b.example", all, nil}, // its affair
		{"never@plain.example", 0, []string{"Undelivered mail: your message could not be delivered | never@plain.example | failed | 5.1.1"}},
		{"never@plain.example", mail.NotifyFailure, []string{"Undelivered mail: your message could not be delivered | never@plain.example | failed | 5.1.1"}},
		{"never@plain.example", mail.NotifySuccess | mail.NotifyDelay, nil},
		{"never@plain.example", mail.NotifyNever, nil},
		{"later@plain.example", 0, []string{"Delayed mail: your message has not been delivered yet | later@plain.example | delayed | 4.2.1", "Undelivered mail: your message could not be delivered | later@plain.example | failed | 5.2.1"}},
		{"later@plain.example", mail.NotifyDelay, []string{"Delayed mail: your message has not been delivered yet | later@plain.example | delayed | 4.2.1"}},
		{"later@plain.example", mail.NotifyNever, nil},
		{"ada@a.example", all, []string{"hello", "Delivered mail: your message has arrived | ada@a.example | delivered | 2.1.5"}},
	} {
		t.Run(fmt.Sprintf("%s %d", c.to, c.notify), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.plainHost("plain.example", "mx.plain.example", "198.51.100.7")
				h := w.host("b.example", 10, "mx.b.example", "198.51.100.1")
				w.run(w.agent)
				w.postAs("ada@a.example", text, func(e *mail.Envelope) {
					e.EnvelopeID, e.Return = "QQ", mail.ReturnFull
					e.Recipients[0].Notify, e.Recipients[0].ORCPT = c.notify, "rfc822;x@y.example"
				}, c.to)
				time.Sleep(6 * 24 * time.Hour)
				synctest.Wait()
				got := w.reports()
				for i := range got {
					// Original-Recipient is not among what reports() looks at
					got[i] = strings.TrimSuffix(got[i], " | ")
				}
				same(t, "reports", got, c.want)
				same(t, "waiting", w.Waiting(), nil)
				for _, m := range w.Inbox("ada@a.example") {
					full := strings.Contains(m, "Content-Type: message/rfc822")
					if !strings.Contains(m, "multipart/report") {
						continue
					}
					if !strings.Contains(m, "Original-Envelope-Id: QQ") || !strings.Contains(m, "Original-Recipient: rfc822;x@y.example") || full != strings.Contains(m, "Action: failed") {
						t.Errorf("%s", m)
					}
				}
				if strings.HasSuffix(c.to, "@b.example") {
					same(t, "passed on", h.asked, []string{"ENVID=QQ RET=2", fmt.Sprintf("NOTIFY=%d ORCPT=rfc822;x@y.example", c.notify)})
				}
			})
		})
	}
}

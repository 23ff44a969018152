//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"net/smtp"
	"strings"
	"testing"
)

// messageID gives the field.
func messageID(text []byte) string {
	i := bytes.Index(text, []byte("Message-ID: "))
	return string(text[i : i+bytes.IndexByte(text[i:], '\r')])
}

// tells fails the test unless a report has all the words, in whichever case.
func tells(t *testing.T, report []byte, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(strings.ToLower(string(report)), strings.ToLower(w)) {
			t.Errorf("%q is missing in\n%s", w, report)
		}
	}
}

// bounces: each side generates one, for what the other refuses, and each takes
// what the other generates.
func (s *street) bounces(t *testing.T) {
	ada := s.us.person(t)
	j := ada.judge(t)
	text := ada.by(compose("To nobody", "", "Hello?\n"))
	id := messageID(text)

	// The neighbour refuses; we tell the sender. The others get it.
	send(t, s.submission(), &ada, ada.address, text, "three@"+byMX, "nobody@"+byMX)
	tells(t, j.wait("INBOX", 1)[0].text, "Return-Path: <>", "multipart/report", "Auto-Submitted: auto-replied", "Final-Recipient: rfc822; nobody@"+byMX, s.kind.no, "Action: failed", id)
	s.texts(t, "three", byMX, 1)

	// It takes it, we refuse it, and it tells the sender, who is ours.
	send(t, s.submission(), &ada, ada.address, text, "back@"+byMX)
	tells(t, j.wait("INBOX", 2)[1].text, "Return-Path: <>", "MAILER-DAEMON@", "delivery-status", "nobody@hill.example", s.kind.told, id)

	// We refuse, by SMTP and by LMTP, and it tells the sender, who is its own. The
	// others get it.
	bob, zoe := s.us.personAt(t, "vale.example"), s.us.person(t)
	send(t, s.smtp, nil, "four@"+byMX, text, "nobody@hill.example", zoe.address)
	send(t, s.smtp, nil, "five@"+byMX, text, "nobody@vale.example", bob.address)
	tells(t, s.texts(t, "four", byMX, 1)[0], "nobody@hill.example", s.kind.told, id)
	tells(t, s.texts(t, "five", byMX, 1)[0], "nobody@vale.example", s.kind.told, id)
	zoe.judge(t).wait("INBOX", 1)
	bob.judge(t).wait("INBOX", 1)

	// We take it for an alias, it refuses it, and we tell the sender, who is there.
	if out, err := s.us.tool("alias", "add", "out@hill.example", "nobody@"+s.way(0)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	send(t, s.smtp, nil, "six@"+s.way(1), text, "out@hill.example")
	tells(t, s.texts(t, "six", s.way(1), 1)[0], "multipart/report", "nobody@"+s.way(0), s.kind.no, id)
}

// reports: what a sender asks of reports goes along, and is done at the end of the
// way. RFC 3461
func (s *street) reports(t *testing.T) {
	ada, zoe := s.us.person(t), s.us.person(t)
	j := ada.judge(t)
	text := ada.by(compose("Tell me", "", "secret words\n"))

	// It has delivered, and says so to the sender, who is ours.
	ask(t, s.submission(), &ada, ada.address, "RET=HDRS ENVID=out1", "two@"+s.way(1), "NOTIFY=SUCCESS ORCPT=rfc822;old@hill.example", text)
	report := j.wait("INBOX", 1)[0].text
	tells(t, report, "Return-Path: <>", "delivery-status", "two@"+s.way(1), "Action: delivered", "Status: 2.", messageID(text))
	if !s.kind.silent {
		tells(t, report, "Original-Envelope-Id: out1", "Original-Recipient: rfc822;old@hill.example")
	}
	if bytes.Contains(report, []byte("secret words")) {
		t.Errorf("with RET=HDRS the report has the body:\n%s", report)
	}

	// It refuses, and the sender wants to hear nothing, or not of that.
	ask(t, s.submission(), &ada, ada.address, "ENVID=out2", "nobody2@"+s.way(0), "NOTIFY=NEVER", text)
	ask(t, s.submission(), &ada, ada.address, "ENVID=out3", "nobody3@"+s.way(0), "NOTIFY=SUCCESS,DELAY", text)
	// And here the sender does, with all of the message.
	ask(t, s.submission(), &ada, ada.address, "RET=FULL ENVID=out4", "nobody4@"+s.way(0), "NOTIFY=FAILURE", text)
	report = j.wait("INBOX", 2)[1].text
	tells(t, report, "Original-Envelope-Id: out4", "Action: failed", "secret words")

	// We have delivered, by SMTP, and say so to the sender, who is its own.
	ask(t, s.smtp, nil, "seven@"+clear, "RET=HDRS ENVID=in1", zoe.address, "NOTIFY=SUCCESS ORCPT=rfc822;old@"+clear, text)
	report = s.texts(t, "seven", clear, 1)[0]
	tells(t, report, "multipart/report", "Original-Envelope-Id: in1", zoe.address, "Original-Recipient: rfc822;old@"+clear, "Action: delivered", "Status: 2.", messageID(text))
	if bytes.Contains(report, []byte("secret words")) {
		t.Errorf("with RET=HDRS our report has the body:\n%s", report)
	}
	zoe.judge(t).wait("INBOX", 1)
	j.wait("INBOX", 2)
}

// ask hands a message in with parameters of RFC 3461.
func ask(t *testing.T, at string, p *person, from, mail, to, rcpt string, text []byte) {
	t.Helper()
	c, err := smtp.Dial(at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p == nil {
		err = c.Hello("outside.example")
	} else if err = c.StartTLS(roots(t, p.h.CA)); err == nil {
		err = c.Auth(smtp.PlainAuth("", p.address, p.password, "localhost"))
	}
	for _, line := range []string{fmt.Sprintf("MAIL FROM:<%s> %s", from, mail), fmt.Sprintf("RCPT TO:<%s> %s", to, rcpt)} {
		if err == nil {
			err = c.Text.PrintfLine("%s", line)
		}
		if err == nil {
			_, _, err = c.Text.ReadResponse(250)
		}
	}
	if err == nil {
		w, werr := c.Data()
		if err = werr; err == nil {
			w.Write(text)
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatalf("from %s to %s: %v", from, to, err)
	}
	c.Quit()
}

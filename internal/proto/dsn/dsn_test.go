package dsn

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

const sent = "From: joe@example.org\r\nTo: bob@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\nsecret body\r\n"

func addr(t testing.TB, s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sample(t testing.TB) *Report {
	now := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	trace, err := mail.ParseTraceID("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return &Report{
		Host: "mx.example.org", From: addr(t, "postmaster@example.org"), To: addr(t, "joe@example.org"), Date: now,
		MessageID: "<r1@example.org>", Boundary: "=_report", EnvelopeID: "QQ314159", Trace: trace, Arrival: now.Add(-time.Hour),
		Original: strings.NewReader(sent), Size: int64(len(sent)),
		Recipients: []Recipient{
			{Outcome: mail.Outcome{
				Recipient: mail.Recipient{Address: addr(t, "bob@example.com"), Original: addr(t, "robert@example.org")},
				Status:    mail.Status{Class: 5, Subject: 1, Detail: 1}, Text: "550 5.1.1 no such\r\n user", Remote: "mx.example.com",
			}, LastAttempt: now},
			{Outcome: mail.Outcome{
				Recipient: mail.Recipient{Address: addr(t, "sue@example.com")},
				Status:    mail.Status{Class: 4, Subject: 4, Detail: 1}, Text: "connection refused",
			}, RetryUntil: now.Add(72 * time.Hour), LastAttempt: now, ORCPT: "rfc822;susan@example.net"},
			{Outcome: mail.Outcome{Recipient: mail.Recipient{Address: addr(t, "old@example.com")}, Status: mail.Status{Class: 4, Subject: 4, Detail: 7}, Text: "too long"}, Action: Failed},
		},
	}
}

// parts reads a report as Go's library does: content type and decoded body.
func parts(t *testing.T, msg []byte) (h netmail.Header, types, bodies []string) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(msg))
	if err != nil {
		t.Fatal(err)
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", typ, params, err)
	}
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return m.Header, types, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = p
		if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			r = quotedprintable.NewReader(p)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		typ, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		types, bodies = append(types, typ), append(bodies, string(b))
	}
}

func TestReport(t *testing.T) {
	r := sample(t)
	msg, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	h, types, bodies := parts(t, msg)
	if got := strings.Join(types, " "); got != "text/plain message/delivery-status text/rfc822-headers" {
		t.Errorf("parts: %s", got)
	}
	for name, want := range map[string]string{"To": "joe@example.org", "Auto-Submitted": "auto-replied", "In-Reply-To": "<1@example.org>", "Message-Id": "<r1@example.org>"} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	const status = "Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mx.example.org\r\nArrival-Date: Tue, 2 Jan 2024 02:04:05 +0000\r\nX-Posthaste-Trace: 0123456789abcdef\r\n\r\n" +
		"Original-Recipient: rfc822; robert@example.org\r\nFinal-Recipient: rfc822; bob@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.com\r\nDiagnostic-Code: smtp; 550 5.1.1 no such   user\r\nLast-Attempt-Date: Tue, 2 Jan 2024 03:04:05 +0000\r\n\r\n" +
		"Original-Recipient: rfc822;susan@example.net\r\nFinal-Recipient: rfc822; sue@example.com\r\nAction: delayed\r\nStatus: 4.4.1\r\nDiagnostic-Code: X-Posthaste; connection refused\r\nLast-Attempt-Date: Tue, 2 Jan 2024 03:04:05 +0000\r\nWill-Retry-Until: Fri, 5 Jan 2024 03:04:05 +0000\r\n\r\n" +
		"Final-Recipient: rfc822; old@example.com\r\nAction: failed\r\nStatus: 4.4.7\r\nDiagnostic-Code: X-Posthaste; too long\r\n"
	if bodies[1] != status {
		t.Errorf("status:\n%s\nwant\n%s", bodies[1], status)
	}
	if want := sent[:strings.Index(sent, "\r\n\r\n")+2]; bodies[2] != want {
		t.Errorf("returned header: %q", bodies[2])
	}
	for _, want := range []string{"Grüße", "<bob@example.com>, to whom mail for <robert@example.org> goes", "mx.example.com said:\r\n        550 5.1.1 no such user", "Look whether the address", "tried again until Fri, 5 Jan", "0123456789abcdef", "tried until the time was over"} {
		if !strings.Contains(bodies[0], want) {
			t.Errorf("people do not read %q in\n%s", want, bodies[0])
		}
	}
	if bytes.Contains(msg, []byte("secret body")) {
		t.Error("the body went back")
	}
	again, err := r.Bytes()
	if err != nil || !bytes.Equal(msg, again) {
		t.Error("not the same bytes twice")
	}
}

func TestReadBack(t *testing.T) {
	r := sample(t)
	msg, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	in, err := Read(message.ParseBytes(msg), bytes.NewReader(msg))
	if err != nil {
		t.Fatal(err)
	}
	if in.Host != r.Host || in.EnvelopeID != r.EnvelopeID || !in.Arrival.Equal(r.Arrival) || in.MessageID != "<1@example.org>" || len(in.Recipients) != 3 {
		t.Fatalf("%+v", in)
	}
	for i, want := range r.Recipients {
		got := in.Recipients[i]
		if got.action() != want.action() || got.Outcome.Status != want.Outcome.Status || got.Outcome.Recipient.Address != want.Outcome.Recipient.Address ||
			got.Outcome.Remote != want.Outcome.Remote || !got.LastAttempt.Equal(want.LastAttempt) || !got.RetryUntil.Equal(want.RetryUntil) {
			t.Errorf("%+v, wrote %+v", got, want)
		}
	}
	if got := in.Recipients[0].Outcome; got.Recipient.Original != r.Recipients[0].Outcome.Recipient.Original || got.Text != "550 5.1.1 no such   user" {
		t.Errorf("%+v", got)
	}
}

func TestReturn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *Report)
		typ    string
		body   bool
	}{
		{"full", func(r *Report) {}, "message/rfc822", true},
		{"header", func(r *Report) { r.Return = mail.ReturnHeader }, "text/rfc822-headers", false},
		{"delay", func(r *Report) { r.Recipients = r.Recipients[1:2] }, "text/rfc822-headers", false},
		{"success", func(r *Report) { r.Recipients[0].Action = Delivered; r.Recipients = r.Recipients[:1] }, "text/rfc822-headers", false},
		{"large", func(r *Report) {
			s := sent + strings.Repeat("x\r\n", MaxReturn)
			r.Original, r.Size = strings.NewReader(s), int64(len(s))
		}, "text/rfc822-headers", false},
		{"8bit", func(r *Report) { s := sent + "ä"; r.Original, r.Size = strings.NewReader(s), int64(len(s)) }, "text/rfc822-headers", false},
		{"long line", func(r *Report) {
			s := sent + strings.Repeat("x", 2000)
			r.Original, r.Size = strings.NewReader(s), int64(len(s))
		}, "text/rfc822-headers", false},
		{"UTF-8", func(r *Report) { r.UTF8 = true }, "message/global", true},
		{"UTF-8 header", func(r *Report) { r.UTF8, r.Return = true, mail.ReturnHeader }, "message/global-headers", false},
		{"huge header", func(r *Report) {
			s := strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 1000) + sent
			r.Original, r.Size = strings.NewReader(s), int64(len(s))
		}, "text/rfc822-headers", false},
		{"no original", func(r *Report) { r.Original = nil }, "text/rfc822-headers", false},
	} {
		r := sample(t)
		r.Return = mail.ReturnFull
		tt.change(r)
		msg, err := r.Bytes()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		_, types, _ := parts(t, msg)
		if types[2] != tt.typ || bytes.Contains(msg, []byte("secret body")) != tt.body || len(msg) > MaxReturn+10_000 {
			t.Errorf("%s: %s, %d bytes", tt.name, types[2], len(msg))
		}
		if !r.NeedsUTF8() && bytes.IndexFunc(msg, func(c rune) bool { return c >= 0x80 }) >= 0 {
			t.Errorf("%s: not 7bit", tt.name)
		}
		if in, err := Read(message.ParseBytes(msg), bytes.NewReader(msg)); err != nil || len(in.Recipients) != len(r.Recipients) {
			t.Errorf("%s: read back: %+v %v", tt.name, in, err)
		}
	}
}

func TestUTF8Recipients(t *testing.T) {
	for _, global := range []bool{false, true} {
		r := sample(t)
		r.UTF8 = global
		want := addr(t, "jörg@exämple.org")
		r.Recipients = r.Recipients[:1]
		r.Recipients[0].Outcome.Recipient = mail.Recipient{Address: want}
		r.Recipients[0].Outcome.Text = "nö"
		msg, err := r.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, types, bodies := parts(t, msg)
		line := "Final-Recipient: utf-8; j\\x{F6}rg@xn--exmple-cua.org\r\n"
		typ := "message/delivery-status"
		if global {
			line, typ = "Final-Recipient: utf-8; jörg@xn--exmple-cua.org\r\n", "message/global-delivery-status"
		}
		if types[1] != typ || !strings.Contains(bodies[1], line) {
			t.Errorf("%s: %s", types[1], bodies[1])
		}
		in, err := Read(message.ParseBytes(msg), bytes.NewReader(msg))
		if err != nil || len(in.Recipients) != 1 || in.Recipients[0].Outcome.Recipient.Address != want {
			t.Errorf("%+v %v", in, err)
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	r := sample(t)
	r.Recipients[0].Outcome.Text = "550 a\r\nFinal-Recipient: rfc822; x@y\r\n\r\n--=_report\x00\x1b[31m" + strings.Repeat("z", 5000)
	r.Recipients[0].Outcome.Remote = "evil\r\n\r\nX: y"
	r.Boundary = "=_random123"
	s := "Message-ID: <a\r\n b@c>\r\nSubject: =?utf-8?q?=0D=0AX:_y?=\r\n\r\n"
	r.Original, r.Size = strings.NewReader(s), int64(len(s))
	msg, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	in, err := Read(message.ParseBytes(msg), bytes.NewReader(msg))
	if err != nil || len(in.Recipients) != 3 {
		t.Errorf("%+v %v", in, err)
	}
	if bytes.ContainsAny(msg, "\x00\x1b") || bytes.Contains(msg, []byte("\r\nX: y")) {
		t.Errorf("what cannot be seen went through:\n%q", msg)
	}
}

func TestErrors(t *testing.T) {
	r := sample(t)
	r.To = mail.Address{}
	if _, err := r.Bytes(); !errors.Is(err, ErrNullSender) {
		t.Errorf("report on a report: %v", err)
	}
	r = sample(t)
	r.Recipients = nil
	if _, err := r.Bytes(); err == nil {
		t.Error("report on nobody")
	}
	r = sample(t)
	r.Size += 10
	if _, err := r.Bytes(); err == nil {
		t.Error("a message that cannot be read")
	}
	msg := []byte(sent)
	if _, err := Read(message.ParseBytes(msg), bytes.NewReader(msg)); !errors.Is(err, ErrNoReport) {
		t.Errorf("no report: %v", err)
	}
}

// TestForeign reads reports as other systems write them.
func TestForeign(t *testing.T) {
	for _, tt := range []struct{ status, want string }{
		{"Reporting-MTA: dns; a.example\n\nFinal-Recipient: RFC822; <x@y.example>\nAction: Failed\nStatus: 5.0.0 (unknown)\n", "x@y.example failed 5.0.0"},
		{"Final-Recipient: rfc822;x@y.example\nAction: failed (bad)\nStatus: nonsense\n", "x@y.example failed 5.0.0"},
		{"Reporting-MTA: x\n\n\n\nFinal-Recipient: rfc822; not an address\nOriginal-Recipient: rfc822; o@y.example\nAction: delayed\nStatus: 4.2.2\n\n\n", "o@y.example delayed 4.2.2"},
		{"Reporting-MTA: x\n\nFinal-Recipient: rfc822; x@y\nAction: none\n", ""},
		{"", ""},
	} {
		msg := []byte("Content-Type: multipart/report; boundary=x\n\n--x\n\nhi\n--x\nContent-Type: message/delivery-status\n\n" + tt.status + "--x--\n")
		in, err := Read(message.ParseBytes(msg), bytes.NewReader(msg))
		if err != nil {
			t.Errorf("%q: %v", tt.status, err)
			continue
		}
		got := ""
		for _, rc := range in.Recipients {
			got += rc.Outcome.Recipient.Address.String() + " " + string(rc.Action) + " " + rc.Outcome.Status.String()
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.status, got, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	msg, err := sample(f).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add([]byte("Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\na: b\n\nFinal-Recipient: utf-8; \\x{e4}@b\nAction: failed\n--x--"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := Read(message.ParseBytes(b), bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, rc := range in.Recipients {
			if rc.Outcome.Recipient.Address.IsZero() || strings.ContainsAny(rc.Outcome.Text+rc.Outcome.Remote, "\r\n") || len(rc.Outcome.Text) > maxAnswer {
				t.Fatalf("%+v", rc)
			}
		}
		if len(in.Recipients) > MaxRecipients {
			t.Fatal(len(in.Recipients))
		}
		r := sample(t)
		r.Recipients = in.Recipients
		r.Boundary = "=_some0random1thing2"
		if len(r.Recipients) > 0 && !bytes.Contains(b, []byte(r.Boundary)) {
			if _, err := r.Bytes(); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}

// TestWords: people read what an answer means, and what they themselves can do;
// what only an administrator can do is said to be for him.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		action       Action
		status, text string
		remote       string
		want, never  []string
	}{
		{Failed, "5.7.26", "550 5.7.26 This mail has been blocked because the sender is unauthenticated.", "gmail-smtp-in.l.google.com", []string{"550 5.7.26 This mail", "What that means: Gmail takes no mail", "send this report to the one who looks after your mail system", "posthaste domain dns"}, nil},
		{Failed, "5.1.1", "550 5.1.1 User unknown", "mx.example.com", []string{"What that means: There is no such address", "What you can do: Look whether the address"}, nil},
		{Failed, "4.4.1", "tried for 5 days; the last answer was: no host could be reached; the last one: mx.example.com [192.0.2.1]: 192.0.2.1:25: connect: connection refused", "", []string{"It was tried for 5 days. What was in the way at last: no host could be reached", "no mail server runs on", "Its administrator should be told another way."}, []string{"It is tried again", "refused."}},
		{Failed, "4.2.0", "450 4.2.0 Greylisted", "mx.example.com", []string{"Send it again later, or reach the recipient another way."}, []string{"It is tried again"}},
		{Failed, "5.4.1", "tried for 5 days; the last answer was: 451 4.3.0 later", "mx.example.com", []string{"It was tried for 5 days. What mx.example.com said at last: 451 4.3.0 later"}, []string{"refused"}},
		{Failed, "5.4.6", "the message runs in a circle: it has passed too many servers", "", []string{"It cannot be delivered. The reason: the message runs in a circle"}, []string{"refused", "this system said"}},
		{Delayed, "4.2.2", "452 4.2.2 Mailbox full", "mx.example.com", []string{"mailbox is full", "What you can do: The recipient must delete something"}, nil},
		{Delayed, "4.2.0", "450 4.2.0 Greylisted", "mx.example.com", []string{"turns a sender that it does not"}, []string{"What you can do"}},
		{Failed, "5.9.9", "599 xyzzy", "mx.example.com", []string{"What you can do: send it again later"}, []string{"What that means"}},
	} {
		r := sample(t)
		st, err := mail.ParseStatus(c.status)
		if err != nil {
			t.Fatal(err)
		}
		r.Recipients = []Recipient{{Action: c.action, Outcome: mail.Outcome{Recipient: mail.Recipient{Address: addr(t, "bob@example.com")}, Status: st, Text: c.text, Remote: c.remote}}}
		msg, err := r.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, _, bodies := parts(t, msg)
		said := strings.Join(strings.Fields(bodies[0]), " ")
		for _, w := range c.want {
			if !strings.Contains(said, w) {
				t.Errorf("%s: people do not read %q in\n%s", c.text, w, bodies[0])
			}
		}
		for _, w := range c.never {
			if strings.Contains(said, w) {
				t.Errorf("%s: people read %q in\n%s", c.text, w, bodies[0])
			}
		}
		in, err := Read(message.ParseBytes(msg), bytes.NewReader(msg))
		if err != nil || len(in.Recipients) != 1 || in.Recipients[0].Action != c.action || in.Recipients[0].Outcome.Status != st {
			t.Errorf("%s: read back as %+v, %v", c.text, in, err)
		}
	}
}

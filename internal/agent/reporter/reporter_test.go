package reporter_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/reporter"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/tlsrpt"
	"posthaste/internal/store/reports"
	"posthaste/test/house"
)

// A side is a house that reports, and is reported to.
type side struct {
	*house.House
	zone    zone.Zone
	reports *reports.Store
	agent   *reporter.Agent
}

func newSide(t *testing.T, host, domain string) *side {
	s := &side{House: house.New(t, host)}
	s.Domain(domain)
	s.reports = &reports.Store{DB: s.DB}
	s.agent = &reporter.Agent{
		Hostname: host, DB: s.DB, DNS: &s.zone, Records: mx.Records{DNS: &s.zone}, Directory: s.Directory, Bodies: s.Bodies, Queue: s.Queue, Journal: s.Journal, Reports: s.reports,
		Signers: s.Keys.Signers, Web: &http.Client{Transport: &web{t: t}}, Log: slog.New(slog.DiscardHandler),
	}
	s.MX.Delivery = &reporter.Desk{Door: s.Delivery, Directory: s.Directory, Reports: s.reports, Journal: s.Journal}
	return s
}

func policy(d string) tlsrpt.Policy {
	return tlsrpt.Policy{Kind: tlsrpt.STS, Domain: d, Strings: []string{"version: STSv1", "mode: enforce"}, MX: []string{"mx." + d}}
}

// TestReport: what was seen of a domain in a day goes to who asks for it, once,
// signed, and is read at the other end.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSide(t, "mx.a.example", "a.example"), newSide(t, "mx.b.example", "b.example")
		ctx := t.Context()
		now := time.Now()
		bad := &tlsrpt.Failure{Result: tlsrpt.Expired, MXHost: "mx.b.example", ReceivingIP: "192.0.2.1", Sessions: 1, Reason: "expired"}
		a.reports.Count(now, "b.example", policy("b.example"), nil)
		a.reports.Count(now, "b.example", policy("b.example"), bad)
		a.reports.Count(now, "silent.example", policy("silent.example"), nil)
		a.reports.Count(now, "late.example", policy("late.example"), nil)
		a.zone.Text("_smtp._tls.b.example", "v=TLSRPTv1; rua=mailto:tls-reports@b.example,https://b.example/")
		a.zone.Fail("_smtp._tls.late.example", dns.ErrTemporary)
		if err := a.agent.Round(ctx, now); err != nil || len(a.Items()) != 0 {
			t.Fatal("before the day is over:", a.Waiting(), err)
		}
		for range 2 {
			time.Sleep(24 * time.Hour / 2 * 3 / 2)
			if err := a.agent.Round(ctx, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(a.Waiting(), "|"); got != "b.example: tls-reports" {
			t.Fatalf("waiting: %q", got)
		}
		a.zone.Fail("_smtp._tls.late.example", nil)
		a.zone.Text("_smtp._tls.late.example", "v=TLSRPTv1; rua=mailto:x@late.example")
		if err := a.agent.Round(ctx, time.Now()); err != nil || len(a.Items()) != 2 {
			t.Fatal("when it can be found out:", a.Waiting(), err)
		}
		it := a.Items()[0]
		if it.Domain != "b.example" {
			it = a.Items()[1]
		}
		r, err := a.Bodies.Open(ctx, it.Body, it.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		r.Close()
		if err != nil || !it.Envelope.Sender.IsZero() {
			t.Fatal(it.Envelope.Sender, err)
		}
		verified(t, a, text)
		root := message.ParseBytes(text)
		if root.Subtype != "report" || !strings.HasPrefix(root.Envelope.Subject, "Report Domain: b.example Submitter: mx.a.example Report-ID: <") || !bytes.Contains(text, []byte("TLS-Report-Domain: b.example\r\nTLS-Report-Submitter: mx.a.example\r\n")) {
			t.Errorf("%s", text)
		}
		if err := b.receive(t, "tls-reports@b.example", string(text)); err != nil {
			t.Fatal(err)
		}
		told, err := b.reports.Latest(ctx, 10)
		if err != nil || len(told) != 1 {
			t.Fatal(told, err)
		}
		p := told[0].Report.Policies[0]
		if told[0].Report.Organization != "mx.a.example" || !told[0].Report.Start.Equal(reports.DayOf(now).Start()) || p.Successful != 1 || p.Failed != 1 || p.Failures[0] != *bad || p.MX[0] != "mx.b.example" {
			t.Errorf("%+v", told[0].Report)
		}
	})
}

func verified(t *testing.T, a *side, text []byte) {
	t.Helper()
	signers, err := a.Keys.Signers(t.Context(), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.Index(text, []byte("\r\n\r\n")) + 4
	sigs, err := dkim.Verify(t.Context(), text[:head], bytes.NewReader(text[head:]), func(_ context.Context, name string) ([]string, error) {
		for _, s := range signers {
			if s.Name() == name {
				rec, err := s.Record()
				return []string{rec}, err
			}
		}
		return nil, dkim.ErrNoKey
	}, time.Now())
	if err != nil || len(sigs) != 2 || sigs[0].Result != dkim.Pass || sigs[1].Result != dkim.Pass || sigs[0].Domain != "a.example" {
		t.Errorf("%+v %v", sigs, err)
	}
}

// receive brings a message over SMTP's receiver.
func (s *side) receive(t *testing.T, to, text string) error {
	t.Helper()
	ctx := t.Context()
	tx, err := s.MX.Begin(ctx, mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:25"), Hello: "mx.other.example"}, mail.Address{}, smtp.MailParams{})
	if err != nil {
		return err
	}
	for a := range strings.SplitSeq(to, " ") {
		if err := tx.Rcpt(ctx, house.Address(a), smtp.RcptParams{}); err != nil {
			return err
		}
	}
	if err := tx.Data(ctx, strings.NewReader(text)); err != nil {
		return err
	}
	if err := s.Journal.Flush(ctx); err != nil {
		return err
	}
	story := s.Story(tx.ID())
	if len(story) == 0 || story[len(story)-1] != trace.Stored {
		t.Errorf("its story: %v", story)
	}
	return nil
}

const json = `{"organization-name":"C","date-range":{"start-datetime":"2026-11-21T00:00:00Z","end-datetime":"2026-11-21T23:59:59Z"},"contact-info":"x","report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"b.example"},"summary":{"total-successful-session-count":3,"total-failure-session-count":0}}]}`

// TestDMARC: aggregate reports of others are read, in whatever they are packed.
func TestDMARC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSide(t, "mx.b.example", "b.example")
		a := dmarc.Aggregate{Organization: "Receiver", Email: "x@c.example", ID: "1", Begin: time.Now().Add(-24 * time.Hour), End: time.Now(), Published: dmarc.Published{Domain: "b.example", Policy: "none"}}
		for i := range 300 {
			a.Rows = append(a.Rows, dmarc.Row{Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Count: int64(i%256) + 1, Disposition: "none", DKIM: i >= 256, HeaderFrom: "b.example"})
		}
		zipped, err := a.Zip()
		if err != nil {
			t.Fatal(err)
		}
		text := "From: x@c.example\r\nMIME-Version: 1.0\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		for s := base64.StdEncoding.EncodeToString(zipped); s != ""; {
			n := min(len(s), 76)
			text, s = text+s[:n]+"\r\n", s[n:]
		}
		if err := b.receive(t, "dmarc-reports@b.example", text); err != nil {
			t.Fatal(err)
		}
		got, err := b.reports.LatestDMARC(t.Context(), 10)
		if err != nil || len(got) != 1 || got[0].By != "Receiver" || got[0].Domain != "b.example" || len(got[0].Sources) != 200 {
			t.Fatal(got, err)
		}
		sum := got[0].More
		for _, s := range got[0].Sources {
			sum += s.Messages
		}
		if first := got[0].Sources[0]; sum != 256*257/2+44*45/2 || first.Messages != 256 || first.IP.String() != "192.0.2.255" || first.DKIM {
			t.Errorf("%d messages, first of %+v", sum, first)
		}
		err = b.receive(t, "dmarc-reports@b.example", "From: x@c.example\r\n\r\nno report\r\n")
		if no, _ := errors.AsType[*mail.Refusal](err); no == nil || no.Status.String() != "5.6.0" {
			t.Error(err)
		}
		if wrong, err := b.reports.Check(t.Context()); err != nil || len(wrong) > 0 {
			t.Error(wrong, err)
		}
	})
}

// TestSomebody: somebody who is called so gets his mail; a catch-all gets no
// reports.
func TestSomebody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSide(t, "mx.b.example", "b.example")
		b.Account(0, "bob@b.example", "tls-reports@b.example")
		b.Alias("@b.example", "bob@b.example")
		b.Alias("dmarc-reports@b.example", "bob@b.example")
		text := "From: x@c.example\r\nMIME-Version: 1.0\r\nContent-Type: application/tlsrpt+json\r\n\r\n" + json + "\r\n"
		for _, to := range []string{"tls-reports@b.example", "dmarc-reports@b.example", "any@b.example"} {
			if err := b.receive(t, to, text); err != nil {
				t.Fatal(err)
			}
		}
		if told, err := b.reports.Latest(t.Context(), 1); err != nil || len(told) != 0 || len(b.Inbox("tls-reports@b.example")) != 1 || len(b.Inbox("bob@b.example")) != 2 {
			t.Error(told, err)
		}
		b.Domain("d.example")
		b.Alias("@d.example", "bob@b.example")
		if err := b.receive(t, "tls-reports@d.example", text); err != nil {
			t.Fatal(err)
		}
		if told, err := b.reports.Latest(t.Context(), 1); err != nil || len(told) != 1 || len(b.Inbox("bob@b.example")) != 2 {
			t.Error(told, err)
		}
	})
}

// TestUnsigned: who reports must sign, if we look.
func TestUnsigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSide(t, "mx.b.example", "b.example")
		b.MX.DNS = &b.zone
		err := b.receive(t, "tls-reports@b.example", "From: x@c.example\r\nMIME-Version: 1.0\r\nContent-Type: application/tlsrpt+json\r\n\r\n"+json+"\r\n")
		if no, _ := errors.AsType[*mail.Refusal](err); no == nil || no.Status.String() != "5.7.20" {
			t.Error(err)
		}
	})
}

// TestDesk: the address for reports takes reports, and no other mail; all other
// mail goes on as it does.
func TestDesk(t *testing.T) {
	head := "From: x@c.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
	for name, c := range map[string]struct {
		to, text, want string
		inbox, told    int
	}{
		"a report":           {"tls-reports@b.example", head + "Content-Type: application/tlsrpt+json\r\n\r\n" + json + "\r\n", "", 0, 1},
		"for bob too":        {"bob@b.example TLS-Reports@b.example", head + "Content-Type: application/tlsrpt+json\r\n\r\n" + json + "\r\n", "", 1, 1},
		"no report":          {"tls-reports@b.example", head + "\r\nBuy!\r\n", "5.6.0", 0, 0},
		"broken":             {"tls-reports@b.example", head + "Content-Type: application/tlsrpt+json\r\n\r\n{\r\n", "5.6.0", 0, 0},
		"a bomb":             {"tls-reports@b.example", head + "Content-Type: application/tlsrpt+json\r\n\r\n" + strings.Repeat(strings.Repeat(" ", 900)+"\r\n", 5000), "5.6.0", 0, 0},
		"only bob":           {"bob@b.example", head + "Content-Type: application/tlsrpt+json\r\n\r\n" + json + "\r\n", "", 1, 0},
		"not our domain":     {"tls-reports@c.example", head + "\r\nx\r\n", "5.7.1", 0, 0},
		"nobody of the kind": {"other@b.example", head + "\r\nx\r\n", "5.1.1", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newSide(t, "mx.b.example", "b.example")
				b.Account(0, "bob@b.example")
				err := b.receive(t, c.to, c.text)
				no, _ := errors.AsType[*mail.Refusal](err)
				if c.want == "" && err != nil || c.want != "" && (no == nil || no.Status.String() != c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				told, err := b.reports.Latest(t.Context(), 10)
				if err != nil || len(told) != c.told || len(b.Inbox("bob@b.example")) != c.inbox {
					t.Error(len(told), len(b.Inbox("bob@b.example")), err)
				}
			})
		})
	}
}

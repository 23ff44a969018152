package reporter_test

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/reporter"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/reports"
	"posthaste/test/house"
)

// judging has a side judge mail, and count what it sees.
func (s *side) judging() *side {
	s.MX.DNS = &s.zone
	s.MX.Saw = s.MX.Delivery.(*reporter.Desk).Saw
	return s
}

// send brings a message from an address, and gives what became of it.
func (s *side) send(t *testing.T, ip string, env mail.Address, to, text string) error {
	t.Helper()
	ctx := t.Context()
	tx, err := s.MX.Begin(ctx, mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 25), Hello: "mx.a.example"}, env, smtp.MailParams{})
	if err == nil {
		err = tx.Rcpt(ctx, house.Address(to), smtp.RcptParams{})
	}
	if err == nil {
		err = tx.Data(ctx, strings.NewReader(text))
	}
	return err
}

// carried gives the messages in the queue, whole, by domain.
func (s *side) carried(t *testing.T) map[mail.Domain]string {
	t.Helper()
	out := map[mail.Domain]string{}
	for _, it := range s.Items() {
		r, err := s.Bodies.Open(t.Context(), it.Body, it.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		r.Close()
		if err != nil || !it.Envelope.Sender.IsZero() {
			t.Fatal(it.Envelope.Sender, err)
		}
		out[it.Domain] = string(text)
	}
	return out
}

const forged = "From: ada@a.example\r\nSubject: x\r\nDate: Sat, 1 Jan 2000 00:00:00 +0000\r\nMessage-ID: <x@x>\r\n\r\nx\r\n"

// TestThereAndBack: what came in a domain's name is told to its house the next day,
// once, signed, passes DMARC there, is read, and nobody reports on the report.
func TestThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSide(t, "mx.a.example", "a.example").judging(), newSide(t, "mx.b.example", "b.example").judging()
		b.Account(0, "bob@b.example")
		ctx, day := t.Context(), reports.DayOf(time.Now())
		b.zone.Text("_dmarc.a.example", "v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc-reports@a.example!1m")
		b.zone.Text("a.example", "v=spf1 ip4:192.0.2.1 -all")
		for range 3 {
			if err := b.send(t, "192.0.2.1", house.Address("ada@a.example"), "bob@b.example", forged); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.send(t, "203.0.113.7", house.Address("ada@a.example"), "bob@b.example", forged); err == nil {
			t.Fatal("what is forged was taken")
		}
		if err := b.send(t, "203.0.113.7", house.Address("x@z.example"), "bob@b.example", strings.Replace(forged, "@a.example", "@shop.a.example", 1)); err != nil {
			t.Fatal(err)
		}
		if err := b.send(t, "203.0.113.7", house.Address("x@z.example"), "bob@b.example", strings.Replace(forged, "@a.example", "@z.example", 1)); err != nil {
			t.Fatal(err)
		}
		if err := b.agent.Round(ctx, time.Now()); err != nil || len(b.Items()) != 0 {
			t.Fatal("before the day is over:", b.Waiting(), err)
		}
		time.Sleep(time.Until(day.End()) + 15*time.Minute)
		for range 2 {
			if err := b.agent.Round(ctx, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(b.Waiting(), "|"); got != "a.example: dmarc-reports" {
			t.Fatalf("waiting: %q", got)
		}
		text := b.carried(t)["a.example"]
		root := message.ParseBytes([]byte(text))
		if want := fmt.Sprintf("Report Domain: a.example Submitter: mx.b.example Report-ID: <%s.a.example@mx.b.example>", day.Start().Format("20060102")); root.Envelope.Subject != want {
			t.Errorf("%q, want %q", root.Envelope.Subject, want)
		}
		for _, want := range []string{"5 messages from 2 addresses, of which 3", fmt.Sprintf("filename=mx.b.example!a.example!%d!%d.xml.gz", day.Start().Unix(), day.End().Unix()), "Content-Type: application/gzip", "From: \"DMARC reports of mx.b.example\" <postmaster@b.example>"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s\nlacks %s", text, want)
			}
		}

		a.zone.Text("_dmarc.b.example", "v=DMARC1; p=reject; rua=mailto:dmarc-reports@b.example")
		signers, err := b.Keys.Signers(ctx, "b.example")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range signers {
			rec, err := s.Record()
			if err != nil {
				t.Fatal(err)
			}
			a.zone.Text(s.Name(), rec)
		}
		if err := a.send(t, "192.0.2.2", mail.Address{}, "dmarc-reports@a.example", text); err != nil {
			t.Fatal(err)
		}
		got, err := a.reports.LatestDMARC(ctx, 10)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		j := got[0]
		if j.By != "mx.b.example" || j.Domain != "a.example" || j.Policy != "reject" || !j.Begin.Equal(day.Start()) {
			t.Errorf("%+v", j)
		}
		want := "[{192.0.2.1 3 false true pass} {203.0.113.7 1 false false quarantine} {203.0.113.7 1 false false reject}]"
		if got := fmt.Sprint(j.Sources); got != want {
			t.Errorf("%s, want\n%s", got, want)
		}
		if err := a.reports.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if list, err := a.reports.SightedAfter(ctx, 0, "", day+9, 10); err != nil || len(list) != 0 {
			t.Error("a report on a report:", list, err)
		}
		sent, err := b.reports.LatestSent(ctx, 9)
		if err != nil || len(sent) != 1 || sent[0].Counted != 5 || fmt.Sprint(sent[0].To) != "[dmarc-reports@a.example]" || len(sent[0].Mail) != 1 || sent[0].Note != "" {
			t.Errorf("%+v %v", sent, err)
		}
	})
}

// TestWhereTo: reports go where the domain says, if those there agree, and if they
// are not too large; what is temporarily unknown is asked again.
func TestWhereTo(t *testing.T) {
	for name, c := range map[string]struct {
		rua, want, note string
		records         map[string]string
	}{
		"its own":          {"mailto:r@a.example", "a.example: r", "", nil},
		"below it":         {"mailto:r@reports.a.example", "reports.a.example: r", "", nil},
		"elsewhere":        {"mailto:r@c.example", "", "c.example does not say", nil},
		"agreed":           {"mailto:r@c.example", "c.example: r", "", map[string]string{"a.example._report._dmarc.c.example": "v=DMARC1"}},
		"for anybody":      {"mailto:r@c.example", "", "c.example does not say", map[string]string{"a.example._report._dmarc.c.example": "v=spf1"}},
		"another there":    {"mailto:r@c.example", "c.example: new", "", map[string]string{"a.example._report._dmarc.c.example": "v=DMARC1; rua=mailto:new@c.example"}},
		"sent elsewhere":   {"mailto:r@c.example", "", "c.example does not say", map[string]string{"a.example._report._dmarc.c.example": "v=DMARC1; rua=mailto:victim@v.example"}},
		"too small":        {"mailto:r@a.example!1k", "", "takes up to 1024 bytes", nil},
		"one is too small": {"mailto:r@a.example!1k,mailto:big@a.example", "a.example: big", "takes up to 1024 bytes", nil},
		"large enough":     {"mailto:r@a.example!1m", "a.example: r", "", nil},
		"no such way":      {"https://a.example/,ftp:x,mailto:r@a.example", "a.example: r", "nowhere", nil},
		"twice":            {"mailto:r@a.example,mailto:r@a.example", "a.example: r", "", nil},
		"many":             {"mailto:1@a.example,mailto:2@a.example,mailto:3@a.example,mailto:4@a.example,mailto:5@a.example,mailto:6@a.example", "a.example: 1|a.example: 2|a.example: 3|a.example: 4|a.example: 5", "one too many", nil},
		"here":             {"mailto:dmarc-reports@b.example", "", "", map[string]string{"a.example._report._dmarc.b.example": "v=DMARC1"}},
		"somebody here":    {"mailto:bob@b.example", "b.example: bob", "", map[string]string{"a.example._report._dmarc.b.example": "v=DMARC1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newSide(t, "mx.b.example", "b.example")
				b.Account(0, "bob@b.example")
				b.zone.Text("_dmarc.a.example", "v=DMARC1; p=none; rua=x")
				for n, txt := range c.records {
					b.zone.Text(n, txt)
				}
				x := reports.Sight{Published: dmarc.Published{Domain: "a.example", Policy: dmarc.PolicyNone}, Wanted: strings.Split(c.rua, ",")}
				x.Row = dmarc.Row{Source: netip.MustParseAddr("192.0.2.1"), Disposition: "none", HeaderFrom: "a.example"}
				b.reports.Saw(time.Now(), x)
				time.Sleep(25 * time.Hour)
				b.zone.Fail("_dmarc.a.example", dns.ErrTemporary)
				if err := b.agent.Round(t.Context(), time.Now()); err != nil || len(b.Items()) > 0 {
					t.Fatal(b.Waiting(), err)
				}
				b.zone.Fail("_dmarc.a.example", nil)
				if err := b.agent.Round(t.Context(), time.Now()); err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(b.Waiting(), "|"); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				sent, err := b.reports.LatestSent(t.Context(), 9)
				if name != "twice" && err == nil && len(sent) == 1 && !strings.Contains(sent[0].Note, c.note) || err != nil || len(sent) != 1 || c.note == "" && sent[0].Note != "" {
					t.Errorf("%+v %v", sent, err)
				}
				kept, err := b.reports.LatestDMARC(t.Context(), 9)
				if err != nil || (len(kept) == 1) != (name == "here") {
					t.Errorf("%+v %v", kept, err)
				}
			})
		})
	}
}

// TestFrom: reports come from the domain that the host is in.
func TestFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSide(t, "mx1.mail.z.example", "a.example")
		b.Domain("z.example")
		b.reports.Count(time.Now(), "c.example", policy("c.example"), nil)
		b.zone.Text("_smtp._tls.c.example", "v=TLSRPTv1; rua=mailto:x@c.example")
		time.Sleep(25 * time.Hour)
		if err := b.agent.Round(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if text := b.carried(t)["c.example"]; !strings.Contains(text, "<postmaster@z.example>") || !strings.Contains(text, "d=z.example") {
			t.Error(text)
		}
	})
}

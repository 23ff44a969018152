package mx_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/proto/srs"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
)

func forward(h *house.House, from string, keep bool, to ...string) {
	h.T.Helper()
	f := &directory.Forward{Keep: keep}
	for _, s := range to {
		f.To = append(f.To, house.Address(s))
	}
	if err := h.Registrar.SetForward(context.Background(), house.Address(from), f); err != nil {
		h.T.Fatal(err)
	}
}

// receive takes a message from the outside.
func receive(h *house.House, sender, to, text string) (smtp.Transaction, error) {
	h.T.Helper()
	var from mail.Address
	if sender != "" {
		from = house.Address(sender)
	}
	tx, err := h.MX.Begin(h.T.Context(), peer, from, smtp.MailParams{})
	if err == nil {
		err = tx.Rcpt(h.T.Context(), house.Address(to), smtp.RcptParams{})
	}
	if err != nil {
		return tx, err
	}
	return tx, tx.Data(h.T.Context(), strings.NewReader(text))
}

// whole gives an item's message as it leaves.
func whole(h *house.House, it queue.Item) string {
	h.T.Helper()
	b, err := h.Bodies.Open(h.T.Context(), it.Body, it.Prefix)
	if err != nil {
		h.T.Fatal(err)
	}
	defer b.Close()
	out, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		h.T.Fatal(err)
	}
	return string(out)
}

// TestForward: mail that is sent on proves where it comes from, by its own
// signature and by our seal, and a bounce finds its way back.
func TestForward(t *testing.T) {
	z, signer := world(t)
	h, _ := newHouse(t)
	h.MX.DNS, h.MX.Signers = z, h.Keys.Signers
	forward(h, "ada@a.example", true, "x@far.example", "y@away.example")
	text := "From: x@good.example\r\nAuto-Submitted: auto-replied\r\nPrecedence: bulk\r\nSubject: hello\r\n\r\nHello.\r\n\r\n.\r\n \x80\xff\r\n\r\n"
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	field, err := signer.Sign([]byte(head+"\r\n\r\n"), strings.NewReader(body), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	text = string(field) + text
	tx, err := receive(h, "x@good.example", "ada+d@a.example", text)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Inbox("ada@a.example"); len(got) != 1 || !strings.HasSuffix(got[0], "\r\n"+text) || strings.Contains(got[0], "Delivered-To") {
		t.Fatalf("%q", got)
	}
	if got := h.Waiting(); !slices.Equal(got, []string{"away.example: y", "far.example: x"}) {
		t.Fatalf("%q", got)
	}
	items := h.Items()
	sent := whole(h, items[0])
	if !strings.HasPrefix(sent, "Delivered-To: ada@a.example\r\nARC-Seal: i=1;") || !strings.HasSuffix(sent, "\r\n"+text) {
		t.Fatalf("%s", sent)
	}
	publish(t, h, z, "a.example")
	// The next server sees both proofs.
	next := func(text string) (dkim.Result, dkim.Chain) { return proofs(t, z, text) }
	own, ch := next(sent)
	if own != dkim.Pass || ch.Result != dkim.Pass || len(ch.Sets) != 1 || ch.Sets[0].Domain != "a.example" || !strings.Contains(ch.Sets[0].Results, "dmarc=pass") {
		t.Errorf("%v, %+v", own, ch)
	}
	if own, ch := next(strings.Replace(sent, "Hello.", "Pay me.", 1)); own == dkim.Pass || ch.Result == dkim.Pass {
		t.Errorf("%v, %+v", own, ch)
	}
	// It goes in a circle once, and the second seal stands on the first.
	forward(h, "bob@a.example", false, "z@b.example")
	if _, err := receive(h, items[0].Envelope.Sender.String(), "bob@a.example", sent); err != nil {
		t.Fatal(err)
	}
	var twice string
	for _, it := range h.Items() {
		if it.Domain == "b.example" {
			twice = whole(h, it)
			if !strings.HasPrefix(it.Envelope.Sender.Local, "SRS0=") || it.Envelope.Sender != items[0].Envelope.Sender {
				t.Errorf("sent on from %s", it.Envelope.Sender)
			}
		}
	}
	if own, ch := next(twice); own != dkim.Pass || ch.Result != dkim.Pass || len(ch.Sets) != 2 || !strings.Contains(ch.Sets[1].Results, "arc=pass") {
		t.Errorf("%v, %+v\n%s", own, ch, twice)
	}
	if got := h.Story(tx.ID()); !slices.Contains(got, trace.Queued) {
		t.Errorf("%v", got)
	}
}

// proofs is what the next server finds of the one signature and the chain.
func proofs(t *testing.T, z *zone.Zone, text string) (dkim.Result, dkim.Chain) {
	t.Helper()
	lookup := func(ctx context.Context, name string) ([]string, error) {
		ans, err := z.TXT(ctx, name)
		if dns.IsAbsent(err) {
			err = dkim.ErrNoKey
		}
		return ans.Records, err
	}
	n := strings.Index(text, "\r\n\r\n") + 4
	sigs, err := dkim.Verify(t.Context(), []byte(text[:n]), strings.NewReader(text[n:]), lookup, time.Now())
	if err != nil || len(sigs) != 1 {
		t.Fatalf("%v, %v", sigs, err)
	}
	ch, err := dkim.VerifyChain(t.Context(), []byte(text[:n]), strings.NewReader(text[n:]), lookup, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return sigs[0].Result, ch
}

// publish puts the keys of a domain of ours into the DNS.
func publish(t *testing.T, h *house.House, z *zone.Zone, d mail.Domain) {
	t.Helper()
	signers, err := h.Keys.Signers(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if rec, err := s.Record(); err == nil {
			z.Text(s.Name(), rec)
		}
	}
}

// TestForwardLater: what waits in the queue for a mailbox whose owner meanwhile sends
// everything on is sealed with what was found when it came.
func TestForwardLater(t *testing.T) {
	z, signer := world(t)
	h, _ := newHouse(t)
	h.MX.DNS, h.MX.Signers = z, h.Keys.Signers
	h.Account(10, "tiny@a.example")
	publish(t, h, z, "a.example")
	head, body := "From: x@good.example\r\nAuthentication-Results: mx.other.example; dmarc=fail\r\n\r\n", "Hello.\r\n"
	field, err := signer.Sign([]byte(head), strings.NewReader(body), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	carry := func() (sent []string) {
		t.Helper()
		if err := h.Queue.Retry(t.Context(), h.Items()[0].ID); err != nil {
			t.Fatal(err)
		}
		claims, err := h.Queue.Claim(t.Context(), time.Minute, 10, queue.Pick{})
		if err != nil || len(claims) != 1 {
			t.Fatalf("%v, %v", claims, err)
		}
		b, err := h.Bodies.Open(t.Context(), claims[0].Body, claims[0].Prefix)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		local := mta.Local{Delivery: h.Delivery, Bodies: h.Bodies, Seal: h.MX.Sealer}
		if out, err := local.Carry(t.Context(), claims[0].Item, b); err != nil || out[0].Status.Class != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
		for _, it := range h.Items() {
			if it.Domain == "far.example" {
				sent = append(sent, whole(h, it))
			}
		}
		return sent
	}
	if _, err := receive(h, "x@good.example", "tiny@a.example", string(field)+head+body); err != nil {
		t.Fatal(err)
	}
	forward(h, "tiny@a.example", false, "x@far.example")
	sent := carry()
	if len(sent) != 1 {
		t.Fatalf("%q", sent)
	}
	own, ch := proofs(t, z, sent[0])
	if own != dkim.Pass || ch.Result != dkim.Pass || len(ch.Sets) != 1 || !strings.Contains(ch.Sets[0].Results, "dmarc=pass") || strings.Contains(ch.Sets[0].Results, "mx.other.example") {
		t.Errorf("%v, %+v\n%s", own, ch, sent[0])
	}
	// What was not judged has nothing to be sealed.
	if h.MX.Sealer([]byte("Received: x\r\nAuthentication-Results: mx.other.example; none\r\n"), nil) != nil {
		t.Error("a seal of nothing")
	}
}

// TestForwardBack: who can send what to a return address, and where it goes.
func TestForwardBack(t *testing.T) {
	h, _ := newHouse(t)
	forward(h, "ada@a.example", false, "x@far.example")
	long := strings.Repeat("bounce-", 9) + "@y.example"
	var back []string
	for _, from := range []string{"x@y.example", long, "eve@a.example", ""} {
		tx, err := receive(h, from, "ada@a.example", text)
		if err != nil {
			t.Fatal(err)
		}
		items := h.Items()
		it := items[slices.IndexFunc(items, func(it queue.Item) bool { return it.Envelope.Trace == tx.ID() })]
		back = append(back, it.Envelope.Sender.String())
		if len(it.Envelope.Sender.Local) > 64 || len(h.Inbox("ada@a.example")) != 0 {
			t.Errorf("%s: sent on from %s", from, it.Envelope.Sender)
		}
	}
	slices.Sort(back)
	if back[0] != "" || !strings.HasPrefix(back[1], "SRS0=") || !strings.HasPrefix(back[2], "SRS2=") || back[3] != "eve@a.example" || !strings.HasSuffix(back[1], "@a.example") {
		t.Fatalf("%q", back)
	}
	h.Alias("@a.example", "bob@a.example") // takes nothing of it
	forged := srs.Rewriter{Domain: "a.example", Secrets: [][]byte{[]byte("guessed")}}
	f, _ := forged.Forward(house.Address("victim@z.example"), time.Now())
	for _, c := range []struct{ sender, to, want string }{
		{"", back[1], ""},
		{"", strings.ToUpper(back[1][:20]) + back[1][20:], ""},
		{"", back[2], ""},
		{"spam@z.example", back[1], "5.7.1"},
		{"spam@z.example", back[2], "5.7.1"},
		{"", f.String(), "5.1.1"},
		{"", forged.Short(mail.NewTraceID(time.Now())).String(), "5.1.1"},
		{"", "SRS0=@a.example", "5.1.1"},
		{"", strings.Replace(back[1], "@a.", "@mx.a.", 1), "5.7.1"},   // no domain of ours
		{"", strings.Replace(back[1], "=x@", "=victim@", 1), "5.1.1"}, // another address
		{"", strings.Replace(back[1], "=y.e", "=z.e", 1), "5.1.1"},    // another domain
	} {
		if _, err := receive(h, c.sender, c.to, text); status(err) != c.want {
			t.Errorf("%s to %s: %v", c.sender, c.to, err)
		}
	}
	var got []string
	for _, it := range h.Items() {
		if it.Domain == "y.example" {
			got = append(got, it.Envelope.Recipients[0].Address.String()+" from "+it.Envelope.Sender.Path())
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{long + " from <>", "x@y.example from <>", "x@y.example from <>"}) {
		t.Errorf("%q", got)
	}
}

// TestForwardStops: loops end, junk stays, and nothing is lost.
func TestForwardStops(t *testing.T) {
	z, _ := world(t)
	h, _ := newHouse(t)
	h.MX.DNS = z
	forward(h, "ada@a.example", false, "x@far.example")
	if _, err := receive(h, "x@y.example", "ada@a.example", "delivered-to:  ADA@a.example\r\n"+text); err != nil || len(h.Inbox("ada@a.example")) != 1 || len(h.Items()) != 0 {
		t.Errorf("what came back: %v", err)
	}
	h.Alias("out@a.example", "x@far.example")
	h.Alias("mixed@a.example", "x@far.example", "bob@a.example")
	if _, err := receive(h, "x@y.example", "out@a.example", "Delivered-To: out@a.example\r\n"+text); status(err) != "5.4.6" {
		t.Errorf("an alias: %v", err)
	}
	junk := "From: x@sub.good.example\r\n\r\nx\r\n"
	if _, err := receive(h, "x@y.example", "ada@a.example", junk); err != nil || len(h.Box("ada@a.example", "Junk")) != 1 || len(h.Items()) != 0 {
		t.Errorf("junk: %v", err)
	}
	if _, err := receive(h, "x@y.example", "out@a.example", junk); status(err) != "5.7.1" || len(h.Items()) != 0 {
		t.Errorf("junk to an alias: %v", err)
	}
	if _, err := receive(h, "x@y.example", "mixed@a.example", junk); err != nil || len(h.Box("bob@a.example", "Junk")) != 1 || len(h.Items()) != 0 {
		t.Errorf("junk to an alias of two: %v", err)
	}
	h.Delivery.PassJunk = true
	if _, err := receive(h, "x@y.example", "ada@a.example", junk); err != nil || len(h.Items()) != 1 {
		t.Errorf("junk that is sent on: %v", err)
	}
	// Two who send on to each other: the last one keeps it.
	forward(h, "ada@a.example", false, "bob@a.example")
	forward(h, "bob@a.example", false, "ada@a.example")
	before := len(h.Inbox("ada@a.example")) + len(h.Inbox("bob@a.example"))
	if _, err := receive(h, "x@y.example", "ada@a.example", text); err != nil || len(h.Inbox("ada@a.example"))+len(h.Inbox("bob@a.example")) != before+1 {
		t.Errorf("a circle: %v", err)
	}
	// One who sends on to nobody keeps it.
	forward(h, "bob@a.example", false, "nobody@a.example")
	before = len(h.Inbox("bob@a.example"))
	if _, err := receive(h, "x@y.example", "bob@a.example", text); err != nil || len(h.Inbox("bob@a.example")) != before+1 {
		t.Errorf("to nobody: %v", err)
	}
}

// TestForwardFull: a mailbox without room does not have mail sent on twice.
func TestForwardFull(t *testing.T) {
	h, _ := newHouse(t)
	h.Account(10, "tiny@a.example")
	forward(h, "tiny@a.example", true, "x@far.example")
	if _, err := receive(h, "x@y.example", "tiny@a.example", text); err != nil {
		t.Fatal(err)
	}
	if got := h.Waiting(); !slices.Equal(got, []string{"a.example: tiny", "far.example: x"}) {
		t.Fatalf("%q", got)
	}
	for _, it := range h.Items() {
		if it.Domain != "a.example" {
			continue
		}
		if !bytes.HasPrefix(it.Prefix, []byte("Delivered-To: tiny@a.example\r\n")) || it.Envelope.Sender != house.Address("x@y.example") {
			t.Errorf("%q", it.Prefix)
		}
	}
}

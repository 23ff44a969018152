package mda_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
)

const text = "From: x@y.example\r\nSubject: hello\r\nMessage-ID: <1@y.example>\r\n\r\nHello.\r\n"

// letter makes a message for the recipients.
func letter(h *house.House, body string, to ...string) mda.Mail {
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: house.Address("x@y.example")}
	for _, s := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: house.Address(s)})
	}
	return mda.Mail{Envelope: env, Body: h.Stage(body), Trace: []byte("Received: here\r\n")}
}

const front = "Return-Path: <x@y.example>\r\nReceived: here\r\n"

func newHouse(t testing.TB) *house.House {
	h := house.New(t, "mx.a.example")
	h.Account(0, "ada@a.example", "bob@a.example", "eve@b.example")
	return h
}

// TestDeliver: who gets what, by what the directory says.
func TestDeliver(t *testing.T) {
	for _, c := range []struct {
		name    string
		to      []string
		status  string            // of a refusal
		boxes   map[string]int    // messages in each INBOX
		waiting []string          // in the queue
		no      map[string]string // what Try says of a recipient: "" is delivered
	}{
		{name: "one", to: []string{"ada@a.example"}, boxes: map[string]int{"ada@a.example": 1}},
		{name: "once for all addresses", to: []string{"ada@a.example", "ADA@a.example", "ada+x@a.example", "me@b.example"}, boxes: map[string]int{"ada@a.example": 1}},
		{name: "two domains", to: []string{"ada@a.example", "eve@b.example"}, boxes: map[string]int{"ada@a.example": 1, "eve@b.example": 1}},
		{name: "an alias of both", to: []string{"both@a.example", "bob@a.example"}, boxes: map[string]int{"ada@a.example": 1, "bob@a.example": 1}},
		{name: "elsewhere", to: []string{"x@far.example", "y@far.example", "z@away.example"}, waiting: []string{"away.example: z", "far.example: x y"}},
		{name: "an alias to elsewhere", to: []string{"out@a.example", "x@far.example"}, boxes: map[string]int{"ada@a.example": 1}, waiting: []string{"far.example: x"}},
		{name: "catch-all", to: []string{"anybody@c.example", "some+body@c.example"}, boxes: map[string]int{"bob@a.example": 1}},
		{name: "aliases of aliases", to: []string{"deep@a.example"}, boxes: map[string]int{"ada@a.example": 1, "bob@a.example": 1}},
		{name: "a circle with a way out", to: []string{"ring@a.example"}, boxes: map[string]int{"eve@b.example": 1}},
		{name: "a circle", to: []string{"round@a.example"}, status: "5.4.6", no: map[string]string{"round@a.example": "5.4.6"}},
		{name: "an alias to nobody", to: []string{"dead@a.example"}, status: "5.1.1", no: map[string]string{"dead@a.example": "5.1.1"}},
		{name: "nobody", to: []string{"nobody@a.example"}, status: "5.1.1", no: map[string]string{"nobody@a.example": "5.1.1"}},
		{name: "nobody at all", status: "5.5.1"},
		{
			// The one that cannot be served is told of by the queue.
			name: "one and nobody", to: []string{"ada@a.example", "nobody@a.example", "round@a.example"}, boxes: map[string]int{"ada@a.example": 1},
			waiting: []string{"a.example: nobody round"}, no: map[string]string{"nobody@a.example": "5.1.1", "round@a.example": "5.4.6"},
		},
		{name: "postmaster", to: []string{"Postmaster@a.example"}, boxes: map[string]int{"ada@a.example": 1}},
		{name: "postmaster of a domain without accounts", to: []string{"postmaster@d.example"}, boxes: map[string]int{"ada@a.example": 1}},
		{name: "postmaster of the host", to: []string{"postmaster@mx.a.example"}, boxes: map[string]int{"ada@a.example": 1}},
		{name: "somebody of the host", to: []string{"ada@mx.a.example"}, waiting: []string{"mx.a.example: ada"}},
	} {
		build := func(t *testing.T) *house.House {
			h := newHouse(t)
			h.Domain("d.example")
			h.Alias("me@b.example", "ada@a.example")
			h.Alias("both@a.example", "ada@a.example", "bob@a.example")
			h.Alias("out@a.example", "ada@a.example", "x@far.example")
			h.Alias("@c.example", "bob@a.example")
			h.Alias("deep@a.example", "deeper@b.example")
			h.Alias("deeper@b.example", "both@a.example")
			h.Alias("ring@a.example", "gnir@a.example")
			h.Alias("gnir@a.example", "ring@a.example", "eve@b.example")
			h.Alias("round@a.example", "dnuor@a.example")
			h.Alias("dnuor@a.example", "round@a.example")
			h.Alias("dead@a.example", "nobody@a.example")
			return h
		}
		check := func(t *testing.T, h *house.House) {
			for _, who := range []string{"ada@a.example", "bob@a.example", "eve@b.example"} {
				got := h.Inbox(who)
				if len(got) != c.boxes[who] {
					t.Errorf("%s has %d messages, want %d", who, len(got), c.boxes[who])
				}
				for _, m := range got {
					if m != front+text {
						t.Errorf("%s has %q", who, m)
					}
				}
			}
		}
		t.Run("Deliver/"+c.name, func(t *testing.T) {
			h := build(t)
			m := letter(h, text, c.to...)
			err := h.Delivery.Deliver(t.Context(), m)
			no, _ := errors.AsType[*mail.Refusal](err)
			if c.status == "" && err != nil || c.status != "" && (no == nil || no.Status.String() != c.status) {
				t.Fatalf("%v, want %q", err, c.status)
			}
			check(t, h)
			if got := h.Waiting(); !slices.Equal(got, c.waiting) {
				t.Errorf("waiting: %q, want %q", got, c.waiting)
			}
			if err != nil && h.Story(m.Envelope.Trace) != nil {
				t.Error("a story of what was not delivered")
			}
		})
		t.Run("Try/"+c.name, func(t *testing.T) {
			h := build(t)
			outs, err := h.Delivery.Try(t.Context(), letter(h, text, c.to...))
			if err != nil || len(outs) != len(c.to) {
				t.Fatalf("%v, %v", outs, err)
			}
			for i, o := range outs {
				want := "2.1.5"
				if s := c.no[c.to[i]]; s != "" {
					want = s
				}
				if o.Recipient.Address != house.Address(c.to[i]) || o.Status.String() != want {
					t.Errorf("%s: %+v, want %s", c.to[i], o, want)
				}
			}
			check(t, h)
			if len(c.no) == 0 {
				if got := h.Waiting(); !slices.Equal(got, c.waiting) {
					t.Errorf("waiting: %q, want %q", got, c.waiting)
				}
			}
		})
	}
}

// TestAccepts: what is said at RCPT.
func TestAccepts(t *testing.T) {
	h := newHouse(t)
	h.Alias("out@a.example", "x@far.example")
	for to, want := range map[string]string{
		"ada@a.example": "", "ada+x@a.example": "", "out@a.example": "", "postmaster@b.example": "", "POSTMASTER@mx.a.example": "",
		"nobody@a.example": "5.1.1", "ada@c.example": "5.7.1", "ada@mx.a.example": "5.7.1", `"x@far.example"@a.example`: "5.1.1",
		"ada%far.example@a.example": "5.1.1", "ada@[192.0.2.1]": "5.7.1",
	} {
		err := h.Delivery.Accepts(t.Context(), house.Address("x@y.example"), mail.Recipient{Address: house.Address(to)})
		no, _ := errors.AsType[*mail.Refusal](err)
		if want == "" && err != nil || want != "" && (no == nil || no.Status.String() != want) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
}

// TestEvents: the story of a delivery, and that Mailbox says where to.
func TestEvents(t *testing.T) {
	h := newHouse(t)
	m := letter(h, text, "ada@a.example", "x@far.example")
	m.Mailbox = mailbox.JunkRole
	m.Events = []trace.Event{{Trace: m.Envelope.Trace, Kind: trace.Received, Time: m.Envelope.Trace.Time()}}
	if err := h.Delivery.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := h.Story(m.Envelope.Trace); !slices.Equal(got, []trace.Kind{trace.Received, trace.Stored, trace.Queued}) {
		t.Errorf("%v", got)
	}
	if got := h.Box("ada@a.example", "Junk"); len(got) != 1 {
		t.Errorf("%d messages in Junk", len(got))
	}
	it := h.Items()[0]
	if it.Envelope.Sender != m.Envelope.Sender || string(it.Prefix) != "Received: here\r\n" || it.Next.After(time.Now()) {
		t.Errorf("queued as %+v", it)
	}
}

// TestFull: no room in one mailbox does not hold up the others; Deliver queues
// for later, Try tells.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.Account(10, "tiny@a.example", "small@a.example")
		h.Alias("list@a.example", "ada@a.example", "tiny@a.example")
		if err := h.Delivery.Deliver(t.Context(), letter(h, text, "bob@a.example", "tiny@a.example", "small@a.example")); err != nil {
			t.Fatal(err)
		}
		if got := h.Waiting(); !slices.Equal(got, []string{"a.example: tiny small"}) || len(h.Inbox("bob@a.example")) != 1 {
			t.Fatalf("waiting: %q", got)
		}
		it := h.Items()[0]
		if d := time.Until(it.Next); d != 15*time.Minute || it.Status.String() != "4.2.2" || it.Text != "mailbox full" {
			t.Errorf("tried again in %v: %+v", d, it)
		}
		told, err := h.Journal.Events(t.Context(), it.Envelope.Trace)
		if err != nil || !strings.Contains(strings.Join(trace.Story(told, time.UTC), "\n"), "It could not be delivered to tiny@a.example yet. The recipient's mailbox on this server is full. We try again at ") {
			t.Errorf("%q, %v", trace.Story(told, time.UTC), err)
		}
		outs, err := h.Delivery.Try(t.Context(), letter(h, text, "ada@a.example", "tiny@a.example"))
		if err != nil || outs[0].Status.Class != 2 || outs[1].Status.String() != "4.2.2" || len(h.Waiting()) != 1 {
			t.Errorf("%+v, %v; waiting %q", outs, err, h.Waiting())
		}
		// Behind an alias the full one waits for itself: who tried the alias again
		// would deliver to ada again.
		for i, to := range [][]string{{"list@a.example"}, {"tiny@a.example", "list@a.example"}, {"list@a.example", "tiny@a.example"}} {
			outs, err := h.Delivery.Try(t.Context(), letter(h, text, to...))
			if err != nil || slices.ContainsFunc(outs, func(o mail.Outcome) bool { return o.Status.Class != 2 }) {
				t.Errorf("%q: %+v, %v", to, outs, err)
			}
			if got := h.Waiting(); len(got) != i+2 || got[len(got)-1] != "a.example: tiny small" || got[0] != "a.example: tiny" {
				t.Errorf("%q: waiting: %q", to, got)
			}
			if got := len(h.Inbox("ada@a.example")); got != i+2 {
				t.Errorf("%q: ada has %d messages", to, got)
			}
		}
		if len(h.Inbox("tiny@a.example")) != 0 {
			t.Error("a full mailbox took a message")
		}
	})
}

// TestMany: more accounts than a transaction takes are reached through the
// queue, at once, and nobody twice. The store's limits are kept by kv.Strict.
func TestMany(t *testing.T) {
	for name, body := range map[string]string{
		"small": text,
		"large": text + strings.Repeat("words and words\r\n", 10_000),
		// The record of such a header takes 80 KB a mailbox.
		"wide": "Subject: x\r\nReferences: " + strings.Repeat("<somebody@somewhere.example>\r\n ", 2500) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := house.New(t, "mx.a.example")
			var all []string
			for i := range 330 {
				all = append(all, fmt.Sprintf("account%d@a.example", i))
			}
			h.Account(0, all...)
			h.Alias("all@a.example", all...)
			if err := h.Delivery.Deliver(t.Context(), letter(h, body, "all@a.example")); err != nil {
				t.Fatal(err)
			}
			items := h.Items()
			rounds := 0
			for ; len(items) > 0; items = h.Items() {
				if rounds++; rounds > 200 {
					t.Fatal("no end in sight")
				}
				for _, it := range items {
					if len(it.Envelope.Recipients) > 100 || it.Next.After(time.Now()) {
						t.Fatalf("an item for %d, due %v", len(it.Envelope.Recipients), it.Next)
					}
					if it.Envelope.Recipients[0].Original != house.Address("all@a.example") {
						t.Fatalf("recipient %+v", it.Envelope.Recipients[0])
					}
					m := mda.Mail{Envelope: it.Envelope, Body: h.Stage(body), Trace: it.Prefix}
					outs, err := h.Delivery.Try(t.Context(), m)
					if err != nil {
						t.Fatal(err)
					}
					claims, err := h.Queue.Claim(t.Context(), time.Hour, 1000, queue.Pick{})
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range claims {
						if c.ID == it.ID {
							settle(t, h, c, outs)
							continue
						}
						if err := h.Queue.Revoke(t.Context(), c.ID); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			for _, a := range all {
				if got := h.Inbox(a); !reflect.DeepEqual(got, []string{front + body}) {
					t.Fatalf("%s has %d messages", a, len(got))
				}
			}
		})
	}
}

// TestWide: as many domains as a transaction takes, and not more.
func TestWide(t *testing.T) {
	h := newHouse(t)
	recipients := func(n int) (out []string) {
		out = append(out, "ada@a.example")
		for i := range n {
			out = append(out, fmt.Sprintf("somebody@domain%d.example", i))
		}
		return out
	}
	m := letter(h, text, recipients(1000)...)
	m.Trace = []byte(strings.Repeat("Received: from somewhere\r\n", 8))
	if err := h.Delivery.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := len(h.Waiting()); got != 1000 {
		t.Errorf("%d items", got)
	}
	m = letter(h, text, recipients(4000)...)
	err := h.Delivery.Deliver(t.Context(), m)
	if no, ok := errors.AsType[*mail.Refusal](err); !ok || no.Status.String() != "4.5.3" {
		t.Errorf("%v", err)
	}
	if len(h.Waiting()) != 1000 || len(h.Inbox("ada@a.example")) != 1 {
		t.Error("a part of it was delivered")
	}
}

// TestBomb: aliases that all lead to each other take no time without end.
func TestBomb(t *testing.T) {
	h := newHouse(t)
	name := func(level, i int) string { return fmt.Sprintf("l%d-%d@a.example", level, i) }
	for level := range 9 {
		for i := range 20 {
			var to []string
			for j := range 20 {
				to = append(to, name(level+1, j))
			}
			if level == 8 {
				to = []string{"ada@a.example"}
			}
			h.Alias(name(level, i), to...)
		}
	}
	begin := time.Now()
	if err := h.Delivery.Deliver(t.Context(), letter(h, text, name(0, 0))); err != nil {
		t.Fatal(err)
	}
	t.Logf("it took %v", time.Since(begin))
	if got := len(h.Inbox("ada@a.example")); got != 1 {
		t.Errorf("ada has %d messages", got)
	}
	// A list that is too long is refused whole: nobody on it is left out in silence.
	var to []string
	for i := range 3000 {
		to = append(to, fmt.Sprintf("x%d@far.example", i))
	}
	h.Alias("half@a.example", to...)
	for i := range to {
		to[i] = "x" + to[i]
	}
	h.Alias("other@a.example", to...)
	h.Alias("long@a.example", "half@a.example", "other@a.example")
	err := h.Delivery.Deliver(t.Context(), letter(h, text, "bob@a.example", "long@a.example"))
	if no, ok := errors.AsType[*mail.Refusal](err); !ok || no.Status.String() != "5.5.3" {
		t.Errorf("%v", err)
	}
	if len(h.Inbox("bob@a.example")) != 0 || len(h.Items()) != 0 {
		t.Error("a part of it was delivered")
	}
}

// TestGone: an account that goes between plan and delivery is our failure, and
// the next try tells.
func TestGone(t *testing.T) {
	h := newHouse(t)
	if err := h.Registrar.RemoveAccount(t.Context(), house.Address("bob@a.example")); err != nil {
		t.Fatal(err)
	}
	outs, err := h.Delivery.Try(t.Context(), letter(h, text, "ada@a.example", "bob@a.example"))
	if err != nil || outs[0].Status.Class != 2 || outs[1].Status.String() != "5.1.1" {
		t.Errorf("%+v, %v", outs, err)
	}
}

// TestDoor: LMTP, with an answer for each.
func TestDoor(t *testing.T) {
	h := newHouse(t)
	h.Account(10, "tiny@a.example")
	d := &mda.Door{Hostname: "mx.a.example", Agent: h.Delivery}
	tx, err := d.Begin(t.Context(), mail.Peer{Hello: "client"}, house.Address("x@y.example"), smtp.MailParams{})
	if err != nil {
		t.Fatal(err)
	}
	for to, ok := range map[string]bool{"nobody@a.example": false, "x@far.example": false} {
		if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); (err == nil) != ok {
			t.Errorf("%s: %v", to, err)
		}
	}
	for _, to := range []mail.Address{house.Address("bob@a.example"), house.Address("tiny@a.example"), {Local: "postmaster"}} {
		if err := tx.Rcpt(t.Context(), to, smtp.RcptParams{}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	outs, err := tx.(smtp.LMTPTransaction).DataEach(t.Context(), strings.NewReader(text))
	if err != nil || len(outs) != 3 || outs[0].Status.Class != 2 || outs[1].Status.String() != "4.2.2" || outs[2].Status.Class != 2 {
		t.Errorf("%+v, %v", outs, err)
	}
	if got := h.Story(tx.ID()); !slices.Equal(got, []trace.Kind{trace.Received, trace.Stored, trace.Stored}) {
		t.Errorf("%v", got)
	}
	got := h.Inbox("bob@a.example")
	if len(got) != 1 || !strings.HasSuffix(got[0], text) || !strings.Contains(got[0], "with LMTP id "+tx.ID().String()) {
		t.Errorf("%q", got)
	}
	// One answer for all: the worst.
	tx, _ = d.Begin(t.Context(), mail.Peer{}, mail.Address{}, smtp.MailParams{})
	tx.Rcpt(t.Context(), house.Address("tiny@a.example"), smtp.RcptParams{})
	if err := tx.Data(t.Context(), strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "4.2.2") {
		t.Errorf("%v", err)
	}
	tx, _ = d.Begin(t.Context(), mail.Peer{}, mail.Address{}, smtp.MailParams{})
	tx.Rcpt(t.Context(), house.Address("ada@a.example"), smtp.RcptParams{})
	if err := tx.Data(t.Context(), strings.NewReader(strings.Repeat("Received: x\r\n", 101)+text)); err == nil || !strings.Contains(err.Error(), "5.4.6") {
		t.Errorf("a circle: %v", err)
	}
}

// TestHangUp: who hangs up after the end of the message does not catch us half
// way.
func TestHangUp(t *testing.T) {
	h := newHouse(t)
	d := &mda.Door{Hostname: "mx.a.example", Agent: h.Delivery}
	ctx, cancel := context.WithCancel(t.Context())
	tx, _ := d.Begin(ctx, mail.Peer{}, mail.Address{}, smtp.MailParams{})
	tx.Rcpt(ctx, house.Address("ada@a.example"), smtp.RcptParams{})
	if err := tx.Data(ctx, &hangUp{strings.NewReader(text), cancel}); err != nil {
		t.Fatal(err)
	}
	if len(h.Inbox("ada@a.example")) != 1 {
		t.Error("it is lost")
	}
}

// A hangUp calls end when it has been read to its end.
type hangUp struct {
	r   *strings.Reader
	end func()
}

func (h *hangUp) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if err != nil {
		h.end()
	}
	return n, err
}

// TestPost: who may send mail to a shared folder. RFC 4314 §2.1, p
func TestPost(t *testing.T) {
	h := newHouse(t)
	r := h.Registrar
	if _, err := r.AddAccount(t.Context(), registrar.NewAccount{Address: house.Address("team@a.example"), Shared: true}); err != nil {
		t.Fatal(err)
	}
	ada, err := h.Directory.AccountOf(t.Context(), house.Address("ada@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	h.Alias("all@a.example", "team@a.example")
	_, _, err = r.RenameAccount(t.Context(), registrar.Rename{From: house.Address("team@a.example"), To: house.Address("group@a.example"), Alias: true})
	if err == nil {
		_, _, err = r.RenameAccount(t.Context(), registrar.Rename{From: house.Address("group@a.example"), To: house.Address("team@a.example"), Alias: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who, rights                string
		stranger, ada, anybodyElse bool // may post
	}{
		{"anyone", "lr", false, false, false},
		{"authenticated", "lrsp", false, true, true},
		{"-ada@a.example", "p", false, false, true},
		{"anyone", "lrp", true, false, true},
	} {
		if err := r.Share(t.Context(), house.Address("team@a.example"), c.who, c.rights); err != nil {
			t.Fatal(err)
		}
		for from, want := range map[mail.AccountID]bool{0: c.stranger, ada.ID: c.ada, ada.ID + 1000: c.anybodyElse} {
			for _, to := range []string{"team@a.example", "TEAM+x@a.example", "group@a.example", "group+x@a.example"} {
				if err := h.Delivery.AcceptsFrom(t.Context(), from, mail.Recipient{Address: house.Address(to)}); (err == nil) != want {
					t.Errorf("after %s %s, from %d to %s: %v", c.who, c.rights, from, to, err)
				}
			}
		}
		if err := h.Delivery.Accepts(t.Context(), house.Address("x@y.example"), mail.Recipient{Address: house.Address("all@a.example")}); err != nil {
			t.Error(err)
		}
	}
	if err := h.Delivery.Deliver(t.Context(), letter(h, text, "team@a.example")); err != nil {
		t.Fatal(err)
	}
	junk := letter(h, text, "team@a.example")
	junk.Mailbox = mailbox.JunkRole
	if err := h.Delivery.Deliver(t.Context(), junk); err != nil {
		t.Fatal(err)
	}
	if len(h.Inbox("team@a.example")) != 1 || len(h.Box("team@a.example", "INBOX/Junk")) != 1 {
		t.Error("not filed")
	}
	if err := r.SetPassword(t.Context(), house.Address("team@a.example"), "long enough a password"); !errors.Is(err, registrar.ErrShared) {
		t.Error(err)
	}
	if err := r.Share(t.Context(), house.Address("ada@a.example"), "anyone", "l"); !errors.Is(err, registrar.ErrNotShared) {
		t.Error(err)
	}
	list, err := r.Rights(t.Context(), house.Address("team@a.example"))
	if err != nil || len(list) != 3 || list[0] != (registrar.Rights{Who: "anyone", Rights: "lrp"}) {
		t.Error(list, err)
	}
	if err := r.RemoveAccount(t.Context(), house.Address("ada@a.example")); err != nil {
		t.Fatal(err)
	}
	if list, err := r.Rights(t.Context(), house.Address("team@a.example")); err != nil || len(list) != 2 {
		t.Error(list, err)
	}
}

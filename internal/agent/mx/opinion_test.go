package mx_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/agent/mx"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/opinion"
	"posthaste/test/house"
)

// TestSway: what somebody thinks of a sender decides between the inbox and Junk, and over
// what the author's domain asks for only after the second time.
func TestSway(t *testing.T) {
	p := mx.Policy{NoName: 2, BadHello: 3, Junk: 5}
	bad := mx.Client{Judged: true, Addr: netip.MustParseAddr("192.0.2.9"), Hello: "localhost", Iprev: mx.IprevPermError}
	quarantine := dmarc.Evaluation{Result: dmarc.Fail, Policy: dmarc.Quarantine}
	when := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		o     opinion.Opinion
		c     mx.Client
		dmarc dmarc.Evaluation
		junk  bool
		text  string
	}{
		"nothing":                   {},
		"nothing, junk":             {c: bad, junk: true, text: "because of where it comes from"},
		"junk":                      {o: opinion.Opinion{At: when, Junk: true, Times: 1}, junk: true, text: "junk, since mail of x@b.example was moved to Junk or marked as junk there on 3 May 2026"},
		"junk anyway":               {o: opinion.Opinion{At: when, Junk: true, Times: 1}, c: bad, junk: true, text: "because of where it comes from"},
		"wanted":                    {o: opinion.Opinion{At: when, Times: 1}, c: bad, text: "not junk, since mail of x@b.example was taken out of Junk or marked as no junk there on 3 May 2026; else it would be junk because"},
		"wanted anyway":             {o: opinion.Opinion{At: when, Times: 1}},
		"its domain says otherwise": {o: opinion.Opinion{At: when, Times: 1}, dmarc: quarantine, junk: true, text: "as its domain asks"},
		"wanted again":              {o: opinion.Opinion{At: when, Times: 2}, dmarc: quarantine, text: "not junk"},
	} {
		ev := mx.Evidence{FromFields: 1, Authors: 1, Author: house.Address("x@b.example"), Judged: true, Client: c.c, DMARC: c.dmarc, Opinion: c.o}
		v := mx.Judge(p, ev)
		if v.Refusal != nil || (v.Mailbox == mailbox.JunkRole) != c.junk || !strings.Contains(v.Reason, c.text) || (c.text == "") != (v.Reason == "") {
			t.Errorf("%s: %+v", name, v)
		}
	}
	ev := mx.Evidence{FromFields: 2, Judged: true, Opinion: opinion.Opinion{At: when, Times: 9}}
	if v := mx.Judge(p, ev); v.Refusal == nil {
		t.Error("what is refused is refused")
	}
}

// A sorter is somebody who sorts her mail.
type sorter struct {
	*house.House
	t *testing.T
	n int
}

func newSorter(t *testing.T) *sorter {
	h, _ := newHouse(t)
	z := new(zone.Zone)
	z.Text("shop.example", "v=spf1 ip4:192.0.2.7 -all").Text("_dmarc.shop.example", "v=DMARC1; p=none")
	z.Text("list.example", "v=spf1 ip4:192.0.2.8 -all")
	z.Text("_dmarc.bank.example", "v=DMARC1; p=quarantine")
	h.MX.DNS = z
	return &sorter{House: h, t: t}
}

// comes brings a message and gives where it is for ada and bob.
func (s *sorter) comes(ip, sender, author string) (ada, bob string) {
	s.t.Helper()
	s.n++
	p := mail.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 9), Hello: "mx.y.example"}
	tx, err := s.MX.Begin(s.t.Context(), p, house.Address(sender), smtp.MailParams{})
	for _, to := range []string{"ada@a.example", "bob@a.example"} {
		if err == nil {
			err = tx.Rcpt(s.t.Context(), house.Address(to), smtp.RcptParams{})
		}
	}
	if err == nil {
		err = tx.Data(s.t.Context(), strings.NewReader("From: <"+author+">\r\n\r\nHello.\r\n"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	events, err := s.Journal.Events(s.t.Context(), tx.ID())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range events {
		switch {
		case e.Kind == trace.Stored && e.Rcpt.Local == "ada":
			ada = e.Mailbox
		case e.Kind == trace.Stored:
			bob = e.Mailbox
		}
		if e.Kind == trace.Stored && (e.Text != "") != (e.Rcpt.Local == "ada" && ada != bob) && ada != "" && bob != "" {
			s.t.Errorf("%+v", e)
		}
	}
	return ada, bob
}

// moves moves, or copies, what ada has in a mailbox.
func (s *sorter) moves(from, to string, copies bool) {
	s.t.Helper()
	ctx := s.t.Context()
	box := func(name string) mailbox.Box {
		m, err := s.Mailboxes.Lookup(ctx, 1, name)
		if err != nil {
			s.t.Fatal(err)
		}
		return mailbox.Box{Account: 1, Mailbox: m.ID}
	}
	move := s.Mailboxes.MoveBetween
	if copies {
		move = s.Mailboxes.CopyBetween
	}
	if _, err := move(ctx, mailbox.Transfer{From: box(from), To: box(to), UIDs: mail.UIDSpan(1, 1000), Keep: ^mailbox.Flags(0), By: 1}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sorter) expect(ip, sender, author, want string) {
	s.t.Helper()
	ada, bob := s.comes(ip, sender, author)
	if bob != "INBOX" && author != "info@bank.example" {
		s.t.Errorf("%s: bob has it in %s", author, bob)
	}
	if ada != want {
		s.t.Errorf("%s from %s: ada has it in %s, want %s", author, ip, ada, want)
	}
}

// TestSorting: what ada moves to Junk counts against its sender for her alone, and what
// she takes out of it counts for who comes as he did.
func TestSorting(t *testing.T) {
	for _, copies := range []bool{false, true} {
		s := newSorter(t)
		s.expect("192.0.2.7", "x@shop.example", "News@shop.example", "INBOX")
		s.moves("INBOX", "Junk", copies)
		s.expect("192.0.2.7", "y@shop.example", "news@shop.example", "Junk")
		s.expect("192.0.2.7", "y@shop.example", "orders@shop.example", "INBOX")
		s.expect("192.0.2.9", "y@shop.example", "news@shop.example", "Junk") // whoever claims to be him
		// To throw it away says nothing of it, nor to sort what is junk.
		if _, err := s.Mailboxes.CreateMailbox(t.Context(), 1, "Junk/Old", mailbox.NoRole); err != nil {
			t.Fatal(err)
		}
		s.moves("Junk", "Junk/Old", copies)
		s.moves("Junk/Old", "Trash", copies)
		s.expect("192.0.2.7", "y@shop.example", "news@shop.example", "Junk")
		s.moves("Junk", "Archive", copies)
		s.expect("192.0.2.7", "y@shop.example", "news@shop.example", "INBOX")
	}
}

// TestTakenOut: who is not proven is believed only if he comes as he did.
func TestTakenOut(t *testing.T) {
	s := newSorter(t)
	for range 2 {
		s.expect("192.0.2.8", "bounce@list.example", "info@bank.example", "Junk")
		s.moves("Junk", "INBOX", false)
	}
	s.expect("192.0.2.8", "bounce@list.example", "info@bank.example", "INBOX")
	s.expect("198.51.100.9", "bounce@evil.example", "info@bank.example", "Junk")
	s.expect("192.0.2.8", "bounce@list.example", "info@bank.example", "INBOX")
}

// marks changes the keywords of what ada has in a mailbox.
func (s *sorter) marks(box string, mode mailbox.FlagMode, keywords ...string) {
	s.t.Helper()
	ctx := s.t.Context()
	m, err := s.Mailboxes.Lookup(ctx, 1, box)
	if err == nil {
		_, err = s.Mailboxes.StoreFlags(ctx, 1, m.ID, mail.UIDSpan(1, 1000), mailbox.FlagChange{Mode: mode, Keywords: keywords, By: 1})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestMarked: to mark as junk, or what lies in Junk as none, counts as to move; and both
// of the same message count once. What programs mark by themselves says nothing.
func TestMarked(t *testing.T) {
	const ip, from, shop = "192.0.2.7", "x@shop.example", "news@shop.example"
	s := newSorter(t)
	s.expect(ip, from, shop, "INBOX")
	s.marks("INBOX", mailbox.AddFlags, "Junk", "NonJunk", "$Phishing")
	s.expect(ip, from, shop, "INBOX")
	s.marks("INBOX", mailbox.AddFlags, "$junk")
	s.expect(ip, from, shop, "Junk")
	s.marks("Junk", mailbox.ReplaceFlags, "$NotJunk")
	s.expect(ip, from, shop, "INBOX")
	// Both says neither, until one goes; and so it does in one step.
	s.marks("INBOX", mailbox.ReplaceFlags, "$NotJunk")
	s.marks("INBOX", mailbox.AddFlags, "$Junk")
	s.expect(ip, from, shop, "INBOX")
	s.marks("INBOX", mailbox.RemoveFlags, "$NotJunk")
	s.expect(ip, from, shop, "Junk")
	s.marks("INBOX", mailbox.ReplaceFlags, "$NotJunk")
	s.expect(ip, from, shop, "INBOX")
	// What is good news of all that comes is none.
	s.marks("INBOX", mailbox.ReplaceFlags, "$Junk")
	s.expect(ip, from, shop, "Junk")
	s.marks("Archive", mailbox.AddFlags, "$NotJunk")
	s.moves("INBOX", "Trash", false)
	s.marks("Trash", mailbox.ReplaceFlags, "$NotJunk")
	s.expect(ip, from, shop, "Junk")
	s.moves("Junk", "INBOX", false)
	s.moves("INBOX", "Junk", false)
	s.marks("Junk", mailbox.AddFlags, "$Junk")
	s.moves("Junk", "INBOX", false)
	s.marks("INBOX", mailbox.ReplaceFlags)
	s.expect(ip, from, shop, "INBOX")
}

// TestMarkedAndMoved: what is marked and then moved has been sorted once.
func TestMarkedAndMoved(t *testing.T) {
	s := newSorter(t)
	for _, want := range []string{"Junk", "Junk", "INBOX"} {
		s.expect("192.0.2.8", "bounce@list.example", "info@bank.example", want)
		s.marks("Junk", mailbox.AddFlags, "$NotJunk")
		s.moves("Junk", "INBOX", false)
	}
	// A mark of before does not keep a move from counting.
	s.moves("INBOX", "Junk", false)
	s.expect("192.0.2.8", "bounce@list.example", "info@bank.example", "Junk")
	s.moves("Junk", "INBOX", false)
	s.expect("192.0.2.8", "bounce@list.example", "info@bank.example", "INBOX")
}

// TestSortedLater: what has waited for a full mailbox goes where its owner wants it then.
func TestSortedLater(t *testing.T) {
	s := newSorter(t)
	limit := func(bytes int64) {
		if err := s.Mailboxes.SetLimits(t.Context(), 1, bytes, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.expect("192.0.2.7", "x@shop.example", "news@shop.example", "INBOX")
	limit(1)
	tx, err := s.MX.Begin(t.Context(), mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.7:9"), Hello: "mx.y.example"}, house.Address("x@shop.example"), smtp.MailParams{})
	if err == nil {
		err = tx.Rcpt(t.Context(), house.Address("ada@a.example"), smtp.RcptParams{})
	}
	if err == nil {
		err = tx.Data(t.Context(), strings.NewReader("From: news@shop.example\r\n\r\nHello.\r\n"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if list := s.Items(); len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	s.moves("INBOX", "Junk", false)
	limit(0)
	for _, it := range s.Items() {
		if why, words := mta.Reason(&it); why == "new" || !strings.Contains(words, "full") {
			t.Errorf("it waits for %q: %q", why, words)
		}
		claim, err := s.Queue.Take(t.Context(), it.ID, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Bodies.Open(t.Context(), it.Body, it.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		local := mta.Local{Delivery: s.Delivery, Bodies: s.Bodies, Sort: s.MX.Sorter}
		if out, err := local.Carry(t.Context(), claim.Item, b); err != nil || out[0].Status.Class != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	events, err := s.Journal.Events(t.Context(), tx.ID())
	if err != nil {
		t.Fatal(err)
	}
	last := events[len(events)-1]
	if last.Kind != trace.Stored || last.Mailbox != "Junk" || !strings.Contains(last.Text, "moved to Junk") {
		t.Errorf("%+v", last)
	}
	if s.MX.Sorter([]byte("Received: x\r\n"), nil, mailbox.NoRole) != nil {
		t.Error("what was not judged is sorted")
	}
}

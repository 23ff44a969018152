package mda_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

// flags gives the flags of the messages in a mailbox.
func flags(t *testing.T, h *house.House, address, name string) (out []string) {
	t.Helper()
	ac, err := h.Directory.AccountOf(t.Context(), house.Address(address))
	if err != nil {
		t.Fatal(err)
	}
	m, err := h.Mailboxes.Lookup(t.Context(), ac.ID, name)
	if errors.Is(err, mail.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	snap, err := h.Mailboxes.Open(t.Context(), ac.ID, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range snap.Rows(0) {
		var f []string
		if r.Flags&mailbox.Seen != 0 {
			f = append(f, "seen")
		}
		for _, k := range snap.Keywords {
			if r.Flags&snap.Keyword(k) != 0 {
				f = append(f, k)
			}
		}
		out = append(out, "("+strings.Join(f, " ")+")")
	}
	return out
}

// TestRules: a message goes where the rules of an account want it, and what cannot be done
// does not lose it.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		status      string
		boxes       map[string]string // flags of what is in each mailbox
		waiting     []string
		story       []trace.Kind
	}{
		{name: "none", rules: ``, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "fileinto", rules: `require "fileinto"; fileinto "Archive";`, boxes: map[string]string{"Archive": "()"}, story: []trace.Kind{trace.Stored}},
		{
			name: "two mailboxes", rules: `require ["fileinto", "copy", "imap4flags", "mailbox"]; addflag "$work"; fileinto :copy :create "A/B"; keep :flags "\\Seen";`,
			boxes: map[string]string{"INBOX": "(seen)", "A/B": "($work)"}, story: []trace.Kind{trace.Stored, trace.Stored},
		},
		{
			name: "one twice", rules: `require ["fileinto", "imap4flags"]; fileinto :flags "a" "inbox"; keep :flags "b";`,
			boxes: map[string]string{"INBOX": "(a b)"}, story: []trace.Kind{trace.Stored},
		},
		{name: "a mailbox that is not there", rules: `require "fileinto"; fileinto "Nowhere";`, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "a name that is none", rules: `require ["fileinto", "mailbox"]; fileinto :create "a//b";`, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{
			name: "special use", rules: `require ["fileinto", "special-use"]; fileinto :specialuse "\\Archive" "Other";`,
			boxes: map[string]string{"Archive": "()"}, story: []trace.Kind{trace.Stored},
		},
		{
			name: "id of a mailbox", rules: `require ["fileinto", "mailboxid"]; fileinto :mailboxid "F4" "Other";`,
			boxes: map[string]string{"Archive": "()"}, story: []trace.Kind{trace.Stored},
		},
		{name: "discard", rules: `discard;`, story: []trace.Kind{trace.Discarded}},
		{name: "reject", rules: `require "reject"; reject "Not` + "\r\n" + `to me.";`, status: "5.7.1 Not to me."},
		{name: "redirect", rules: `redirect "x@far.example";`, waiting: []string{"far.example: x"}, story: []trace.Kind{trace.Discarded, trace.Queued}},
		{
			name: "redirect and keep", rules: `require "copy"; redirect :copy "x@far.example"; redirect "bob@a.example"; keep;`, boxes: map[string]string{"INBOX": "()"},
			waiting: []string{"far.example: x"}, story: []trace.Kind{trace.Stored, trace.Stored, trace.Queued},
		},
		{name: "redirect to oneself", rules: `redirect "ada@a.example";`, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "redirect to nobody", rules: `redirect "nobody@a.example";`, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "a script that is wrong", rules: `frobnicate;`, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "a script that goes wrong", rules: `require ["ihave", "fileinto"]; fileinto "Archive"; error "no";`, boxes: map[string]string{"INBOX": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "detail", rules: `require ["envelope", "subaddress", "fileinto"]; if envelope :detail "to" "list" { fileinto "Archive"; }`, boxes: map[string]string{"Archive": "()"}, story: []trace.Kind{trace.Stored}},
		{name: "trace fields", rules: `if header "received" "here" { discard; }`, story: []trace.Kind{trace.Discarded}},
		{name: "the body", rules: `require "body"; if body :contains "hello." { discard; }`, story: []trace.Kind{trace.Discarded}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.Rules("ada@a.example", c.rules)
			m := letter(h, text, "ada+list@a.example")
			err := h.Delivery.Deliver(t.Context(), m)
			got := ""
			if no, ok := errors.AsType[*mail.Refusal](err); ok {
				got, err = no.Status.String()+" "+no.Text, nil
			}
			if err != nil || got != c.status {
				t.Fatalf("%v, %q, want %q", err, got, c.status)
			}
			for _, name := range []string{"INBOX", "Archive", "A/B"} {
				if got := strings.Join(flags(t, h, "ada@a.example", name), " "); got != c.boxes[name] {
					t.Errorf("%s: %s, want %s", name, got, c.boxes[name])
				}
			}
			if got := h.Waiting(); !slices.Equal(got, c.waiting) {
				t.Errorf("waiting: %q, want %q", got, c.waiting)
			}
			if got := h.Story(m.Envelope.Trace); !slices.Equal(got, c.story) {
				t.Errorf("the story is %v, want %v", got, c.story)
			}
		})
	}
}

// TestRulesOfOne: the rules of one are no affair of the others.
func TestRulesOfOne(t *testing.T) {
	h := newHouse(t)
	h.Rules("ada@a.example", `require "reject"; reject "no";`)
	h.Rules("bob@a.example", `discard;`)
	if err := h.Delivery.Deliver(t.Context(), letter(h, text, "ada@a.example", "bob@a.example", "eve@b.example")); err != nil {
		t.Fatal(err)
	}
	if len(h.Inbox("eve@b.example")) != 1 || len(h.Inbox("ada@a.example"))+len(h.Inbox("bob@a.example")) != 0 {
		t.Error("not everybody has what is theirs")
	}
	if got := h.Waiting(); !slices.Equal(got, []string{"a.example: ada"}) { // the queue tells the sender
		t.Errorf("waiting: %q", got)
	}
	outs, err := h.Delivery.Try(t.Context(), letter(h, text, "ada@a.example", "bob@a.example"))
	if err != nil || outs[0].Status.String() != "5.7.1" || outs[1].Status.Class != 2 {
		t.Errorf("%v, %v", outs, err)
	}
}

// TestRulesAndJunk: junk is no affair of rules, wherever it was found to be that.
func TestRulesAndJunk(t *testing.T) {
	h := newHouse(t)
	h.Rules("ada@a.example", `redirect "x@far.example";`)
	m := letter(h, text, "ada@a.example")
	m.Mailbox = mailbox.JunkRole
	if err := h.Delivery.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if len(h.Box("ada@a.example", "Junk")) != 1 || len(h.Waiting()) != 0 {
		t.Errorf("waiting: %v", h.Waiting())
	}
}

// TestRulesAndForward: who has all mail sent on has it sent on also if there are rules.
func TestRulesAndForward(t *testing.T) {
	for _, c := range []struct {
		rules   string
		keep    bool
		boxes   int
		archive int
	}{
		{`keep;`, false, 0, 0},
		{`keep;`, true, 1, 0},
		{`require "fileinto"; fileinto "Archive";`, false, 0, 1},
		{`discard;`, true, 0, 0},
	} {
		h := newHouse(t)
		h.Rules("ada@a.example", c.rules)
		if err := h.Registrar.SetForward(t.Context(), house.Address("ada@a.example"), &directory.Forward{To: []mail.Address{house.Address("x@far.example")}, Keep: c.keep}); err != nil {
			t.Fatal(err)
		}
		if err := h.Delivery.Deliver(t.Context(), letter(h, text, "ada@a.example")); err != nil {
			t.Fatal(err)
		}
		if got := h.Waiting(); !slices.Equal(got, []string{"far.example: x"}) {
			t.Errorf("%s: waiting: %q", c.rules, got)
		}
		if a, b := len(h.Inbox("ada@a.example")), len(h.Box("ada@a.example", "Archive")); a != c.boxes || b != c.archive {
			t.Errorf("%s: %d in the inbox, %d in the archive", c.rules, a, b)
		}
	}
}

// TestCircle: two who send on to each other end.
func TestCircle(t *testing.T) {
	h := newHouse(t)
	h.Rules("ada@a.example", `redirect "bob@a.example";`)
	h.Rules("bob@a.example", `redirect "ada@a.example";`)
	if err := h.Delivery.Deliver(t.Context(), letter(h, text, "ada@a.example")); err != nil {
		t.Fatal(err)
	}
	if a, b := len(h.Inbox("ada@a.example")), len(h.Inbox("bob@a.example")); a+b != 1 {
		t.Errorf("ada has %d, bob %d", a, b)
	}
	// What was sent on before, and comes back from elsewhere, is kept.
	h.Rules("ada@a.example", `redirect "x@far.example";`)
	if err := h.Delivery.Deliver(t.Context(), letter(h, "Delivered-To: ada@a.example\r\n"+text, "ada@a.example")); err != nil {
		t.Fatal(err)
	}
	if len(h.Waiting()) != 0 || len(h.Inbox("ada@a.example"))+len(h.Inbox("bob@a.example")) != 2 {
		t.Errorf("waiting: %q", h.Waiting())
	}
}

// TestVacation: who writes is answered once in a while, and finds what he needs in the
// answer.
func TestVacation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.Alias("info@a.example", "ada@a.example")
		h.Rules("ada@a.example", `require ["vacation", "fcc"]; vacation :days 2 :subject "Fort" :from "Info <info@a.example>" :fcc "Sent" "Ich bin weg.`+"\r\n"+`Bis Montag.";`)
		send := func(sender, to, more string) mda.Mail {
			t.Helper()
			m := letter(h, more+"To: "+to+"\r\nReferences: <0@y.example>\r\n"+text, to)
			m.Envelope.Sender = mail.Address{}
			if sender != "" {
				m.Envelope.Sender = house.Address(sender)
			}
			if err := h.Delivery.Deliver(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			return m
		}
		answers := func(want int) {
			t.Helper()
			if n := len(h.Items()); n != want {
				t.Errorf("%d answers, want %d", n, want)
			}
		}
		m := send("x@y.example", "ada@a.example", "")
		answers(1)
		it := h.Items()[0]
		if !it.Envelope.Sender.IsZero() || it.Envelope.Recipients[0].Address != house.Address("x@y.example") {
			t.Errorf("the envelope is %+v", it.Envelope)
		}
		b, err := h.Bodies.Open(t.Context(), it.Body, it.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, b.Size())
		b.ReadAt(answer, 0)
		b.Close()
		for _, want := range []string{
			"From: Info <info@a.example>\r\n", "To: x@y.example\r\n", "Subject: Fort\r\n", "In-Reply-To: <1@y.example>\r\n", "References: <0@y.example> <1@y.example>\r\n",
			"Auto-Submitted: auto-replied\r\n", "\r\n\r\nIch bin weg.\r\nBis Montag.",
		} {
			if !strings.Contains(string(answer), want) {
				t.Errorf("%q is not in\n%s", want, answer)
			}
		}
		if got := h.Story(m.Envelope.Trace); !slices.Equal(got, []trace.Kind{trace.Answered, trace.Stored}) {
			t.Errorf("the story is %v", got)
		}
		if got := h.Box("ada@a.example", "Sent"); len(got) != 1 || got[0] != string(answer) {
			t.Errorf("the copies are %q", got)
		}
		send("X@y.example", "ada@a.example", "") // not again
		send("", "ada@a.example", "")            // no report
		send("owner-z@y.example", "ada@a.example", "")
		send("z@y.example", "ada@a.example", "List-Id: <x>\r\n")
		send("z@y.example", "ada@a.example", "Auto-Submitted: auto-generated\r\n")
		answers(1)
		send("z@y.example", "info@a.example", "") // an alias is ada, too
		answers(2)
		time.Sleep(49 * time.Hour)
		send("x@y.example", "ada@a.example", "")
		answers(3)
		if n := len(h.Inbox("ada@a.example")); n != 8 {
			t.Errorf("%d messages were kept", n)
		}
	})
}

// TestDuplicate: what was there before is known.
func TestDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.Rules("ada@a.example", `require "duplicate"; if duplicate :seconds 3600 { discard; }`)
		for i, want := range []int{1, 1, 2} {
			if err := h.Delivery.Deliver(t.Context(), letter(h, text, "ada@a.example")); err != nil {
				t.Fatal(err)
			}
			if n := len(h.Inbox("ada@a.example")); n != want {
				t.Errorf("%d: %d messages", i, n)
			}
			time.Sleep(31 * time.Minute)
		}
	})
}

// TestRulesFull: what there is no room for is not answered and not remembered, and waits.
func TestRulesFull(t *testing.T) {
	h := house.New(t, "mx.a.example")
	h.Account(10, "ada@a.example")
	h.Rules("ada@a.example", `require ["vacation", "duplicate"]; if duplicate { discard; } vacation "x";`)
	for range 2 {
		if err := h.Delivery.Deliver(t.Context(), letter(h, "To: ada@a.example\r\n"+text, "ada@a.example")); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Waiting(); !slices.Equal(got, []string{"a.example: ada", "a.example: ada"}) {
		t.Errorf("waiting: %q", got)
	}
}

// TestFault: what goes wrong with rules is told to their owner.
func TestFault(t *testing.T) {
	h := newHouse(t)
	h.Rules("ada@a.example", "keep;\nfrobnicate;")
	if err := h.Delivery.Deliver(t.Context(), letter(h, text, "ada@a.example")); err != nil {
		t.Fatal(err)
	}
	ac, err := h.Directory.AccountOf(t.Context(), house.Address("ada@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.Scripts.Fault(t.Context(), ac.ID)
	if err != nil || f.Name != "rules" || !strings.Contains(f.Text, "line 2: there is no command") {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestCollected: what is collected from elsewhere goes by the rules, into the mailbox that it
// is for where they keep it; what has come long ago is not answered.
func TestCollected(t *testing.T) {
	h := newHouse(t)
	ac, err := h.Directory.AccountOf(t.Context(), house.Address("ada@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	h.Rules("ada@a.example", `require ["vacation", "fileinto", "imap4flags"]; if header "subject" "list" { fileinto "Archive"; stop; } addflag "ruled"; vacation "x";`)
	noted := 0
	collect := func(subject string, age time.Duration, stated bool) {
		t.Helper()
		when := time.Now().Add(-age)
		m := letter(h, "To: ada@a.example\r\nDate: "+when.Format(time.RFC1123Z)+"\r\nFrom: x@y.example\r\nSubject: "+subject+"\r\n\r\n", "ada@a.example")
		m.Envelope.Sender = house.Address(subject + "@y.example")
		m.Place = &mda.Place{Account: ac.ID, Mailbox: "Other", Keywords: []string{"there"}, Note: func(kv.Tx) error { noted++; return nil }}
		if stated {
			m.Place.Date = when
		}
		if err := h.Delivery.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	collect("old", 72*time.Hour, true)
	collect("older", 1000*time.Hour, false)
	if got := h.Waiting(); len(got) != 0 {
		t.Errorf("answered: %v", got)
	}
	collect("new", time.Hour, true)
	collect("list", time.Hour, true)
	if got := h.Waiting(); !slices.Equal(got, []string{"y.example: new"}) {
		t.Errorf("answered: %v", got)
	}
	if got := flags(t, h, "ada@a.example", "Other"); len(got) != 3 || strings.Contains(strings.Join(got, ""), "()") || !strings.Contains(got[0], "ruled") || !strings.Contains(got[0], "there") {
		t.Errorf("flags: %v", got)
	}
	if got := flags(t, h, "ada@a.example", "Archive"); len(got) != 1 || noted < 4 {
		t.Errorf("archived: %v, noted %d", got, noted)
	}
}

package trace

import (
	"bytes"
	"flag"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
)

var update = flag.Bool("update", false, "write the goldens anew")

var (
	ada   = mail.Address{Local: "ada", Domain: "example.org"}
	bob   = mail.Address{Local: "bob", Domain: "example.net"}
	begin = time.Date(2026, 11, 21, 10, 20, 30, 5e6, time.UTC)
	id    = mail.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
)

// life has an event of every kind.
func life() []Event {
	at := func(d time.Duration, e Event) Event {
		e.Trace, e.Time = id, begin.Add(d)
		return e
	}
	st := func(a, b, c uint16) mail.Status { return mail.Status{Class: a, Subject: b, Detail: c} }
	return []Event{
		at(0, Event{Kind: Refused, Sender: ada, Rcpt: bob, Status: st(5, 1, 1), Text: "there is nobody called bob here", Remote: "mx.example.org [192.0.2.1]"}),
		at(1, Event{Kind: Queued, Rcpt: ada, From: "ada@elsewhere.example"}),
		at(1, Event{Kind: Refused, Sender: ada, Status: st(5, 6, 0), Text: "two From fields."}),
		at(2, Event{Kind: Received, Sender: ada, Remote: "mx.example.org [192.0.2.1]", TLS: "TLS1.3 TLS_AES_128_GCM_SHA256", Size: 1234}),
		at(3, Event{Kind: Received, Size: 99, Link: mail.TraceID{9}}),
		at(4, Event{Kind: Submitted, Sender: ada, Size: 7}),
		at(5, Event{Kind: Queued, Rcpt: bob}),
		at(5, Event{Kind: Queued, Rcpt: bob, Text: "info@example.org"}),
		at(6, Event{Kind: Stored, Rcpt: bob, Mailbox: "INBOX"}),
		at(time.Minute, Event{Kind: Deferred, Rcpt: bob, Status: st(4, 2, 0), Text: "", Next: begin.Truncate(time.Second).Add(time.Hour)}),
		at(time.Hour, Event{Kind: Delivered, Rcpt: bob, Status: st(2, 0, 0), Text: "250 OK, \"thanks\"", Remote: "mx.example.net [198.51.100.1]"}),
		at(time.Hour, Event{Kind: Delivered, Rcpt: bob, Text: "OK"}),
		at(time.Hour, Event{Kind: Delivered, Rcpt: bob, Text: "OK", Remote: "mx.example.net [198.51.100.1]", From: "out1.example.org [192.0.2.10]"}),
		at(2*time.Hour, Event{Kind: Failed, Rcpt: bob, Status: st(5, 4, 7), Text: "tried for 5 days"}),
		at(2*time.Hour, Event{Kind: Reported, Rcpt: ada, Link: mail.TraceID{7}}),
		at(3*time.Hour, Event{Kind: Dropped}),
		at(4*time.Hour, Event{Kind: Broken, Status: mail.StatusTryLater, Text: "the disk is on fire"}),
		at(4*time.Hour, Event{Kind: Held, Rcpt: bob}),
		at(4*time.Hour, Event{Kind: Released, Rcpt: bob}),
		at(4*time.Hour, Event{Kind: Rerouted, Rcpt: bob, Text: "smtp.provider.example:587"}),
		at(4*time.Hour, Event{Kind: Rerouted, Rcpt: bob}),
		at(5*time.Hour, Event{Kind: 77}),
	}
}

// normal is an event as it comes back: to the millisecond, and without a zone.
func normal(e Event) Event {
	e.Time = time.UnixMilli(e.Time.UnixMilli())
	if !e.Next.IsZero() {
		e.Next = time.Unix(e.Next.Unix(), 0)
	}
	return e
}

func TestAppendDecode(t *testing.T) {
	events := life()
	var b []byte
	for i, e := range events {
		b = e.Append(b)
		events[i] = normal(e)
	}
	if got := Decode(id, b); !reflect.DeepEqual(got, events) {
		t.Errorf("got\n%+v\nwant\n%+v", got, events)
	}
	// Cut anywhere, it gives the events that are whole.
	for n := range b {
		got := Decode(id, b[:n])
		if len(got) >= len(events) {
			t.Fatalf("%d of %d bytes give %d events", n, len(b), len(got))
		}
		if len(got) > 0 && !reflect.DeepEqual(got, events[:len(got)]) {
			t.Fatalf("%d bytes give %+v", n, got)
		}
	}
	// What others said is cut, at the border of a character.
	e := Event{Trace: id, Kind: Failed, Time: begin, Text: "x" + strings.Repeat("ü", 400)}
	if got := Decode(id, e.Append(nil)); len(got) != 1 || got[0].Text != "x"+strings.Repeat("ü", 249) {
		t.Errorf("cut to %+v", got)
	}
}

// FuzzDecode: whatever stands in a row, nothing breaks, and what was understood
// is written and read as the same.
func FuzzDecode(f *testing.F) {
	var b []byte
	for _, e := range life() {
		b = e.Append(b)
	}
	f.Add(b)
	f.Add([]byte{1, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		once := appendAll(Decode(id, b))
		events := Decode(id, once)
		if again := appendAll(events); !bytes.Equal(again, once) {
			t.Errorf("%x: %x is %+v, which is %x", b, once, events, again)
		}
		Story(events, time.UTC)
	})
}

func appendAll(events []Event) (b []byte) {
	for _, e := range events {
		b = e.Append(b)
	}
	return b
}

// TestStory compares all sentences with the golden.
func TestStory(t *testing.T) {
	golden(t, "testdata/story.txt", strings.Join(Story(life(), time.FixedZone("", 3600)), "\n")+"\n")
}

// TestLog compares the log's lines with the golden: one line each, whatever
// somebody said.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	events := append(life(), Event{Trace: id, Kind: Refused, Text: "evil\r\nlevel=INFO msg=loggedIn\x1b[2J\u2028" + strings.Repeat("x", 1000)})
	for _, e := range events {
		e.Log(l)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != len(events) {
		t.Errorf("%d lines for %d events", n, len(events))
	}
	golden(t, "testdata/log.txt", out.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// TestKinds: every kind has a word, and no two the same.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		w := k.String()
		if w == "unknown" || seen[w] {
			t.Errorf("kind %d is called %s", k, w)
		}
		seen[w] = true
	}
	if len(seen) != int(Answered)-1 { // the sixth is none
		t.Errorf("%d kinds have words", len(seen))
	}
	if Kind(0).String() != "unknown" || Kind(200).String() != "unknown" {
		t.Error("kinds that are none")
	}
}

// TestWhy: what a layman reads of the usual troubles, with the proof behind it.
func TestWhy(t *testing.T) {
	next := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		what string
		e    Event
		want string
	}{
		{
			"refused at RCPT",
			Event{Kind: Refused, Sender: bob, Rcpt: ada, Status: mail.Status{Class: 5, Subject: 1, Detail: 1}, Text: "there is nobody called ada@example.org here", Remote: "mx.example.net [198.51.100.1]"},
			`We refused mail from bob@example.net to ada@example.org: there is nobody called ada@example.org here. (status 5.1.1, mx.example.net [198.51.100.1])`,
		},
		{
			"deferred for days",
			Event{Kind: Deferred, Rcpt: bob, Next: next, Status: mail.Status{Class: 4, Subject: 2, Detail: 2}, Text: "452 4.2.2 Mailbox full", Remote: "mx.example.net [198.51.100.1]"},
			`It could not be delivered to bob@example.net yet. The recipient's mailbox is full. We try again at 2026-11-23 09:30. The recipient must delete something; reach him another way to tell him. (status 4.2.2, mx.example.net [198.51.100.1], it answered "452 4.2.2 Mailbox full")`,
		},
		{
			"greylisted",
			Event{Kind: Deferred, Rcpt: bob, Next: next, Status: mail.Status{Class: 4, Subject: 7, Detail: 1}, Text: "451 4.7.1 Greylisting in action", Remote: "mx.example.net [198.51.100.1]"},
			`It could not be delivered to bob@example.net yet. The recipient's server turns a sender that it does not know away once, to see whether it comes back. We try again at 2026-11-23 09:30; there is nothing to do. (status 4.7.1, mx.example.net [198.51.100.1], it answered "451 4.7.1 Greylisting in action")`,
		},
		{
			"unreachable",
			Event{Kind: Deferred, Rcpt: bob, Next: next, Status: mail.Status{Class: 4, Subject: 4, Detail: 1}, Text: "no host could be reached; the last one: mx.example.net [198.51.100.1]: connect: connection refused"},
			`It could not be delivered to bob@example.net yet. The recipient's server is reached, and no mail server runs on it at this moment. We try again at 2026-11-23 09:30. If it goes on, its administrator should be told another way. (status 4.4.1, in our log "no host could be reached; the last one: mx.example.net [198.51.100.1]: connect: connection refused")`,
		},
		{
			"bounced",
			Event{Kind: Failed, Rcpt: bob, Status: mail.Status{Class: 5, Subject: 1, Detail: 1}, Text: "550 5.1.1 User unknown", Remote: "mx.example.net [198.51.100.1]"},
			`It could not be delivered to bob@example.net, and we gave up. There is no such address at that server. Look whether the address is written as it should be. (status 5.1.1, mx.example.net [198.51.100.1], it answered "550 5.1.1 User unknown")`,
		},
		{
			"given up",
			Event{Kind: Failed, Rcpt: bob, Status: mail.Status{Class: 5, Subject: 4, Detail: 1}, Text: "tried for 5 days; the last answer was: no host could be reached; the last one: mx.example.net [198.51.100.1]: connect: connection refused"},
			`It could not be delivered to bob@example.net, though we tried for 5 days, and we gave up. The recipient's server is reached, and no mail server runs on it at this moment. Its administrator should be told another way. (status 5.4.1, in our log "tried for 5 days; the last answer was: no host could be reached; the last one: mx.example.net [198.51.100.1]: connect: connection refused")`,
		},
		{
			"a report",
			Event{Kind: Reported, Rcpt: bob, Text: "delayed"},
			`We told bob@example.net that it takes longer.`,
		},
		{
			"strange",
			Event{Kind: Failed, Rcpt: bob, Status: mail.Status{Class: 5}, Text: "599 xyzzy.", Remote: "mx.example.net [198.51.100.1]"},
			`It could not be delivered to bob@example.net, and we gave up: 599 xyzzy. (status 5.0.0, mx.example.net [198.51.100.1])`,
		},
	} {
		c.e.Time = begin
		line := Story([]Event{c.e}, time.UTC)[0]
		_, got, _ := strings.Cut(line, "  ")
		if got = strings.Join(strings.Fields(got), " "); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.what, got, c.want)
		}
	}
}

// TestFold: attempts that end alike are told of once, for each recipient; what is
// different, or stands between, is told of by itself.
func TestFold(t *testing.T) {
	no := func(n int, who mail.Address, text string) Event {
		at := begin.Add(time.Duration(n) * time.Minute)
		return Event{Kind: Deferred, Time: at, Rcpt: who, Status: mail.Status{Class: 4}, Text: text, Remote: "mx.example.net [198.51.100.1]", Next: at.Add(time.Minute)}
	}
	full := "452 4.2.2 Mailbox full"
	got := Story([]Event{
		no(0, ada, full), no(0, bob, "xyzzy"), no(1, ada, full+" indeed"), no(1, bob, "xyzzy"), no(2, bob, "plugh"), no(3, bob, "xyzzy"),
		{Kind: Held, Time: begin.Add(4 * time.Minute), Rcpt: bob},
		no(5, bob, "xyzzy"), no(6, ada, full),
	}, time.UTC)
	var short []string
	for _, l := range got {
		_, said, _ := strings.Cut(l, "  ")
		said, _, _ = strings.Cut(said, " We try again")
		short = append(short, l[11:16]+" "+said)
	}
	want := []string{
		"10:20 It could not be delivered to ada@example.org yet. The recipient's mailbox is full. We have tried 3 times, the last time at 2026-11-21 10:26.",
		"10:20 It could not be delivered to bob@example.net yet: xyzzy. We have tried 2 times, the last time at 2026-11-21 10:21.",
		"10:22 It could not be delivered to bob@example.net yet: plugh.",
		"10:23 It could not be delivered to bob@example.net yet: xyzzy.",
		"10:24 An administrator holds it back; bob@example.net will not get it until he lets it go.",
		"10:25 It could not be delivered to bob@example.net yet: xyzzy.",
	}
	if !slices.Equal(short, want) {
		t.Errorf("%s", strings.Join(short, "\n"))
	}
}

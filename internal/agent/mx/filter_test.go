package mx_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestFilter: what filters say of a message, and what they change.
func TestFilter(t *testing.T) {
	at := func(n byte) string { return "\x00\x00\x00" + string(n) }
	changes := house.Frame('h', "X-Spam\x00 no\x00") + house.Frame('i', at(0)+"X-First\x00 a\nb\n\nc\rd\x00") + house.Frame('m', at(1)+"subject\x00 other\x00") + house.Frame('m', at(2)+"X-Two\x00\x00") +
		house.Frame('m', at(1)+"X-New\x00 n\x00") + house.Frame('c', "")
	failing := func(context.Context) (net.Conn, error) { return nil, errors.New("nobody there") }
	for name, c := range map[string]struct {
		filters []filter.Filter
		rcpt    string // what RCPT TO:<ada@a.example> is answered
		data    string
		box     string
		to      []string // who has it, if not Ada
		want    string   // of the message, behind our own fields
		story   string
	}{
		"nothing": {filters: []filter.Filter{{Dial: house.Milter{}.Dial(nil)}, {Dial: house.Milter{'B': house.Frame('s', "")}.Dial(nil)}}, box: "INBOX", want: "\r\n" + filterText},
		"changed": {
			filters: []filter.Filter{{Dial: house.Milter{'E': changes}.Dial(nil)}}, box: "INBOX",
			want: "\r\nX-First: a\r\n\tb\r\n\tcd\r\nFrom: x@y.example\r\nsubject: other\r\nX-Two: 1\r\nX-Spam: no\r\nX-New: n\r\n\r\nHello.\r\n",
		},
		"one after the other": {
			filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('b', "New ") + house.Frame('b', "body.\r\n") + house.Frame('c', "")}.Dial(nil)}, {Dial: house.Milter{'E': house.Frame('h', "X-Z\x00 z\x00") + house.Frame('a', "")}.Dial(nil)}},
			box:     "INBOX", want: "\r\nX-Two: 1\r\nx-two: 2\r\nX-Z: z\r\n\r\nNew body.\r\n",
		},
		"refused at once":       {filters: []filter.Filter{{Dial: house.Milter{'C': house.Frame('y', "550 5.7.25 no name\x00")}.Dial(nil)}}, rcpt: "5.7.25"},
		"refused at the sender": {filters: []filter.Filter{{Dial: house.Milter{}.Dial(nil)}, {Dial: house.Milter{'M': house.Frame('t', "")}.Dial(nil)}}, rcpt: "4.7.1"},
		"refused at him":        {filters: []filter.Filter{{Dial: house.Milter{'R': house.Frame('r', "")}.Dial(nil)}}, rcpt: "5.7.1"},
		"refused at DATA":       {filters: []filter.Filter{{Dial: house.Milter{'T': house.Frame('r', "")}.Dial(nil)}}, data: "5.7.1"},
		"refused in header":     {filters: []filter.Filter{{Dial: house.Milter{'L': house.Frame('t', "")}.Dial(nil)}}, data: "4.7.1"},
		"refused at the body":   {filters: []filter.Filter{{Dial: house.Milter{'N': house.Frame('r', "")}.Dial(nil)}}, data: "5.7.1"},
		"refused in body":       {filters: []filter.Filter{{Dial: house.Milter{'B': house.Frame('r', "")}.Dial(nil)}}, data: "5.7.1"},
		"refused at the end":    {filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('y', "552 5.3.4 EICAR found\x00")}.Dial(nil)}}, data: "5.3.4"},
		"accepted early":        {filters: []filter.Filter{{Dial: house.Milter{'H': house.Frame('a', ""), 'E': house.Frame('r', "")}.Dial(nil)}}, box: "INBOX", want: "\r\n" + filterText},
		"quarantine":            {filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('q', "looks\r\nbad\x00") + house.Frame('c', "")}.Dial(nil)}}, box: "Junk", want: "\r\n" + filterText, story: "a filter says so: looksbad"},
		"thrown away":           {filters: []filter.Filter{{Dial: house.Milter{'B': house.Frame('d', "")}.Dial(nil)}}, box: "Junk", want: "\r\n" + filterText, story: "thrown away"},
		"other recipients": {
			filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('+', "<bob@a.example>\x00") + house.Frame('+', "<x@far.example>\x00") + house.Frame('-', "<ADA@a.example>\x00") + house.Frame('e', "<z@y.example>\x00") + house.Frame('c', "")}.Dial(nil)}},
			box:     "INBOX", to: []string{"bob@a.example"}, want: "\r\n" + filterText,
		},
		"no recipients":  {filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('-', "ada@a.example\x00") + house.Frame('c', "")}.Dial(nil)}}, data: "5.7.1"},
		"not there":      {filters: []filter.Filter{{Dial: failing}}, rcpt: "4.7.1"},
		"not needed":     {filters: []filter.Filter{{Dial: failing, Optional: true}, {Dial: house.Milter{'E': house.Frame('z', "")}.Dial(nil), Optional: true}}, box: "INBOX", want: "\r\n" + filterText},
		"breaks":         {filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('h', "")}.Dial(nil)}}, data: "4.7.1"},
		"floods":         {filters: []filter.Filter{{Dial: house.Milter{'E': strings.Repeat(house.Frame('b', strings.Repeat("x", 1<<19)), 5) + house.Frame('c', "")}.Dial(nil)}}, data: "4.7.1"},
		"gone half way":  {filters: []filter.Filter{{Dial: house.Milter{'E': house.Frame('b', "x")[:4]}.Dial(nil), Timeout: 1e9}}, data: "4.7.1"},
		"speaks nothing": {filters: []filter.Filter{{Dial: house.Milter{'C': ""}.Dial(nil), Timeout: 1e6}}, rcpt: "4.7.1"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHouse(t)
			h.MX.Filters = c.filters
			h.MX.Log = slog.New(slog.DiscardHandler)
			tx, err := h.MX.Begin(t.Context(), peer, house.Address("x@y.example"), smtp.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			err = tx.Rcpt(t.Context(), house.Address("ada@a.example"), smtp.RcptParams{})
			if status(err) != c.rcpt {
				t.Fatalf("RCPT: %v", err)
			}
			if c.rcpt != "" {
				tx.Reset(t.Context())
				return
			}
			if err := tx.Data(t.Context(), strings.NewReader(filterText)); status(err) != c.data {
				t.Fatalf("DATA: %v", err)
			}
			if c.data != "" {
				if len(h.Inbox("ada@a.example")) != 0 || !slices.Equal(h.Story(tx.ID()), []trace.Kind{trace.Refused}) {
					t.Errorf("%v", h.Story(tx.ID()))
				}
				return
			}
			who := "ada@a.example"
			if c.to != nil {
				who = c.to[0]
				if len(h.Inbox("ada@a.example")) != 0 || len(h.Items()) != 0 {
					t.Error("others have it")
				}
			}
			got := h.Box(who, c.box)
			if len(got) != 1 || !strings.HasSuffix(got[0], c.want) {
				t.Errorf("%q", got)
			}
			if c.to != nil && !strings.HasPrefix(got[0], "Return-Path: <z@y.example>\r\n") {
				t.Errorf("%q", got)
			}
			events, err := h.Journal.Events(t.Context(), tx.ID())
			if story := strings.Join(trace.Story(events, time.UTC), "\n"); err != nil || !strings.Contains(story, c.story) {
				t.Errorf("%s, %v", story, err)
			}
		})
	}
}

const filterText = "From: x@y.example\r\nSubject: hello\r\nX-Two: 1\r\nx-two: 2\r\n\r\nHello.\r\n"

// A filter that has failed at one recipient is not passed over at the next.
func TestFilterStaysFailed(t *testing.T) {
	for _, c := range []struct {
		optional bool
		want     string
	}{{false, "4.7.1"}, {true, ""}} {
		h, _ := newHouse(t)
		h.MX.Log = slog.New(slog.DiscardHandler)
		h.MX.Filters = []filter.Filter{{Dial: house.Milter{'R': house.Frame('z', "")}.Dial(nil), Optional: c.optional}}
		tx, err := h.MX.Begin(t.Context(), peer, house.Address("x@y.example"), smtp.MailParams{})
		if err != nil {
			t.Fatal(err)
		}
		for i, to := range []string{"ada@a.example", "bob@a.example", "ada@a.example"} {
			if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); status(err) != c.want {
				t.Errorf("optional %v: recipient %d: %v, want %q", c.optional, i+1, err, c.want)
			}
		}
		tx.Reset(t.Context())
	}
}

// TestFilterHears: each stage, with what belongs to it.
func TestFilterHears(t *testing.T) {
	h, _ := newHouse(t)
	said := make(chan string, 1)
	h.MX.Filters = []filter.Filter{{Dial: house.Milter{}.Dial(said)}}
	tx := begin(t, h.MX, "ada@a.example", "bob@a.example")
	if err := tx.Rcpt(t.Context(), house.Address("nobody@a.example"), smtp.RcptParams{}); err == nil {
		t.Error("nobody was taken")
	}
	if err := tx.Data(t.Context(), strings.NewReader(filterText)); err != nil {
		t.Fatal(err)
	}
	want := "DCj|mx.a.example|{daemon_name}|Posthaste|v|Posthaste|\nC[192.0.2.1]|4\x00c192.0.2.1|\nDH{tls_version}|TLS1.3|{cipher}|X|\nHmx.y.example|\nDMi|ID|{mail_addr}|x@y.example|\nM<x@y.example>|\n" +
		"DR{rcpt_addr}|ada@a.example|\nR<ada@a.example>|\nDR{rcpt_addr}|bob@a.example|\nR<bob@a.example>|\nDTi|ID|\nT\nLFrom| x@y.example|\nLSubject| hello|\nLX-Two| 1|\nLx-two| 2|\nN\nBHello.\r\n\nDEi|ID|\nE\nQ\n"
	got := strings.NewReplacer("\n", "\n", "\x00", "|", tx.ID().String(), "ID").Replace(<-said)
	got = got[strings.Index(got, "\n")+1:] // the options
	lines := strings.Split(got, "\n")
	for i, l := range lines {
		if len(l) > 1 && l[1] == ' ' {
			lines[i] = l[:1] + l[2:]
		}
	}
	if got = strings.Join(lines, "\n"); got != strings.ReplaceAll(want, "\x00", "|") {
		t.Errorf("heard\n%q\nwant\n%q", got, want)
	}
}

package mda_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/queue"
	"posthaste/test/house"
)

func settle(t *testing.T, h *house.House, c queue.Claim, outs []mail.Outcome) {
	t.Helper()
	err := h.DB.Update(context.Background(), kv.Plan{Locks: []kv.Lock{c.Lock()}}, func(tx kv.Tx) error {
		return h.Queue.Settle(tx, c, outs, tx.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReceived(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 20, 30, 0, time.FixedZone("", 3600))
	env := mail.Envelope{Trace: mail.TraceID{1}, Recipients: []mail.Recipient{{Address: house.Address("ada@a.example")}}}
	two := env
	two.Recipients = append(two.Recipients[:1:1], mail.Recipient{Address: house.Address("bob@a.example")})
	utf8 := two
	utf8.UTF8 = true
	for _, c := range []struct {
		peer mail.Peer
		env  mail.Envelope
		want string
	}{
		{
			mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:4"), Name: "mx.x.example", Hello: "x.example"},
			env,
			"Received: from x.example (mx.x.example [192.0.2.1])\r\n\tby host (Posthaste) with ESMTP id 0400000000000000\r\n\tfor <ada@a.example>;\r\n\tSat, 21 Nov 2026 10:20:30 +0100\r\n",
		},
		{
			mail.Peer{Addr: netip.MustParseAddrPort("[2001:db8::1]:4"), Hello: "[IPv6:2001:db8::1]", TLS: &mail.TLS{Version: "TLS1.3", Cipher: "TLS_X"}, Account: 1},
			two,
			"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\tby host (Posthaste) with ESMTPSA id 0400000000000000\r\n\t(TLS1.3 TLS_X);\r\n\tSat, 21 Nov 2026 10:20:30 +0100\r\n",
		},
		{
			mail.Peer{Hello: "evil\r\nX-Injected: (yes) \x00;" + strings.Repeat("a", 300)},
			utf8,
			"Received: from evilX-Injected:yes" + strings.Repeat("a", 237) + " ([local])\r\n\tby host (Posthaste) with UTF8SMTP id 0400000000000000;\r\n\tSat, 21 Nov 2026 10:20:30 +0100\r\n",
		},
	} {
		if got := string(mda.Received("host", "ESMTP", c.peer, c.env, now)); got != c.want {
			t.Errorf("got\n%q\nwant\n%q", got, c.want)
		}
	}
}

// A part is a body that can be read so far only.
type part struct {
	text string
	good int
}

func (p part) Size() int64 { return int64(len(p.text)) }

func (p part) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, p.text[min(int(off), p.good):p.good])
	if n < len(b) {
		return n, errors.New("bad sector")
	}
	return n, nil
}

// A whole is a body that is in memory.
type whole struct{ part }

func (w whole) Bytes() []byte { return []byte(w.text) }

func TestHeader(t *testing.T) {
	long := "X: " + strings.Repeat("a", 30_000) + "\r\n"
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"\r\nbody", "\r\n"},
		{"A: b\r\n\r\nbody", "A: b\r\n\r\n"},
		{"A: b\r\n", "A: b\r\n"},
		{"A: b", "A: b"},
		{"A: b\n\nbody", "A: b\n\n"},
		{long + "\r\n" + strings.Repeat("body", 10_000), long + "\r\n"},
		{long + "B: c", long + "B: c"},
	} {
		for _, b := range []mail.Body{part{c.text, len(c.text)}, whole{part{text: c.text}}} {
			got, err := mda.Header(b)
			if err != nil || string(got) != c.want {
				t.Errorf("%.30q: %d bytes, %v; want %d", c.text, len(got), err, len(c.want))
			}
		}
	}
	if _, err := mda.Header(part{"A: b\r\n\r\n", 3}); err == nil {
		t.Error("half a header is none")
	}
	endless := strings.Repeat("A: b\r\n", 1<<20)
	if got, err := mda.Header(part{endless, len(endless)}); err != nil || len(got) > 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := mda.Hops([]byte("Received: a\r\nX: y\r\nRECEIVED: b\r\n\tc\r\nX-Received: d\r\n\r\nReceived: body\r\n")); n != 2 {
		t.Errorf("%d hops", n)
	}
}

package mx_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"posthaste/internal/agent/mx"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestHook: what hooks say of a message, and what becomes of it then.
func TestHook(t *testing.T) {
	says := func(stage, answer string) mx.Hook {
		return mx.Hook{Name: "h", Stage: stage, Ask: func(context.Context, []byte) ([]byte, error) { return []byte(answer), nil }}
	}
	optional := func(h mx.Hook) mx.Hook { h.Optional = true; return h }
	fails := mx.Hook{Name: "h", Stage: mx.HookData, Ask: func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no") }}
	for name, c := range map[string]struct {
		hooks      []mx.Hook
		rcpt, data string
		box, text  string
	}{
		"accepted":     {hooks: []mx.Hook{says("rcpt", `{"action":"accept"}`), says("data", `{"action":"accept","status":"2.0.0","more":1}`)}, box: "INBOX", text: "\r\n" + filterText},
		"junk":         {hooks: []mx.Hook{says("data", `{"action":"junk","reason":"a\r\nlottery"}`)}, box: "Junk"},
		"junk at him":  {hooks: []mx.Hook{says("rcpt", `{"action":"junk"}`), says("data", `{"action":"accept"}`)}, box: "Junk"},
		"refused":      {hooks: []mx.Hook{says("data", `{"action":"refuse","text":"no\r\n250 smuggled","reason":"r"}`)}, data: "5.7.1"},
		"deferred":     {hooks: []mx.Hook{says("data", `{"action":"defer","status":"4.2.2"}`)}, data: "4.2.2"},
		"refused him":  {hooks: []mx.Hook{says("rcpt", `{"action":"refuse","status":"5.1.1"}`)}, rcpt: "5.1.1"},
		"fields":       {hooks: []mx.Hook{says("data", `{"action":"accept","headers":[{"name":"X-A","value":"1\r\n\r\nevil"},{"name":"x-b","value":"2"}]}`)}, box: "INBOX", text: "\r\nX-A: 1evil\r\nx-b: 2\r\n" + filterText},
		"a forged one": {hooks: []mx.Hook{says("data", `{"action":"accept","headers":[{"name":"Authentication-Results","value":"x"}]}`)}, data: "4.7.1"},
		"no name":      {hooks: []mx.Hook{says("data", `{"action":"accept","headers":[{"name":"X-A: b\r\nX","value":"x"}]}`)}, data: "4.7.1"},
		"fails":        {hooks: []mx.Hook{fails}, data: "4.7.1"},
		"may fail":     {hooks: []mx.Hook{optional(fails)}, box: "INBOX"},
		"no JSON":      {hooks: []mx.Hook{says("data", "OK")}, data: "4.7.1"},
		"no action":    {hooks: []mx.Hook{says("data", `{}`)}, data: "4.7.1"},
		"wrong class":  {hooks: []mx.Hook{says("data", `{"action":"refuse","status":"2.0.0"}`)}, data: "4.7.1"},
		"wrong, may":   {hooks: []mx.Hook{optional(says("data", `[1]`))}, box: "INBOX"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHouse(t)
			h.MX.Hooks = c.hooks
			tx, err := h.MX.Begin(t.Context(), peer, house.Address("x@y.example"), smtp.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			if err = tx.Rcpt(t.Context(), house.Address("ada@a.example"), smtp.RcptParams{}); status(err) != c.rcpt {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			err = tx.Data(t.Context(), strings.NewReader(filterText))
			if no, ok := errors.AsType[*mail.Refusal](err); status(err) != c.data || ok && strings.ContainsAny(no.Text, "\r\n") {
				t.Fatalf("%v", err)
			}
			if c.box == "" {
				return
			}
			if got := h.Box("ada@a.example", c.box); len(got) != 1 || !strings.HasSuffix(got[0], c.text) {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestHookFails: a hook that has failed is not asked again about the same message.
func TestHookFails(t *testing.T) {
	h, _ := newHouse(t)
	asked := 0
	h.MX.Hooks = []mx.Hook{{Name: "h", Stage: mx.HookRcpt, Ask: func(context.Context, []byte) ([]byte, error) {
		asked++
		return nil, errors.New("no")
	}}}
	tx := begin(t, h.MX)
	for _, to := range []string{"ada@a.example", "bob@a.example"} {
		if err := tx.Rcpt(t.Context(), house.Address(to), smtp.RcptParams{}); status(err) != "4.7.1" {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// TestHookIsTold: envelope, evidence, header, and as much of the message as it may
// have.
func TestHookIsTold(t *testing.T) {
	h, _ := newHouse(t)
	var got mx.HookRequest
	h.MX.DNS = new(zone.Zone).Text("y.example", "v=spf1 ip4:192.0.2.1 -all")
	h.MX.Policy.NoName = 2
	h.MX.Hooks = []mx.Hook{{Name: "h", Stage: mx.HookData, Body: 20, Ask: func(_ context.Context, r []byte) ([]byte, error) {
		return []byte(`{"action":"accept"}`), json.Unmarshal(r, &got)
	}}}
	tx := begin(t, h.MX, "ada@a.example", "bob@a.example")
	if err := tx.Data(t.Context(), strings.NewReader("From: x@y.example\r\nSubject: a\r\n b\xff\r\n\r\nHello.\r\n")); err != nil {
		t.Fatal(err)
	}
	m := got.Message
	if got.Version != 1 || got.ID != tx.ID().String() || got.Sender != "x@y.example" || strings.Join(got.Recipients, " ") != "ada@a.example bob@a.example" ||
		got.Client.Address != netip.MustParseAddr("192.0.2.1").String() || got.Client.Points != 2 || got.Client.Why == "" || got.Client.TLS == "" {
		t.Errorf("%+v", got)
	}
	if m == nil || m.SPF != "pass" || m.DMARC != "none" || m.Author != "x@y.example" || !m.Proven || m.Known || m.Verdict != "accept" ||
		len(m.Headers) != 2 || m.Headers[1].Name != "Subject" || !strings.Contains(m.Headers[1].Value, "b\ufffd") || string(m.Body) != "From: x@y.example\r\nS" || !m.BodyCut {
		t.Errorf("%+v", m)
	}
}

func FuzzHookAnswer(f *testing.F) {
	f.Add([]byte(`{"action":"refuse","status":"5.7.1","text":"no","headers":[{"name":"X-A","value":"b"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := mx.ParseHookAnswer(raw)
		if err != nil {
			return
		}
		for _, h := range a.Headers {
			if strings.ContainsAny(h.Name, "\r\n: ") {
				t.Errorf("%q", h.Name)
			}
		}
	})
}

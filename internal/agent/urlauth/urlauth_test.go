package urlauth_test

import (
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/urlauth"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/test/house"
)

const (
	text = "From: ada@a.example\r\nSubject: draft\r\n\r\nHello.\r\n"
	at   = "imap://ada%40a.example@mx.a.example/INBOX/;uid=1"
)

// TestSubmit: who submits may use which URLs, and what they give. RFC 4468 §3.3
func TestSubmit(t *testing.T) {
	h := house.New(t, "mx.a.example")
	h.Account(0, "ada@a.example", "bob@a.example")
	err := h.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		return h.Directory.PutDomainAlias(tx, "n.example", "a.example")
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Recipients: []mail.Recipient{{Address: house.Address("ada@a.example")}}}
	if err := h.Delivery.Deliver(ctx, mda.Mail{Envelope: env, Body: h.Stage(text)}); err != nil {
		t.Fatal(err)
	}
	whole := h.Inbox("ada@a.example")[0] // with its Return-Path
	acct, err := h.Directory.AccountOf(ctx, house.Address("ada@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	box, err := h.Mailboxes.Lookup(ctx, acct.ID, mailbox.InboxName)
	if err != nil {
		t.Fatal(err)
	}
	key, err := h.Mailboxes.KeepURLKey(ctx, acct.ID, box.ID, []byte(strings.Repeat("secret!!", 4)))
	if err != nil {
		t.Fatal(err)
	}
	a := &urlauth.Agent{Mail: h.Mailboxes, Account: h.Directory.Known}
	ada := mail.Peer{Account: acct.ID, Login: acct.Address}
	bob := mail.Peer{Account: acct.ID + 1, Login: house.Address("bob@a.example")}
	for _, c := range []struct {
		rump     string
		who      mail.Peer
		want     string // "": refused
		overIMAP bool
	}{
		{at + ";urlauth=submit+ada", ada, whole, false},
		{at + ";urlauth=submit+ada%40a.example", ada, whole, false},
		{at + ";urlauth=submit+ada%40n.example", ada, whole, false},
		{at + ";urlauth=submit+bob%40n.example", ada, "", false},
		{at + ";urlauth=submit+ada%40x.example", ada, "", false},
		{"imap://ada@n.example/INBOX/;uid=1;urlauth=user+ada%40n.example", ada, whole, true},
		{"imap://bob@n.example/INBOX/;uid=1;urlauth=user+ada%40n.example", ada, "", false},
		{at + ";urlauth=submit+bob", ada, "", false},
		{at + ";urlauth=submit+bob", bob, whole, false},
		{at + ";urlauth=submit+ada", bob, "", false},
		{at + ";urlauth=user+ada", ada, whole, true},
		{at + ";urlauth=user+ada", bob, "", false},
		{at + "/;section=TEXT;urlauth=submit+ada", ada, "Hello.\r\n", false},
		{at + "/;section=HEADER.FIELDS%20(Subject);urlauth=submit+ada", ada, "Subject: draft\r\n\r\n", false},
		{at + "/;section=TEXT/;partial=1.3;urlauth=submit+ada", ada, "ell", false},
		{at + "/;section=9;urlauth=submit+ada", ada, "", false},
		{at + ";expire=2000-01-01T00:00:00Z;urlauth=submit+ada", ada, "", false},
		{strings.Replace(at, "uid=1", "uid=7", 1) + ";urlauth=submit+ada", ada, "", false},
	} {
		url := c.rump + ":INTERNAL:" + hex.EncodeToString(urlauth.Verifier(key, c.rump))
		got := ""
		r, size, err := a.Submit(ctx, c.who, url)
		if err == nil {
			b, rerr := io.ReadAll(r)
			if r.Close(); rerr != nil || int64(len(b)) != size {
				t.Errorf("%s: %d bytes of %d, %v", c.rump, len(b), size, rerr)
			}
			got = string(b)
		} else if st, _ := mail.StatusOf(err); st.String() != "5.6.6" {
			t.Errorf("%s: %v", c.rump, err)
		}
		if got != c.want {
			t.Errorf("%s for %s: %q, want %q", c.rump, c.who.Login, got, c.want)
		}
		p, _, err := a.Open(ctx, urlauth.Asker{Account: c.who.Account, Login: c.who.Login}, url)
		if (err == nil) != c.overIMAP {
			t.Errorf("%s for %s over IMAP: %v", c.rump, c.who.Login, err)
		}
		if p != nil {
			p.Close()
		}
		forged := url[:len(url)-4] + "0123"
		if _, _, err := a.Submit(ctx, c.who, forged); err == nil {
			t.Errorf("%s: forged", c.rump)
		}
		if _, _, err := a.Submit(ctx, c.who, c.rump); err == nil {
			t.Errorf("%s: without authorization", c.rump)
		}
	}
}

// TestRange: the bytes an URL is about lie in what there is.
func TestRange(t *testing.T) {
	for _, c := range []struct {
		u      imap.URL
		off, n int64
	}{
		{imap.URL{}, 0, 10},
		{imap.URL{Partial: true, Offset: 3}, 3, 7},
		{imap.URL{Partial: true, Offset: 3, Count: 2}, 3, 2},
		{imap.URL{Partial: true, Offset: 3, Count: 1 << 63}, 3, 7},
		{imap.URL{Partial: true, Offset: 1 << 63, Count: 5}, 10, 0},
	} {
		if off, n := c.u.Range(10); off != c.off || n != c.n {
			t.Errorf("%+v: %d, %d", c.u, off, n)
		}
	}
}

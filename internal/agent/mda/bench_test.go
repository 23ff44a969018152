package mda_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/blob/packblob"
	"posthaste/internal/engine/kv/pebblekv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/script"
)

// BenchmarkDeliver delivers messages of 4 KB to one account of many, over the
// embedded engines on the disk: to people without rules, and to people with thirty.
func BenchmarkDeliver(b *testing.B) {
	b.Run("plain", func(b *testing.B) { deliver(b, "") })
	var text strings.Builder
	text.WriteString("require [\"fileinto\", \"imap4flags\"];\n")
	for i := range 10 {
		fmt.Fprintf(&text, "if header :contains \"list-id\" \"list%d.example\" { fileinto \"Archive\"; stop; }\n", i)
		fmt.Fprintf(&text, "if address :is :domain [\"from\", \"sender\"] [\"a%d.example\", \"b%d.example\"] { addflag \"$f%d\"; }\n", i, i, i)
		fmt.Fprintf(&text, "if header :matches \"subject\" [\"*invoice*%d\", \"[ticket %d]*\"] { fileinto \"Archive\"; stop; }\n", i, i)
	}
	b.Run("rules", func(b *testing.B) { deliver(b, text.String()) })
}

func deliver(b *testing.B, rulesOf string) {
	db, err := pebblekv.Open(b.TempDir()+"/index", pebblekv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	packs, err := packblob.Open(b.TempDir()+"/packs", packblob.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer packs.Close()
	bodies := &body.Store{DB: db, Blobs: packs}
	a := &mda.Agent{
		DB: db, Bodies: bodies, Directory: &directory.Directory{DB: db}, Mailboxes: &mailbox.Store{DB: db, Bodies: bodies},
		Queue: &queue.Queue{DB: db}, Journal: &journal.Journal{DB: db}, Log: slog.New(slog.DiscardHandler),
	}
	r := &registrar.Registrar{DB: db, Directory: a.Directory, Mailboxes: a.Mailboxes}
	if err := r.AddDomain(b.Context(), "bench.example"); err != nil {
		b.Fatal(err)
	}
	scripts := &script.Store{DB: db}
	a.Rules = &rules.Agent{Scripts: scripts, Directory: a.Directory, Mailboxes: a.Mailboxes, Log: a.Log}
	const people = 50
	for i := range people {
		ac, err := r.AddAccount(b.Context(), registrar.NewAccount{Address: mail.Address{Local: fmt.Sprintf("u%d", i), Domain: "bench.example"}})
		if err == nil && rulesOf != "" {
			if err = scripts.Put(b.Context(), ac.ID, "rules", []byte(rulesOf)); err == nil {
				err = scripts.Activate(b.Context(), ac.ID, "rules")
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	text := []byte("From: <a@far.example>\r\nTo: <u@bench.example>\r\nSubject: a letter\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <0000000000@far.example>\r\n\r\n")
	for i := 0; len(text) < 4000; i++ {
		text = fmt.Appendf(text, "line %d says %x, and so on, until it is long enough\r\n", i, i*i*7919)
	}
	var n atomic.Int64
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		own := bytes.Clone(text)
		at := bytes.Index(own, []byte("0000000000"))
		for pb.Next() {
			i := n.Add(1)
			copy(own[at:], fmt.Sprintf("%010d", i))
			to := mail.Recipient{Address: mail.Address{Local: fmt.Sprintf("u%d", i%people), Domain: "bench.example"}}
			now := time.Now()
			env := mail.Envelope{Trace: mail.NewTraceID(now), Sender: mail.Address{Local: "a", Domain: "far.example"}, Recipients: []mail.Recipient{to}}
			st, err := bodies.Stage(b.Context(), bytes.NewReader(own))
			if err == nil {
				err = a.Deliver(b.Context(), mda.Mail{
					Envelope: env, Body: st, Trace: mda.Received("mx.bench.example", "ESMTP", mail.Peer{Hello: "far"}, env, now),
					Events: []trace.Event{{Trace: env.Trace, Time: now, Kind: trace.Received, Sender: env.Sender, Size: st.Size()}},
				})
				st.Close()
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

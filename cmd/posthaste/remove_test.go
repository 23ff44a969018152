package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/server"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/body"
	"posthaste/internal/store/queue"
)

// queued puts a message from somebody into the queue.
func queued(t *testing.T, st *server.Store, from mail.Address, to ...mail.Domain) {
	t.Helper()
	bodies := &body.Store{DB: st.DB, Blobs: st.Blobs}
	staged, err := bodies.Stage(t.Context(), strings.NewReader("Subject: x\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Close()
	ref, err := bodies.Keep(t.Context(), staged, len(to))
	if err != nil {
		t.Fatal(err)
	}
	env := mail.Envelope{Trace: mail.NewTraceID(time.Now()), Sender: from}
	err = st.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{queue.ShardOf(env.Trace)}}, func(tx kv.Tx) error {
		for _, d := range to {
			env.Recipients = []mail.Recipient{{Address: mail.Address{Local: "x", Domain: d}}}
			if _, err := (&queue.Queue{DB: st.DB}).Put(tx, queue.Item{Envelope: env, Domain: d, Body: ref}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTies: who removes or disables an account hears what leads to it, and what of it
// still waits.
func TestTies(t *testing.T) {
	dir := t.TempDir()
	a, st := newAccount(t, dir+"/data")
	for _, err := range []error{
		a.cl.AddAccount(t.Context(), admind.Account{Address: "bob@example.org", Password: "many secret words"}),
		a.cl.AddAlias(t.Context(), admind.Alias{Address: "info@example.org", Targets: []string{"x@far.example", "Ada+info@example.org"}}),
		a.cl.AddAlias(t.Context(), admind.Alias{Address: "@example.org", Targets: []string{adaAddress}}),
		a.cl.AddAlias(t.Context(), admind.Alias{Address: "other@example.org", Targets: []string{"bob@example.org"}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.cl.SetForward(t.Context(), "bob@example.org", admind.Forward{To: []string{adaAddress}, Keep: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	ada := mail.Address{Local: "ADA", Domain: "example.org"}
	queued(t, st, ada, "far.example", "near.example")
	queued(t, st, mail.Address{Local: "bob", Domain: "example.org"}, "far.example")
	queued(t, st, mail.Address{}, "far.example")
	ties, err := a.cl.Ties(t.Context(), adaAddress)
	if err != nil || strings.Join(ties.Aliases, " ") != "@example.org info@example.org" || strings.Join(ties.Forwards, " ") != "bob@example.org" || ties.Waiting != 1 {
		t.Errorf("%+v, %v", ties, err)
	}
	if said := onStderr(t, func() { tellWaiting(ties, "hold", adaAddress) }); said != "1 message from ada@example.org in the queue: unless you say \"posthaste queue hold --from ada@example.org\", it goes on.\n" {
		t.Error(said)
	}
	if err := a.cl.RemoveAccount(t.Context(), adaAddress); err != nil {
		t.Fatal(err)
	}
	if _, err := a.cl.Ties(t.Context(), adaAddress); err == nil {
		t.Error("it is still there")
	}
}

// onStderr gives what fn writes there.
func onStderr(t *testing.T, fn func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = w
	fn()
	os.Stderr = was
	w.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Package house builds a small house for tests: real stores over memory, and
// the agents that deliver, receive and submit. What happens to it is checked at
// the end of the test.
package house

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"posthaste/internal/agent/mda"
	"posthaste/internal/agent/msa"
	"posthaste/internal/agent/mx"
	"posthaste/internal/agent/registrar"
	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/blob"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/keyring"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/opinion"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/script"
)

// A House is the stores of one server, and agents over them.
type House struct {
	T         testing.TB
	Hostname  string
	DB        kv.Store
	Blobs     blob.Store
	Bodies    *body.Store
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Opinions  *opinion.Store
	Queue     *queue.Queue
	Journal   *journal.Journal
	Keys      *keyring.Keyring
	Scripts   *script.Store
	Registrar *registrar.Registrar
	Delivery  *mda.Agent
	MX        *mx.Agent
	MSA       *msa.Agent
	Log       *slog.Logger
}

// New builds a house over new stores and checks them when the test ends.
func New(t testing.TB, hostname string) *House {
	h := Over(t, hostname, kv.Strict(memkv.New()), memblob.New())
	t.Cleanup(func() { h.Check() })
	return h
}

// Over builds a house over stores that are there.
func Over(t testing.TB, hostname string, db kv.Store, blobs blob.Store) *House {
	h := &House{T: t, Hostname: hostname, DB: db, Blobs: blobs, Log: slog.New(slog.DiscardHandler)}
	h.Bodies = &body.Store{DB: db, Blobs: blobs}
	h.Directory = &directory.Directory{DB: db}
	h.Mailboxes = &mailbox.Store{DB: db, Bodies: h.Bodies, Sorted: mx.Learn}
	h.Opinions = &opinion.Store{DB: db}
	h.Queue = &queue.Queue{DB: db}
	h.Journal = &journal.Journal{DB: db}
	h.Keys = &keyring.Keyring{DB: db}
	h.Scripts = &script.Store{DB: db}
	h.Registrar = &registrar.Registrar{DB: db, Directory: h.Directory, Mailboxes: h.Mailboxes, Keys: h.Keys}
	h.Delivery = &mda.Agent{
		Hostname: mail.Domain(hostname), DB: db, Bodies: h.Bodies, Directory: h.Directory, Mailboxes: h.Mailboxes, Queue: h.Queue, Journal: h.Journal, Log: h.Log, Returns: h.Keys.Returns,
		Rules: &rules.Agent{Hostname: mail.Domain(hostname), Scripts: h.Scripts, Directory: h.Directory, Mailboxes: h.Mailboxes, Log: h.Log},
	}
	h.MX = &mx.Agent{Hostname: hostname, Delivery: h.Delivery, Bodies: h.Bodies, Journal: h.Journal, Log: h.Log, Postmaster: mail.Domain(hostname), Opinions: h.Opinions}
	h.MSA = &msa.Agent{Hostname: hostname, Delivery: h.Delivery, Directory: h.Directory, Bodies: h.Bodies, Journal: h.Journal, Log: h.Log}
	return h
}

func (h *House) must(err error) {
	h.T.Helper()
	if err != nil {
		h.T.Fatal(err)
	}
}

// Address reads an address.
func Address(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(s + ": " + err.Error())
	}
	return a
}

// Account adds accounts, with a byte quota (0 is none), and their domains where
// they are missing.
func (h *House) Account(quota int64, addresses ...string) (ids []mail.AccountID) {
	h.T.Helper()
	for _, s := range addresses {
		a := Address(s)
		h.Domain(string(a.Domain))
		ac, err := h.Registrar.AddAccount(context.Background(), registrar.NewAccount{Address: a, Quota: quota})
		h.must(err)
		ids = append(ids, ac.ID)
	}
	return ids
}

// Domain adds a domain if it is missing.
func (h *House) Domain(name string) {
	h.T.Helper()
	if err := h.Registrar.AddDomain(context.Background(), mail.Domain(name)); err != nil && !errors.Is(err, mail.ErrExists) {
		h.T.Fatal(err)
	}
}

// Rules gives an account a Sieve script, which is active from now on.
func (h *House) Rules(address, text string) {
	h.T.Helper()
	ac, err := h.Directory.AccountOf(context.Background(), Address(address))
	h.must(err)
	h.must(h.Scripts.Put(context.Background(), ac.ID, "rules", []byte(text)))
	h.must(h.Scripts.Activate(context.Background(), ac.ID, "rules"))
}

// Alias adds an alias; from may be "@domain".
func (h *House) Alias(from string, to ...string) {
	h.T.Helper()
	al := directory.Alias{}
	if d, ok := strings.CutPrefix(from, "@"); ok {
		al.Address.Domain = mail.Domain(d)
	} else {
		al.Address = Address(from)
	}
	h.Domain(string(al.Address.Domain))
	for _, s := range to {
		al.Targets = append(al.Targets, Address(s))
	}
	h.must(h.Registrar.AddAlias(context.Background(), al))
}

// Box gives the messages in the mailbox of that name, whole, in their order.
func (h *House) Box(address, name string) (out []string) {
	h.T.Helper()
	ctx := context.Background()
	ac, err := h.Directory.AccountOf(ctx, Address(address))
	h.must(err)
	m, err := h.Mailboxes.Lookup(ctx, ac.ID, name)
	h.must(err)
	snap, err := h.Mailboxes.Open(ctx, ac.ID, m.ID)
	h.must(err)
	for _, r := range snap.Rows(0) {
		b, err := h.Mailboxes.OpenEmail(ctx, ac.ID, r.Email)
		h.must(err)
		text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		b.Close()
		h.must(err)
		out = append(out, string(text))
	}
	return out
}

// Inbox is Box for INBOX.
func (h *House) Inbox(address string) []string {
	h.T.Helper()
	return h.Box(address, mailbox.InboxName)
}

// Waiting gives what is in the queue, a line for each item: "domain: local
// local…", in order.
func (h *House) Waiting() (out []string) {
	h.T.Helper()
	for _, it := range h.Items() {
		line := string(it.Domain) + ":"
		for _, r := range it.Envelope.Recipients {
			line += " " + r.Address.Local
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// Items gives what is in the queue.
func (h *House) Items() (out []queue.Item) {
	h.T.Helper()
	h.must(h.Queue.Each(context.Background(), func(it queue.Item) bool {
		out = append(out, it)
		return true
	}))
	return out
}

// Story gives the kinds of a message's events, in their order.
func (h *House) Story(id mail.TraceID) (out []trace.Kind) {
	h.T.Helper()
	events, err := h.Journal.Events(context.Background(), id)
	if errors.Is(err, mail.ErrNotFound) {
		return nil
	}
	h.must(err)
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

// Stage stages a body; the test closes it.
func (h *House) Stage(text string) *body.Staged {
	h.T.Helper()
	st, err := h.Bodies.Stage(context.Background(), strings.NewReader(text))
	h.must(err)
	h.T.Cleanup(func() { st.Close() })
	return st
}

// Check looks at all stores, and reads every body.
func (h *House) Check() {
	h.T.Helper()
	ctx := context.Background()
	accts, err := h.Directory.Accounts(ctx)
	h.must(err)
	for _, ac := range accts {
		wrong, err := h.Mailboxes.Check(ctx, ac.ID, readAll)
		if err != nil {
			h.T.Errorf("%s: account %s: %v", h.Hostname, ac.Address, err)
		}
		thought, err := h.Opinions.Check(ctx, ac.ID)
		h.must(err)
		said, err := h.Scripts.Check(ctx, ac.ID)
		h.must(err)
		for _, w := range slices.Concat(wrong, thought, said) {
			h.T.Errorf("%s: %s", h.Hostname, w)
		}
	}
	people, err := h.Directory.Check(ctx)
	h.must(err)
	wrong, err := h.Queue.Check(ctx)
	h.must(err)
	for _, w := range append(people, wrong...) {
		h.T.Errorf("%s: %s", h.Hostname, w)
	}
	for _, it := range h.Items() {
		b, err := h.Bodies.Open(ctx, it.Body, it.Prefix)
		if err == nil {
			err = readAll(ctx, b)
			b.Close()
		}
		if err != nil {
			h.T.Errorf("%s: queued message %v: %v", h.Hostname, it.Envelope.Trace, err)
		}
	}
}

func readAll(_ context.Context, b *body.Reader) error {
	n, err := io.Copy(io.Discard, io.NewSectionReader(b, 0, b.Size()))
	if err == nil && n != b.Size() {
		err = io.ErrUnexpectedEOF
	}
	return err
}

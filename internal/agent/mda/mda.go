package mda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
)

// An Agent delivers. All fields must be set.
type Agent struct {
	DB        kv.Store
	Bodies    *body.Store
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Queue     *queue.Queue
	Journal   *journal.Journal
	Log       *slog.Logger
}

// Mail is a message to be delivered.
type Mail struct {
	Envelope mail.Envelope
	Body     *body.Staged
	Trace    []byte        // the fields that go in front of it: Received and the like
	Events   []trace.Event // what its story has so far; written with the delivery
	Mailbox  mailbox.Role  // where it goes in each account; NoRole is the inbox
}

// Accepts refuses a recipient that nobody here is, while the sender can still
// be told. A domain that is not ours is refused: who may relay does not ask.
func (a *Agent) Accepts(ctx context.Context, to mail.Address) error {
	_, err := a.resolve(ctx, to)
	switch {
	case errors.Is(err, errForeign):
		return mail.Refuse("5.7.1", "we do not relay: "+to.Domain.String()+" is not served here", "")
	case errors.Is(err, mail.ErrNotFound):
		return mail.Refuse("5.1.1", "there is nobody called "+to.String()+" here", "")
	case err != nil:
		return err
	}
	return nil
}

// errForeign: the domain is not one of ours.
var errForeign = errors.New("mda: not our domain")

// postmaster must be reachable in every domain. RFC 5321 §4.5.1
const postmaster = "postmaster"

// resolve gives what an address of ours leads to.
func (a *Agent) resolve(ctx context.Context, to mail.Address) (t directory.Target, err error) {
	t, err = a.Directory.Resolve(ctx, to)
	if err == nil || !errors.Is(err, mail.ErrNotFound) {
		return t, err
	}
	ours, herr := a.Directory.HasDomain(ctx, to.Domain)
	if herr != nil {
		return t, herr
	}
	if !ours {
		return t, errForeign
	}
	if strings.EqualFold(to.Local, postmaster) {
		return a.postmaster(ctx, to)
	}
	return t, err
}

// postmaster gives the first account of the domain, or of all, as long as
// nobody has been named for it.
func (a *Agent) postmaster(ctx context.Context, to mail.Address) (directory.Target, error) {
	accts, err := a.Directory.Accounts(ctx)
	if err != nil {
		return directory.Target{}, err
	}
	for _, ac := range accts {
		if ac.Address.Domain == to.Domain {
			return directory.Target{Account: ac.ID}, nil
		}
	}
	if len(accts) > 0 {
		return directory.Target{Account: accts[0].ID}, nil
	}
	return directory.Target{}, fmt.Errorf("mda: %s: %w", to, mail.ErrNotFound)
}

// Deliver delivers to every recipient of the envelope, or queues what cannot be
// done now. A refusal means that nobody can have it, and nothing was done.
func (a *Agent) Deliver(ctx context.Context, m Mail) error {
	p, err := a.plan(ctx, m.Envelope)
	if err != nil {
		return err
	}
	if p.empty() {
		return p.refusal()
	}
	_, err = a.do(ctx, m, p, keepForLater)
	return err
}

// Try delivers to the recipients it can, and tells what became of each, in
// their order. Recipients elsewhere, reached by an alias, are queued. An error
// means that nothing was done for anybody.
func (a *Agent) Try(ctx context.Context, m Mail) ([]mail.Outcome, error) {
	p, err := a.plan(ctx, m.Envelope)
	if err != nil {
		return nil, err
	}
	var full map[mail.AccountID]bool
	if !p.empty() {
		if full, err = a.do(ctx, m, p, leaveOut); err != nil {
			return nil, err
		}
	}
	return p.outcomes(m.Envelope.Recipients, full), nil
}

// What is done about an account that has no room.
type onFull byte

const (
	keepForLater onFull = iota // the queue tries again
	leaveOut                   // the caller hears of it
)

// maxAccounts is how many mailboxes one transaction delivers to. Those above it
// are reached through the queue, so that all are served or none is.
const maxAccounts = 200

// do carries the plan out in one transaction, and gives the accounts that had
// no room.
func (a *Agent) do(ctx context.Context, m Mail, p *plan, mode onFull) (full map[mail.AccountID]bool, err error) {
	items := p.items(m)
	local := p.local
	if len(local) > maxAccounts {
		items = append(items, later(m, local[maxAccounts:])...)
		local = local[:maxAccounts]
	}
	msg, ref, err := a.prepare(ctx, m, len(local)+len(items), len(local) > 0)
	if err != nil {
		return nil, err
	}
	role := m.Mailbox
	if role == mailbox.NoRole {
		role = mailbox.InboxRole
	}
	locks := []kv.Lock{queue.ShardOf(m.Envelope.Trace)}
	for _, l := range local {
		locks = append(locks, mailbox.Lock(l.account))
	}
	var events []trace.Event
	err = a.DB.Update(ctx, kv.Plan{Locks: locks}, func(tx kv.Tx) error {
		now := tx.Now()
		full = nil
		events = append(events[:0], m.Events...)
		put := items
		for _, l := range local {
			stored, err := a.store(tx, l, role, msg)
			if errors.Is(err, mail.ErrOverQuota) {
				if full == nil {
					full = map[mail.AccountID]bool{}
				}
				full[l.account] = true
				if mode == keepForLater {
					put = append(put[:len(put):len(put)], later(m, []step{l})...)
				}
				continue
			}
			if err != nil {
				return err
			}
			events = append(events, trace.Event{Trace: m.Envelope.Trace, Time: now, Kind: trace.Stored, Rcpt: l.rcpt.Address, Mailbox: stored})
		}
		for _, it := range put {
			it.Body = ref
			if _, err := a.Queue.Put(tx, it); err != nil {
				return err
			}
			for _, r := range it.Envelope.Recipients {
				events = append(events, trace.Event{Trace: m.Envelope.Trace, Time: now, Kind: trace.Queued, Rcpt: r.Address})
			}
		}
		journal.Write(tx, events...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mda: deliver %v: %w", m.Envelope.Trace, err)
	}
	for _, e := range events {
		e.Log(a.Log)
	}
	return full, nil
}

// prepare makes the body durable, and parses the message if a mailbox needs it.
func (a *Agent) prepare(ctx context.Context, m Mail, holders int, parse bool) (*mailbox.Prepared, body.Ref, error) {
	ref, err := a.Bodies.Keep(ctx, m.Body, holders)
	if err != nil {
		return nil, ref, fmt.Errorf("mda: keep the body of %v: %w", m.Envelope.Trace, err)
	}
	if !parse {
		return nil, ref, nil
	}
	prefix := append([]byte("Return-Path: "+m.Envelope.Sender.Path()+"\r\n"), m.Trace...)
	msg, err := mailbox.Prepare(m.Envelope.Trace, prefix, m.Body)
	if err != nil {
		return nil, ref, fmt.Errorf("mda: %v: %w", m.Envelope.Trace, err)
	}
	msg.Ref = ref
	return msg, ref, nil
}

// store puts the message into one account, and gives the mailbox's name.
func (a *Agent) store(tx kv.Tx, l step, role mailbox.Role, msg *mailbox.Prepared) (string, error) {
	e, err := a.Mailboxes.Edit(tx, l.account)
	if err != nil {
		return "", err
	}
	box, err := e.ByRole(role)
	if err != nil {
		return "", err
	}
	_, full := e.Append(box, mailbox.Incoming{Prepared: msg})
	if full != nil && !errors.Is(full, mail.ErrOverQuota) {
		return "", full
	}
	if err := e.Done(); err != nil { // the mailbox may be new, even if it is full
		return "", err
	}
	return e.Name(box), full
}

// laterAfter is how long a full mailbox is left alone.
const laterAfter = 15 * time.Minute

// later makes queue items for recipients of ours.
func later(m Mail, steps []step) []queue.Item {
	byDomain := map[mail.Domain]*queue.Item{}
	var out []*queue.Item
	for _, l := range steps {
		it := byDomain[l.rcpt.Address.Domain]
		if it == nil {
			it = item(m, l.rcpt.Address.Domain)
			it.Next = m.Envelope.Trace.Time().Add(laterAfter)
			it.Text, it.Status = "the mailbox is full", mail.Status{Class: 4, Subject: 2, Detail: 2}
			byDomain[it.Domain] = it
			out = append(out, it)
		}
		it.Envelope.Recipients = append(it.Envelope.Recipients, l.rcpt)
	}
	items := make([]queue.Item, len(out))
	for i, it := range out {
		items[i] = *it
	}
	return items
}

func item(m Mail, d mail.Domain) *queue.Item {
	env := m.Envelope
	env.Recipients = nil
	return &queue.Item{Envelope: env, Domain: d, Prefix: m.Trace}
}

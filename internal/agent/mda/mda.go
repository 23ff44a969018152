package mda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
)

// An Agent delivers. All fields but Hostname, Returns, Rules and PassJunk must be
// set.
type Agent struct {
	// Hostname is what reports come from: mail for its postmaster is taken,
	// though it may be no domain of ours. RFC 5321 §4.5.1
	Hostname  mail.Domain
	DB        kv.Store
	Bodies    *body.Store
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Queue     *queue.Queue
	Journal   *journal.Journal
	Log       *slog.Logger
	// Returns gives the secrets of return addresses, under which mail is sent on;
	// nil: it keeps its sender.
	Returns func(ctx context.Context) ([][]byte, error)
	// Rules are those of accounts; nil: there are none.
	Rules *rules.Agent
	// PassJunk sends on also what was judged to be junk.
	PassJunk bool
}

// Mail is a message to be delivered.
type Mail struct {
	Envelope mail.Envelope
	Body     *body.Staged
	Trace    []byte        // the fields that go in front of it: Received and the like
	Events   []trace.Event // what its story has so far; written with the delivery
	Mailbox  mailbox.Role  // where it goes in each account; NoRole is the inbox
	// Sort says where it goes in an account whose owner has a mind of its own, and why;
	// nil: in each as Mailbox says.
	Sort func(ctx context.Context, a mail.AccountID) (mailbox.Role, string, error)
	// Sign gives fields that go in front of what leaves for elsewhere; nil: none.
	Sign func(ctx context.Context) ([]byte, error)
	// Seal gives fields that go in front of what is sent on for somebody of a domain
	// of ours; nil: none.
	Seal func(ctx context.Context, d mail.Domain) ([]byte, error)
	// Release is when it may be delivered; until then the queue has all of it, also
	// what is for people here. Zero: at once. RFC 4865
	Release time.Time
	// Errand has all of it go out by an account that its sender has elsewhere, also what
	// is for people here. The zero Errand: it does not.
	Errand queue.Errand
	// Place is where it goes in one of the accounts; nil: as with all mail.
	Place *Place
	// From is the claimed item of the queue that this is, if it is one: whom it
	// serves leaves the item in the same transaction, so that a crash after it
	// does not serve them twice.
	From *queue.Item
}

// Accepts refuses a recipient that nobody here is, while the sender can still
// be told. A domain that is not ours is refused: who may relay does not ask.
func (a *Agent) Accepts(ctx context.Context, sender mail.Address, to mail.Recipient) error {
	back, err := a.back(ctx, sender, to.Address)
	if err != nil || !back.IsZero() {
		return err
	}
	return a.AcceptsFrom(ctx, 0, to)
}

// AcceptsFrom is Accepts for somebody who has logged in: who may post to a
// shared folder is asked of the person. RFC 4314 §2.1, p
func (a *Agent) AcceptsFrom(ctx context.Context, from mail.AccountID, r mail.Recipient) error {
	to := r.Address
	t, err := a.resolve(ctx, to)
	if who := t.Named(); err == nil && who != 0 {
		err = a.mayPost(ctx, from, who)
	}
	if err == nil {
		err = a.valid(ctx, r)
	}
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

// errPost refuses who may not post to a shared folder.
var errPost = mail.Refuse("5.7.1", "you may not send mail to this shared folder", "")

// mayPost refuses mail to a shared folder of whoever has not the right. What an
// alias brings has been allowed by whoever made the alias, unless it only was the
// folder's address before.
func (a *Agent) mayPost(ctx context.Context, from, to mail.AccountID) error {
	acct, err := a.Directory.Account(ctx, to)
	if err != nil || !acct.Shared {
		return err
	}
	m, err := a.Mailboxes.Lookup(ctx, to, mailbox.InboxName)
	if err != nil {
		return err
	}
	if m.ACL.Rights(from)&mailbox.RightPost == 0 {
		return errPost
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
	if (ours || to.Domain == a.Hostname) && strings.EqualFold(to.Local, postmaster) {
		if d, err := a.Directory.Domain(ctx, to.Domain); err == nil && d.AliasOf != "" {
			to.Domain = d.AliasOf
		}
		return a.postmaster(ctx, to)
	}
	if !ours {
		return t, errForeign
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
	accts = slices.DeleteFunc(accts, func(ac directory.Account) bool { return ac.Shared })
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
// done now; an errand is always queued. A refusal means that nobody can have it, and
// nothing was done.
func (a *Agent) Deliver(ctx context.Context, m Mail) error {
	if m.Errand.Is() {
		_, err := a.do(ctx, m, elsewhere(m.Envelope.Recipients), keepForLater)
		return err
	}
	p, err := a.plan(ctx, &m)
	if err != nil {
		return err
	}
	if p.empty() {
		return p.refusal()
	}
	if !m.Release.IsZero() {
		p = elsewhere(m.Envelope.Recipients)
	}
	_, err = a.do(ctx, m, p, keepForLater)
	return err
}

// elsewhere is the plan to have the queue serve all recipients.
func elsewhere(rcpts []mail.Recipient) *plan {
	p := &plan{}
	for _, r := range rcpts {
		p.send(away{rcpt: r})
	}
	return p
}

// Try delivers to the recipients it can, and tells what became of each, in
// their order. Recipients elsewhere, reached by an alias, are queued. An error
// means that nothing was done for anybody.
func (a *Agent) Try(ctx context.Context, m Mail) ([]mail.Outcome, error) {
	p, err := a.plan(ctx, &m)
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

// maxBytes is about what one transaction writes.
const maxBytes = kv.MaxTx * 9 / 10

// errTooWide refuses what no transaction can take.
var errTooWide = mail.Refuse("4.5.3", "too many recipients in too many domains, send to fewer at a time", "")

// do carries the plan out in one transaction, and gives the accounts that had
// no room and were left out.
func (a *Agent) do(ctx context.Context, m Mail, p *plan, mode onFull) (full map[mail.AccountID]bool, err error) {
	waiting, err := a.leaving(ctx, m, p.remote)
	if err != nil {
		return nil, err
	}
	if mode == keepForLater {
		// The queue finds out once more that they cannot be served, and tells
		// the sender.
		waiting = append(waiting, items(m, p.refused)...)
	}
	msg, ref, err := a.prepare(ctx, m, len(p.local)+len(waiting), len(p.local) > 0)
	if err != nil {
		return nil, err
	}
	local, rest := p.split(waiting, msg, ref)
	waiting = append(waiting, m.again(rest)...)
	if weigh(waiting, ref) > maxBytes {
		return nil, errTooWide
	}
	d := delivery{a: a, m: m, plan: p, local: local, waiting: waiting, msg: msg, ref: ref, mode: mode}
	if d.answers, err = a.replies(ctx, m, local); err != nil {
		return nil, err
	}
	if err := d.run(ctx); err != nil {
		return nil, fmt.Errorf("mda: deliver %v: %w", m.Envelope.Trace, err)
	}
	for _, e := range d.events {
		e.Log(a.Log)
	}
	a.Journal.Wrote(d.events...)
	a.Journal.Wrote(d.others...)
	return d.full, nil
}

// split gives the accounts that there is room for in the transaction, and the
// others.
func (p *plan) split(waiting []queue.Item, msg *mailbox.Prepared, ref body.Ref) (now, later []step) {
	if len(p.local) == 0 {
		return nil, nil
	}
	room := (maxBytes - weigh(waiting, ref)) / (msg.Weight() + 300)
	n := min(len(p.local), maxAccounts, max(room, 0))
	return p.local[:n], p.local[n:]
}

// weigh tells about how many bytes items take in a transaction, with their
// events.
func weigh(list []queue.Item, ref body.Ref) (n int) {
	for i := range list {
		it := &list[i]
		n += 300 + len(it.Prefix) + len(it.Envelope.EnvelopeID) + len(ref.Inline) + len(it.Envelope.Sender.Local) + len(it.Envelope.Sender.Domain) + 3*len(it.Domain)
		for _, r := range it.Envelope.Recipients {
			n += weighRecipient(r)
		}
	}
	return n
}

// weighRecipient tells about how many bytes a recipient takes in an item.
func weighRecipient(r mail.Recipient) int {
	return 60 + 3*(len(r.Address.Local)+len(r.Address.Domain)) + len(r.Original.Local) + len(r.Original.Domain) + len(r.ORCPT)
}

// A delivery is a plan about to be carried out.
type delivery struct {
	a       *Agent
	m       Mail
	plan    *plan
	local   []step
	waiting []queue.Item
	msg     *mailbox.Prepared
	ref     body.Ref
	mode    onFull

	// reports is what the sender is told of at once: that some of the recipients
	// have it. unreported are accounts that turned out to have no room.
	reports    []Report
	reported   map[mail.AccountID]bool
	unreported map[mail.AccountID]bool

	full   map[mail.AccountID]bool // left out
	events []trace.Event           // of the message
	others []trace.Event           // of the reports and answers

	answers map[mail.AccountID]reply // that their rules give
}

// errEarly tells that a report was written of a success that is none.
var errEarly = errors.New("mda: an account has no room after all")

// run makes the report that the sender asked for, if he did, and commits. Only
// the commit knows who has room: if the report says too much it is made anew.
func (d *delivery) run(ctx context.Context) error {
	for {
		if err := d.report(ctx); err != nil {
			return err
		}
		locks := []kv.Lock{queue.ShardOf(d.m.Envelope.Trace)}
		for _, l := range d.local {
			locks = append(locks, mailbox.Lock(l.account))
		}
		for _, r := range d.reports {
			locks = append(locks, queue.ShardOf(r.Envelope.Trace))
		}
		for _, r := range d.answers {
			locks = append(locks, queue.ShardOf(r.item.Envelope.Trace))
		}
		if p := d.m.Place; p != nil {
			locks = append(locks, mailbox.Lock(p.Account))
		}
		if err := d.a.DB.Update(ctx, kv.Plan{Locks: locks}, d.commit); !errors.Is(err, errEarly) {
			return err
		}
	}
}

// commit does it; it may be called again.
func (d *delivery) commit(tx kv.Tx) error {
	d.full, d.events, d.others = map[mail.AccountID]bool{}, append(d.events[:0], d.m.Events...), d.others[:0]
	var noRoom []step
	for _, l := range d.local {
		stored, err := d.a.store(tx, l, d.m, d.msg)
		if err == nil {
			err = d.ruled(tx, l)
		}
		switch {
		case err == nil && len(stored) == 0:
			d.note(tx, trace.Event{Kind: trace.Discarded, Rcpt: l.rcpt.Address, Text: l.verdict.Script})
		case err == nil:
			for _, s := range stored {
				d.note(tx, trace.Event{Kind: trace.Stored, Rcpt: l.rcpt.Address, Mailbox: s.mailbox, Text: s.why})
			}
		case !errors.Is(err, mail.ErrOverQuota), d.m.Place.of(l.account):
			return err // who has a place for it also has it still
		case d.reported[l.account]:
			d.unreported[l.account] = true
			return errEarly
		case d.mode == leaveOut && l.direct:
			d.full[l.account] = true
		default:
			// Also for leaveOut, if an alias led here: whoever tried the alias
			// again would deliver to all its other accounts again.
			noRoom = append(noRoom, l)
		}
	}
	later := d.m.again(noRoom)
	for i := range later {
		later[i].Next = tx.Now().Add(laterAfter)
		later[i].Status, later[i].Text = mail.StatusOf(mail.ErrOverQuota)
	}
	for _, it := range append(d.waiting[:len(d.waiting):len(d.waiting)], later...) {
		it.Body = d.ref
		if _, err := d.a.Queue.Put(tx, it); err != nil {
			return err
		}
		for _, r := range it.Envelope.Recipients {
			e := trace.Event{Kind: trace.Queued, Rcpt: r.Address, Text: r.Original.String()}
			if it.Errand.Is() {
				e.From = it.Errand.As.String()
			}
			d.note(tx, e)
			if it.Status != (mail.Status{}) {
				d.note(tx, trace.Event{Kind: trace.Deferred, Rcpt: r.Address, Status: it.Status, Text: it.Text, Next: it.Next})
			}
		}
	}
	for _, r := range d.reports {
		e, own, err := PutReport(tx, d.a.Queue, r, d.m.Envelope)
		if err != nil {
			return err
		}
		d.events, d.others = append(d.events, e), append(d.others, own...)
	}
	journal.Write(tx, d.events...)
	if d.m.Place != nil {
		if err := d.m.Place.Note(tx); err != nil {
			return err
		}
	}
	if d.m.From == nil {
		return nil
	}
	var served []mail.Address
	for _, o := range d.plan.outcomes(d.m.Envelope.Recipients, d.full) {
		if o.Status.Class == 2 {
			served = append(served, o.Recipient.Address)
		}
	}
	return d.a.Queue.Reached(tx, d.m.From, served)
}

func (d *delivery) note(tx kv.Tx, e trace.Event) {
	e.Trace, e.Time = d.m.Envelope.Trace, tx.Now()
	d.events = append(d.events, e)
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
	msg, err := mailbox.Prepare(m.Envelope.Trace, m.front(), m.Body)
	if err != nil {
		return nil, ref, fmt.Errorf("mda: %v: %w", m.Envelope.Trace, err)
	}
	msg.Ref = ref
	return msg, ref, nil
}

// laterAfter is how long a full mailbox is left alone.
const laterAfter = 15 * time.Minute

// Package mx receives mail from strangers: it gathers evidence about a message,
// judges it, and hands what it takes to Delivery.
//
// Judge is pure, so that the same evidence gives the same verdict in a test, in
// a replay, and in the log. Gathering may be slow and changes nothing; delivery
// is one transaction.
package mx

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/agent/mda"
	"posthaste/internal/base/dns"
	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/acquaintance"
	"posthaste/internal/store/body"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/opinion"
	"posthaste/internal/store/reports"
)

// Delivery is what the mx needs behind it: the mda, or on an edge host the way
// to it.
type Delivery interface {
	// Accepts refuses a recipient while the sender can still be told.
	Accepts(ctx context.Context, sender mail.Address, to mail.Recipient) error
	Deliver(ctx context.Context, m mda.Mail) error
}

// An Agent receives. All fields but DNS, Trusted, Signers, Policy, Counts, Filters,
// Hooks, Saw, Acquaintances and Opinions must be set.
type Agent struct {
	Hostname string
	Delivery Delivery
	Bodies   *body.Store
	Journal  *journal.Journal
	Log      *slog.Logger
	// Postmaster is the domain of a RCPT TO:<postmaster>. RFC 5321 §4.1.1.3
	Postmaster mail.Domain
	// DNS is asked for what senders publish about their mail; nil: nobody is
	// judged by it.
	DNS dns.Resolver
	// Trusted are networks whose mail is not judged.
	Trusted []netip.Prefix
	// Signers gives those who seal what is sent on for people of a domain; nil:
	// nobody does.
	Signers func(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error)
	// Policy says what speaks against a client; Counts is what is remembered of
	// clients, nil: nothing.
	Policy Policy
	Counts *Counts
	// Filters are asked about each message, in their order.
	Filters []filter.Filter
	// Hooks are asked after the filters, in their order.
	Hooks []Hook
	// Saw hears of each message that the DMARC policy of its author's domain spoke
	// for, if the domain wants reports; nil: nobody hears of it.
	Saw func(ctx context.Context, env mail.Envelope, s reports.Sight)
	// Acquaintances remembers who has written here; nil: nobody is known.
	Acquaintances *acquaintance.Store
	// Opinions are what people think of who writes to them; nil: nobody thinks anything.
	Opinions *opinion.Store
}

// Begin opens a mail transaction.
func (a *Agent) Begin(_ context.Context, peer mail.Peer, from mail.Address, p smtp.MailParams) (smtp.Transaction, error) {
	t := &transaction{a: a, peer: peer, binary: p.Binary}
	t.env = p.Envelope(mail.NewTraceID(time.Now()), from)
	t.filters = t.chain()
	if !a.trusts(peer) { // anybody may say that it is not urgent. RFC 6710 §5
		t.env.Priority = min(t.env.Priority, 0)
	}
	return t, nil
}

type transaction struct {
	a    *Agent
	peer mail.Peer
	env  mail.Envelope
	// binary: the message comes as BINARYMIME.
	binary bool

	client *Client // nil: nothing has been found out yet

	filters filter.Chain
	hooks   []*hooking // nil: they have not been asked yet
}

// chain makes the filters' view of the transaction.
func (t *transaction) chain() filter.Chain {
	return filter.Chain{Filters: t.a.Filters, Hostname: t.a.Hostname, Bodies: t.a.Bodies, Log: t.a.Log, Peer: t.peer, Envelope: &t.env, Accepts: func(ctx context.Context, to mail.Recipient) error {
		return t.a.Delivery.Accepts(ctx, t.env.Sender, to)
	}}
}

// ID is what the client, the log and the Received field call it.
func (t *transaction) ID() mail.TraceID { return t.env.Trace }

// Priority is that by which the message is taken.
func (t *transaction) Priority() int8 { return t.env.Priority }

// Rcpt takes a recipient that Delivery accepts.
func (t *transaction) Rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams) error {
	if to.Domain == "" {
		to.Domain = t.a.Postmaster
	}
	if err := t.admit(ctx, to); err != nil {
		t.refused(to, err)
		return err
	}
	r := p.Recipient(to)
	if err := t.a.Delivery.Accepts(ctx, t.env.Sender, r); err != nil {
		if no, ok := errors.AsType[*mail.Refusal](err); ok && no.Status == nobody {
			t.a.unknown(t.peer, time.Now())
		}
		t.refused(to, err)
		return err
	}
	if err := t.filters.Rcpt(ctx, to); err != nil {
		t.refused(to, err)
		return err
	}
	if err := t.hookRcpt(ctx, to); err != nil {
		t.refused(to, err)
		return err
	}
	t.env.Recipients = append(t.env.Recipients, r)
	return nil
}

// nobody is the status of a recipient that is not here.
var nobody = mail.Status{Class: 5, Subject: 1, Detail: 1}

// admit says whether the client may bring a message for a recipient. The
// postmaster hears from everybody. RFC 5321 §4.5.1
func (t *transaction) admit(ctx context.Context, to mail.Address) error {
	if t.client == nil {
		c := t.a.client(ctx, t.peer, time.Now())
		t.client = &c
	} else if t.a.Counts != nil && t.client.Judged {
		t.client.Unknown = int(t.a.Counts.unknown.Score(limit.Network(t.client.Addr), time.Now()))
	}
	if no := t.a.Policy.Admit(*t.client).Refusal; no != nil && !strings.EqualFold(to.Local, "postmaster") {
		return no
	}
	return nil
}

// Reset ends the transaction without a message.
func (t *transaction) Reset(context.Context) { t.filters.Close() }

// Data takes the message, judges it and has it delivered.
func (t *transaction) Data(ctx context.Context, r io.Reader) error {
	defer t.filters.Close()
	in := &mda.Source{R: r}
	st, err := t.a.Bodies.Stage(ctx, in)
	if err != nil {
		t.refusedAll(in.Blame(err))
		return err
	}
	defer st.Close()
	// The message has been read to its end: a client that hangs up now must not
	// catch us half way.
	ctx = context.WithoutCancel(ctx)
	if err := t.take(ctx, st); err != nil {
		t.refusedAll(err)
		return err
	}
	return nil
}

// refusedAll remembers for each recipient that the message was refused.
func (t *transaction) refusedAll(err error) {
	for _, r := range t.env.Recipients {
		t.refused(r.Address, err)
	}
	if len(t.env.Recipients) == 0 { // a filter has taken them away
		t.refused(mail.Address{}, err)
	}
}

// refused remembers that we said no, or had to say "later".
func (t *transaction) refused(to mail.Address, err error) {
	e := trace.Event{Trace: t.env.Trace, Time: time.Now(), Kind: trace.Refused, Sender: t.env.Sender, Rcpt: to, Remote: Remote(t.peer), TLS: tlsWords(t.peer)}
	e.Status, e.Text = mail.StatusOf(err)
	if _, answer := errors.AsType[*mail.Refusal](err); !answer {
		e.Kind, e.Text = trace.Broken, err.Error()
		t.a.Log.Error("mail could not be taken", "id", t.env.Trace.String(), "error", err)
	}
	e.Log(t.a.Log)
	e.Text = trace.Cut(e.Text, 300)
	t.a.Journal.Add(e)
}

// Remote gives the peer in words: its name and address.
func Remote(p mail.Peer) string {
	name := p.Name
	if name == "" {
		name = p.Hello
	}
	return name + " [" + p.Addr.Addr().Unmap().String() + "]"
}

func tlsWords(p mail.Peer) string {
	if p.TLS == nil {
		return ""
	}
	return p.TLS.Version + " " + p.TLS.Cipher
}

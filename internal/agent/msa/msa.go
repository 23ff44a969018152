// Package msa takes mail from our own users: it checks that they may send under
// the name they give, completes the header, and hands the message on. Mail for
// people here is delivered at once; all else is queued. RFC 6409
package msa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/acquaintance"
	"posthaste/internal/store/allowance"
	"posthaste/internal/store/body"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/journal"
	"posthaste/internal/store/queue"
	"posthaste/internal/store/suppression"
)

// An Agent takes submissions. All fields but Signers, Allowance, Suppression,
// Filters and Acquaintances must be set.
type Agent struct {
	Hostname  string
	Delivery  *mda.Agent
	Directory *directory.Directory
	Bodies    *body.Store
	Journal   *journal.Journal
	Log       *slog.Logger
	// Signers gives those who sign a domain's mail that leaves for elsewhere;
	// nil: nobody does.
	Signers func(ctx context.Context, d mail.Domain) ([]*dkim.Signer, error)
	// Allowance says to how many an account may write; nil: as many as it likes.
	Allowance *allowance.Store
	// Suppression has the addresses elsewhere that do not exist; nil: none does.
	Suppression *suppression.List
	// Filters are asked about each message, in their order.
	Filters []filter.Filter
	// Acquaintances remembers to whom people here write; nil: nobody does.
	Acquaintances *acquaintance.Store
	// Errand gives the errand that mail with an address elsewhere goes on, for somebody
	// who may use it: mail.ErrNotFound if they have no such address, a *mail.Refusal if
	// they cannot use it now. nil: nobody has one.
	Errand func(ctx context.Context, peer mail.Peer, from mail.Address) (queue.Errand, error)
}

// Begin opens a mail transaction for somebody who has logged in.
func (a *Agent) Begin(ctx context.Context, peer mail.Peer, from mail.Address, p smtp.MailParams) (smtp.Transaction, error) {
	t := &transaction{a: a, peer: peer, binary: p.Binary}
	t.env = p.Envelope(mail.NewTraceID(time.Now()), from)
	t.env.Priority = min(t.env.Priority, MaxPriority)
	t.filters = filter.Chain{Filters: a.Filters, Hostname: a.Hostname, Bodies: a.Bodies, Log: a.Log, Peer: peer, Envelope: &t.env, Accepts: t.accepts, MaySend: t.mayChange}
	if peer.Account == 0 {
		return nil, mail.Refuse("5.7.0", "log in first", "")
	}
	var err error
	if t.release, err = release(p, time.Now()); err != nil {
		return nil, err
	}
	if t.env.By.Return && t.release.After(t.env.By.Time) {
		return nil, mail.Refuse("5.5.4", "the message would be held back for longer than it has to be delivered in", "")
	}
	if from.IsZero() { // reports that a mail program makes itself, RFC 8098 §3
		return t, nil
	}
	if t.errand, err = t.may(ctx, from); err != nil {
		t.refused(mail.Address{}, err)
		return nil, err
	}
	return t, nil
}

// MaxPriority is the highest priority that people may give their messages: "urgent",
// as MIXER has it. RFC 6710 appendix B
const MaxPriority = 4

// MaxHold is how long a message may be held back. RFC 4865
const MaxHold = 90 * 24 * time.Hour

// release gives when a message may go, from what MAIL said; zero is at once, and
// so is a time that has passed. RFC 4865 §5
func release(p smtp.MailParams, now time.Time) (time.Time, error) {
	at := p.HoldUntil
	if p.HoldFor > 0 {
		at = now.Add(p.HoldFor)
	}
	switch {
	case !at.After(now):
		return time.Time{}, nil
	case at.After(now.Add(MaxHold)):
		return time.Time{}, mail.Refuse("5.5.4", "a message can be held back for 90 days at most", "")
	}
	return at, nil
}

type transaction struct {
	a       *Agent
	peer    mail.Peer
	env     mail.Envelope
	release time.Time // zero: at once
	binary  bool      // the message comes as BINARYMIME
	filters filter.Chain
	errand  queue.Errand // that it goes on, as far as is known
}

// ID is what the client, the log and the Received field call it.
func (t *transaction) ID() mail.TraceID { return t.env.Trace }

// Priority is that by which the message is taken.
func (t *transaction) Priority() int8 { return t.env.Priority }

// Rcpt takes recipients anywhere; of people here it knows at once whether they
// exist.
func (t *transaction) Rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams) error {
	if to.Domain == "" {
		to.Domain = t.peer.Login.Domain
	}
	r := p.Recipient(to)
	err := t.accepts(ctx, r)
	if err == nil {
		err = t.filters.Rcpt(ctx, to)
	}
	if err != nil {
		t.refused(to, err)
		return err
	}
	t.env.Recipients = append(t.env.Recipients, r)
	return nil
}

// accepts refuses a recipient that is known not to exist.
func (t *transaction) accepts(ctx context.Context, to mail.Recipient) error {
	ours, err := t.a.Directory.HasDomain(ctx, to.Address.Domain)
	switch {
	case err != nil:
		return err
	case ours:
		return t.a.Delivery.AcceptsFrom(ctx, t.peer.Account, to)
	}
	return t.alive(ctx, to.Address)
}

// alive refuses an address to which mail has come back again and again.
func (t *transaction) alive(ctx context.Context, to mail.Address) error {
	if t.a.Suppression == nil {
		return nil
	}
	e, until, err := t.a.Suppression.Suppressed(ctx, to)
	if err != nil || until.IsZero() {
		return err
	}
	return mail.Refuse("5.1.1", fmt.Sprintf("%s does not exist: mail to it has come back %d times since %s, the last time with %q. Look at how it is written; if it is right, ask your administrator, or try again after %s",
		to, e.Count, e.First.UTC().Format("2 January"), trace.Cut(e.Text, 100), until.UTC().Format("2 January")), "")
}

// Reset ends the transaction without a message.
func (t *transaction) Reset(context.Context) { t.filters.Close() }

// Data takes the message, completes it and sends it on its way.
func (t *transaction) Data(ctx context.Context, r io.Reader) error {
	defer t.filters.Close()
	in := &mda.Source{R: r}
	st, err := t.a.Bodies.Stage(ctx, in)
	if err != nil {
		t.refused(mail.Address{}, in.Blame(err))
		return err
	}
	defer st.Close()
	ctx = context.WithoutCancel(ctx) // read to its end: hanging up changes nothing now
	if err := t.take(ctx, st); err != nil {
		t.refused(mail.Address{}, err)
		return err
	}
	return nil
}

func (t *transaction) take(ctx context.Context, st *body.Staged) error {
	now := time.Now()
	if t.binary {
		var err error
		if st, err = mda.Armored(ctx, t.a.Bodies, st); err != nil {
			return err
		}
		defer st.Close()
	}
	header, err := mda.Header(st)
	if err != nil {
		return fmt.Errorf("msa: read the header of %v: %w", t.env.Trace, err)
	}
	if mda.Hops(header) > mda.MaxHops {
		return mail.Refuse("5.4.6", "the message runs in a circle: it has passed too many servers", "")
	}
	if err := t.author(ctx, header); err != nil {
		return err
	}
	t.env.Recipients = mda.ValidSince(header, t.env.Recipients)
	fresh := t.complete(header, now)
	if len(fresh) != len(header) || !bytes.Equal(fresh, header) {
		rest := io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header)))
		st, err = t.a.Bodies.Stage(ctx, io.MultiReader(bytes.NewReader(fresh), rest))
		if err != nil {
			return fmt.Errorf("msa: %v: %w", t.env.Trace, err)
		}
		defer st.Close()
	}
	filtered, why, err := t.filters.Message(ctx, st)
	if filtered != st {
		st = filtered
		defer filtered.Close()
	}
	switch {
	case err != nil:
		return err
	case why != "": // to throw away or to set aside, but somebody waits for an answer
		return mail.Refuse("5.7.1", "a filter does not let the message out", why)
	}
	if fresh, err = mda.Header(st); err != nil {
		return fmt.Errorf("msa: read the header of %v: %w", t.env.Trace, err)
	}
	if err := t.allowed(ctx); err != nil {
		return err
	}
	m := mda.Mail{Envelope: t.env, Body: st, Release: t.release, Errand: t.errand, Trace: mda.Received(t.a.Hostname, "ESMTP", t.peer, t.env, now)}
	if t.a.Signers != nil && !t.errand.Is() { // else the provider signs
		signed := now
		if t.release.After(now) { // a signature does not live as long as a message may wait
			signed = t.release
		}
		m.Sign = func(ctx context.Context) ([]byte, error) { return t.sign(ctx, fresh, st, signed) }
	}
	m.Events = []trace.Event{{
		Trace: t.env.Trace, Time: now, Kind: trace.Submitted, Sender: t.peer.Login, Remote: "[" + t.peer.Addr.Addr().Unmap().String() + "]", Size: st.Size(),
	}}
	if err := t.a.Delivery.Deliver(ctx, m); err != nil {
		return err
	}
	if t.a.Acquaintances != nil && !t.env.Sender.IsZero() { // a report is no letter
		for _, r := range t.env.Recipients {
			t.a.Acquaintances.Wrote(now, r.Address)
		}
	}
	return nil
}

// allowed refuses what is more than the account may send.
func (t *transaction) allowed(ctx context.Context) error {
	if t.a.Allowance == nil {
		return nil
	}
	n, err := t.elsewhere(ctx)
	if n == 0 || err != nil {
		return err
	}
	may, err := t.a.Allowance.Take(ctx, t.peer.Account, n)
	switch {
	case err != nil:
		return fmt.Errorf("msa: %w", err)
	case may.OK:
		return nil
	case may.Usual:
		return t.strange(may)
	case may.Room.IsZero():
		return mail.Refuse("5.5.3", fmt.Sprintf("this message has %d recipients elsewhere, and you may write to %d within a day", n, may.Limit), "")
	}
	if may.New {
		t.a.Log.Warn("an account has written to as many as it may within a day (limits.recipients_per_day)", "account", t.peer.Login.String(), "limit", may.Limit)
	}
	return mail.Refuse("4.7.1", fmt.Sprintf("you have written to as many people as you may within a day (%d): there is room for this message at %s",
		may.Limit, clock(may.Room)), "")
}

// elsewhere counts the recipients that the message leaves us for: mail among the people
// here is nobody else's trouble.
func (t *transaction) elsewhere(ctx context.Context) (n int, err error) {
	if t.errand.Is() {
		return len(t.env.Recipients), nil
	}
	here := map[mail.Domain]bool{}
	for _, r := range t.env.Recipients {
		d := r.Address.Domain
		ours, known := here[d]
		if !known {
			if ours, err = t.a.Directory.HasDomain(ctx, d); err != nil {
				return 0, fmt.Errorf("msa: %w", err)
			}
			here[d] = ours
		}
		if !ours {
			n++
		}
	}
	return n, nil
}

// strange refuses what is far more than the account usually sends: it may be somebody
// who has found out its password.
func (t *transaction) strange(may allowance.Answer) error {
	if may.New {
		t.a.Log.Warn("an account wants to write to many more people than it usually does: somebody may have its password. If it is right, say: posthaste account limit ADDRESS --release",
			"account", t.peer.Login.String(), "recipients", may.Sum, "limit", may.Limit, "address", t.peer.Addr.Addr().Unmap().String())
	}
	wait := ""
	if !may.Room.IsZero() {
		wait = fmt.Sprintf(" There is room for it at %s.", clock(may.Room))
	}
	return mail.Refuse("4.7.1", fmt.Sprintf("that would be %d recipients within a day, far more than you usually have (up to %d are taken). If it is right, ask your administrator to release it.%s If you have not sent them, somebody else knows your password: change it",
		may.Sum, may.Limit, wait), "")
}

func clock(t time.Time) string { return t.UTC().Format("15:04 UTC on 2 January") }

// sign gives the signatures of the author's domain. Several authors are not of
// one domain, and get none.
func (t *transaction) sign(ctx context.Context, header []byte, st *body.Staged, now time.Time) ([]byte, error) {
	_, authors := message.Authors(header)
	if len(authors) != 1 {
		return nil, nil
	}
	signers, err := t.a.Signers(ctx, authors[0].Address.Domain)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, s := range signers {
		rest := io.NewSectionReader(st, int64(len(header)), st.Size()-int64(len(header)))
		field, err := s.Sign(header, rest, now)
		if err != nil {
			return nil, err
		}
		out = append(out, field...)
	}
	return out, nil
}

// complete gives the header with what mail must have, and without what only the
// sender may know. RFC 6409 §8, RFC 5322 §3.6.3
func (t *transaction) complete(header []byte, now time.Time) []byte {
	out := mda.WithoutValidSince(message.RemoveFields(header, func(f message.Field) bool { return f.Is("bcc") || f.Is("resent-bcc") }))
	var front []byte
	if _, ok := message.Find(header, "message-id"); !ok {
		front = append(front, "Message-ID: <"+t.env.Trace.String()+"@"+t.a.Hostname+">\r\n"...)
	}
	if _, ok := message.Find(header, "date"); !ok {
		front = append(front, "Date: "...)
		front = append(message.AppendDate(front, now), "\r\n"...)
	}
	if _, ok := message.Find(header, "from"); !ok {
		front = append(front, "From: "+t.env.Sender.Path()+"\r\n"...)
	}
	if front == nil {
		return out
	}
	return append(front, out...)
}

// refused remembers that we said no, or had to say "later".
func (t *transaction) refused(to mail.Address, err error) {
	e := trace.Event{Trace: t.env.Trace, Time: time.Now(), Kind: trace.Refused, Sender: t.env.Sender, Rcpt: to}
	e.Status, e.Text = mail.StatusOf(err)
	if _, answer := errors.AsType[*mail.Refusal](err); !answer {
		e.Kind, e.Text = trace.Broken, err.Error()
		t.a.Log.Error("mail could not be taken", "id", t.env.Trace.String(), "error", err)
	}
	e.Log(t.a.Log)
	e.Text = trace.Cut(e.Text, 300)
	t.a.Journal.Add(e)
}

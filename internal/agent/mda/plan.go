package mda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/agent/rules"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
)

const (
	maxAliasDepth = 10   // aliases that lead to aliases
	maxTargets    = 5000 // addresses that the aliases of a message lead to
)

// A step is one account that the message goes to.
type step struct {
	account mail.AccountID
	rcpt    mail.Recipient
	// direct tells that only recipients of the envelope lead here, each to this
	// account alone: who tries one of them again does no harm to others.
	direct bool
	// sentOn is the account's address if its mail has been sent on as well: who
	// tries it again must not do that again.
	sentOn mail.Address
	// role is that of the mailbox that gets it, NoRole the inbox; why says so if the
	// owner had a say in it.
	role mailbox.Role
	why  string
	// verdict is what the account's rules say of it; nil: nothing.
	verdict *rules.Verdict
}

// An away is a recipient elsewhere.
type away struct {
	rcpt mail.Recipient
	via  mail.Address // whose mail is sent on; zero: the envelope names the recipient
}

// A way is how a recipient was reached.
type way struct {
	first mail.Address // of the envelope
	via   mail.Address // the alias or account before, the envelope's if there is none
	depth int
}

// A plan says what is to be done with a message. Making it reads, and changes
// nothing.
type plan struct {
	local  []step
	remote []away
	// For each recipient of the envelope: why it cannot be served, or the
	// accounts that serve it.
	no       map[mail.Address]*mail.Refusal
	refused  []mail.Recipient
	accounts map[mail.Address][]mail.AccountID
	expanded map[mail.Address]bool // an alias led it to several addresses

	seenAcct map[mail.AccountID]int // number in local
	seenAddr map[mail.Address]bool
	visited  map[mail.Address]error // aliases and forwards followed for one recipient, and what came of it
	looked   int

	m      *Mail
	header []byte // of the message; nil: not looked at
	said   map[mail.AccountID]*rules.Verdict
	junk   bool                  // it is not sent on
	passed map[mail.Address]bool // whose mail it was sent on as before; nil: not looked at
}

// errTooMany refuses the whole message: to serve some of a list and not the
// others would be to lose mail.
var errTooMany = mail.Refuse("5.5.3", "the aliases lead to too many recipients", "")

func (a *Agent) plan(ctx context.Context, m *Mail) (*plan, error) {
	p := &plan{
		no: map[mail.Address]*mail.Refusal{}, accounts: map[mail.Address][]mail.AccountID{}, expanded: map[mail.Address]bool{},
		seenAcct: map[mail.AccountID]int{}, seenAddr: map[mail.Address]bool{},
		m: m, junk: m.Mailbox == mailbox.JunkRole && !a.PassJunk,
	}
	for _, r := range m.Envelope.Recipients {
		p.visited = nil
		err := a.begin(ctx, p, r)
		ref, ok := errors.AsType[*mail.Refusal](err)
		switch {
		case err == nil:
		case !ok || ref == errTooMany || ref == errJunk:
			return nil, err
		default:
			p.no[r.Address] = ref
			p.refused = append(p.refused, r)
		}
	}
	return p, nil
}

// sort says which mailbox of an account gets the message.
func (p *plan) sort(ctx context.Context, a mail.AccountID) (role mailbox.Role, why string, err error) {
	if p.m.Sort == nil {
		return p.m.Mailbox, "", nil
	}
	if role, why, err = p.m.Sort(ctx, a); err != nil {
		err = fmt.Errorf("mda: plan: %w", err)
	}
	return role, why, err
}

// begin finds out where the mail for a recipient of the envelope goes.
func (a *Agent) begin(ctx context.Context, p *plan, r mail.Recipient) error {
	w := way{first: r.Address}
	back, err := a.back(ctx, p.m.Envelope.Sender, r.Address)
	if err != nil {
		return err
	}
	if !back.IsZero() {
		r.Original, r.Address = r.Address, back
		r.ValidSince, r.ValidOnly = time.Time{}, false
	}
	if err := a.valid(ctx, r); err != nil {
		return err
	}
	return a.follow(ctx, p, w, r)
}

// follow finds out where the mail for r goes, which is w.first or what its aliases
// lead to.
func (a *Agent) follow(ctx context.Context, p *plan, w way, r mail.Recipient) error {
	if w.depth > maxAliasDepth {
		return circle(w.first)
	}
	if w.depth > 0 {
		if p.looked++; p.looked > maxTargets {
			return errTooMany
		}
	}
	t, err := a.resolve(ctx, r.Address)
	switch {
	case errors.Is(err, errForeign):
		return p.leave(away{rcpt: r, via: w.via})
	case errors.Is(err, mail.ErrNotFound):
		return mail.Refuse("5.1.1", "there is nobody called "+r.Address.String()+" here", "")
	case err != nil:
		return fmt.Errorf("mda: plan: %w", err)
	}
	if t.Alias != nil {
		return a.alias(ctx, p, w, r, t)
	}
	return a.account(ctx, p, w, r, t)
}

// account puts the message into an account, or has it sent on, or what else its rules
// say. Junk is no affair of rules.
func (a *Agent) account(ctx context.Context, p *plan, w way, r mail.Recipient, t directory.Target) (err error) {
	mine := step{account: t.Account, rcpt: r, direct: w.depth == 0}
	if mine.role, mine.why, err = p.sort(ctx, t.Account); err != nil {
		return err
	}
	on := sentOn{keep: true}
	if t.Forward != nil && !p.junk {
		on = sentOn{t.Forward.To, t.Forward.Keep}
	}
	if mine.role != mailbox.JunkRole {
		if mine.verdict, err = a.ask(ctx, p, w, t.Account); err != nil {
			return err
		}
	}
	if v := mine.verdict; v != nil {
		if v.Refusal != nil {
			return v.Refusal
		}
		if !on.keep {
			mine.verdict = v.Without()
		}
		on.to, on.keep = append(slices.Clone(on.to), v.Redirect...), true
	}
	if len(on.to) == 0 {
		p.keep(w.first, mine)
		return nil
	}
	return a.forward(ctx, p, w, mine, t.Found, on)
}

// ask gives what the rules of an account say of the message; nil if it has none.
func (a *Agent) ask(ctx context.Context, p *plan, w way, acct mail.AccountID) (*rules.Verdict, error) {
	if a.Rules == nil {
		return nil, nil
	}
	if v, asked := p.said[acct]; asked {
		return v, nil
	}
	v, err := a.Rules.Run(ctx, acct, func() (rules.Mail, error) {
		if err := p.readHeader(); err != nil {
			return rules.Mail{}, err
		}
		front := p.m.front()
		return rules.Mail{
			Header: append(front, p.header...), Size: int64(len(front)) + p.m.Body.Size(), Message: p.m.Body, Length: p.m.Body.Size(),
			Sender: p.m.Envelope.Sender, Recipient: w.first, Came: p.m.Place.came(acct, p.header),
		}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("mda: rules: %w", err)
	}
	if p.said == nil {
		p.said = map[mail.AccountID]*rules.Verdict{}
	}
	p.said[acct] = v
	return v, nil
}

// readHeader reads the header of the message, once.
func (p *plan) readHeader() (err error) {
	if p.header == nil {
		if p.header, err = Header(p.m.Body); err != nil {
			return fmt.Errorf("mda: plan: read the header: %w", err)
		}
	}
	return nil
}

// front gives the fields that stand in front of the message in mailboxes.
func (m *Mail) front() []byte {
	return append([]byte("Return-Path: "+m.Envelope.Sender.Path()+"\r\n"), m.Trace...)
}

// leave has a recipient elsewhere sent to, unless the message must not be sent on
// or has come back.
func (p *plan) leave(to away) error {
	if !to.via.IsZero() {
		if p.junk {
			return errJunk
		}
		before, err := p.before(to.via)
		if err != nil {
			return err
		}
		if before {
			return mail.Refuse("5.4.6", "the message has come back: it was sent on for "+to.via.String()+" before", "")
		}
	}
	p.send(to)
	return nil
}

func circle(first mail.Address) error {
	return mail.Refuse("5.4.6", "the aliases of "+first.String()+" lead in a circle", "")
}

// once calls fn, once for each recipient of the envelope: aliases that lead to
// each other must not take time without end.
func (p *plan) once(k, first mail.Address, fn func() error) error {
	k = directory.Canonical(k)
	if err, seen := p.visited[k]; seen {
		return err
	}
	if p.visited == nil {
		p.visited = map[mail.Address]error{}
	}
	p.visited[k] = circle(first)
	err := fn()
	p.visited[k] = err
	return err
}

// alias follows an alias.
func (a *Agent) alias(ctx context.Context, p *plan, w way, r mail.Recipient, t directory.Target) error {
	return p.once(t.Alias.Address, w.first, func() error {
		via := t.Alias.Address
		if via.Local == "" {
			via.Local = r.Address.Local
		}
		if len(t.Alias.Targets) > 1 {
			// The sender hears of the expansion instead of each success behind it.
			// RFC 3461 §5.2.7.3
			p.expanded[w.first] = true
			r.Notify = r.Notify.WithoutSuccess()
		}
		w.via, w.depth = via, w.depth+1
		return a.expand(ctx, p, w, r, t.Alias.Targets)
	})
}

// sentOn says where an account's mail goes on to, and whether the account gets it, too.
type sentOn struct {
	to   []mail.Address
	keep bool
}

// forward sends the mail of the account that is found under an address on. What cannot be
// sent on, or has come back, the account gets.
func (a *Agent) forward(ctx context.Context, p *plan, w way, mine step, found mail.Address, on sentOn) error {
	before, err := p.before(found)
	if err != nil {
		return err
	}
	if before {
		p.keep(w.first, mine.kept())
		return nil
	}
	err = p.once(found, w.first, func() error {
		next, to := w, mine.rcpt
		if on.keep || len(on.to) > 1 {
			p.expanded[w.first] = true
			to.Notify = to.Notify.WithoutSuccess()
		}
		next.via, next.depth = found, w.depth+1
		return a.expand(ctx, p, next, to, on.to)
	})
	no, refused := errors.AsType[*mail.Refusal](err)
	switch {
	case err != nil && (!refused || no == errTooMany):
		return err
	case err == nil && !on.keep:
		return nil
	case err == nil:
		mine.sentOn, mine.direct = found, false
	default:
		mine = mine.kept()
	}
	p.keep(w.first, mine)
	return nil
}

// kept is the step for what was to be sent on and is not: then it must be kept somewhere.
func (l step) kept() step {
	if l.verdict != nil && len(l.verdict.Put) == 0 {
		l.verdict = nil
	}
	return l
}

// puts gives the places where the account gets the message.
func (l *step) puts() []rules.Put {
	if l.verdict == nil {
		return []rules.Put{{}}
	}
	return l.verdict.Put
}

// expand follows all targets. One that leads nowhere does not spoil the others.
func (a *Agent) expand(ctx context.Context, p *plan, w way, r mail.Recipient, targets []mail.Address) error {
	served := false
	var refused error
	for _, target := range targets {
		original := r.Original
		if original.IsZero() {
			original = r.Address
		}
		to := r
		to.Address, to.Original = target, original
		to.ValidSince, to.ValidOnly = time.Time{}, false // that was of the address before
		err := a.follow(ctx, p, w, to)
		if no, ok := errors.AsType[*mail.Refusal](err); ok && no != errTooMany {
			refused = err
			continue
		}
		if err != nil {
			return err
		}
		served = true
	}
	if served {
		return nil
	}
	return refused
}

// keep adds an account, once however many addresses lead to it.
func (p *plan) keep(first mail.Address, l step) {
	p.accounts[first] = append(p.accounts[first], l.account)
	if i, seen := p.seenAcct[l.account]; seen {
		p.local[i].direct = p.local[i].direct && l.direct
		if !l.sentOn.IsZero() {
			p.local[i].sentOn = l.sentOn
		}
		return
	}
	p.seenAcct[l.account] = len(p.local)
	p.local = append(p.local, l)
}

// send adds a recipient elsewhere, once.
func (p *plan) send(to away) {
	if p.seenAddr == nil {
		p.seenAddr = map[mail.Address]bool{}
	}
	if !p.seenAddr[to.rcpt.Address] {
		p.seenAddr[to.rcpt.Address] = true
		p.remote = append(p.remote, to)
	}
}

// empty tells whether nobody can be served.
func (p *plan) empty() bool { return len(p.local) == 0 && len(p.remote) == 0 }

// refusal gives the answer if nobody can be served.
func (p *plan) refusal() error {
	for _, r := range p.refused {
		return p.no[r.Address]
	}
	return mail.Refuse("5.5.1", "no valid recipients", "")
}

// maxItem is how many recipients one item has, and maxItemBytes about how much
// they take: more make more items.
const (
	maxItem      = 100
	maxItemBytes = kv.MaxValue / 2
)

// items makes queue items for recipients, a few for each domain, or on an errand a few
// for all.
func items(m Mail, rcpts []mail.Recipient) []queue.Item {
	byDomain := map[mail.Domain]int{}
	var out []queue.Item
	var bytes []int // of each
	for _, r := range rcpts {
		d := r.Address.Domain
		if m.Errand.Is() {
			d = m.Errand.As.Domain
		}
		i, ok := byDomain[d]
		w := weighRecipient(r)
		if !ok || len(out[i].Envelope.Recipients) == maxItem || bytes[i]+w > maxItemBytes {
			i = len(out)
			byDomain[d] = i
			bytes = append(bytes, 0)
			env := m.Envelope
			env.Recipients = nil
			it := queue.Item{Envelope: env, Domain: d, Prefix: m.Trace, Queued: m.Release, Role: byte(m.Mailbox), Errand: m.Errand}
			it.Next = m.Release
			out = append(out, it)
		}
		bytes[i] += w
		out[i].Envelope.Recipients = append(out[i].Envelope.Recipients, r)
	}
	return out
}

// outcomes tells what became of each recipient, in their order.
func (p *plan) outcomes(rcpts []mail.Recipient, full map[mail.AccountID]bool) []mail.Outcome {
	out := make([]mail.Outcome, len(rcpts))
	for i, r := range rcpts {
		o := mail.Outcome{Recipient: r, Status: mail.StatusDelivered, Text: "delivered"}
		if no := p.no[r.Address]; no != nil {
			o.Status, o.Text = no.Status, no.Text
		}
		for _, a := range p.accounts[r.Address] {
			if full[a] {
				o.Status, o.Text = mail.StatusOf(mail.ErrOverQuota)
			}
		}
		out[i] = o
	}
	return out
}

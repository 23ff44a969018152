package mda

import (
	"context"
	"errors"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/directory"
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
}

// A plan says what is to be done with a message. Making it reads, and changes
// nothing.
type plan struct {
	local  []step
	remote []mail.Recipient
	// For each recipient of the envelope: why it cannot be served, or the
	// accounts that serve it.
	no       map[mail.Address]*mail.Refusal
	refused  []mail.Recipient
	accounts map[mail.Address][]mail.AccountID
	expanded map[mail.Address]bool // an alias led it to several addresses

	seenAcct map[mail.AccountID]int // number in local
	seenAddr map[mail.Address]bool
	visited  map[mail.Address]error // aliases followed for one recipient, and what came of it
	looked   int
}

// errTooMany refuses the whole message: to serve some of a list and not the
// others would be to lose mail.
var errTooMany = mail.Refuse("5.5.3", "the aliases lead to too many recipients", "")

func (a *Agent) plan(ctx context.Context, env mail.Envelope) (*plan, error) {
	p := &plan{
		no: map[mail.Address]*mail.Refusal{}, accounts: map[mail.Address][]mail.AccountID{}, expanded: map[mail.Address]bool{},
		seenAcct: map[mail.AccountID]int{}, seenAddr: map[mail.Address]bool{},
	}
	for _, r := range env.Recipients {
		p.visited = nil
		err := a.follow(ctx, p, r.Address, r, 0)
		ref, ok := errors.AsType[*mail.Refusal](err)
		switch {
		case err == nil:
		case !ok || ref == errTooMany:
			return nil, err
		default:
			p.no[r.Address] = ref
			p.refused = append(p.refused, r)
		}
	}
	return p, nil
}

// follow finds out where the mail for r goes, which is first of the envelope or
// what its aliases lead to.
func (a *Agent) follow(ctx context.Context, p *plan, first mail.Address, r mail.Recipient, depth int) error {
	if depth > maxAliasDepth {
		return mail.Refuse("5.4.6", "the aliases of "+first.String()+" lead in a circle", "")
	}
	if depth > 0 {
		if p.looked++; p.looked > maxTargets {
			return errTooMany
		}
	}
	t, err := a.resolve(ctx, r.Address)
	switch {
	case errors.Is(err, errForeign):
		p.send(r)
		return nil
	case errors.Is(err, mail.ErrNotFound):
		return mail.Refuse("5.1.1", "there is nobody called "+r.Address.String()+" here", "")
	case err != nil:
		return fmt.Errorf("mda: plan: %w", err)
	}
	if t.Account != 0 {
		p.keep(first, step{account: t.Account, rcpt: r, direct: depth == 0})
		return nil
	}
	return a.alias(ctx, p, first, r, t.Alias, depth)
}

// alias follows an alias, once for each recipient of the envelope: aliases that
// lead to each other must not take time without end.
func (a *Agent) alias(ctx context.Context, p *plan, first mail.Address, r mail.Recipient, al *directory.Alias, depth int) error {
	k := directory.Canonical(al.Address)
	if err, seen := p.visited[k]; seen {
		return err
	}
	if p.visited == nil {
		p.visited = map[mail.Address]error{}
	}
	p.visited[k] = mail.Refuse("5.4.6", "the aliases of "+first.String()+" lead in a circle", "")
	err := a.expand(ctx, p, first, r, al, depth)
	p.visited[k] = err
	return err
}

// expand follows all targets of an alias. One that leads nowhere does not spoil
// the others.
func (a *Agent) expand(ctx context.Context, p *plan, first mail.Address, r mail.Recipient, al *directory.Alias, depth int) error {
	served := false
	var refused error
	if len(al.Targets) > 1 {
		// The sender hears of the expansion instead of each success behind it.
		// RFC 3461 §5.2.7.3
		p.expanded[first] = true
		r.Notify = r.Notify.WithoutSuccess()
	}
	for _, target := range al.Targets {
		original := r.Original
		if original.IsZero() {
			original = r.Address
		}
		to := r
		to.Address, to.Original = target, original
		err := a.follow(ctx, p, first, to, depth+1)
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
		return
	}
	p.seenAcct[l.account] = len(p.local)
	p.local = append(p.local, l)
}

// send adds a recipient elsewhere, once.
func (p *plan) send(r mail.Recipient) {
	if !p.seenAddr[r.Address] {
		p.seenAddr[r.Address] = true
		p.remote = append(p.remote, r)
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

// items makes queue items for recipients, a few for each domain.
func items(m Mail, rcpts []mail.Recipient) []queue.Item {
	byDomain := map[mail.Domain]int{}
	var out []queue.Item
	var bytes []int // of each
	for _, r := range rcpts {
		d := r.Address.Domain
		i, ok := byDomain[d]
		w := weighRecipient(r)
		if !ok || len(out[i].Envelope.Recipients) == maxItem || bytes[i]+w > maxItemBytes {
			i = len(out)
			byDomain[d] = i
			bytes = append(bytes, 0)
			env := m.Envelope
			env.Recipients = nil
			it := queue.Item{Envelope: env, Domain: d, Prefix: m.Trace, Queued: m.Release}
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

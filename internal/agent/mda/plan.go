package mda

import (
	"context"
	"errors"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
)

const (
	maxAliasDepth = 10   // aliases that lead to aliases
	maxTargets    = 5000 // whom all aliases of a message lead to
)

// A step is one account that the message goes to.
type step struct {
	account mail.AccountID
	rcpt    mail.Recipient
}

// A plan says what is to be done with a message. Making it reads, and changes
// nothing.
type plan struct {
	local  []step
	remote map[mail.Domain][]mail.Recipient
	order  []mail.Domain // of remote
	// For each recipient of the envelope: why it cannot be served, or the
	// accounts that serve it.
	no       map[mail.Address]*mail.Refusal
	accounts map[mail.Address][]mail.AccountID

	seenAcct map[mail.AccountID]bool
	seenAddr map[mail.Address]bool
}

func (a *Agent) plan(ctx context.Context, env mail.Envelope) (*plan, error) {
	p := &plan{
		no: map[mail.Address]*mail.Refusal{}, accounts: map[mail.Address][]mail.AccountID{},
		seenAcct: map[mail.AccountID]bool{}, seenAddr: map[mail.Address]bool{}, remote: map[mail.Domain][]mail.Recipient{},
	}
	for _, r := range env.Recipients {
		err := a.follow(ctx, p, r.Address, r, 0)
		if ref, ok := errors.AsType[*mail.Refusal](err); ok {
			p.no[r.Address] = ref
		} else if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// follow finds out where the mail for to goes. It is for r of the envelope if
// no alias led here.
func (a *Agent) follow(ctx context.Context, p *plan, first mail.Address, r mail.Recipient, depth int) error {
	if depth > maxAliasDepth {
		return mail.Refuse("5.4.6", "the aliases of "+first.String()+" lead in a circle", "")
	}
	if len(p.local)+len(p.seenAddr) > maxTargets {
		return mail.Refuse("5.5.3", "the aliases lead to too many recipients", "")
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
		p.keep(first, step{account: t.Account, rcpt: r})
		return nil
	}
	return a.expand(ctx, p, first, r, t.Alias, depth)
}

// expand follows all targets of an alias. One that leads nowhere does not spoil
// the others.
func (a *Agent) expand(ctx context.Context, p *plan, first mail.Address, r mail.Recipient, al *directory.Alias, depth int) error {
	served := false
	var refused error
	for _, target := range al.Targets {
		original := r.Original
		if original.IsZero() {
			original = r.Address
		}
		err := a.follow(ctx, p, first, mail.Recipient{Address: target, Original: original}, depth+1)
		if _, ok := errors.AsType[*mail.Refusal](err); ok {
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
	if !p.seenAcct[l.account] {
		p.seenAcct[l.account] = true
		p.local = append(p.local, l)
	}
}

// send adds a recipient elsewhere, once.
func (p *plan) send(r mail.Recipient) {
	if p.seenAddr[r.Address] {
		return
	}
	p.seenAddr[r.Address] = true
	d := r.Address.Domain
	if p.remote[d] == nil {
		p.order = append(p.order, d)
	}
	p.remote[d] = append(p.remote[d], r)
}

// empty tells whether nobody can be served.
func (p *plan) empty() bool { return len(p.local) == 0 && len(p.remote) == 0 }

// refusal gives the answer if nobody can be served.
func (p *plan) refusal() error {
	for _, r := range p.no {
		return r
	}
	return mail.Refuse("5.5.1", "no valid recipients", "")
}

// maxItem is how many recipients one item has: more make more items.
const maxItem = 100

// items makes queue items for the recipients elsewhere, and a report to be made
// for those who cannot be served though others can.
func (p *plan) items(m Mail) []queue.Item {
	var out []queue.Item
	for _, d := range p.order {
		rcpts := p.remote[d]
		for len(rcpts) > 0 {
			n := min(len(rcpts), maxItem)
			it := item(m, d)
			it.Envelope.Recipients = rcpts[:n]
			out = append(out, *it)
			rcpts = rcpts[n:]
		}
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

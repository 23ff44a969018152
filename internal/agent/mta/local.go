package mta

import (
	"context"
	"fmt"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/queue"
)

// Local carries to mailboxes of ours: reports, and what could not be delivered
// when it came.
type Local struct {
	Delivery *mda.Agent
	Bodies   *body.Store
	// Seal gives the mda.Mail.Seal of a message behind the fields that were put in
	// front of it when it came; nil: nothing is sealed.
	Seal func(front []byte, st *body.Staged) func(ctx context.Context, d mail.Domain) ([]byte, error)
	// Sort gives the mda.Mail.Sort of a message that goes to the mailbox with a role,
	// likewise; nil: all go there.
	Sort func(front []byte, st *body.Staged, to mailbox.Role) func(ctx context.Context, a mail.AccountID) (mailbox.Role, string, error)
}

// Carry delivers to the recipients it can.
func (l *Local) Carry(ctx context.Context, it queue.Item, b *body.Reader) ([]mail.Outcome, error) {
	// Not even read, as long as it is in vain.
	if full := l.Delivery.NoRoom(ctx, it.Envelope, b.Size()); len(full) > 0 {
		return full, nil
	}
	// The trace fields go in front anew, behind a Return-Path. The claim holds the body
	// until who gets it does: it is the same one, however often it is tried.
	st, err := l.Bodies.Restage(ctx, it.Body)
	if err != nil {
		return nil, fmt.Errorf("mta: %w", err)
	}
	defer st.Close()
	m := mda.Mail{Envelope: it.Envelope, Body: st, Trace: it.Prefix, Mailbox: mailbox.Role(it.Role), From: &it}
	if l.Seal != nil {
		m.Seal = l.Seal(it.Prefix, st)
	}
	if l.Sort != nil {
		m.Sort = l.Sort(it.Prefix, st, m.Mailbox)
	}
	return l.Delivery.Try(ctx, m)
}

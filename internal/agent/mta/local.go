package mta

import (
	"context"
	"fmt"
	"io"

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
}

// Carry delivers to the recipients it can.
func (l *Local) Carry(ctx context.Context, it queue.Item, b *body.Reader) ([]mail.Outcome, error) {
	// The trace fields go in front anew, behind a Return-Path.
	whole := io.NewSectionReader(b, int64(len(it.Prefix)), b.Size()-int64(len(it.Prefix)))
	st, err := l.Bodies.Stage(ctx, whole)
	if err != nil {
		return nil, fmt.Errorf("mta: %w", err)
	}
	defer st.Close()
	m := mda.Mail{Envelope: it.Envelope, Body: st, Trace: it.Prefix, Mailbox: mailbox.Role(it.Role), From: &it}
	if l.Seal != nil {
		m.Seal = l.Seal(it.Prefix, st)
	}
	return l.Delivery.Try(ctx, m)
}

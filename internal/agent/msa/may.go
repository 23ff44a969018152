package msa

import (
	"context"
	"errors"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/queue"
)

// may refuses an address that the account has no claim to: it may use its own, with or
// without a detail, aliases that lead to it, and addresses elsewhere that it has shown to
// be its own. What has one of these goes on the errand.
func (t *transaction) may(ctx context.Context, from mail.Address) (none queue.Errand, err error) {
	target, err := t.a.Directory.Resolve(ctx, from)
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		return none, fmt.Errorf("msa: %w", err)
	}
	if target.Account == t.peer.Account {
		return none, nil
	}
	if target.Alias != nil {
		for _, to := range target.Alias.Targets {
			if to, err = t.a.Directory.Main(ctx, to); err != nil {
				return none, fmt.Errorf("msa: %w", err)
			}
			if directory.Canonical(to) == directory.Canonical(t.peer.Login) {
				return none, nil
			}
		}
	}
	if t.a.Errand != nil {
		// Of addresses in our domains, nobody elsewhere can say whose they are.
		ours, err := t.a.Directory.HasDomain(ctx, from.Domain)
		if err != nil {
			return none, fmt.Errorf("msa: %w", err)
		}
		if !ours {
			errand, err := t.a.Errand(ctx, t.peer, from)
			if !errors.Is(err, mail.ErrNotFound) {
				return errand, err
			}
		}
	}
	return none, mail.Refuse("5.7.1", "you are logged in as "+t.peer.Login.String()+" and may not send as "+from.String(), "")
}

// mayChange refuses a sender that a filter puts in place of the one there is: it must be
// one of the account, and go the same way.
func (t *transaction) mayChange(ctx context.Context, from mail.Address) error {
	errand, err := t.may(ctx, from)
	if err == nil && errand != t.errand {
		err = mail.Refuse("5.7.1", "mail from "+from.String()+" goes another way", "")
	}
	return err
}

// author refuses a From field that names somebody else, or several of them, and finds
// out the errand that the message goes on: that of its author. RFC 5322 §3.6.2
func (t *transaction) author(ctx context.Context, header []byte) error {
	fields, authors := message.Authors(header)
	switch {
	case fields == 0 && !t.env.Sender.IsZero():
		return nil // it will be completed
	case fields == 0:
		return mail.Refuse("5.6.0", "the message has no From field", "")
	case fields > 1:
		return mail.Refuse("5.6.0", "the message has more than one From field", "")
	}
	var mine []queue.Errand // by which each author that is the account goes
	for _, c := range authors {
		if c.Address.IsZero() && len(mine) > 0 {
			continue
		}
		if c.Address.IsZero() {
			return mail.Refuse("5.6.0", "the From field has no valid address", "")
		}
		errand, err := t.may(ctx, c.Address)
		_, refused := errors.AsType[*mail.Refusal](err)
		switch {
		case err == nil:
			mine = append(mine, errand)
		case !refused || len(authors) == 1:
			return err
		}
	}
	if len(mine) == 0 { // one of several authors sends for all
		return mail.Refuse("5.7.1", "none of the authors in the From field is you", "")
	}
	return t.choose(mine)
}

// choose chooses the errand of one of the authors: that of the sender, if it is among
// them.
func (t *transaction) choose(mine []queue.Errand) error {
	for _, e := range mine {
		if e == t.errand {
			return nil
		}
	}
	if t.errand.Is() {
		return mail.Refuse("5.7.1", "mail from "+t.errand.As.String()+" goes out by an account elsewhere, which knows you by that address only: it must be in the From field, too", "")
	}
	t.errand = mine[0]
	if !t.env.Sender.IsZero() {
		// Its domain lets mail come from that provider, and ours from here.
		t.env.Sender = t.errand.As
	}
	return nil
}

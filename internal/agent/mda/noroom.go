package mda

import (
	"context"

	"posthaste/internal/base/mail"
)

// NoRoom tells of a message of so many bytes that is tried again whether that would be in
// vain: if all its recipients are accounts that have no room for it, it gives the outcomes
// that Try would, and nothing of the message is written. Else it gives nil.
func (a *Agent) NoRoom(ctx context.Context, e mail.Envelope, size int64) []mail.Outcome {
	out := make([]mail.Outcome, len(e.Recipients))
	for i, r := range e.Recipients {
		if !r.ValidSince.IsZero() { // it may be refused
			return nil
		}
		t, err := a.resolve(ctx, r.Address)
		if err != nil || t.Alias != nil || t.Forward != nil {
			return nil
		}
		u, err := a.Mailboxes.Usage(ctx, t.Account)
		if err != nil || (u.MaxBytes == 0 || u.Bytes+size <= u.MaxBytes) && (u.MaxMessages == 0 || u.Messages < u.MaxMessages) {
			return nil
		}
		out[i].Recipient = r
		out[i].Status, out[i].Text = mail.StatusOf(mail.ErrOverQuota)
	}
	return out
}

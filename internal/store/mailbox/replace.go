package mailbox

import (
	"context"
	"fmt"

	"posthaste/internal/base/mail"
)

// Replace adds a message to a mailbox and takes another one out of its own, in
// one step. mail.ErrNotFound if the other one is not there. RFC 8508
func (s *Store) Replace(ctx context.Context, a mail.AccountID, from mail.MailboxID, uid mail.UID, to mail.MailboxID, m Incoming) (out Appended, err error) {
	err = s.update(ctx, a, func(e *Edit) error {
		gone, err := e.Expunge(from, mail.UIDs(uid), ExpungeAll)
		if err != nil {
			return err
		}
		if gone.IsEmpty() {
			return fmt.Errorf("mailbox: replace message %d: %w", uid, mail.ErrNotFound)
		}
		out, err = e.Append(to, m)
		return err
	})
	return out, err
}

package mailbox

import (
	"context"
	"encoding/binary"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// URLKey gives the secret that URLs into a mailbox are authorized with, nil if
// there is none yet. RFC 4467 §4
func (s *Store) URLKey(ctx context.Context, a mail.AccountID, box mail.MailboxID) (secret []byte, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		secret, err = r.Get(key64(a, kindURLKey, uint64(box)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: URL key: %w", err)
	}
	return secret, nil
}

// KeepURLKey gives the secret of a mailbox, which becomes fresh if there is none
// yet.
func (s *Store) KeepURLKey(ctx context.Context, a mail.AccountID, box mail.MailboxID, fresh []byte) (secret []byte, err error) {
	err = s.update(ctx, a, func(e *Edit) error {
		k := key64(a, kindURLKey, uint64(box))
		if secret, err = e.tx.Get(k); err != nil || secret != nil {
			return err
		}
		if _, err := e.messages(box); err != nil {
			return err
		}
		secret = fresh
		e.tx.Set(k, fresh)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: URL key: %w", err)
	}
	return secret, nil
}

// ForgetURLKey takes the secret of a mailbox away: what was authorized with it
// is so no longer. RFC 4467 §3, RESETKEY
func (s *Store) ForgetURLKey(ctx context.Context, a mail.AccountID, box mail.MailboxID) error {
	return s.forgetURLKeys(ctx, a, func(id mail.MailboxID) bool { return id == box })
}

// ForgetURLKeys takes the secrets of all mailboxes away.
func (s *Store) ForgetURLKeys(ctx context.Context, a mail.AccountID) error {
	return s.forgetURLKeys(ctx, a, func(mail.MailboxID) bool { return true })
}

func (s *Store) forgetURLKeys(ctx context.Context, a mail.AccountID, which func(mail.MailboxID) bool) error {
	err := s.update(ctx, a, func(e *Edit) error {
		p := key(a, kindURLKey)
		var gone []uint64
		for row, err := range e.tx.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			if id := binary.BigEndian.Uint64(row.Key[len(p):]); which(mail.MailboxID(id)) {
				gone = append(gone, id)
			}
		}
		for _, id := range gone {
			e.tx.Delete(key64(a, kindURLKey, id))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: URL keys: %w", err)
	}
	return nil
}

// urlKeys looks that secrets belong to mailboxes, and are secrets.
func (c *checker) urlKeys(r kv.Reader) error {
	return c.scan(r, kindURLKey, func(k, v []byte) error {
		id := mail.MailboxID(binary.BigEndian.Uint64(k))
		if _, ok := c.boxes[id]; !ok || len(v) < 16 {
			c.say("a URL key of %d bytes for mailbox %d", len(v), id)
		}
		return nil
	})
}

package mailbox

import (
	"context"
	"errors"
	"fmt"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Shared mailbox is one that somebody else may do something with.
type Shared struct {
	Owner mail.AccountID
	Mailbox
}

// Grant changes what a grantee may do with a mailbox of an account. A mailbox
// that has just been shared is there for its new readers at once.
func (s *Store) Grant(ctx context.Context, a mail.AccountID, box mail.MailboxID, g Grant, mode RightsMode) error {
	err := s.update(ctx, a, func(e *Edit) error {
		if who, ok := g.To.Account(); ok {
			e.tx.Wake(topic(who))
		}
		return e.Grant(box, g, mode)
	})
	if err != nil {
		return fmt.Errorf("mailbox: grant: %w", err)
	}
	return nil
}

// SharedWith gives the mailboxes of others that an account has any right in,
// owner by owner. It looks at what is shared with it, not at all there is.
func (s *Store) SharedWith(ctx context.Context, who mail.AccountID) (list []Shared, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		list = list[:0]
		return s.eachShare(r, who, func(sh Shared) error {
			if sh.ACL.Rights(who) != 0 {
				list = append(list, sh)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: shared with account %d: %w", who, err)
	}
	return list, nil
}

// eachShare calls fn once for each mailbox of others whose ACL names the account
// or a group that it is in.
func (s *Store) eachShare(r kv.Reader, who mail.AccountID, fn func(Shared) error) error {
	seen := map[boxKey]bool{}
	for _, g := range [...]Grantee{GranteeOf(who), Authenticated, Anyone} {
		p := sharePrefix(g)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			k := decodeShare(row.Key)
			if k.acct == who || seen[k] {
				continue
			}
			seen[k] = true
			m, err := readMailbox(r, k.acct, k.box)
			if errors.Is(err, mail.ErrNotFound) {
				continue // its account was destroyed half way
			}
			if err != nil {
				return err
			}
			if err := fn(Shared{k.acct, m}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Retire takes an account that is about to be destroyed out of what is shared:
// others lose what it has given them, and it loses what others have given it.
func (s *Store) Retire(ctx context.Context, a mail.AccountID) error {
	own, _, err := s.Mailboxes(ctx, a)
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		return err
	}
	for i := range own {
		if len(own[i].ACL) == 0 {
			continue
		}
		if err := s.changeACL(ctx, a, own[i].ID, func(ACL) ACL { return nil }); err != nil {
			return err
		}
	}
	var given []boxKey
	err = s.DB.View(ctx, func(r kv.Reader) error {
		given = given[:0]
		return s.eachShare(r, a, func(sh Shared) error {
			given = append(given, boxKey{sh.Owner, sh.ID})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("mailbox: retire account %d: %w", a, err)
	}
	for _, k := range given {
		err := s.changeACL(ctx, k.acct, k.box, func(l ACL) ACL {
			l = l.with(Grant{To: GranteeOf(a)}, ReplaceRights)
			return l.with(Grant{To: GranteeOf(a), Takes: true}, ReplaceRights)
		})
		if err == nil {
			err = s.forgetReader(ctx, Box{k.acct, k.box}, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) changeACL(ctx context.Context, a mail.AccountID, box mail.MailboxID, fn func(ACL) ACL) error {
	err := s.update(ctx, a, func(e *Edit) error {
		b, err := e.box(box)
		if err != nil {
			return err
		}
		return e.setACL(b, fn(b.ACL))
	})
	if errors.Is(err, mail.ErrNotFound) {
		return nil // it has gone meanwhile, and the rows with it
	}
	if err != nil {
		return fmt.Errorf("mailbox: rights in mailbox %d of account %d: %w", box, a, err)
	}
	return nil
}

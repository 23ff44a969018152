package mailbox

import (
	"context"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// A Subscriber is an account with subscriptions to names of somebody else.
type Subscriber struct {
	Account mail.AccountID
	Names   int
}

// Subscribers gives those of some accounts that are subscribed to names below a prefix,
// which ends with the separator, or to the name before it.
func (s *Store) Subscribers(ctx context.Context, of []mail.AccountID, prefix string) (list []Subscriber, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		list = list[:0]
		for _, a := range of {
			names, err := subscribedBelow(r, a, prefix)
			if err != nil {
				return err
			}
			if len(names) > 0 {
				list = append(list, Subscriber{a, len(names)})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: subscribers: %w", err)
	}
	return list, nil
}

// Resubscribe has an account's subscriptions to names below a prefix lead to those below
// another one. An account that has gone has none.
func (s *Store) Resubscribe(tx kv.Tx, a mail.AccountID, from, to string) error {
	names, err := subscribedBelow(tx, a, from)
	if err != nil || len(names) == 0 {
		return err
	}
	e, err := s.Edit(tx, a)
	if err != nil {
		return err
	}
	for _, n := range names {
		tx.Delete(nameKey(a, kindSubscribed, n))
		if n = strings.TrimSuffix(to+strings.TrimPrefix(n+string(Separator), from), string(Separator)); len(n) <= MaxName {
			tx.Set(nameKey(a, kindSubscribed, n), []byte{})
		}
	}
	e.note(op{kind: opMailbox})
	return e.Done()
}

func subscribedBelow(r kv.Reader, a mail.AccountID, prefix string) (names []string, err error) {
	top := strings.TrimSuffix(prefix, string(Separator))
	p := key(a, kindSubscribed)
	for row, err := range r.Scan(kv.Prefix(nameKey(a, kindSubscribed, top))) {
		if err != nil {
			return nil, err
		}
		if n := string(row.Key[len(p):]); n == top || strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	return names, nil
}

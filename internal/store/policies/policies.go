// Package policies keeps what other domains say of how mail for them must
// travel: their MTA-STS policies, which hold for weeks, whether or not their web
// servers can be reached meanwhile. RFC 8461 §5.1
//
// Rows are under the lock 'V':
//
//	1 domain → id, fetched, expires, used, policy
package policies

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/mtasts"
)

// lock guards all policies.
var lock = kv.Lock{Class: 'V'}

const kindSTS = 0x01

// A Policy is what a domain has said, and when.
type Policy struct {
	Domain  mail.Domain
	ID      string
	Fetched time.Time
	Used    time.Time // to the day
	mtasts.Policy
}

// Expires gives when the policy ends, if it is not fetched again.
func (p Policy) Expires() time.Time { return p.Fetched.Add(p.MaxAge) }

// A Store keeps policies. DB must be set.
type Store struct{ DB kv.Store }

func key(d mail.Domain) []byte { return append(append(lock.Prefix(), kindSTS), d...) }

func (p Policy) row() []byte {
	b := kv.AppendBytes(nil, p.ID)
	b = binary.AppendVarint(b, p.Fetched.Unix())
	b = binary.AppendVarint(b, p.Used.Unix())
	return kv.AppendBytes(b, p.Append(nil))
}

func decode(d mail.Domain, row []byte) (Policy, error) {
	dec := kv.Decode(row)
	p := Policy{Domain: d, ID: dec.String(), Fetched: time.Unix(dec.Varint(), 0), Used: time.Unix(dec.Varint(), 0)}
	text := dec.Bytes()
	if err := dec.Err(); err != nil {
		return p, err
	}
	var err error
	p.Policy, err = mtasts.Parse(text)
	return p, err
}

// Policy gives the policy of a domain, also one that has expired;
// mail.ErrNotFound if there is none.
func (s *Store) Policy(ctx context.Context, d mail.Domain) (p Policy, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		row, err := r.Get(key(d))
		if err == nil && row == nil {
			err = mail.ErrNotFound
		}
		if err != nil {
			return err
		}
		p, err = decode(d, row)
		return err
	})
	if err != nil {
		return p, fmt.Errorf("policies: %s: %w", d, err)
	}
	return p, nil
}

// Put keeps a policy in the place of the one before.
func (s *Store) Put(ctx context.Context, p Policy) error {
	row := p.row()
	if len(row) > kv.MaxValue {
		return fmt.Errorf("policies: %s: %w", p.Domain, mail.ErrLimit)
	}
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		tx.Set(key(p.Domain), row)
		return nil
	})
	if err != nil {
		return fmt.Errorf("policies: %s: %w", p.Domain, err)
	}
	return nil
}

// Delete forgets the policy of a domain.
func (s *Store) Delete(ctx context.Context, d mail.Domain) error {
	err := s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{lock}}, func(tx kv.Tx) error {
		tx.Delete(key(d))
		return nil
	})
	if err != nil {
		return fmt.Errorf("policies: %s: %w", d, err)
	}
	return nil
}

// After gives up to n policies of domains behind one, in the order of their
// names.
func (s *Store) After(ctx context.Context, d mail.Domain, n int) (out []Policy, err error) {
	all := kv.Prefix(key(""))
	all.Low, all.Limit = append(key(d), 0), n
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(all) {
			if err != nil {
				return err
			}
			p, err := decode(mail.Domain(row.Key[len(key("")):]), row.Value)
			if err != nil {
				return err
			}
			out = append(out, p)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	return out, nil
}

// Check says what is wrong with the rows.
func (s *Store) Check(ctx context.Context) (wrong []string, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		wrong = nil
		for row, err := range r.Scan(kv.Prefix(lock.Prefix())) {
			if err != nil {
				return err
			}
			k := row.Key[len(lock.Prefix()):]
			if len(k) < 2 || k[0] != kindSTS {
				wrong = append(wrong, fmt.Sprintf("policies: a row of no kind: %q", k))
			} else if _, err := decode(mail.Domain(k[1:]), row.Value); err != nil {
				wrong = append(wrong, fmt.Sprintf("policies: the policy of %s cannot be read: %v", k[1:], err))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	return wrong, nil
}

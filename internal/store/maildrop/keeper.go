package maildrop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

func (s *Store) expunge(ctx context.Context, a mail.AccountID, box mail.MailboxID, set mail.UIDSet) error {
	_, _, err := s.Mail.Expunge(ctx, a, box, set, mailbox.ExpungeAll)
	return err
}

// trash gives the account's Trash, made if there is none.
func (s *Store) trash(ctx context.Context, a mail.AccountID) (id mail.MailboxID, err error) {
	err = s.update(ctx, a, func(tx kv.Tx) error {
		e, err := s.Mail.Edit(tx, a)
		if err != nil {
			return err
		}
		if id, err = e.ByRole(mailbox.TrashRole); err != nil {
			return err
		}
		return e.Done()
	})
	return id, err
}

// A Leaving message goes by a policy.
type Leaving struct {
	Device  Device
	Mailbox mail.MailboxID
	UID     mail.UID
	Email   mail.EmailID
	Goes    time.Time
	Removal Removal
}

// Leaving gives the messages that will go by those policies, or would by now, those
// that go first in front: what the keeper will do if the account has them, before it
// does. It gives at most so many, and how many there are.
func (s *Store) Leaving(ctx context.Context, a mail.AccountID, policies Policies, most int) (list []Leaving, n int, err error) {
	if len(policies) == 0 {
		return nil, 0, nil
	}
	rows, err := s.rows(ctx, a)
	if err != nil {
		return nil, 0, err
	}
	for _, rw := range rows {
		p := policies.Of(rw.device)
		if p.After != KeepDays {
			continue
		}
		snap, err := s.Mail.Open(ctx, a, rw.box)
		if errors.Is(err, mail.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		for i, m := range rw.marks {
			r := snap.Find(rw.first + mail.UID(i))
			if goes := m.due(&p); r != nil && !goes.IsZero() {
				list = append(list, Leaving{rw.device, rw.box, r.UID, r.Email, goes, p.Removal})
			}
		}
	}
	sort.Slice(list, func(i, j int) bool {
		x, y := &list[i], &list[j]
		if !x.Goes.Equal(y.Goes) {
			return x.Goes.Before(y.Goes)
		}
		return x.Device < y.Device || x.Device == y.Device && (x.Mailbox < y.Mailbox || x.Mailbox == y.Mailbox && x.UID < y.UID)
	})
	return list[:min(len(list), most)], len(list), nil
}

// rows gives all marks of an account.
func (s *Store) rows(ctx context.Context, a mail.AccountID) (rows []row, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		rows = rows[:0]
		return each(r, key(a, kindMarks), func(rw row) error {
			rows = append(rows, rw)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("maildrop: account %d: %w", a, err)
	}
	return rows, nil
}

// Keep removes what has been kept for as long as the policies say, and old
// visits. It gives how many messages went.
func (s *Store) Keep(ctx context.Context, a mail.AccountID, now time.Time) (n int, err error) {
	if err := s.trimVisits(ctx, a, now); err != nil {
		return 0, err
	}
	policies, err := s.Policies(ctx, a)
	if err != nil || policies == nil {
		return 0, err
	}
	rows, err := s.rows(ctx, a)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, rw := range rows {
		p := policies.Of(rw.device)
		var due mail.UIDSet
		for i := range uint16(chunk) {
			if m, ok := rw.marks[i]; ok {
				if goes := m.due(&p); !goes.IsZero() && !goes.After(now) {
					due.Add(rw.first + mail.UID(i))
				}
			}
		}
		if due.IsEmpty() {
			continue
		}
		gone, err := s.keepRow(ctx, a, rw, due, p.Removal)
		n += gone
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// keepRow removes messages that are due. Those that went by other ways lose their
// marks only.
func (s *Store) keepRow(ctx context.Context, a mail.AccountID, rw row, due mail.UIDSet, r Removal) (n int, err error) {
	snap, err := s.Mail.Open(ctx, a, rw.box)
	switch {
	case errors.Is(err, mail.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		there := due.Intersect(snap.UIDs())
		if !there.IsEmpty() {
			if err := s.Remove(ctx, a, rw.device, rw.box, there, r); err != nil {
				return 0, err
			}
		}
		n = there.Len()
		if r == Hide {
			due = due.Subtract(there) // their marks are what hides them
		}
	}
	return n, s.change(ctx, a, rw.device, rw.box, due, func(int64, mark) mark { return mark{} })
}

// Check verifies that all rows of an account can be read, and gives a sentence
// for each that cannot.
func (s *Store) Check(ctx context.Context, a mail.AccountID) (wrong []string, err error) {
	kinds := map[byte]func([]byte) error{
		kindPolicy: func(b []byte) error { _, err := decodePolicy(b); return err },
		kindMarks:  func(b []byte) error { _, err := decodeMarks(b); return err },
		kindVisit:  func(b []byte) error { _, err := decodeVisit(b); return err },
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		wrong = wrong[:0]
		for kind, decode := range kinds {
			for row, err := range r.Scan(kv.Prefix(key(a, kind))) {
				if err != nil {
					return err
				}
				if decode(row.Value) != nil {
					wrong = append(wrong, fmt.Sprintf("account %d: POP3: unreadable row %x", a, row.Key[kv.PrefixLen:]))
				}
			}
		}
		return nil
	})
	if err != nil {
		return wrong, fmt.Errorf("maildrop: check account %d: %w", a, err)
	}
	return wrong, nil
}

func visitKey(a mail.AccountID, at time.Time, d Device) []byte {
	k := binary.BigEndian.AppendUint64(key(a, kindVisit), uint64(max(at.UnixNano(), 0)))
	return binary.BigEndian.AppendUint32(k, uint32(d))
}

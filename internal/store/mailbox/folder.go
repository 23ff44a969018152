package mailbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Mailboxes gives all mailboxes of an account in the order they were made, and
// the account's sequence then.
func (s *Store) Mailboxes(ctx context.Context, a mail.AccountID) (list []Mailbox, seq mail.ModSeq, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		list = list[:0]
		rt, err := readRoot(r, a)
		if err != nil {
			return err
		}
		seq = rt.modseq
		p := key(a, kindMailbox)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			m, err := decodeMailbox(mail.MailboxID(binary.BigEndian.Uint64(row.Key[len(p):])), row.Value)
			if err != nil {
				return err
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("mailbox: list: %w", err)
	}
	return list, seq, nil
}

// Lookup gives the mailbox of that name (as ParseName gives it);
// mail.ErrNotFound if there is none.
func (s *Store) Lookup(ctx context.Context, a mail.AccountID, name string) (m Mailbox, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		id, err := lookup(r, a, name)
		if err != nil {
			return err
		}
		m, err = readMailbox(r, a, id)
		return err
	})
	return m, err
}

// Mailbox gives one by its id; mail.ErrNotFound if there is none.
func (s *Store) Mailbox(ctx context.Context, a mail.AccountID, id mail.MailboxID) (m Mailbox, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		m, err = readMailbox(r, a, id)
		return err
	})
	return m, err
}

func lookup(r kv.Reader, a mail.AccountID, name string) (mail.MailboxID, error) {
	raw, err := r.Get(nameKey(a, kindName, name))
	if err != nil {
		return 0, fmt.Errorf("mailbox: %q: %w", name, err)
	}
	if raw == nil {
		return 0, fmt.Errorf("mailbox: %q: %w", name, mail.ErrNotFound)
	}
	return mail.MailboxID(binary.BigEndian.Uint64(raw)), nil
}

// Subscriptions gives the names that the account is subscribed to, in order.
// Some may name no mailbox. RFC 9051 §6.3.7
func (s *Store) Subscriptions(ctx context.Context, a mail.AccountID) (names []string, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		names = names[:0]
		p := key(a, kindSubscribed)
		for row, err := range r.Scan(kv.Prefix(p)) {
			if err != nil {
				return err
			}
			names = append(names, string(row.Key[len(p):]))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: subscriptions: %w", err)
	}
	return names, nil
}

// Subscribe notes that the account wants to see a name.
func (s *Store) Subscribe(ctx context.Context, a mail.AccountID, name string) error {
	return s.subscription(ctx, a, name, func(e *Edit) { e.tx.Set(nameKey(a, kindSubscribed, name), []byte{}) })
}

// Unsubscribe notes that it does not.
func (s *Store) Unsubscribe(ctx context.Context, a mail.AccountID, name string) error {
	return s.subscription(ctx, a, name, func(e *Edit) { e.tx.Delete(nameKey(a, kindSubscribed, name)) })
}

func (s *Store) subscription(ctx context.Context, a mail.AccountID, name string, write func(*Edit)) error {
	err := s.update(ctx, a, func(e *Edit) error {
		write(e)
		id, err := lookup(e.tx, a, name)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return err
		}
		e.note(op{kind: opMailbox, box: id})
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: subscriptions: %w", err)
	}
	return nil
}

// CreateMailbox makes a mailbox, and those above it that are missing.
// mail.ErrExists if it is there.
func (s *Store) CreateMailbox(ctx context.Context, a mail.AccountID, name string, role Role) (m Mailbox, err error) {
	err = s.update(ctx, a, func(e *Edit) error {
		m, err = e.CreateMailbox(name, role)
		return err
	})
	return m, err
}

// CreateMailbox is Store.CreateMailbox within a transaction.
func (e *Edit) CreateMailbox(name string, role Role) (Mailbox, error) {
	id, err := lookup(e.tx, e.acct, name)
	if err == nil {
		b, err := e.box(id)
		if err != nil {
			return Mailbox{}, err
		}
		if !b.Placeholder {
			return Mailbox{}, fmt.Errorf("mailbox: %q: %w", name, mail.ErrExists)
		}
		if err := e.erase(b); err != nil {
			return Mailbox{}, err
		}
	} else if !errors.Is(err, mail.ErrNotFound) {
		return Mailbox{}, err
	}
	if err := e.parents(name); err != nil {
		return Mailbox{}, err
	}
	if e.root.nextMailbox > 50*MaxMailboxes {
		// Ids are never reused; this many were made and deleted by a runaway.
		return Mailbox{}, fmt.Errorf("mailbox: too many mailboxes made: %w", mail.ErrLimit)
	}
	if err := e.roomForOne(); err != nil {
		return Mailbox{}, err
	}
	b, err := e.add(name, role)
	if err != nil {
		return Mailbox{}, err
	}
	return b.Mailbox, nil
}

// countBoxes makes sure that the mailboxes are counted.
func (e *Edit) countBoxes() (err error) {
	if !e.root.counted {
		e.root.boxes, err = countBoxes(e.tx, e.acct)
		e.root.counted = err == nil
	}
	return err
}

func countBoxes(r kv.Reader, a mail.AccountID) (n int64, err error) {
	for _, err := range r.Scan(kv.Prefix(key(a, kindName))) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// roomForOne refuses a mailbox more than the account may have.
func (e *Edit) roomForOne() error {
	if err := e.countBoxes(); err != nil {
		return err
	}
	if e.root.boxes >= e.root.mostBoxes() {
		return fmt.Errorf("mailbox: account %d has %d mailboxes: %w", e.acct, e.root.boxes, mail.ErrOverQuota)
	}
	return nil
}

func (r *root) mostBoxes() int64 {
	if r.maxBoxes == 0 {
		return MaxMailboxes
	}
	return r.maxBoxes
}

// parents makes the mailboxes above name that are missing.
func (e *Edit) parents(name string) error {
	for _, p := range parents(name) {
		_, err := lookup(e.tx, e.acct, p)
		if errors.Is(err, mail.ErrNotFound) {
			if err = e.roomForOne(); err == nil {
				_, err = e.add(p, NoRole)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add writes a new mailbox under a name that is free. Who may do what with it is
// as in the mailbox above. RFC 4314 §4, CREATE
func (e *Edit) add(name string, role Role) (*editBox, error) {
	above, err := e.above(name)
	if err != nil {
		return nil, err
	}
	if err := e.countBoxes(); err != nil {
		return nil, err
	}
	e.root.boxes++
	id := e.root.nextMailbox
	e.root.nextMailbox++
	e.root.uidValidity = max(e.root.uidValidity+1, uint32(e.tx.Now().Unix()))
	b := &editBox{dirty: true, Mailbox: Mailbox{
		ID: id, Name: name, Role: role, UIDValidity: e.root.uidValidity, UIDNext: 1,
		Created: e.root.modseq, ModSeq: e.root.modseq, folded: e.root.modseq,
	}}
	e.boxes[id] = b
	e.tx.Set(nameKey(e.acct, kindName, name), binary.BigEndian.AppendUint64(nil, uint64(id)))
	e.note(op{kind: opMailbox, box: id})
	if above == nil || len(above.ACL) == 0 {
		return b, nil
	}
	if b.chosen = above.chosen || above.own == 0; above.own > 0 {
		b.own = e.root.modseq
	}
	return b, e.setACL(b, above.ACL)
}

// above gives the nearest mailbox above a name, nil if there is none.
func (e *Edit) above(name string) (*editBox, error) {
	for i := strings.LastIndexByte(name, Separator); i >= 0; i = strings.LastIndexByte(name, Separator) {
		name = name[:i]
		id, err := lookup(e.tx, e.acct, name)
		if errors.Is(err, mail.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if b, err := e.box(id); err != nil || !b.Placeholder {
			return b, err
		}
	}
	return nil, nil
}

// erase takes a mailbox that holds no messages away.
func (e *Edit) erase(b *editBox) error {
	if err := e.countBoxes(); err != nil {
		return err
	}
	e.root.boxes--
	e.tx.Delete(nameKey(e.acct, kindName, b.Name))
	e.forgetSeen(b)
	if len(b.ACL) > 0 {
		if err := e.setACL(b, nil); err != nil {
			return err
		}
	}
	if err := e.forgetMetadata(key64(e.acct, kindMetadata, uint64(b.ID))); err != nil {
		return err
	}
	b.gone, b.dirty = true, true
	e.note(op{kind: opGone, box: b.ID})
	return nil
}

// DeleteMailbox deletes a mailbox with its messages. If there are mailboxes
// below it, its name stays as a placeholder; deleting a placeholder with
// mailboxes below it is mail.ErrInUse. INBOX cannot be deleted.
func (s *Store) DeleteMailbox(ctx context.Context, a mail.AccountID, name string) error {
	if name == InboxName {
		return fmt.Errorf("mailbox: INBOX cannot be deleted: %w", mail.ErrInUse)
	}
	for {
		rest := false
		err := s.update(ctx, a, func(e *Edit) (err error) {
			rest, err = e.deleteSome(name)
			return err
		})
		if err != nil {
			return fmt.Errorf("mailbox: delete %q: %w", name, err)
		}
		if !rest {
			return nil
		}
	}
}

// deleteSome deletes a mailbox, or the first thousands of its messages.
func (e *Edit) deleteSome(name string) (rest bool, err error) {
	id, err := lookup(e.tx, e.acct, name)
	if err != nil {
		return false, err
	}
	b, err := e.box(id)
	if err != nil {
		return false, err
	}
	below, err := e.below(name)
	if err != nil {
		return false, err
	}
	if b.Placeholder && below {
		return false, fmt.Errorf("it has mailboxes below it: %w", mail.ErrInUse)
	}
	if !b.Placeholder {
		_, rest, err = e.expungeSome(id, mail.UIDSpan(1, ^mail.UID(0)), ExpungeAll, maxMessages)
		if err != nil || rest {
			return rest, err
		}
	}
	if err := e.erase(b); err != nil {
		return false, err
	}
	if below {
		p, err := e.add(name, NoRole)
		if err != nil {
			return false, err
		}
		p.Placeholder = true
	}
	return false, nil
}

// below tells whether there are mailboxes below name.
func (e *Edit) below(name string) (bool, error) {
	r := kv.Prefix(nameKey(e.acct, kindName, name+string(Separator)))
	r.Limit = 1
	for _, err := range e.tx.Scan(r) {
		return err == nil, err
	}
	return false, nil
}

// RenameMailbox gives a mailbox, and those below it, another name. The new name
// must be free (mail.ErrExists). Subscriptions go along. Renaming INBOX moves
// its messages to a new mailbox. RFC 9051 §6.3.6
func (s *Store) RenameMailbox(ctx context.Context, a mail.AccountID, from, to string) error {
	if from == InboxName {
		return s.renameInbox(ctx, a, to)
	}
	err := s.update(ctx, a, func(e *Edit) error { return e.RenameMailbox(from, to) })
	if err != nil {
		return fmt.Errorf("mailbox: rename %q: %w", from, err)
	}
	return nil
}

func (s *Store) renameInbox(ctx context.Context, a mail.AccountID, to string) error {
	m, err := s.CreateMailbox(ctx, a, to, NoRole)
	if err != nil {
		return fmt.Errorf("mailbox: rename INBOX: %w", err)
	}
	_, err = s.Move(ctx, a, Inbox, m.ID, mail.UIDSpan(1, ^mail.UID(0)))
	return err
}

// RenameMailbox is Store.RenameMailbox within a transaction, for all but INBOX.
func (e *Edit) RenameMailbox(from, to string) error {
	if strings.HasPrefix(to, from+string(Separator)) {
		return fmt.Errorf("%q is below %q: %w", to, from, mail.ErrInUse)
	}
	if _, err := lookup(e.tx, e.acct, to); err == nil {
		return fmt.Errorf("%q: %w", to, mail.ErrExists)
	} else if !errors.Is(err, mail.ErrNotFound) {
		return err
	}
	names, err := e.tree(from)
	if err != nil {
		return err
	}
	if err := e.parents(to); err != nil {
		return err
	}
	for _, old := range names {
		if err := e.rename(old, to+old[len(from):]); err != nil {
			return err
		}
	}
	return nil
}

// tree gives the name and all names below it.
func (e *Edit) tree(name string) ([]string, error) {
	if _, err := lookup(e.tx, e.acct, name); err != nil {
		return nil, err
	}
	names := []string{name}
	skip := len(key(e.acct, kindName))
	for row, err := range e.tx.Scan(kv.Prefix(nameKey(e.acct, kindName, name+string(Separator)))) {
		if err != nil {
			return nil, err
		}
		names = append(names, string(row.Key[skip:]))
	}
	return names, nil
}

func (e *Edit) rename(old, name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("%q would be too long: %w", name, mail.ErrLimit)
	}
	id, err := lookup(e.tx, e.acct, old)
	if err != nil {
		return err
	}
	b, err := e.box(id)
	if err != nil {
		return err
	}
	b.Name, b.dirty = name, true
	e.tx.Delete(nameKey(e.acct, kindName, old))
	e.tx.Set(nameKey(e.acct, kindName, name), binary.BigEndian.AppendUint64(nil, uint64(id)))
	sub, err := e.tx.Get(nameKey(e.acct, kindSubscribed, old))
	if err != nil {
		return err
	}
	if sub != nil {
		e.tx.Delete(nameKey(e.acct, kindSubscribed, old))
		e.tx.Set(nameKey(e.acct, kindSubscribed, name), []byte{})
	}
	e.note(op{kind: opMailbox, box: id})
	return nil
}

// ByRole gives the mailbox with a role, made under its usual name if there is
// none.
func (e *Edit) ByRole(role Role) (mail.MailboxID, error) {
	if role == InboxRole {
		return Inbox, nil
	}
	if id, err := e.HasRole(role); id != 0 || err != nil {
		return id, err
	}
	for _, f := range firstMailboxes {
		if f.role == role {
			if e.root.shared {
				f.name = InboxName + string(Separator) + f.name
			}
			if id, err := lookup(e.tx, e.acct, f.name); err == nil {
				b, err := e.messages(id)
				if err == nil {
					b.Role, b.dirty = role, true
					e.note(op{kind: opMailbox, box: id})
				}
				return id, err
			}
			e.tx.Set(nameKey(e.acct, kindSubscribed, f.name), []byte{})
			m, err := e.CreateMailbox(f.name, role)
			return m.ID, err
		}
	}
	return 0, fmt.Errorf("mailbox: no role %d: %w", role, mail.ErrNotFound)
}

// Named gives the mailbox of a name (as ParseName gives it), made if there is
// none.
func (e *Edit) Named(name string) (mail.MailboxID, error) {
	id, err := e.Existing(name)
	if err == nil || !errors.Is(err, mail.ErrNotFound) {
		return id, err
	}
	m, err := e.CreateMailbox(name, NoRole)
	return m.ID, err
}

// Existing is Named, but mail.ErrNotFound if there is none.
func (e *Edit) Existing(name string) (mail.MailboxID, error) {
	id, err := lookup(e.tx, e.acct, name)
	if err != nil {
		return 0, err
	}
	return e.usable(id)
}

// Object gives the mailbox of an id that IMAP tells; mail.ErrNotFound if there is none.
func (e *Edit) Object(s string) (mail.MailboxID, error) {
	id, ok := mail.ParseMailboxObject(s)
	if !ok {
		return 0, fmt.Errorf("mailbox: id %q: %w", s, mail.ErrNotFound)
	}
	return e.usable(id)
}

// usable gives the id of a mailbox that messages can be in.
func (e *Edit) usable(id mail.MailboxID) (mail.MailboxID, error) {
	_, err := e.messages(id)
	return id, err
}

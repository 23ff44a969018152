package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Mail that is brought from elsewhere comes with a row for each message in the
// same commit (row 2c): whoever is interrupted, at whatever moment, and begins
// again brings no message twice and leaves none out.

// An Origin names a folder of another store.
type Origin [16]byte

// An ArrivalID names a message of a folder of another store.
type ArrivalID [16]byte

// OriginOf gives the Origin of a folder; source says which store it is in.
func OriginOf(source, folder string) Origin {
	sum := sha256.Sum256([]byte(source + "\x00" + folder))
	return Origin(sum[:16])
}

// ArrivalOf gives the ArrivalID of what a store calls a message.
func ArrivalOf(id string) ArrivalID {
	sum := sha256.Sum256([]byte(id))
	return ArrivalID(sum[:16])
}

func originKey(a mail.AccountID, o Origin) []byte { return append(key(a, kindArrival), o[:]...) }

func arrivalKey(a mail.AccountID, o Origin, id ArrivalID) []byte {
	return append(originKey(a, o), id[:]...)
}

// arrival is row 2c of a message.
type arrival struct {
	box   mail.MailboxID
	uid   mail.UID
	email mail.EmailID
}

func (r arrival) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(r.box))
	b = binary.AppendUvarint(b, uint64(r.uid))
	return binary.AppendUvarint(b, uint64(r.email))
}

func decodeArrival(raw []byte) (arrival, error) {
	d := kv.Decode(raw)
	r := arrival{box: mail.MailboxID(d.Uvarint()), uid: mail.UID(d.Uvarint()), email: mail.EmailID(d.Uvarint())}
	return r, d.Err()
}

// A Move is a folder that mail was brought from.
type Move struct {
	Source, Folder string
	// Mark is what the ids of the folder's messages are good for, such as its
	// UIDVALIDITY: with another one they are other messages.
	Mark    string
	Mailbox mail.MailboxID // where its mail goes
	Shared  bool           // who may do what with it there has been brought, too
}

// OpenMove gives the folder as it was noted, and notes it if it is new, with the
// mailbox that find gives. With bare, a mailbox that find makes has none of the
// rights of the one above it: its own are to come.
func (s *Store) OpenMove(ctx context.Context, a mail.AccountID, m Move, bare bool, find func(*Edit) (mail.MailboxID, error)) (had Move, err error) {
	k := originKey(a, OriginOf(m.Source, m.Folder))
	err = s.update(ctx, a, func(e *Edit) error {
		raw, err := e.tx.Get(k)
		if err != nil {
			return err
		}
		if raw != nil {
			if had, err = decodeMove(raw); err != nil {
				return err
			}
			_, err := e.messages(had.Mailbox)
			if !errors.Is(err, mail.ErrNotFound) {
				return err
			}
			m.Mark = had.Mark // the mailbox is gone, but what came from there is known
		}
		next := e.root.nextMailbox
		if m.Mailbox, err = find(e); err != nil {
			return err
		}
		if bare && m.Mailbox >= next {
			if err := e.strip(m.Mailbox); err != nil {
				return err
			}
		}
		had = m
		e.changed = true
		e.tx.Set(k, m.append(nil))
		return nil
	})
	if err != nil {
		return had, fmt.Errorf("mailbox: folder %q of %s: %w", m.Folder, m.Source, err)
	}
	return had, nil
}

// strip takes all rights in a mailbox away.
func (e *Edit) strip(box mail.MailboxID) error {
	b, err := e.box(box)
	if err != nil || len(b.ACL) == 0 {
		return err
	}
	return e.setACL(b, nil)
}

// FindMove gives a folder as it was noted: mail.ErrNotFound if it was not.
func (s *Store) FindMove(ctx context.Context, a mail.AccountID, source, folder string) (m Move, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		m, err = findMove(r, a, source, folder)
		return err
	})
	return m, err
}

func findMove(r kv.Reader, a mail.AccountID, source, folder string) (Move, error) {
	raw, err := r.Get(originKey(a, OriginOf(source, folder)))
	if err != nil {
		return Move{}, err
	}
	if raw == nil {
		return Move{}, fmt.Errorf("mailbox: folder %q of %s: %w", folder, source, mail.ErrNotFound)
	}
	return decodeMove(raw)
}

// ShareMove gives the mailbox of a folder the rights that the folder has where it
// comes from, in the same commit with the note that they came. With only, those that
// it has here go.
func (s *Store) ShareMove(ctx context.Context, a mail.AccountID, source, folder string, rights []Grant, only bool) error {
	err := s.update(ctx, a, func(e *Edit) error {
		m, err := findMove(e.tx, a, source, folder)
		if err != nil {
			return err
		}
		b, err := e.messages(m.Mailbox)
		if err != nil {
			return err
		}
		l := b.ACL
		if only {
			l = nil
		}
		for _, g := range rights {
			l = l.with(g, ReplaceRights)
			if who, ok := g.To.Account(); ok {
				e.tx.Wake(topic(who))
			}
		}
		if len(l) > MaxGrants {
			return fmt.Errorf("more than %d have rights: %w", MaxGrants, mail.ErrLimit)
		}
		if !slices.Equal(l, b.ACL) {
			if err := e.setACL(b, l); err != nil {
				return err
			}
		}
		if !m.Shared {
			m.Shared, e.changed = true, true
			e.tx.Set(originKey(a, OriginOf(source, folder)), m.append(nil))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: rights in folder %q of %s: %w", folder, source, err)
	}
	return nil
}

// RemarkMove notes that the ids of the folder's messages are good for another
// mark from now on.
func (s *Store) RemarkMove(ctx context.Context, a mail.AccountID, m Move) error {
	err := s.update(ctx, a, func(e *Edit) error {
		e.changed = true
		e.tx.Set(originKey(a, OriginOf(m.Source, m.Folder)), m.append(nil))
		return nil
	})
	if err != nil {
		return fmt.Errorf("mailbox: folder %q of %s: %w", m.Folder, m.Source, err)
	}
	return nil
}

func (m *Move) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(m.Mailbox))
	for _, s := range [...]string{m.Mark, m.Source, m.Folder} {
		b = kv.AppendBytes(b, s)
	}
	if m.Shared { // rows of before end here
		b = append(b, 1)
	}
	return b
}

func decodeMove(raw []byte) (Move, error) {
	d := kv.Decode(raw)
	m := Move{Mailbox: mail.MailboxID(d.Uvarint()), Mark: d.String(), Source: d.String(), Folder: d.String()}
	m.Shared = d.More() && d.Byte() == 1
	return m, d.Err()
}

// BackupSource is what the names of sources begin with that are backups of this server.
const BackupSource = "backup:"

// Brought gives the emails that were brought from sources whose names begin so, whatever
// became of them since.
func (s *Store) Brought(ctx context.Context, a mail.AccountID, source string) (emails map[mail.EmailID]bool, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		emails = map[mail.EmailID]bool{}
		low, high := key(a, kindArrival), kv.Next(key(a, kindArrival))
		for low != nil {
			next := []byte(nil)
			for row, err := range r.Scan(kv.Range{Low: low, High: high}) {
				if err != nil {
					return err
				}
				if len(row.Key) == len(originKey(a, Origin{})) {
					m, err := decodeMove(row.Value)
					if err != nil {
						return err
					}
					if strings.HasPrefix(m.Source, source) {
						continue
					}
					next = kv.Next(slices.Clone(row.Key)) // over all that came from there
					break
				}
				at, err := decodeArrival(row.Value)
				if err != nil {
					return err
				}
				emails[at.email] = true
			}
			low = next
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: what was brought: %w", err)
	}
	return emails, nil
}

// Arrived tells which messages have been brought already.
func (s *Store) Arrived(ctx context.Context, a mail.AccountID, o Origin, ids []ArrivalID) (known []bool, err error) {
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = arrivalKey(a, o, id)
	}
	err = s.DB.View(ctx, func(r kv.Reader) error {
		rows, err := r.GetMany(keys...)
		known = make([]bool, len(rows))
		for i, raw := range rows {
			known[i] = raw != nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("mailbox: what was brought: %w", err)
	}
	return known, nil
}

// An Arrival is a message that is brought from elsewhere.
type Arrival struct {
	Incoming
	ID      ArrivalID
	Mailbox mail.MailboxID
}

// Bring adds messages that were not brought before, all in one commit with the
// rows that say so. It gives how many were added, and how many keywords found no
// room in their mailbox.
func (s *Store) Bring(ctx context.Context, a mail.AccountID, o Origin, list []Arrival) (added, dropped int, err error) {
	err = s.update(ctx, a, func(e *Edit) error {
		added, dropped = 0, 0
		for i := range list {
			n, lost, err := e.bring(o, list[i])
			if err != nil {
				return err
			}
			added, dropped = added+n, dropped+lost
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("mailbox: bring: %w", err)
	}
	return added, dropped, nil
}

func (e *Edit) bring(o Origin, m Arrival) (added, dropped int, err error) {
	k := arrivalKey(e.acct, o, m.ID)
	raw, err := e.tx.Get(k)
	if raw != nil || err != nil {
		return 0, 0, err
	}
	b, err := e.messages(m.Mailbox)
	if err != nil {
		return 0, 0, err
	}
	if m.Keywords, dropped, err = e.fit(b, m.Keywords); err != nil {
		return 0, 0, err
	}
	ap, err := e.Append(m.Mailbox, m.Incoming)
	if err != nil {
		return 0, 0, err
	}
	e.tx.Set(k, arrival{ap.Mailbox, ap.UID, ap.Email}.append(make([]byte, 0, 24)))
	return 1, dropped, nil
}

// fit leaves out keywords for which the mailbox has no room.
func (e *Edit) fit(b *editBox, names []string) (fits []string, dropped int, err error) {
	for i, k := range names {
		_, err := e.keywordBits(b, names[i:i+1])
		switch {
		case errors.Is(err, mail.ErrLimit):
			dropped++
		case err != nil:
			return nil, 0, err
		default:
			fits = append(fits, k)
		}
	}
	return fits, dropped, nil
}

// An ArrivalFlags is what the flags of a message have become where it came from.
type ArrivalFlags struct {
	ID       ArrivalID
	Flags    Flags
	Keywords []string
}

// FollowFlags gives messages that were brought, and are still where they were
// put, the flags they have where they came from. It tells how many changed.
func (s *Store) FollowFlags(ctx context.Context, a mail.AccountID, o Origin, list []ArrivalFlags) (changed int, err error) {
	err = s.update(ctx, a, func(e *Edit) error {
		changed = 0
		groups, order, err := e.flagGroups(o, list)
		if err != nil {
			return err
		}
		for _, name := range order {
			g := groups[name]
			b, err := e.messages(g.box)
			if errors.Is(err, mail.ErrNotFound) {
				continue // it was deleted here
			}
			if err != nil {
				return err
			}
			if g.change.Keywords, _, err = e.fit(b, g.change.Keywords); err != nil {
				return err
			}
			st, err := e.StoreFlags(g.box, g.uids, g.change)
			if err != nil {
				return err
			}
			changed += st.Changed.Len()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("mailbox: follow flags: %w", err)
	}
	return changed, nil
}

// A flagGroup is messages of one mailbox that get the same flags.
type flagGroup struct {
	box    mail.MailboxID
	uids   mail.UIDSet
	change FlagChange
}

func (e *Edit) flagGroups(o Origin, list []ArrivalFlags) (map[string]*flagGroup, []string, error) {
	groups, order := map[string]*flagGroup{}, []string(nil)
	for _, f := range list {
		raw, err := e.tx.Get(arrivalKey(e.acct, o, f.ID))
		if err != nil {
			return nil, nil, err
		}
		if raw == nil {
			continue
		}
		at, err := decodeArrival(raw)
		if err != nil {
			return nil, nil, err
		}
		words := slices.Clone(f.Keywords)
		slices.Sort(words)
		name := fmt.Sprintf("%d %d %s", at.box, f.Flags.System(), strings.Join(words, " "))
		g := groups[name]
		if g == nil {
			g = &flagGroup{box: at.box, change: FlagChange{Mode: ReplaceFlags, Flags: f.Flags.System(), Keywords: words}}
			groups[name], order = g, append(order, name)
		}
		g.uids.Add(at.uid)
	}
	return groups, order, nil
}

// arrivalPage is how many messages FollowDeletions looks at in one step.
const arrivalPage = 2000

// FollowDeletions expunges messages that were brought from a folder, are still
// where they were put, and are no longer there: those for which there says no.
// It tells how many. What was expunged can be restored as any other mail.
func (s *Store) FollowDeletions(ctx context.Context, a mail.AccountID, o Origin, there func(ArrivalID) bool) (gone int, err error) {
	low, high := append(originKey(a, o), 0), kv.Next(originKey(a, o)) // behind the row of the folder
	for {
		var keys [][]byte
		sets := map[mail.MailboxID]*mail.UIDSet{}
		var last []byte
		n := 0
		err := s.DB.View(ctx, func(r kv.Reader) error {
			keys, n = nil, 0
			clear(sets)
			for row, err := range r.Scan(kv.Range{Low: low, High: high, Limit: arrivalPage}) {
				if err != nil {
					return err
				}
				n++
				last = append(append(last[:0], row.Key...), 0)
				if there(ArrivalID(row.Key[len(row.Key)-len(ArrivalID{}):])) {
					continue
				}
				at, err := decodeArrival(row.Value)
				if err != nil {
					return err
				}
				keys = append(keys, slices.Clone(row.Key))
				if sets[at.box] == nil {
					sets[at.box] = &mail.UIDSet{}
				}
				sets[at.box].Add(at.uid)
			}
			return nil
		})
		if err == nil && len(keys) > 0 {
			var part int
			part, err = s.expungeGone(ctx, a, keys, sets)
			gone += part
		}
		if err != nil {
			return gone, fmt.Errorf("mailbox: follow deletions: %w", err)
		}
		if n < arrivalPage {
			return gone, nil
		}
		low = last
	}
}

func (s *Store) expungeGone(ctx context.Context, a mail.AccountID, keys [][]byte, sets map[mail.MailboxID]*mail.UIDSet) (gone int, err error) {
	err = s.update(ctx, a, func(e *Edit) error {
		gone = 0
		for box, set := range sets {
			uids, err := e.Expunge(box, *set, ExpungeAll)
			if errors.Is(err, mail.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			gone += uids.Len()
		}
		for _, k := range keys {
			e.tx.Delete(k)
		}
		e.changed = true
		return nil
	})
	return gone, err
}

func (c *checker) arrivals(r kv.Reader) error {
	return c.scan(r, kindArrival, func(k, v []byte) error {
		if len(k) == len(Origin{}) {
			if m, err := decodeMove(v); err != nil || OriginOf(m.Source, m.Folder) != Origin(k) || m.Mailbox >= c.root.nextMailbox {
				c.say("brought mail: unreadable row %x", k)
			}
			return nil
		}
		at, err := decodeArrival(v)
		if err != nil || len(k) != len(Origin{})+len(ArrivalID{}) {
			c.say("brought mail: unreadable row %x", k)
			return nil
		}
		m, there := c.boxes[at.box]
		if at.email >= c.root.nextEmail || at.box >= c.root.nextMailbox || there && at.uid >= m.UIDNext {
			c.say("brought mail: UID %d of mailbox %d, email %d, have not been given yet", at.uid, at.box, at.email)
		}
		return nil
	})
}

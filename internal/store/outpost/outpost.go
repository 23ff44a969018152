// Package outpost keeps the accounts that people have elsewhere, whose mail is
// collected: how each is reached, how it stands, and a ledger of what was taken from
// there, so that nothing is taken twice.
//
// The outposts lie under a lock of their own, the ledger under that of the account,
// so that a line of it is written in the commit that delivers the message. It goes
// with the account.
//
//	O 00                     → next id
//	O 01 id                  an Outpost
//	O 02 id                  its State
//	O 03 account address     → id: by which outpost the account sends with an address
//	A 3c id 01 folder msg    a line of the ledger: when, what became of it, its sum, why
//	A 3c id 02 sum           → folder msg: the line that a message of these bytes has
//	A 3c id 03               how much was collected, in the commits that delivered it
package outpost

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

var lock = kv.Lock{Class: 'O'}

const (
	kindCounter = 0x00
	kindOutpost = 0x01
	kindState   = 0x02
	kindAddress = 0x03

	kindLedger = 0x3c // of an account
)

// topic is what who collects subscribes to.
const topic = uint64('O') << 56

// An ID is the number of an outpost. It is never given again.
type ID uint64

// A Protocol is how mail is collected.
type Protocol byte

// The protocols.
const (
	POP3 Protocol = 1 + iota
	IMAP
)

// String gives the protocol's name.
func (p Protocol) String() string {
	if p == IMAP {
		return "IMAP"
	}
	return "POP3"
}

// A Security is how a connection is kept safe.
type Security byte

// The ways.
const (
	TLS      Security = 1 + iota // from the first byte
	StartTLS                     // after it has begun in clear
	Clear                        // not at all
)

// An After is what becomes of a message at the outpost once it is here.
type After byte

// The answers.
const (
	Leave After = iota
	Delete
	KeepDays // it is deleted so many days after it was collected
)

// Limits.
const (
	MaxPerAccount = 50
	MaxName       = 100 // bytes of a name
	MaxDays       = 3650
	MaxFolders    = 100
	maxText       = 2000 // bytes of anything else that is said in words
)

// An OAuth2 is how access tokens are got for an outpost. Its refresh token is the
// outpost's Secret.
type OAuth2 struct {
	URL, ClientID, ClientSecret, Scope string
}

// An Outpost is an account elsewhere.
type Outpost struct {
	ID      ID
	Account mail.AccountID // whose mail it is here
	Name    string         // by which the owner knows it
	Created time.Time

	Protocol   Protocol
	Host, Port string
	Security   Security
	User       string
	Secret     string  // the password, or the refresh token
	OAuth2     *OAuth2 // nil: the secret is a password
	Folders    []string
	After      After
	Days       int // of KeepDays

	Mailbox  string // where its mail goes; "" is the inbox
	Keyword  string // that its mail gets; "" is none
	Every    time.Duration
	Paused   bool
	Unjudged bool // what is junk the other server says alone

	SendAs *SendAs // nil: nobody sends with the address there
}

// A State is how collecting from an outpost goes.
type State struct {
	Next  time.Time // when it is due
	Begun time.Time // the last time that it was
	Ended time.Time
	Good  time.Time // the last time that all went well
	// Proven is when its owner was last seen to be able to log in there; zero: never.
	Proven time.Time
	// Fails counts failures in a row. Stopped: only a change can help, so that it is
	// not tried until there is one. Error says why, and what to do; "" is nothing.
	Fails   int
	Stopped bool
	Error   string
	// Idle tells that the outpost says at once when there is new mail.
	Idle bool
	// What was done since there is the outpost, and in the last visit. Collected and
	// Bytes are counted where messages are delivered: what is said of them here is not
	// kept.
	Collected, Bytes, Removed int64
	LastCollected             int64
	// Refused is how many messages there cannot be taken for good, and Refusal why the
	// last of them could not.
	Refused int64
	Refusal string
	// How sending through the submission server goes, as the three above.
	SendFails   int
	SendStopped bool
	SendError   string

	token uint64
	until time.Time // of the lease
	// before is what older versions have counted, here.
	before tally
}

// Active tells whether the outpost is being visited.
func (s *State) Active(now time.Time) bool { return s.token != 0 && now.Before(s.until) }

// A Store keeps the rows. DB must be set.
type Store struct{ DB kv.Store }

// An Entry is an outpost and how it stands.
type Entry struct {
	Outpost
	State
}

func key(kind byte) []byte { return append(lock.Prefix(), kind) }

func idKey(kind byte, id ID) []byte { return binary.BigEndian.AppendUint64(key(kind), uint64(id)) }

func ledgerKey(a mail.AccountID, id ID) []byte {
	return binary.BigEndian.AppendUint64(append(mailbox.Lock(a).Prefix(), kindLedger), uint64(id))
}

// Add adds an outpost, due at once, and gives it with its ID. mail.ErrExists if the
// account has one of that name or sends with its address, mail.ErrLimit if it has too many. proven tells that
// its owner has been seen to log in there.
func (s *Store) Add(ctx context.Context, o Outpost, proven bool) (Outpost, error) {
	err := s.update(ctx, func(tx kv.Tx) error {
		list, err := scan(tx)
		if err != nil {
			return err
		}
		n := 0
		for i := range list {
			if list[i].Account != o.Account {
				continue
			}
			if n++; n == MaxPerAccount {
				return fmt.Errorf("an account has at most %d outposts: %w", MaxPerAccount, mail.ErrLimit)
			}
			if strings.EqualFold(list[i].Name, o.Name) {
				return fmt.Errorf("%q: %w", o.Name, mail.ErrExists)
			}
		}
		raw, err := tx.Get(key(kindCounter))
		if err != nil {
			return err
		}
		o.ID, o.Created = 1, tx.Now()
		if raw != nil {
			o.ID = ID(kv.Decode(raw).Uvarint())
		}
		st := State{Next: tx.Now()}
		if proven {
			st.Proven = tx.Now()
		}
		tx.Set(key(kindCounter), binary.AppendUvarint(nil, uint64(o.ID)+1))
		if err := put(tx, nil, &o); err != nil {
			return err
		}
		tx.Set(idKey(kindState, o.ID), st.append(nil))
		tx.Wake(topic)
		return nil
	})
	return o, err
}

func (s *Store) update(ctx context.Context, fn func(kv.Tx) error, locks ...kv.Lock) error {
	if err := s.DB.Update(ctx, kv.Plan{Locks: append(locks, lock)}, fn); err != nil {
		return fmt.Errorf("outpost: %w", err)
	}
	return nil
}

// All gives all outposts, in the order they were added.
func (s *Store) All(ctx context.Context) (list []Entry, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) (err error) {
		if list, err = scan(r); err == nil {
			err = count(r, list)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outpost: %w", err)
	}
	return list, nil
}

// Of gives those of an account.
func (s *Store) Of(ctx context.Context, a mail.AccountID) (out []Entry, err error) {
	list, err := s.All(ctx)
	for _, e := range list {
		if e.Account == a {
			out = append(out, e)
		}
	}
	return out, err
}

// Named gives the one of an account that has that name; mail.ErrNotFound if there is
// none.
func (s *Store) Named(ctx context.Context, a mail.AccountID, name string) (Entry, error) {
	list, err := s.Of(ctx, a)
	for _, e := range list {
		if strings.EqualFold(e.Name, name) {
			return e, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("outpost %q: %w", name, mail.ErrNotFound)
	}
	return Entry{}, err
}

// Get gives an outpost; mail.ErrNotFound if it is gone.
func (s *Store) Get(ctx context.Context, id ID) (e Entry, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) (err error) {
		e, err = read(r, id)
		return err
	})
	if err != nil {
		return e, fmt.Errorf("outpost: %w", err)
	}
	return e, nil
}

func read(r kv.Reader, id ID) (e Entry, err error) {
	rows, err := r.GetMany(idKey(kindOutpost, id), idKey(kindState, id))
	if err != nil {
		return e, err
	}
	if rows[0] == nil {
		return e, fmt.Errorf("outpost %d: %w", id, mail.ErrNotFound)
	}
	if e.Outpost, err = decode(id, rows[0]); err == nil && rows[1] != nil {
		e.State, err = decodeState(rows[1])
	}
	if err != nil {
		return e, err
	}
	list := []Entry{e}
	err = count(r, list)
	return list[0], err
}

// count adds to what the entries tell how much was collected.
func count(r kv.Reader, list []Entry) error {
	keys := make([][]byte, len(list))
	for i := range list {
		keys[i] = tallyKey(ledgerKey(list[i].Account, list[i].ID))
	}
	rows, err := r.GetMany(keys...)
	if err != nil {
		return err
	}
	for i := range list {
		n, err := decodeTally(rows[i])
		if err != nil {
			return fmt.Errorf("outpost %d: %w", list[i].ID, err)
		}
		e := &list[i]
		e.Collected, e.Bytes = e.before.messages+n.messages, e.before.bytes+n.bytes
	}
	return nil
}

func scan(r kv.Reader) (list []Entry, err error) {
	at := map[ID]int{}
	for row, err := range r.Scan(kv.Range{Low: key(kindOutpost), High: key(kindState + 1)}) {
		if err != nil {
			return nil, err
		}
		id := ID(binary.BigEndian.Uint64(row.Key[kv.PrefixLen+1:]))
		if row.Key[kv.PrefixLen] == kindOutpost {
			o, err := decode(id, row.Value)
			if err != nil {
				return nil, err
			}
			at[id] = len(list)
			list = append(list, Entry{Outpost: o})
			continue
		}
		st, err := decodeState(row.Value)
		if err != nil {
			return nil, err
		}
		if i, there := at[id]; there {
			list[i].State = st
		}
	}
	return list, nil
}

// Change has fn change an outpost and its state. A visit that goes on meanwhile hears
// that it is no longer wanted. fn may be called more than once, and must put another
// SendAs in place of one that it changes.
func (s *Store) Change(ctx context.Context, id ID, fn func(*Entry) error) error {
	return s.update(ctx, func(tx kv.Tx) error {
		e, err := read(tx, id)
		if err != nil {
			return err
		}
		was := e.Outpost
		if err := fn(&e); err != nil {
			return err
		}
		e.token, e.until, e.Idle = 0, time.Time{}, false
		if err := put(tx, &was, &e.Outpost); err != nil {
			return err
		}
		tx.Set(idKey(kindState, id), e.State.append(nil))
		tx.Wake(topic)
		return nil
	})
}

// Again makes an outpost due at once, and forgets why it was stopped.
func (e *Entry) Again(now time.Time) {
	e.Next, e.Stopped, e.Fails = now, false, 0
	e.SendStopped, e.SendFails, e.SendError = false, 0, ""
}

// Remove removes an outpost and its ledger.
func (s *Store) Remove(ctx context.Context, a mail.AccountID, id ID) error {
	return s.update(ctx, func(tx kv.Tx) error {
		e, err := read(tx, id)
		if err == nil && e.Account != a {
			err = fmt.Errorf("outpost %d: %w", id, mail.ErrNotFound)
		}
		if err != nil {
			return err
		}
		remove(tx, &e.Outpost)
		low := ledgerKey(a, id)
		tx.DeleteRange(low, kv.Next(low))
		tx.Wake(topic)
		return nil
	}, mailbox.Lock(a))
}

// RemoveAll removes all outposts of an account that is no more.
func (s *Store) RemoveAll(ctx context.Context, a mail.AccountID) error {
	return s.update(ctx, func(tx kv.Tx) error {
		list, err := scan(tx)
		for _, e := range list {
			if e.Account == a {
				remove(tx, &e.Outpost)
			}
		}
		return err
	})
}

func remove(tx kv.Tx, o *Outpost) {
	tx.Delete(idKey(kindOutpost, o.ID))
	tx.Delete(idKey(kindState, o.ID))
	if o.SendAs != nil {
		tx.Delete(addressKey(o.Account, o.SendAs.Address))
	}
}

// A Claim is an outpost that is ours to visit, until its lease ends.
type Claim struct {
	Entry
	token uint64
}

// Subscribe hears when an outpost may have become due.
func (s *Store) Subscribe() (<-chan struct{}, func()) { return kv.Subscribe(s.DB, topic) }

// Room is for how many visits there is room.
type Room struct {
	// Most is how many in all, PerAccount how many of one account, Busy those of each that
	// are under way.
	Most, PerAccount int
	Busy             map[mail.AccountID]int
	// Skip tells which outposts are to be left alone.
	Skip func(ID) bool
}

// Claim takes outposts that are due and nobody visits, as many as there is room for, those
// that have waited longest first. next is when there may be more; zero: not before
// something is changed, or there is room again.
func (s *Store) Claim(ctx context.Context, hold time.Duration, room Room) (claims []Claim, next time.Time, err error) {
	var token [8]byte
	rand.Read(token[:])
	t := binary.BigEndian.Uint64(token[:]) | 1
	err = s.update(ctx, func(tx kv.Tx) error {
		claims, next = nil, time.Time{}
		list, err := scan(tx)
		if err != nil {
			return err
		}
		now, mine := tx.Now(), map[mail.AccountID]int{}
		for _, e := range due(list) {
			at := e.Next
			if e.Active(now) && e.until.After(at) {
				at = e.until
			}
			switch {
			case room.Skip(e.ID):
			case at.After(now) || len(claims) == room.Most:
				if next.IsZero() || at.Before(next) {
					next = at
				}
			case room.Busy[e.Account]+mine[e.Account] >= room.PerAccount:
			default:
				mine[e.Account]++
				e.token, e.until, e.Begun = t, now.Add(hold), now
				tx.Set(idKey(kindState, e.ID), e.State.append(nil))
				claims = append(claims, Claim{Entry: e, token: t})
			}
		}
		return nil
	})
	return claims, next, err
}

// Settle writes down how a visit goes, by fn, and ends it; with hold it goes on for
// so long. mail.ErrNotFound if the outpost is gone, is changed or is somebody
// else's: who hears that must end the visit.
func (s *Store) Settle(ctx context.Context, c Claim, hold time.Duration, fn func(*State)) error {
	return s.update(ctx, func(tx kv.Tx) error {
		e, err := read(tx, c.ID)
		if err != nil {
			return err
		}
		if e.token != c.token {
			return fmt.Errorf("outpost %d is no longer claimed: %w", c.ID, mail.ErrNotFound)
		}
		fn(&e.State)
		e.until = tx.Now().Add(hold)
		if hold == 0 {
			e.token, e.until, e.Ended = 0, time.Time{}, tx.Now()
		}
		tx.Set(idKey(kindState, c.ID), e.State.append(nil))
		if hold == 0 {
			tx.Wake(topic)
		}
		return nil
	})
}

// Held tells whether a claim still is ours.
func (s *Store) Held(ctx context.Context, c Claim) (held bool, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		raw, err := r.Get(idKey(kindState, c.ID))
		if err != nil || raw == nil {
			held = false
			return err
		}
		st, err := decodeState(raw)
		held = st.token == c.token
		return err
	})
	return held, err
}

// KeepSecret keeps a refresh token that has come in place of the one that was.
func (s *Store) KeepSecret(ctx context.Context, id ID, was, now string) error {
	return s.update(ctx, func(tx kv.Tx) error {
		e, err := read(tx, id)
		if err != nil {
			return err
		}
		if e.Secret == was { // else somebody has put in another meanwhile
			e.Secret = now
		}
		if e.SendAs != nil && e.SendAs.User != "" && e.SendAs.Secret == was {
			e.SendAs.Secret = now
		}
		tx.Set(idKey(kindOutpost, id), e.Outpost.append(nil))
		return nil
	})
}

// Package signin keeps who is signed in to the pages that the server has for people: a
// session for each of their browsers. It does not ask who they are; that auth does, and
// its proof is kept, for auth to tell whether it still opens the account.
//
// A browser shows a token, of which only a hash is kept: who reads the store, or a
// backup of it, cannot be anybody by what he finds.
//
// All rows stand under the account's lock, and go with the account:
//
//	40 hash(32)  version 1, proof, created, seen (seconds), from, program
//
// What stands behind that in a row is passed over. A store that comes out of a backup
// has no sessions: some of them had been signed out of since (see server.OpenStore).
package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const (
	kind       = 0x40
	version    = 1
	secretLen  = 20 // bytes: 160 bits
	idLen      = 10 // bytes of the hash
	maxProof   = 200
	maxProgram = 200
)

const (
	// Idle is how long a session lasts in which nobody does anything, and Longest how
	// long any does.
	Idle    = 2 * time.Hour
	Longest = 24 * time.Hour
	// Max is how many an account has: the one that was used longest ago goes.
	Max = 20
	// seenEvery is how long what is written down of a session's last use may be old: a
	// session may so be forgotten by as much too early, but it is no write for each
	// request.
	seenEvery = 5 * time.Minute
	// skew is how far ahead a time may be that another node has written down.
	skew = 5 * time.Minute
)

var (
	token64 = base64.RawURLEncoding.Strict()
	id32    = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)
)

// A Session is somebody signed in with a browser.
type Session struct {
	Account mail.AccountID
	ID      string // a handle that opens nothing: it may be shown and logged
	Proof   string // as auth gives it
	Created time.Time
	Seen    time.Time // when it was used last, give or take some minutes
	From    netip.Addr
	Program string // what the browser says that it is: printable, at most 200 bytes
}

// A Store keeps sessions. DB must be set.
type Store struct{ DB kv.Store }

type hash [sha256.Size]byte

func prefix(a mail.AccountID) []byte { return append(mailbox.Lock(a).Prefix(), kind) }

func key(a mail.AccountID, h hash) []byte { return append(prefix(a), h[:]...) }

func newToken(a mail.AccountID) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+secretLen), uint64(a))
	b = b[:8+secretLen]
	rand.Read(b[8:])
	return token64.EncodeToString(b)
}

// parse gives whose session a token is of, if it is any, and the hash of it.
func parse(token string) (a mail.AccountID, h hash, ok bool) {
	if len(token) != token64.EncodedLen(8+secretLen) {
		return 0, h, false
	}
	b, err := token64.DecodeString(token)
	if err != nil || len(b) != 8+secretLen { // it passes line ends over
		return 0, h, false
	}
	return mail.AccountID(binary.BigEndian.Uint64(b)), sha256.Sum256(append([]byte("posthaste session "), b...)), true
}

func (s *Session) row() []byte {
	b := kv.AppendBytes([]byte{version}, s.Proof)
	b = binary.AppendVarint(b, s.Created.Unix())
	b = binary.AppendVarint(b, s.Seen.Unix())
	b = kv.AppendBytes(b, s.From.AsSlice())
	return kv.AppendBytes(b, s.Program)
}

func decode(a mail.AccountID, h, raw []byte) (s Session, err error) {
	d := kv.Decode(raw)
	v := d.Byte()
	s = Session{Account: a, Proof: d.String(), Created: time.Unix(d.Varint(), 0), Seen: time.Unix(d.Varint(), 0)}
	s.From, _ = netip.AddrFromSlice(d.Bytes())
	s.Program = d.String()
	if err := d.Err(); err != nil || v != version || len(h) != sha256.Size {
		return Session{}, fmt.Errorf("signin: account %d: %w", a, kv.ErrRow)
	}
	s.ID = idOf(h)
	return s, nil
}

// idOf gives the handle of a row, whatever it is called.
func idOf(h []byte) string { return id32.EncodeToString(h[:min(idLen, len(h))]) }

// over tells whether the session has lasted long enough. What is of the future, by a
// clock that was wrong, must not last for ever.
func (s *Session) over(now time.Time) bool {
	return now.Sub(s.Created) >= Longest || now.Sub(s.Seen) >= Idle || s.Created.Sub(now) > skew || s.Seen.Sub(now) > skew
}

// clean gives of what a browser says only what can be shown.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, trace.Cut(s, 4*maxProgram))
	return trace.Cut(strings.TrimSpace(s), maxProgram)
}

// Open begins a session of an account for who has just shown the proof, and gives the
// token that opens it, in letters that a cookie may have. ID, Created and Seen are made
// here. mail.ErrNotFound if there is no such account.
func (s *Store) Open(ctx context.Context, of Session) (token string, err error) {
	if len(of.Proof) > maxProof {
		return "", fmt.Errorf("signin: a proof of %d bytes", len(of.Proof))
	}
	of.From, of.Program = of.From.Unmap(), clean(of.Program)
	token = newToken(of.Account)
	_, h, _ := parse(token)
	err = s.update(ctx, of.Account, func(tx kv.Tx) error {
		if err := mailbox.There(tx, of.Account); err != nil {
			return err
		}
		if err := room(tx, of.Account, Max-1); err != nil {
			return err
		}
		of.Created, of.Seen = tx.Now(), tx.Now()
		tx.Set(key(of.Account, h), of.row())
		return nil
	})
	return token, err
}

// Find gives the session that a token opens, and notes that it is used; mail.ErrNotFound
// if there is none, or none any more.
func (s *Store) Find(ctx context.Context, token string) (found Session, err error) {
	a, h, ok := parse(token)
	if !ok {
		return Session{}, fmt.Errorf("signin: %w", mail.ErrNotFound)
	}
	var now time.Time
	err = s.DB.View(ctx, func(r kv.Reader) (err error) {
		now = time.Now()
		found, err = find(r, a, h, now)
		return err
	})
	if err != nil || now.Sub(found.Seen) < seenEvery {
		return found, wrap(a, err)
	}
	err = s.update(ctx, a, func(tx kv.Tx) (err error) {
		if found, err = find(tx, a, h, tx.Now()); err != nil {
			return err // closed meanwhile
		}
		found.Seen = tx.Now()
		tx.Set(key(a, h), found.row())
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	return found, nil
}

func find(r kv.Reader, a mail.AccountID, h hash, now time.Time) (Session, error) {
	raw, err := r.Get(key(a, h))
	if err != nil {
		return Session{}, err
	}
	if raw == nil {
		return Session{}, mail.ErrNotFound
	}
	s, err := decode(a, h[:], raw)
	if err != nil || s.over(now) { // check tells of what cannot be read
		return Session{}, mail.ErrNotFound
	}
	return s, nil
}

// Close ends the session that a token opens. That there is none is no error.
func (s *Store) Close(ctx context.Context, token string) error {
	a, h, ok := parse(token)
	if !ok {
		return nil
	}
	return s.close(ctx, a, func(of []byte, _ Session) bool { return string(of) == string(h[:]) })
}

// CloseID ends the session of that handle. That there is none is no error.
func (s *Store) CloseID(ctx context.Context, a mail.AccountID, id string) error {
	return s.close(ctx, a, func(h []byte, _ Session) bool { return idOf(h) == id })
}

// CloseAll ends all sessions of an account, but for the one that a token opens; "": all.
func (s *Store) CloseAll(ctx context.Context, a mail.AccountID, exceptToken string) error {
	_, stays, ok := parse(exceptToken)
	return s.close(ctx, a, func(h []byte, _ Session) bool { return !ok || string(h) != string(stays[:]) })
}

// Sweep forgets the sessions of an account that are over.
func (s *Store) Sweep(ctx context.Context, a mail.AccountID, now time.Time) error {
	return s.close(ctx, a, func(_ []byte, of Session) bool { return of.over(now) })
}

// close removes the rows that are meant. A row that cannot be read is a session that was
// over long ago. Nothing is written if there is nothing to remove.
func (s *Store) close(ctx context.Context, a mail.AccountID, meant func(h []byte, of Session) bool) error {
	var gone [][]byte
	look := func(r kv.Reader) error {
		gone = gone[:0]
		return each(r, a, func(h []byte, of Session, _ error) {
			if meant(h, of) {
				gone = append(gone, append(prefix(a), h...))
			}
		})
	}
	if err := s.DB.View(ctx, look); err != nil || len(gone) == 0 {
		return wrap(a, err)
	}
	return s.update(ctx, a, func(tx kv.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		for _, k := range gone {
			tx.Delete(k)
		}
		return nil
	})
}

// List gives the sessions of an account, the one that was used last first.
func (s *Store) List(ctx context.Context, a mail.AccountID) (list []Session, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		list = list[:0]
		now := time.Now()
		return each(r, a, func(_ []byte, of Session, bad error) {
			if bad == nil && !of.over(now) {
				list = append(list, of)
			}
		})
	})
	if err != nil {
		return nil, wrap(a, err)
	}
	slices.SortStableFunc(list, func(x, y Session) int { return y.Seen.Compare(x.Seen) })
	return list, nil
}

// each gives the rows of an account: what stands in the key, and the session or why it
// cannot be read.
func each(r kv.Reader, a mail.AccountID, fn func(h []byte, of Session, bad error)) error {
	p := prefix(a)
	for row, err := range r.Scan(kv.Prefix(p)) {
		if err != nil {
			return err
		}
		h := slices.Clone(row.Key[len(p):])
		of, bad := decode(a, h, row.Value)
		fn(h, of, bad)
	}
	return nil
}

// room removes what is over, and of the rest what was used longest ago, until no more
// than most are left.
func room(tx kv.Tx, a mail.AccountID, most int) error {
	type row struct {
		h    []byte
		seen time.Time // zero: it is over
	}
	var rows []row
	now := tx.Now()
	err := each(tx, a, func(h []byte, of Session, bad error) {
		if bad != nil || of.over(now) {
			of.Seen = time.Time{}
		}
		rows = append(rows, row{h, of.Seen})
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(x, y row) int { return x.seen.Compare(y.seen) })
	for i, r := range rows {
		if r.seen.IsZero() || i < len(rows)-most {
			tx.Delete(append(prefix(a), r.h...))
		}
	}
	return nil
}

func (s *Store) update(ctx context.Context, a mail.AccountID, fn func(kv.Tx) error) error {
	return wrap(a, s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}, fn))
}

func wrap(a mail.AccountID, err error) error {
	if err != nil {
		err = fmt.Errorf("signin: account %d: %w", a, err)
	}
	return err
}

// Check reads what is kept of an account, and gives a sentence for what is wrong.
func (s *Store) Check(ctx context.Context, a mail.AccountID) (wrong []string, err error) {
	var n, bad int
	err = s.DB.View(ctx, func(r kv.Reader) error {
		n, bad = 0, 0
		return each(r, a, func(_ []byte, _ Session, err error) {
			n++
			if err != nil {
				bad++
			}
		})
	})
	if err != nil {
		return nil, wrap(a, err)
	}
	if bad > 0 {
		wrong = append(wrong, fmt.Sprintf("account %d: %d sessions of browsers cannot be read; they open nothing, and go by themselves", a, bad))
	}
	if n > Max {
		wrong = append(wrong, fmt.Sprintf("account %d has %d sessions of browsers, and there should be no more than %d", a, n, Max))
	}
	return wrong, nil
}

// Package script keeps the Sieve scripts of accounts, and what they leave for later: that
// somebody was answered, or that a message was there.
//
// All rows but one stand under the account's lock, and go with the account:
//
//	41 name 00 chunk  a piece of a script's text; the first begins with when it was saved
//	42                version 1, the number of the last change, the name of the active script
//	43 hash(16)       a mark: until when it is good (seconds), and for how long
//	44                what went wrong the last time: when, the script's name, the text
//
// What stands behind that in a row is passed over. One row of all accounts, under a lock of
// its own, counts the changes of all scripts: as long as nobody writes it, every account's
// active script is the same, which is asked for at every delivery.
package script

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/store/mailbox"
)

const (
	kindText   = 0x41
	kindActive = 0x42
	kindMark   = 0x43
	kindFault  = 0x44

	version  = 1
	chunkLen = 60_000
	hashLen  = 16
)

// What an account may have.
const (
	MaxName    = 128 // characters of a name. RFC 5804 §1.6
	MaxScripts = 64
	MaxBytes   = 1 << 20   // of all scripts together
	MaxMarks   = 20_000    // those that end first go first
	maxFault   = 500       // bytes of a text
	maxText    = 256 << 10 // of one script
)

// What there is no room for; both are mail.ErrLimit.
var (
	ErrTooMany  = fmt.Errorf("an account has %d scripts at most: %w", MaxScripts, mail.ErrLimit)
	ErrTooLarge = fmt.Errorf("a script has %d bytes at most: %w", maxText, mail.ErrLimit)
)

// A Store keeps scripts. DB must be set.
type Store struct {
	DB kv.Store

	mu      sync.RWMutex
	commits uint64 // of the class of changes, when what is known was read
	known   map[mail.AccountID]active
}

// changes is the lock of the row that counts them, and maxKnown how many accounts' active
// scripts are remembered.
var changes = kv.Lock{Class: 'S'}

const maxKnown = 50_000

// An Info tells of a script.
type Info struct {
	Name   string
	Size   int
	Active bool
	Saved  time.Time
}

// A Fault is what went wrong when a script ran; the zero Fault is none.
type Fault struct {
	At   time.Time
	Name string // of the script
	Text string
}

// A Mark is what a script leaves for later runs. See sieve.Mark.
type Mark struct {
	Key string
	For time.Duration
}

func key(a mail.AccountID, kind byte) []byte { return append(mailbox.Lock(a).Prefix(), kind) }

func textKey(a mail.AccountID, name string, chunk byte) []byte {
	return append(append(key(a, kindText), name...), 0, chunk)
}

func markKey(a mail.AccountID, k string) []byte {
	sum := sha256.Sum256([]byte(k))
	return append(key(a, kindMark), sum[:hashLen]...)
}

// CheckName refuses what cannot be the name of a script. RFC 5804 §1.6
func CheckName(name string) error {
	bad := func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	}
	if name == "" || utf8.RuneCountInString(name) > MaxName || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("a script's name has 1 to %d characters on one line", MaxName)
	}
	return nil
}

// An active row tells which script is active.
type active struct {
	change uint64 // counts the changes of the account's scripts
	name   string // "": none is
}

func readActive(r kv.Reader, a mail.AccountID) (x active, err error) {
	raw, err := r.Get(key(a, kindActive))
	if err != nil || raw == nil {
		return x, err
	}
	d := kv.Decode(raw)
	v := d.Byte()
	x = active{d.Uvarint(), d.String()}
	if err := d.Err(); err != nil || v != version {
		return x, fmt.Errorf("script: account %d: %w", a, kv.ErrRow)
	}
	return x, nil
}

// changed writes which script is active now, and that something has changed. The
// transaction must be that of a change.
func (x active) changed(tx kv.Tx, a mail.AccountID) error {
	x.change++
	tx.Set(key(a, kindActive), kv.AppendBytes(binary.AppendUvarint([]byte{version}, x.change), x.name))
	raw, err := tx.Get(changes.Prefix())
	if err != nil {
		return err
	}
	n, _ := binary.Uvarint(raw)
	tx.Set(changes.Prefix(), binary.AppendUvarint(nil, n+1))
	return nil
}

// each gives the pieces of scripts one after another: the name, the number, and what it
// has.
func each(r kv.Reader, prefix []byte, from int, fn func(name string, chunk byte, raw []byte)) error {
	for row, err := range r.Scan(kv.Prefix(prefix)) {
		if err != nil {
			return err
		}
		k := row.Key[from:]
		i := bytes.IndexByte(k, 0)
		if i < 0 || i+2 != len(k) {
			return fmt.Errorf("script: key %x: %w", row.Key, kv.ErrRow)
		}
		fn(string(k[:i]), k[i+1], row.Value)
	}
	return nil
}

// list gives the scripts of an account, by name.
func list(r kv.Reader, a mail.AccountID) (out []Info, now active, err error) {
	if now, err = readActive(r, a); err != nil {
		return nil, now, err
	}
	p := key(a, kindText)
	headless := false
	err = each(r, p, len(p), func(name string, chunk byte, raw []byte) {
		if chunk > 0 {
			if headless = headless || len(out) == 0 || out[len(out)-1].Name != name; !headless {
				out[len(out)-1].Size += len(raw)
			}
			return
		}
		saved, n := binary.Varint(raw)
		out = append(out, Info{Name: name, Size: len(raw) - max(n, 0), Active: name == now.name, Saved: time.Unix(saved, 0)})
	})
	if err == nil && headless {
		err = fmt.Errorf("script: account %d: the beginning of a script is missing: %w", a, kv.ErrRow)
	}
	return out, now, err
}

func read(r kv.Reader, a mail.AccountID, name string) (text []byte, err error) {
	if CheckName(name) != nil { // with a NUL it would be a piece of another
		return nil, fmt.Errorf("script %q: %w", name, mail.ErrNotFound)
	}
	p := append(append(key(a, kindText), name...), 0)
	found := false
	err = each(r, p, len(key(a, kindText)), func(_ string, chunk byte, raw []byte) {
		if chunk == 0 {
			_, n := binary.Varint(raw)
			raw = raw[max(n, 0):]
		}
		found = true
		text = append(text, raw...)
	})
	if err == nil && !found {
		err = fmt.Errorf("script %q: %w", name, mail.ErrNotFound)
	}
	return text, err
}

func write(tx kv.Tx, a mail.AccountID, name string, text []byte, now time.Time) {
	erase(tx, a, name)
	first := binary.AppendVarint(nil, now.Unix())
	for n := byte(0); ; n++ {
		part := text[:min(len(text), chunkLen)]
		text = text[len(part):]
		tx.Set(textKey(a, name, n), append(first, part...))
		if first = nil; len(text) == 0 {
			return
		}
	}
}

func erase(tx kv.Tx, a mail.AccountID, name string) {
	p := append(append(key(a, kindText), name...), 0)
	tx.DeleteRange(p, kv.Next(p))
}

// List gives the scripts of an account, by name.
func (s *Store) List(ctx context.Context, a mail.AccountID) (out []Info, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		out, _, err = list(r, a)
		return err
	})
	return out, wrap(a, err)
}

// Get gives the text of a script; mail.ErrNotFound if there is none of that name.
func (s *Store) Get(ctx context.Context, a mail.AccountID, name string) (text []byte, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		text, err = read(r, a, name)
		return err
	})
	return text, wrap(a, err)
}

// Active gives the name of the active script, "" if none is, and the number of the last
// change: as long as that is the same, all scripts are.
func (s *Store) Active(ctx context.Context, a mail.AccountID) (name string, change uint64, err error) {
	commits := s.DB.Commits(changes.Class)
	if x, ok := s.remembered(commits, a); ok {
		return x.name, x.change, nil
	}
	var x active
	err = s.DB.View(ctx, func(r kv.Reader) error {
		x, err = readActive(r, a)
		return err
	})
	if err == nil {
		s.remember(commits, a, x)
	}
	return x.name, x.change, wrap(a, err)
}

// remembered gives what is known of an account, if nothing has changed since.
func (s *Store) remembered(commits uint64, a mail.AccountID) (active, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.commits != commits {
		return active{}, false
	}
	x, ok := s.known[a]
	return x, ok
}

// remember keeps what was read after the engine had given the number.
func (s *Store) remember(commits uint64, a mail.AccountID, x active) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commits != commits || s.known == nil || len(s.known) >= maxKnown {
		s.commits, s.known = commits, map[mail.AccountID]active{}
	}
	s.known[a] = x
}

// Put saves a script in place of the one of that name, if there is one. What it says is
// not looked at. mail.ErrLimit: there would be too many, or too much.
func (s *Store) Put(ctx context.Context, a mail.AccountID, name string, text []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return s.change(ctx, a, func(tx kv.Tx) error {
		if err := mailbox.There(tx, a); err != nil {
			return err
		}
		now, err := room(tx, a, name, len(text))
		if err != nil {
			return err
		}
		write(tx, a, name, text, tx.Now())
		return now.changed(tx, a)
	})
}

// Room tells whether there is room for a script of that name and size; mail.ErrLimit if
// there is none.
func (s *Store) Room(ctx context.Context, a mail.AccountID, name string, size int) error {
	return wrap(a, s.DB.View(ctx, func(r kv.Reader) error {
		_, err := room(r, a, name, size)
		return err
	}))
}

func room(r kv.Reader, a mail.AccountID, name string, size int) (active, error) {
	have, now, err := list(r, a)
	if err != nil {
		return now, err
	}
	sum, n := size, 1
	for _, x := range have {
		if x.Name != name {
			sum, n = sum+x.Size, n+1
		}
	}
	switch {
	case size > maxText:
		err = ErrTooLarge
	case n > MaxScripts:
		err = ErrTooMany
	case sum > MaxBytes:
		err = fmt.Errorf("the scripts of an account have %d bytes at most: %w", MaxBytes, mail.ErrLimit)
	}
	return now, err
}

// Activate makes a script the active one, and all others not; "": none is active.
// mail.ErrNotFound if there is none of that name.
func (s *Store) Activate(ctx context.Context, a mail.AccountID, name string) error {
	return s.change(ctx, a, func(tx kv.Tx) error {
		if name != "" {
			if _, err := read(tx, a, name); err != nil {
				return err
			}
		}
		now, err := readActive(tx, a)
		if err != nil || now.name == name {
			return err
		}
		now.name = name
		return now.changed(tx, a)
	})
}

// Delete removes a script: mail.ErrInUse if it is the active one, mail.ErrNotFound if
// there is none of that name.
func (s *Store) Delete(ctx context.Context, a mail.AccountID, name string) error {
	return s.change(ctx, a, func(tx kv.Tx) error {
		if _, err := read(tx, a, name); err != nil {
			return err
		}
		now, err := readActive(tx, a)
		if err != nil {
			return err
		}
		if now.name == name {
			return fmt.Errorf("script %q is the active one: %w", name, mail.ErrInUse)
		}
		erase(tx, a, name)
		return now.changed(tx, a)
	})
}

// Rename gives a script another name; one that is active stays so. mail.ErrNotFound if
// there is none, mail.ErrExists if there is one of the new name.
func (s *Store) Rename(ctx context.Context, a mail.AccountID, from, to string) error {
	if err := CheckName(to); err != nil {
		return err
	}
	return s.change(ctx, a, func(tx kv.Tx) error {
		text, err := read(tx, a, from)
		if err != nil {
			return err
		}
		p := append(append(key(a, kindText), to...), 0)
		taken, err := tx.Get(append(p, 0))
		if err != nil {
			return err
		}
		if taken != nil {
			return fmt.Errorf("script %q: %w", to, mail.ErrExists)
		}
		now, err := readActive(tx, a)
		if err != nil {
			return err
		}
		erase(tx, a, from)
		write(tx, a, to, text, tx.Now())
		if now.name == from {
			now.name = to
		}
		return now.changed(tx, a)
	})
}

// Seen tells whether a mark was left that is still good.
func (s *Store) Seen(ctx context.Context, a mail.AccountID, k string) (seen bool, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		seen, err = marked(r, a, k, time.Now())
		return err
	})
	return seen, wrap(a, err)
}

func marked(r kv.Reader, a mail.AccountID, k string, now time.Time) (bool, error) {
	raw, err := r.Get(markKey(a, k))
	if err != nil || raw == nil {
		return false, err
	}
	until, n := binary.Varint(raw)
	return n > 0 && now.Unix() < until, nil
}

// Leave leaves a mark, in a transaction that has the account's lock, unless there is one
// that is still good: then it tells so.
func (s *Store) Leave(tx kv.Tx, a mail.AccountID, m Mark) (seen bool, err error) {
	now := tx.Now()
	if seen, err = marked(tx, a, m.Key, now); err != nil || seen {
		return seen, err
	}
	tx.Set(markKey(a, m.Key), binary.AppendVarint(binary.AppendVarint(nil, now.Add(m.For).Unix()), int64(m.For/time.Second)))
	return false, nil
}

// Renew is Leave for a mark whose time begins anew though it is still good.
func (s *Store) Renew(tx kv.Tx, a mail.AccountID, m Mark) {
	tx.Set(markKey(a, m.Key), binary.AppendVarint(binary.AppendVarint(nil, tx.Now().Add(m.For).Unix()), int64(m.For/time.Second)))
}

// NoteFault writes down what went wrong; the zero Fault is that nothing did.
func (s *Store) NoteFault(ctx context.Context, a mail.AccountID, f Fault) error {
	return s.update(ctx, a, func(tx kv.Tx) error {
		if f == (Fault{}) {
			tx.Delete(key(a, kindFault))
			return nil
		}
		if len(f.Text) > maxFault {
			f.Text = strings.ToValidUTF8(f.Text[:maxFault], "")
		}
		tx.Set(key(a, kindFault), kv.AppendBytes(kv.AppendBytes(binary.AppendVarint(nil, f.At.Unix()), f.Name), f.Text))
		return nil
	})
}

// Fault gives what went wrong the last time.
func (s *Store) Fault(ctx context.Context, a mail.AccountID) (f Fault, err error) {
	err = s.DB.View(ctx, func(r kv.Reader) error {
		f = Fault{}
		raw, err := r.Get(key(a, kindFault))
		if err != nil || raw == nil {
			return err
		}
		f, err = decodeFault(raw)
		return err
	})
	return f, wrap(a, err)
}

func decodeFault(raw []byte) (Fault, error) {
	d := kv.Decode(raw)
	f := Fault{At: time.Unix(d.Varint(), 0), Name: d.String(), Text: d.String()}
	return f, d.Err()
}

// change is update for what changes scripts.
func (s *Store) change(ctx context.Context, a mail.AccountID, fn func(kv.Tx) error) error {
	return wrap(a, s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(a), changes}}, fn))
}

func (s *Store) update(ctx context.Context, a mail.AccountID, fn func(kv.Tx) error) error {
	return wrap(a, s.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{mailbox.Lock(a)}}, fn))
}

func wrap(a mail.AccountID, err error) error {
	if err != nil {
		err = fmt.Errorf("script: account %d: %w", a, err)
	}
	return err
}

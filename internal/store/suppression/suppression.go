// Package suppression remembers addresses elsewhere that do not exist: whose
// servers have said so for several messages. Nothing more is sent there for some
// days, since who writes to many dead addresses is soon taken for a spammer.
//
//	01 address  how often, when first and last, for which message, what they said
package suppression

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Lock guards all rows.
var Lock = kv.Lock{Class: 'B'}

const (
	kindAddress = 0x01
	maxText     = 300
)

// How long a failure counts, and how long an address is then left alone.
const (
	Window = 30 * 24 * time.Hour
	Rest   = 7 * 24 * time.Hour
)

// A List has the addresses. DB must be set.
type List struct {
	DB kv.Store
	// After is how many messages must have failed; 0: nothing is ever suppressed.
	After int
}

// An Entry is what is known of an address.
type Entry struct {
	Address     mail.Address
	Count       int       // messages that failed
	First, Last time.Time // when
	Text        string    // what the server said
	trace       mail.TraceID
}

// Until is how long nothing is sent to the entry's address; zero: it is.
func (l *List) Until(e Entry) time.Time {
	if l.After == 0 || e.Count < l.After {
		return time.Time{}
	}
	return e.Last.Add(Rest)
}

func key(a mail.Address) []byte {
	b := append(Lock.Prefix(), kindAddress)
	return append(b, strings.ToLower(a.Local)+"@"+string(a.Domain)...)
}

// Note counts a message to an address that its server has called dead; once,
// however often it is noted. The transaction must have Lock.
func (l *List) Note(tx kv.Tx, a mail.Address, id mail.TraceID, text string) error {
	raw, err := tx.Get(key(a))
	if err != nil {
		return fmt.Errorf("suppression: %w", err)
	}
	now := tx.Now()
	e := Entry{Address: a, First: now}
	if raw != nil {
		if e, err = decode(a, raw); err != nil {
			return err
		}
		if e.trace == id {
			return nil
		}
		if now.Sub(e.Last) > Window {
			e.Count, e.First = 0, now
		}
	}
	e.Count++
	e.Last, e.trace, e.Text = now, id, text[:min(len(text), maxText)]
	b := binary.AppendUvarint(nil, uint64(e.Count))
	b = binary.AppendVarint(binary.AppendVarint(b, e.First.Unix()), e.Last.Unix())
	b = append(b, e.trace[:]...)
	tx.Set(key(a), kv.AppendBytes(kv.AppendBytes(b, e.Text), a.Local))
	return nil
}

func decode(a mail.Address, raw []byte) (Entry, error) {
	d := kv.Decode(raw)
	e := Entry{Address: a, Count: int(d.Uvarint()), First: time.Unix(d.Varint(), 0), Last: time.Unix(d.Varint(), 0)}
	copy(e.trace[:], d.Raw(len(e.trace)))
	e.Text = d.String()
	e.Address.Local = d.String()
	if err := d.Err(); err != nil {
		return Entry{}, fmt.Errorf("suppression: %s: %w", a, err)
	}
	return e, nil
}

// Suppressed tells whether nothing is sent to an address, until when, and why.
func (l *List) Suppressed(ctx context.Context, a mail.Address) (e Entry, until time.Time, err error) {
	if l.After == 0 {
		return e, until, nil
	}
	err = l.DB.View(ctx, func(r kv.Reader) error {
		raw, err := r.Get(key(a))
		if err != nil || raw == nil {
			return err
		}
		e, err = decode(a, raw)
		return err
	})
	if until = l.Until(e); !until.After(time.Now()) {
		return Entry{}, time.Time{}, err
	}
	return e, until, err
}

// All gives the addresses to which nothing is sent now.
func (l *List) All(ctx context.Context) (out []Entry, err error) {
	now := time.Now()
	prefix := append(Lock.Prefix(), kindAddress)
	err = l.DB.View(ctx, func(r kv.Reader) error {
		out = out[:0]
		for row, err := range r.Scan(kv.Range{Low: prefix, High: kv.Next(prefix)}) {
			if err != nil {
				return err
			}
			text := string(row.Key[len(prefix):])
			at := strings.LastIndexByte(text, '@')
			e, err := decode(mail.Address{Local: text[:at], Domain: mail.Domain(text[at+1:])}, row.Value)
			if err != nil {
				return err
			}
			if l.Until(e).After(now) {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

// Remove forgets an address. mail.ErrNotFound if nothing is known of it.
func (l *List) Remove(ctx context.Context, a mail.Address) error {
	return l.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
		raw, err := tx.Get(key(a))
		if err == nil && raw == nil {
			err = fmt.Errorf("suppression: %s: %w", a, mail.ErrNotFound)
		}
		tx.Delete(key(a))
		return err
	})
}

// Sweep forgets what no longer counts.
func (l *List) Sweep(ctx context.Context) error {
	prefix := append(Lock.Prefix(), kindAddress)
	return l.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{Lock}}, func(tx kv.Tx) error {
		now := tx.Now()
		var old [][]byte
		for row, err := range tx.Scan(kv.Range{Low: prefix, High: kv.Next(prefix)}) {
			if err != nil {
				return err
			}
			e, err := decode(mail.Address{}, row.Value)
			if err != nil {
				return err
			}
			if now.Sub(e.Last) > Window {
				old = append(old, append([]byte(nil), row.Key...))
			}
		}
		for _, k := range old {
			tx.Delete(k)
		}
		return nil
	})
}

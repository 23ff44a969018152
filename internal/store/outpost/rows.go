package outpost

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/engine/kv"
)

// due gives the outposts that are to be visited at some time, the first to be
// visited first.
func due(list []Entry) []Entry {
	list = slices.DeleteFunc(list, func(e Entry) bool { return e.Paused || e.Stopped })
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(a.Next.UnixNano(), b.Next.UnixNano()) })
	return list
}

// Flags of an outpost's row.
const (
	isPaused = 1 << iota
	isUnjudged
	hasOAuth2
)

func (o *Outpost) append(b []byte) []byte {
	flags := byte(0)
	if o.Paused {
		flags |= isPaused
	}
	if o.Unjudged {
		flags |= isUnjudged
	}
	if o.OAuth2 != nil {
		flags |= hasOAuth2
	}
	b = binary.AppendUvarint(b, uint64(o.Account))
	b = binary.AppendVarint(b, o.Created.Unix())
	b = append(b, byte(o.Protocol), byte(o.Security), byte(o.After), flags)
	b = binary.AppendUvarint(b, uint64(o.Days))
	b = binary.AppendUvarint(b, uint64(o.Every/time.Second))
	for _, s := range [...]string{o.Name, o.Host, o.Port, o.User, o.Secret, o.Mailbox, o.Keyword} {
		b = kv.AppendBytes(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(o.Folders)))
	for _, f := range o.Folders {
		b = kv.AppendBytes(b, f)
	}
	if a := o.OAuth2; a != nil {
		for _, s := range [...]string{a.URL, a.ClientID, a.ClientSecret, a.Scope} {
			b = kv.AppendBytes(b, s)
		}
	}
	return b
}

func decode(id ID, raw []byte) (Outpost, error) {
	d := kv.Decode(raw)
	o := Outpost{ID: id, Account: mail.AccountID(d.Uvarint()), Created: time.Unix(d.Varint(), 0)}
	o.Protocol, o.Security, o.After = Protocol(d.Byte()), Security(d.Byte()), After(d.Byte())
	flags := d.Byte()
	o.Paused, o.Unjudged = flags&isPaused != 0, flags&isUnjudged != 0
	o.Days, o.Every = int(d.Uvarint()), time.Duration(d.Uvarint())*time.Second
	for _, s := range [...]*string{&o.Name, &o.Host, &o.Port, &o.User, &o.Secret, &o.Mailbox, &o.Keyword} {
		*s = d.String()
	}
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		o.Folders = append(o.Folders, d.String())
	}
	if flags&hasOAuth2 != 0 {
		o.OAuth2 = &OAuth2{URL: d.String(), ClientID: d.String(), ClientSecret: d.String(), Scope: d.String()}
	}
	if err := d.Err(); err != nil || o.Protocol < POP3 || o.Protocol > IMAP || o.Security < TLS || o.Security > Clear || o.After > KeepDays {
		return o, fmt.Errorf("outpost %d: %w", id, kv.ErrRow)
	}
	return o, nil
}

// Flags of a state's row.
const (
	isStopped = 1 << iota
	isIdle
)

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixMilli())
}

func decodeTime(d *kv.Decoder) time.Time {
	if n := d.Varint(); n != 0 {
		return time.UnixMilli(n)
	}
	return time.Time{}
}

func (s *State) append(b []byte) []byte {
	flags := byte(0)
	if s.Stopped {
		flags |= isStopped
	}
	if s.Idle {
		flags |= isIdle
	}
	b = append(b, flags)
	for _, t := range [...]time.Time{s.Next, s.Begun, s.Ended, s.Good, s.Proven, s.until} {
		b = appendTime(b, t)
	}
	b = binary.BigEndian.AppendUint64(b, s.token)
	for _, n := range [...]int64{int64(s.Fails), s.Collected, s.Bytes, s.Removed, s.LastCollected, s.Refused} {
		b = binary.AppendVarint(b, n)
	}
	b = kv.AppendBytes(b, trace.Cut(s.Error, maxText))
	return kv.AppendBytes(b, trace.Cut(s.Refusal, maxText))
}

func decodeState(raw []byte) (s State, err error) {
	d := kv.Decode(raw)
	flags := d.Byte()
	s.Stopped, s.Idle = flags&isStopped != 0, flags&isIdle != 0
	for _, t := range [...]*time.Time{&s.Next, &s.Begun, &s.Ended, &s.Good, &s.Proven, &s.until} {
		*t = decodeTime(d)
	}
	s.token = d.Uint64()
	s.Fails = int(d.Varint())
	for _, n := range [...]*int64{&s.Collected, &s.Bytes, &s.Removed, &s.LastCollected, &s.Refused} {
		*n = d.Varint()
	}
	s.Error, s.Refusal = d.String(), d.String()
	return s, d.Err()
}

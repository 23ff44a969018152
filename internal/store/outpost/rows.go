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
	hasSendAs
)

// Flags of how it sends.
const hasOwnOAuth2 = 1

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
	if o.SendAs != nil {
		flags |= hasSendAs
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
	b = o.OAuth2.append(b)
	if o.SendAs != nil {
		b = o.SendAs.append(b)
	}
	return b
}

// append appends it if there is any.
func (a *OAuth2) append(b []byte) []byte {
	if a == nil {
		return b
	}
	for _, s := range [...]string{a.URL, a.ClientID, a.ClientSecret, a.Scope} {
		b = kv.AppendBytes(b, s)
	}
	return b
}

func decodeOAuth2(d *kv.Decoder) *OAuth2 {
	return &OAuth2{URL: d.String(), ClientID: d.String(), ClientSecret: d.String(), Scope: d.String()}
}

func (s *SendAs) append(b []byte) []byte {
	flags := byte(0)
	if s.OAuth2 != nil {
		flags = hasOwnOAuth2
	}
	b = append(b, flags, byte(s.Security))
	for _, s := range [...]string{s.Address.Local, string(s.Address.Domain), s.Host, s.Port, s.User, s.Secret} {
		b = kv.AppendBytes(b, s)
	}
	return s.OAuth2.append(appendTime(b, s.Proven))
}

func decodeSendAs(d *kv.Decoder) *SendAs {
	flags := d.Byte()
	s := &SendAs{Security: Security(d.Byte()), Address: mail.Address{Local: d.String(), Domain: mail.Domain(d.String())}}
	for _, to := range [...]*string{&s.Host, &s.Port, &s.User, &s.Secret} {
		*to = d.String()
	}
	s.Proven = decodeTime(d)
	if flags&hasOwnOAuth2 != 0 {
		s.OAuth2 = decodeOAuth2(d)
	}
	return s
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
		o.OAuth2 = decodeOAuth2(d)
	}
	if flags&hasSendAs != 0 {
		o.SendAs = decodeSendAs(d)
	}
	if s := o.SendAs; s != nil && d.Err() == nil && (s.Security < TLS || s.Security > Clear) {
		return o, fmt.Errorf("outpost %d: %w", id, kv.ErrRow)
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
	hasSending // how sending goes follows; rows of older versions have none of it
	isSendStopped
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
	if s.SendFails > 0 || s.SendStopped || s.SendError != "" {
		flags |= hasSending
	}
	if s.SendStopped {
		flags |= isSendStopped
	}
	b = append(b, flags)
	for _, t := range [...]time.Time{s.Next, s.Begun, s.Ended, s.Good, s.Proven, s.until} {
		b = appendTime(b, t)
	}
	b = binary.BigEndian.AppendUint64(b, s.token)
	for _, n := range [...]int64{int64(s.Fails), s.before.messages, s.before.bytes, s.Removed, s.LastCollected, s.Refused} {
		b = binary.AppendVarint(b, n)
	}
	b = kv.AppendBytes(b, trace.Cut(s.Error, maxText))
	b = kv.AppendBytes(b, trace.Cut(s.Refusal, maxText))
	if flags&hasSending != 0 {
		b = kv.AppendBytes(binary.AppendVarint(b, int64(s.SendFails)), trace.Cut(s.SendError, maxText))
	}
	return b
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
	for _, n := range [...]*int64{&s.before.messages, &s.before.bytes, &s.Removed, &s.LastCollected, &s.Refused} {
		*n = d.Varint()
	}
	s.Error, s.Refusal = d.String(), d.String()
	if s.SendStopped = flags&isSendStopped != 0; flags&hasSending != 0 {
		s.SendFails, s.SendError = int(d.Varint()), d.String()
	}
	return s, d.Err()
}

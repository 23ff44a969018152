// Package srs rewrites the sender of a message that is forwarded, so that SPF
// passes at the next server, and a bounce finds its way back: the Sender Rewriting
// Scheme. There is no RFC; the form is that of its authors' paper and of the
// programs that use it.
//
// What was rewritten carries a keyed hash and a date: nobody can make us send
// bounces to a third party, and an old address stops working.
package srs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"posthaste/internal/base/mail"
)

// A Rewriter rewrites for one domain, whose mail comes to us.
type Rewriter struct {
	Domain mail.Domain
	// Secrets are keys of the hash: the first is used, all are accepted.
	Secrets [][]byte
}

// MaxAge is how long a rewritten address is good: longer than any server keeps a
// message in its queue.
const MaxAge = 21 * 24 * time.Hour

// Errors of Reverse.
var (
	ErrNotOurs = errors.New("srs: no rewritten address") // let it be looked at as any other
	ErrForged  = errors.New("srs: the address was not made here")
	ErrOld     = errors.New("srs: the address is too old")
)

const (
	day    = 24 * time.Hour
	period = 1024 // days until the date begins anew
	digits = "abcdefghijklmnopqrstuvwxyz234567"
	// hashLen is the letters of the hash: 40 bits, since whoever guesses can ask
	// only us, one by one.
	hashLen  = 8
	maxLocal = 64 // octets of a local part. RFC 5321 §4.5.3.1.1
)

// letters are base32 in lower case: some servers change the case of a local part.
var letters = base32.NewEncoding(digits).WithPadding(base32.NoPadding)

// Forward gives the address to send on from. The empty sender stays empty. An
// address that somebody else has rewritten is not wrapped again, but points to
// him: SRS1. It gives false if the address would become too long to be sent from.
func (r *Rewriter) Forward(sender mail.Address, now time.Time) (mail.Address, bool) {
	if sender.IsZero() || sender.Domain == r.Domain {
		return sender, true
	}
	local := ""
	lower := strings.ToLower(sender.Local)
	switch {
	case hasTag(lower, "srs0"):
		rest := string(sender.Domain) + "=" + sender.Local[4:]
		local = "SRS1=" + r.hash(r.Secrets[0], "srs1"+rest) + "=" + rest
	case hasTag(lower, "srs1"):
		// SRS1=hash=first==rest: the first who rewrote stays who hears of bounces.
		_, rest, ok := strings.Cut(sender.Local[5:], "=")
		if !ok {
			return mail.Address{}, false
		}
		local = "SRS1=" + r.hash(r.Secrets[0], "srs1"+rest) + "=" + rest
	default:
		rest := date(now) + "=" + string(sender.Domain) + "=" + sender.Local
		local = "SRS0=" + r.hash(r.Secrets[0], "srs0"+rest) + "=" + rest
	}
	return mail.Address{Local: local, Domain: r.Domain}, len(local) <= maxLocal
}

// Short gives an address to send on from that stands for a message instead of its
// sender: for senders that are too long for Forward. Whoever knows the message
// knows the sender.
func (r *Rewriter) Short(id mail.TraceID) mail.Address {
	return mail.Address{Local: "SRS2=" + r.hash(r.Secrets[0], "srs2"+id.String()) + "=" + id.String(), Domain: r.Domain}
}

// ReverseShort gives back the message that Short was given.
func (r *Rewriter) ReverseShort(a mail.Address, now time.Time) (mail.TraceID, error) {
	lower := strings.ToLower(a.Local)
	if a.Domain != r.Domain || !hasTag(lower, "srs2") {
		return mail.TraceID{}, ErrNotOurs
	}
	sum, rest, ok := strings.Cut(lower[5:], "=")
	id, err := mail.ParseTraceID(rest)
	if !ok || err != nil || !r.made(sum, "srs2"+rest) {
		return mail.TraceID{}, ErrForged
	}
	if age := now.Sub(id.Time()); age > MaxAge || age < -day {
		return mail.TraceID{}, ErrOld
	}
	return id, nil
}

// Rewritten tells whether a local part looks as if it had been rewritten.
func Rewritten(local string) bool {
	if len(local) < 5 || local[0]|0x20 != 's' {
		return false
	}
	lower := strings.ToLower(local[:5])
	return hasTag(lower, "srs0") || hasTag(lower, "srs1") || hasTag(lower, "srs2")
}

// hasTag tells whether a local part in lower case begins as a rewritten one does.
func hasTag(local, tag string) bool {
	rest, ok := strings.CutPrefix(local, tag)
	return ok && rest != "" && strings.IndexByte("=+-", rest[0]) >= 0
}

// Reverse gives back the address that Forward was given, or for SRS1 the one that
// the first who rewrote has made.
func (r *Rewriter) Reverse(a mail.Address, now time.Time) (mail.Address, error) {
	lower := strings.ToLower(a.Local)
	zero, one := hasTag(lower, "srs0"), hasTag(lower, "srs1")
	if a.Domain != r.Domain || !zero && !one {
		return mail.Address{}, ErrNotOurs
	}
	sum, rest, ok := strings.Cut(a.Local[5:], "=")
	if !ok || !r.made(sum, lower[:4]+rest) {
		return mail.Address{}, ErrForged
	}
	if one {
		first, inner, ok := strings.Cut(rest, "=")
		if !ok || inner == "" {
			return mail.Address{}, ErrForged
		}
		return address("SRS0"+inner, first)
	}
	stamp, rest, ok := strings.Cut(rest, "=")
	if !ok {
		return mail.Address{}, ErrForged
	}
	if !recent(stamp, now) {
		return mail.Address{}, ErrOld
	}
	domain, local, ok := strings.Cut(rest, "=")
	if !ok {
		return mail.Address{}, ErrForged
	}
	return address(local, domain)
}

func address(local, domain string) (mail.Address, error) {
	d, err := mail.ParseDomain(domain)
	if err != nil || local == "" {
		return mail.Address{}, fmt.Errorf("%w: %q", ErrForged, domain)
	}
	return mail.Address{Local: local, Domain: d}, nil
}

// made tells whether one of our keys made the hash. Case does not count: in the
// text, since some servers change it.
func (r *Rewriter) made(sum, text string) bool {
	for _, s := range r.Secrets {
		if hmac.Equal([]byte(strings.ToLower(sum)), []byte(r.hash(s, text))) {
			return true
		}
	}
	return false
}

func (r *Rewriter) hash(secret []byte, text string) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(strings.ToLower(text)))
	return letters.EncodeToString(m.Sum(nil))[:hashLen]
}

// date gives the day in two letters.
func date(now time.Time) string {
	n := int(now.Unix()/int64(day/time.Second)) % period
	return string([]byte{digits[n>>5], digits[n&31]})
}

func recent(stamp string, now time.Time) bool {
	if len(stamp) != 2 {
		return false
	}
	hi, lo := strings.IndexByte(digits, stamp[0]|0x20), strings.IndexByte(digits, stamp[1]|0x20)
	if '2' <= stamp[0] && stamp[0] <= '7' {
		hi = strings.IndexByte(digits, stamp[0])
	}
	if '2' <= stamp[1] && stamp[1] <= '7' {
		lo = strings.IndexByte(digits, stamp[1])
	}
	if hi < 0 || lo < 0 {
		return false
	}
	today := int(now.Unix()/int64(day/time.Second)) % period
	age := (today - (hi<<5 | lo) + period) % period
	// A clock may be a day ahead.
	return age <= int(MaxAge/day) || age == period-1
}

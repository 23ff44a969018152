// Package dns has what the house asks of the domain name system: typed
// questions, answers that carry DNSSEC's verdict, and errors that tell "there
// is no such thing" from "it could not be found out".
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"posthaste/internal/base/mail"
)

// Errors of a Resolver; they come wrapped in *Error.
var (
	// ErrNoName: the name does not exist (NXDOMAIN).
	ErrNoName = errors.New("no such name")
	// ErrNoData: the name exists and has no records of this type.
	ErrNoData = errors.New("no such record")
	// ErrBogus: DNSSEC proves that the answer is forged or broken.
	ErrBogus = errors.New("DNSSEC validation failed")
	// ErrTemporary: the servers did not answer, or answered with a failure.
	ErrTemporary = errors.New("DNS servers did not answer")
)

// An Error is a failed question.
type Error struct {
	Name string // what was asked
	Type string // "MX", "A", …
	Err  error  // one of the errors above, wrapped or not
}

func (e *Error) Error() string { return fmt.Sprintf("DNS: %s %s: %v", e.Type, e.Name, e.Err) }

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// IsAbsent tells whether err says for certain that there is no such record.
func IsAbsent(err error) bool {
	return errors.Is(err, ErrNoName) || errors.Is(err, ErrNoData)
}

// An Answer is a set of records.
type Answer[T any] struct {
	Records []T
	Secure  bool          // validated by DNSSEC
	TTL     time.Duration // the shortest of the records
	// Alias is the name that the records stand under, if that is another than the
	// one asked for: it is an alias (CNAME).
	Alias string
}

// An MX record. A Host of "." is the null MX of RFC 7505.
type MX struct {
	Preference uint16
	Host       mail.Domain
}

// NullMX is the host of an MX record that says: no mail here. RFC 7505 §3
const NullMX = mail.Domain(".")

// A TLSA record says what certificate a service has. RFC 6698 §2.1
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// A Resolver asks. Its answers have at least one record: an empty set is an
// error for which IsAbsent holds.
type Resolver interface {
	MX(ctx context.Context, d mail.Domain) (Answer[MX], error)
	// Addresses gives A and AAAA records, in the order they should be tried.
	Addresses(ctx context.Context, host mail.Domain) (Answer[netip.Addr], error)
	TXT(ctx context.Context, name string) (Answer[string], error)
	// TLSA gives the records of a service, "_25._tcp.mail.example.org".
	TLSA(ctx context.Context, name string) (Answer[TLSA], error)
	// PTR gives the names of an address.
	PTR(ctx context.Context, ip netip.Addr) (Answer[mail.Domain], error)
}

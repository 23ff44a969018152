package auth

import (
	"errors"

	"posthaste/internal/base/mail"
)

// An Outcome is what came of an attempt to log in.
type Outcome string

// What can come of it.
const (
	Accepted Outcome = "accepted"
	Refused  Outcome = "refused"
	Later    Outcome = "later"  // guessing is slowed down, or a former server does not answer
	Broken   Outcome = "broken" // we failed
)

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{Accepted, Refused, Later, Broken} }

// tried tells what came of an attempt.
func (v *verifier) tried(err error) {
	if v.a.Tried == nil {
		return
	}
	no, refused := errors.AsType[*mail.Refusal](err)
	switch {
	case err == nil:
		v.a.Tried(v.protocol, Accepted)
	case refused && no.Status.Temporary():
		v.a.Tried(v.protocol, Later)
	case refused:
		v.a.Tried(v.protocol, Refused)
	default:
		v.a.Tried(v.protocol, Broken)
	}
}

package sieved

import (
	"errors"
	"fmt"
	"strings"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/managesieve"
	"posthaste/internal/proto/sieve"
	"posthaste/internal/store/script"
)

// A failure is a negative answer.
type failure struct {
	code managesieve.Code
	text string
}

// Error gives the text of the answer.
func (f *failure) Error() string { return f.text }

func no(code managesieve.Code, text string) error { return &failure{code, text} }

// An ending is an error after which the session cannot go on. Its failure, if any, is
// the last that the client hears.
type ending struct{ last *failure }

// Error gives the last answer.
func (e *ending) Error() string {
	if e.last == nil {
		return "session ended"
	}
	return e.last.text
}

// answer maps an error to what the client hears, and tells whether we failed.
func answer(err error) (f *failure, ours bool) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f, false
	}
	for _, known := range [...]error{managesieve.ErrUnknown, managesieve.ErrSyntax, managesieve.ErrString, managesieve.ErrTooLarge, managesieve.ErrBase64, managesieve.ErrCancelled} {
		if errors.Is(err, known) {
			return &failure{"", known.Error()}, false
		}
	}
	if what, ok := errors.AsType[owner.Invalid](err); ok {
		return &failure{"", strings.ReplaceAll(what.Error(), "\n", "\r\n")}, false
	}
	switch {
	case errors.Is(err, managesieve.ErrState):
		return &failure{"", "this command cannot come now"}, false
	case errors.Is(err, script.ErrTooLarge):
		return &failure{managesieve.QuotaMaxSize, fmt.Sprintf("a script has %d bytes at most", sieve.MaxScript)}, false
	case errors.Is(err, script.ErrTooMany):
		return &failure{managesieve.QuotaMaxScripts, fmt.Sprintf("there are %d scripts at most", script.MaxScripts)}, false
	case errors.Is(err, mail.ErrLimit):
		return &failure{managesieve.Quota, fmt.Sprintf("all scripts together have %d bytes at most", script.MaxBytes)}, false
	case errors.Is(err, mail.ErrNotFound):
		return &failure{managesieve.NonExistent, "there is no script of that name"}, false
	case errors.Is(err, mail.ErrExists):
		return &failure{managesieve.AlreadyExists, "there is a script of that name"}, false
	case errors.Is(err, mail.ErrInUse):
		return &failure{managesieve.Active, "this is the active script: activate another one first, or none"}, false
	case errors.Is(err, mail.ErrFull): // the engine's log tells of it, once
		return &failure{managesieve.TryLater, "no room on this server for the moment, try again later"}, false
	}
	if r, ok := errors.AsType[*mail.Refusal](err); ok {
		if r.Status.Temporary() {
			return &failure{managesieve.TryLater, r.Text}, false
		}
		return &failure{"", r.Text}, false
	}
	return &failure{managesieve.TryLater, "local error, try again later"}, true
}

package pop3d

import (
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
)

// A failure is a negative answer.
type failure struct {
	code pop3.Code
	text string
}

// Error gives the text of the answer.
func (f *failure) Error() string { return f.text }

func no(code pop3.Code, text string) error { return &failure{code, text} }

// An ending is an error after which the session cannot go on. Its failure, if
// any, is the last that the client hears.
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
	for _, known := range [...]error{pop3.ErrUnknown, pop3.ErrSyntax, pop3.ErrLineTooLong, pop3.ErrControl, pop3.ErrBase64, pop3.ErrCancelled} {
		if errors.Is(err, known) {
			return &failure{"", known.Error()}, false
		}
	}
	switch {
	case errors.Is(err, pop3.ErrState):
		return &failure{"", "this command cannot come now"}, false
	case errors.Is(err, sasl.ErrMechanism), errors.Is(err, sasl.ErrMalformed):
		r, _ := errors.AsType[*mail.Refusal](err)
		return &failure{"", r.Text}, false
	case errors.Is(err, mail.ErrInUse):
		return &failure{pop3.InUse, "another session has this maildrop"}, false
	case errors.Is(err, mail.ErrFull): // the engine's log tells of it, once
		return &failure{pop3.Temporary, "no room on this server for the moment, try again later"}, false
	case errors.Is(err, mail.ErrNotFound):
		return &failure{"", "this message is gone"}, false
	}
	if r, ok := errors.AsType[*mail.Refusal](err); ok {
		if r.Status.Temporary() {
			return &failure{pop3.Temporary, r.Text}, false
		}
		return &failure{pop3.Auth, r.Text}, false
	}
	return &failure{pop3.Temporary, "local error, try again later"}, true
}

package imapd

import (
	"errors"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/sasl"
)

// A failure is an answer other than OK. All other errors become one here.
type failure struct {
	condition imap.Condition
	code      imap.Code
	text      string
}

// Error gives the answer without its tag.
func (f *failure) Error() string { return string(f.condition) + " [" + string(f.code) + "] " + f.text }

// no refuses to do what a command asks.
func no(code imap.Code, text string) error { return &failure{imap.NO, code, text} }

// bad tells a client that it made a mistake.
func bad(code imap.Code, text string) error { return &failure{imap.BAD, code, text} }

// An ending ends the session with a BYE.
type ending struct {
	code imap.Code
	text string
}

// Error gives the text.
func (e *ending) Error() string { return e.text }

// errAnswered is returned by a command that has sent its tagged answer itself.
var errAnswered = errors.New("imapd: answered")

// errLogout ends the session that has said good-bye.
var errLogout = errors.New("imapd: logout")

// answer gives what the client hears of err, and whether it was our failure,
// which the log must hear of. RFC 9051 §7.1, RFC 5530 §3
func answer(err error) (f *failure, ours bool) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f, false
	}
	if e, ok := errors.AsType[*imap.SyntaxError](err); ok {
		return &failure{imap.BAD, "", e.Text}, false
	}
	if _, ok := errors.AsType[*imap.TooBigError](err); ok {
		return &failure{imap.NO, imap.CodeTooBig, "the literal is too large"}, false
	}
	switch {
	case errors.Is(err, sasl.ErrMalformed):
		return &failure{imap.BAD, "", sasl.ErrMalformed.Text}, false
	case errors.Is(err, sasl.ErrMechanism):
		return &failure{imap.NO, imap.CodeCannot, sasl.ErrMechanism.Text}, false
	case errors.Is(err, imap.ErrCancelled):
		return &failure{imap.BAD, "", "cancelled"}, false
	case errors.Is(err, imap.ErrNUL):
		return &failure{imap.NO, imap.CodeParse, "a message must not have NUL in it; send it as a literal8"}, false
	case errors.Is(err, imap.ErrNoSuchNumber):
		return &failure{imap.BAD, imap.CodeClientBug, "no message has this sequence number"}, false
	case errors.Is(err, mail.ErrNotFound):
		return &failure{imap.NO, imap.CodeNonExistent, "no such mailbox"}, false
	case errors.Is(err, mail.ErrExists):
		return &failure{imap.NO, imap.CodeAlreadyExists, "this mailbox exists already"}, false
	case errors.Is(err, mail.ErrOverQuota):
		return &failure{imap.NO, imap.CodeOverQuota, "there is no room left in this account"}, false
	case errors.Is(err, mail.ErrFull): // the engine's log tells of it, once
		return &failure{imap.NO, imap.CodeLimit, "no room on this server for the moment, try again later"}, false
	case errors.Is(err, mail.ErrLimit):
		return &failure{imap.NO, imap.CodeLimit, "a limit of this server is reached"}, false
	case errors.Is(err, mail.ErrInUse):
		return &failure{imap.NO, imap.CodeInUse, "the mailbox is in use"}, false
	}
	if r, ok := errors.AsType[*mail.Refusal](err); ok {
		switch {
		case r.Status == sasl.ErrFailed.Status: // a verifier's own has a reason, for the log
			return &failure{imap.NO, imap.CodeAuthenticationFailed, sasl.ErrFailed.Text}, false
		case r.Status.Temporary():
			return &failure{imap.NO, imap.CodeUnavailable, r.Text}, false
		}
		return &failure{imap.NO, imap.CodeCannot, r.Text}, false
	}
	return &failure{imap.NO, imap.CodeUnavailable, "local error, try again later"}, true
}

// tryCreate turns "no such mailbox" into the code that makes clients offer to
// create it. RFC 9051 §6.3.12, §6.4.7
func tryCreate(err error) error {
	if errors.Is(err, mail.ErrNotFound) {
		return no(imap.CodeTryCreate, "no such mailbox")
	}
	return err
}

package smtp

import (
	"errors"

	"posthaste/internal/base/mail"
)

// Refusals that sessions make, beside those of ParseCommand, Machine and the
// bodies.
var (
	ErrAuthRequired = mail.Refuse("5.7.0", "log in first", "")
	ErrTLSRequired  = mail.Refuse("5.7.0", "send STARTTLS first", "")
	ErrRequireTLS   = mail.Refuse("5.7.10", "REQUIRETLS is only for sessions within TLS", "")
	ErrNotOffered   = mail.Refuse("5.5.1", "not offered here", "")
	ErrMechanism    = mail.Refuse("5.5.4", "mechanism not offered here", "")
	ErrTooSoon      = mail.Refuse("5.4.7", "no message can be promised to be delivered so soon", "")
	ErrAuthFailed   = mail.Refuse("5.7.8", "authentication failed", "")
	ErrAuthAborted  = mail.Refuse("5.7.0", "authentication aborted", "")
	ErrUnasked      = mail.Refuse("5.5.0", "wait for 354 before you send the message", "")
	ErrManyRcpts    = mail.Refuse("4.5.3", "too many recipients, send the rest in another transaction", "")
	ErrManyErrors   = mail.Refuse("4.7.0", "too many errors", "")
	ErrBusy         = mail.Refuse("4.7.0", "too many connections", "")
	ErrShutdown     = mail.Refuse("4.3.2", "going down, come back soon", "")
	ErrRevoked      = mail.Refuse("4.7.0", "what you have logged in with is no longer good", "")
	ErrIdle         = mail.Refuse("4.4.2", "waited too long", "")
	ErrSlow         = mail.Refuse("4.4.2", "too slow", "")
	ErrAuthLater    = mail.Refuse("4.7.0", "cannot check that now, try again later", "")
	ErrAuthSyntax   = mail.Refuse("5.5.2", "malformed authentication message", "")
)

// ownCodes are the refusals of this package whose code does not follow from
// their status.
func ownCode(r *mail.Refusal) int {
	switch r {
	case ErrParameter:
		return 555
	case ErrAuthRequired, ErrTLSRequired, ErrRequireTLS:
		return 530
	case ErrAuthAborted:
		return 501
	case ErrBase64, ErrAuthSyntax:
		return 501
	case ErrAuthLater:
		return 454
	case ErrSender, ErrRecipient:
		return 501
	case ErrNotOffered, ErrExpand:
		return 502
	case ErrMechanism:
		return 504
	case ErrManyErrors, ErrBusy, ErrShutdown, ErrRevoked, ErrIdle, ErrSlow:
		return 421
	}
	return 0
}

// RefusalReply gives the reply that says err to the peer; it must not be nil.
// It is the one place where a status becomes a code. RFC 5321 §4.2.3
func RefusalReply(err error) Reply {
	st, text := mail.StatusOf(err)
	if r, ok := errors.AsType[*mail.Refusal](err); ok {
		if code := ownCode(r); code != 0 {
			return Reply{Code: code, Status: st, Text: text}
		}
	}
	return Reply{Code: codeOf(st), Status: st, Text: text}
}

// OutcomeReply gives the reply that says what became of one recipient.
// RFC 2033 §4.2
func OutcomeReply(o mail.Outcome) Reply {
	return Reply{Code: codeOf(o.Status), Status: o.Status, Text: o.Text}
}

// codeOf gives the code for a status.
func codeOf(st mail.Status) int {
	type pair struct{ subject, detail uint16 }
	at := pair{st.Subject, st.Detail}
	switch st.Class {
	case 2:
		return 250
	case 4:
		switch at {
		case pair{2, 2}, pair{3, 1}, pair{3, 4}, pair{5, 3}:
			return 452
		case pair{7, 0}:
			return 450
		}
		switch st.Subject {
		case 1, 2, 7:
			return 450
		}
		return 451
	}
	switch at {
	case pair{2, 2}, pair{2, 3}, pair{3, 4}:
		return 552
	case pair{1, 6}:
		return 551
	case pair{1, 3}, pair{1, 7}, pair{1, 8}, pair{6, 7}:
		return 553
	case pair{5, 1}:
		return 503
	case pair{5, 2}, pair{5, 6}:
		return 500
	case pair{5, 4}:
		return 501
	case pair{7, 8}:
		return 535
	case pair{7, 9}:
		return 534
	}
	switch st.Subject {
	case 1, 2, 7:
		return 550
	}
	return 554
}

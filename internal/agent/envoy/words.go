package envoy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"posthaste/internal/agent/collector"
	"posthaste/internal/agent/token"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/internal/store/outpost"
)

// maxUnsure is how often in a row a server may refuse an access token before it is taken
// to be of no use: the first one may have ended early.
const maxUnsure = 2

// A failure is that there was no session with a submission server.
type failure struct {
	err   error
	words string
}

func (f *failure) Error() string { return f.words }
func (f *failure) Unwrap() error { return f.err }

// failed makes a failure of an error.
func failed(sub *outpost.Outpost, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	err = told(sub, err)
	return &failure{err: err, words: collector.Words(sub, err)}
}

// told makes of an error of SMTP one that the collector has words for.
func told(sub *outpost.Outpost, err error) error {
	if errors.Is(err, smtp.ErrNoTLS) {
		return &collector.WantError{Text: fmt.Sprintf("%s does not offer STARTTLS: choose tls, with port 465.", sub.Host)}
	}
	re, ok := errors.AsType[*smtp.ReplyError](err)
	if !ok {
		return collector.Theirs(err)
	}
	said := re.Reply.String()
	no := &collector.LoginError{Said: said}
	// Of codes that are not about the login, and of those that are for now, none speaks
	// against the password. RFC 4954 §6
	no.Sure = re.Command == "AUTH" && re.Reply.Code/100 == 5 && !collector.SaysLater(said)
	no.Later = !no.Sure
	return no
}

// login tells whether the failure has to do with who logs in.
func (f *failure) login() bool {
	no, ok := errors.AsType[*collector.LoginError](f.err)
	if ok {
		return no.Sure
	}
	_, ok = errors.AsType[*token.Error](f.err)
	return ok
}

// sure tells whether only a change can help, after so many failures in a row.
func (f *failure) sure(fails int, byToken bool) bool {
	if no, ok := errors.AsType[*token.Error](f.err); ok {
		return no.Code == "invalid_grant" || no.Code == "invalid_client" || no.Code == "unauthorized_client"
	}
	return !byToken || fails >= maxUnsure
}

// refusal gives what the queue hears. It comes again: the message waits.
func (f *failure) refusal(o *outpost.Outpost) *mail.Refusal {
	st := mail.Status{Class: 4, Subject: 4, Detail: 1} // it is left alone for a while
	_, want := errors.AsType[*collector.WantError](f.err)
	_, record := errors.AsType[tls.RecordHeaderError](f.err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](f.err)
	switch {
	case f.login():
		st.Subject, st.Detail = 7, 8
	case want || record || certificate:
		st.Subject, st.Detail = 7, 5
	case errors.Is(f.err, os.ErrDeadlineExceeded):
		st.Detail = 2
	}
	return &mail.Refusal{Status: st, Text: label(o) + collector.Once(f.words), Reason: f.err.Error()}
}

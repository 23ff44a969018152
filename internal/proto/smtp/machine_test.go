package smtp

import (
	"errors"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

// TestMachine feeds sequences of commands. A command with a "!" before it is
// carried out and fails; the last one is the one that is looked at.
func TestMachine(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		seq     string
		want    error
	}{
		{SMTP, "NOOP", nil},
		{SMTP, "MAIL", ErrHello},
		{SMTP, "LHLO", ErrDialect},
		{LMTP, "EHLO", ErrDialect},
		{LMTP, "HELO", ErrDialect},
		{LMTP, "LHLO MAIL RCPT DATA", nil},
		{SMTP, "!EHLO MAIL", ErrHello},
		{SMTP, "EHLO MAIL", nil},
		{SMTP, "HELO MAIL RCPT DATA MAIL", nil},
		{SMTP, "EHLO MAIL MAIL", ErrNested},
		{SMTP, "EHLO !MAIL MAIL", nil},
		{SMTP, "EHLO !MAIL RCPT", ErrNoMail},
		{SMTP, "EHLO RCPT", ErrNoMail},
		{SMTP, "EHLO DATA", ErrNoMail},
		{SMTP, "EHLO MAIL DATA", ErrNoRcpt},
		{SMTP, "EHLO MAIL !RCPT DATA", ErrNoRcpt},
		{SMTP, "EHLO MAIL !RCPT RCPT DATA", nil},
		{SMTP, "EHLO MAIL RCPT !DATA DATA", ErrNoMail},
		{SMTP, "EHLO MAIL RCPT RSET RCPT", ErrNoMail},
		{SMTP, "EHLO MAIL RCPT EHLO RCPT", ErrNoMail},
		{SMTP, "EHLO MAIL RCPT !EHLO RCPT", nil},
		{SMTP, "EHLO MAIL RCPT BDAT BDAT", nil},
		{SMTP, "EHLO MAIL RCPT BDAT DATA", ErrChunks},
		{SMTP, "EHLO MAIL RCPT BDAT RCPT", ErrChunks},
		{SMTP, "EHLO MAIL RCPT BDAT MAIL", ErrNested},
		{SMTP, "EHLO MAIL RCPT !BDAT BDAT", ErrNoMail},
		{SMTP, "EHLO MAIL RCPT BDAT LAST BDAT", ErrNoMail},
		{SMTP, "EHLO MAIL BDAT", ErrNoRcpt},
		{SMTP, "EHLO MAIL RCPT BDAT RSET MAIL RCPT DATA", nil},
		{SMTP, "STARTTLS", nil},
		{SMTP, "STARTTLS MAIL", ErrHello},
		{SMTP, "EHLO STARTTLS MAIL", ErrHello},
		{SMTP, "EHLO MAIL STARTTLS RCPT", ErrNoMail},
		{SMTP, "EHLO STARTTLS EHLO STARTTLS", ErrTLSAlready},
		{SMTP, "EHLO !STARTTLS MAIL", nil},
		{SMTP, "AUTH", ErrHello},
		{SMTP, "EHLO AUTH AUTH", ErrAuthTwice},
		{SMTP, "EHLO !AUTH AUTH", nil},
		{SMTP, "EHLO AUTH STARTTLS EHLO AUTH", nil},
		{SMTP, "EHLO AUTH EHLO AUTH", ErrAuthTwice},
		{SMTP, "EHLO MAIL AUTH", ErrAuthMail},
		{SMTP, "EXPN", ErrExpand},
		{SMTP, "VRFY", nil},
		{SMTP, "unknown", ErrUnknown},
		{SMTP, "EHLO MAIL é", ErrNotUTF8},
		{SMTP, "EHLO UTF8 é", nil},
	} {
		m := Machine{Dialect: c.dialect}
		var err error
		for _, w := range strings.Fields(c.seq) {
			var failed error
			if w[0] == '!' {
				failed, w = errors.New("no"), w[1:]
			}
			cmd := Command{Verb: parseVerb([]byte(w))}
			switch w {
			case "LAST":
				cmd = Command{Verb: BDAT, Last: true}
			case "UTF8":
				cmd = Command{Verb: MAIL, Mail: MailParams{UTF8: true}}
			case "é":
				cmd = Command{Verb: RCPT, NonASCII: true}
			}
			if err = m.Check(cmd); err == nil {
				m.Done(cmd, failed)
			}
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.seq, err, c.want)
		}
	}
}

func TestRefusalReply(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("disk on fire"), "451 4.3.0 local error, try again later"},
		{mail.ErrOverQuota, "452 4.2.2 mailbox full"},
		{mail.ErrFull, "452 4.3.1 no room on this server for the moment, try again later"},
		{mail.Refuse("5.1.1", "no such user", "x"), "550 5.1.1 no such user"},
		{mail.Refuse("5.7.1", "relaying denied", ""), "550 5.7.1 relaying denied"},
		{mail.Refuse("4.7.1", "greylisted", ""), "450 4.7.1 greylisted"},
		{mail.Refuse("5.4.6", "loop", ""), "554 5.4.6 loop"},
		{ErrTooLong, "552 5.3.4 message too large"},
		{ErrBroken, "554 5.6.0 message has a bare CR, a bare LF or a NUL"},
		{ErrParameter, "555 5.5.4 parameter not recognized"},
		{ErrAuthRequired, "530 5.7.0 log in first"},
		{ErrAuthFailed, "535 5.7.8 authentication failed"},
		{ErrManyRcpts, "452 4.5.3 too many recipients, send the rest in another transaction"},
		{ErrRevoked, "421 4.7.0 what you have logged in with is no longer good"},
		{ErrShutdown, "421 4.3.2 going down, come back soon"},
		{ErrNoRcpt, "503 5.5.1 no valid recipients"},
		{ErrUnknown, "500 5.5.2 unknown command"},
	} {
		if got := string(RefusalReply(c.err).Append(nil)); got != c.want+"\r\n" {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
